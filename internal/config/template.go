package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Errors of a path template.
var (
	ErrTemplate = errors.New("is no template; only {{.Name}}, {{.Portal}}, {{.Environment}}, {{.Owner}} and {{.Item}} can be used")
	ErrNoValue  = errors.New("is used by the path, but the credential has none")
	ErrSegment  = errors.New("gives a path with an empty part, a part . or .., or a character other than letters, digits and ._-+@=")
)

var (
	slotForm    = regexp.MustCompile(`\{\{\s*\.([A-Za-z]+)\s*\}\}`)
	segmentForm = regexp.MustCompile(`^[A-Za-z0-9._+@=-]+$`)
)

// renderPath fills a sink's path template for one credential. It is not
// text/template: a path needs five words and no language.
func renderPath(template string, cr *Credential) (string, error) {
	values := map[string]string{"Name": string(cr.Name), "Portal": cr.Portal, "Environment": cr.Environment, "Owner": cr.Owner, "Item": string(cr.Item)}
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
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if !segmentForm.MatchString(part) || part == "." || part == ".." {
			return "", ErrSegment
		}
	}
	return path, nil
}
