package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Errors of a path template.
var (
	ErrTemplate = errors.New("is no template; only {{.Name}}, {{.Portal}}, {{.Environment}}, {{.Owner}} and {{.Item}} can be used")
	ErrNoValue  = errors.New("is used by the path, but the credential has none")
	ErrSegment  = errors.New("gives a path with an empty part, a part . or .., a character other than letters, digits and ._-@=:,~, or more than 512 of them")
)

var (
	slotForm    = regexp.MustCompile(`\{\{\s*\.([A-Za-z]+)\s*\}\}`)
	segmentForm = regexp.MustCompile(`^[A-Za-z0-9._@=:,~-]+$`)
)

// renderPath fills a sink's path template for one credential. It is not
// text/template: a path needs five words and no language.
func renderPath(template string, cr *Credential) (string, error) {
	values := map[string]string{"Name": string(cmp.Or(cr.PathName, cr.Name)), "Portal": cr.Portal, "Environment": cr.Environment, "Owner": cr.Owner, "Item": string(cr.Item)}
	var bad error
	path := slotForm.ReplaceAllStringFunc(template, func(m string) string {
		word := slotForm.FindStringSubmatch(m)[1]
		v, known := values[word]
		switch {
		case !known:
			bad = ErrTemplate
		case v == "":
			bad = fmt.Errorf("{{.%s}} %w", word, ErrNoValue)
		case strings.ContainsRune(v, '/'):
			bad = ErrSegment
		}
		return v
	})
	if bad != nil {
		return "", bad
	}
	if strings.ContainsAny(path, "{}") {
		return "", ErrTemplate
	}
	if !plainPath(strings.TrimPrefix(path, "/")) {
		return "", ErrSegment
	}
	return path, nil
}

// rendersWithItem tells whether all that the path lacks is the id of an item that is to be made.
func rendersWithItem(template string, cr *Credential) bool {
	made := *cr
	made.Item = ItemID(strings.Repeat("0", 32))
	_, err := renderPath(template, &made)
	return err == nil
}

// maxPath is what a person still reads; Vault takes longer ones.
const maxPath = 512

// plainPath wants words between single slashes. A plus or a star would be a wildcard
// in Vault's policies.
func plainPath(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if !segmentForm.MatchString(part) || part == "." || part == ".." {
			return false
		}
	}
	return len(path) <= maxPath
}
