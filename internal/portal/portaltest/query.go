package portaltest

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// matcher is one compiled search condition.
type matcher func(*item) bool

// parseQuery compiles the portal's query language as far as clients use it for items: field:value, quotes, groups,
// AND, OR, NOT and minus, ranges in square brackets, and the wildcards * and ?. Terms that stand side by side must all hold.
func parseQuery(text, orgID string) (matcher, error) {
	p := &queryParser{text: strings.ToValidUTF8(text, "?"), orgID: orgID} // a wildcard becomes a regular expression
	p.skip()
	if p.end() {
		return func(*item) bool { return true }, nil
	}
	m, err := p.either("")
	if err != nil {
		return nil, err
	}
	if p.skip(); !p.end() {
		return nil, fmt.Errorf("parse query: unexpected %q at %d", p.text[p.at:p.at+1], p.at)
	}
	return m, nil
}

type queryParser struct {
	text  string
	at    int
	depth int
	orgID string
}

// maxQueryDepth bounds nesting, as the text comes from outside.
const maxQueryDepth = 50

func (p *queryParser) end() bool { return p.at >= len(p.text) }

func (p *queryParser) skip() {
	for !p.end() && (p.text[p.at] == ' ' || p.text[p.at] == '\t' || p.text[p.at] == '\n' || p.text[p.at] == '\r') {
		p.at++
	}
}

// word takes the given operator word if it stands here.
func (p *queryParser) word(w string) bool {
	p.skip()
	rest, ok := strings.CutPrefix(p.text[p.at:], w)
	if !ok || rest != "" && !strings.ContainsAny(rest[:1], " \t\n\r(") {
		return false
	}
	p.at += len(w)
	return true
}

func (p *queryParser) char(c byte) bool {
	p.skip()
	if p.end() || p.text[p.at] != c {
		return false
	}
	p.at++
	return true
}

func (p *queryParser) either(field string) (matcher, error) {
	left, err := p.both(field)
	if err != nil {
		return nil, err
	}
	for p.word("OR") {
		a := left
		b, err := p.both(field)
		if err != nil {
			return nil, err
		}
		left = func(it *item) bool { return a(it) || b(it) }
	}
	return left, nil
}

func (p *queryParser) both(field string) (matcher, error) {
	left, err := p.negated(field)
	if err != nil {
		return nil, err
	}
	for {
		explicit := p.word("AND")
		if p.skip(); !explicit && (p.end() || p.text[p.at] == ')' || p.peekOr()) {
			return left, nil
		}
		a := left
		b, err := p.negated(field)
		if err != nil {
			return nil, err
		}
		left = func(it *item) bool { return a(it) && b(it) }
	}
}

func (p *queryParser) peekOr() bool {
	at := p.at
	defer func() { p.at = at }()
	return p.word("OR")
}

func (p *queryParser) negated(field string) (matcher, error) {
	if p.depth++; p.depth > maxQueryDepth {
		return nil, fmt.Errorf("parse query: nested deeper than %d", maxQueryDepth)
	}
	defer func() { p.depth-- }()
	if p.char('+') {
		return p.negated(field)
	}
	if p.word("NOT") || p.char('-') {
		m, err := p.negated(field)
		if err != nil {
			return nil, err
		}
		return func(it *item) bool { return !m(it) }, nil
	}
	return p.primary(field)
}

func (p *queryParser) primary(field string) (matcher, error) {
	if p.skip(); p.end() {
		return nil, fmt.Errorf("parse query: it ends where a term is wanted")
	}
	switch p.text[p.at] {
	case '(':
		p.at++
		m, err := p.either(field)
		if err != nil {
			return nil, err
		}
		if !p.char(')') {
			return nil, fmt.Errorf("parse query: a bracket is not closed")
		}
		return m, nil
	case '"':
		value, err := p.quoted()
		if err != nil {
			return nil, err
		}
		return p.term(field, value), nil
	case '[':
		return p.between(field)
	}
	value := p.bare()
	if value == "" {
		return nil, fmt.Errorf("parse query: unexpected %q at %d", p.text[p.at:p.at+1], p.at)
	}
	if p.char(':') {
		return p.primary(strings.ToLower(value))
	}
	return p.term(field, value), nil
}

func (p *queryParser) quoted() (string, error) {
	end := strings.IndexByte(p.text[p.at+1:], '"')
	if end < 0 {
		return "", fmt.Errorf("parse query: a quote is not closed")
	}
	value := p.text[p.at+1 : p.at+1+end]
	p.at += end + 2
	return value, nil
}

func (p *queryParser) bare() string {
	from := p.at
	for !p.end() && !strings.ContainsRune(" \t\n\r():\"[]", rune(p.text[p.at])) {
		p.at++
	}
	return p.text[from:p.at]
}

// between is [a TO b] on created and modified, in epoch milliseconds.
func (p *queryParser) between(field string) (matcher, error) {
	end := strings.IndexByte(p.text[p.at:], ']')
	if end < 0 {
		return nil, fmt.Errorf("parse query: a range is not closed")
	}
	from, to, ok := strings.Cut(p.text[p.at+1:p.at+end], " TO ")
	lo, errLo := strconv.ParseInt(strings.TrimSpace(from), 10, 64)
	hi, errHi := strconv.ParseInt(strings.TrimSpace(to), 10, 64)
	if !ok || errLo != nil || errHi != nil {
		return nil, fmt.Errorf("parse query: a range is not [number TO number]")
	}
	p.at += end + 1
	return func(it *item) bool {
		at := millis(it.Created)
		if field == "modified" {
			at = millis(it.Modified)
		}
		return at >= lo && at <= hi
	}, nil
}

// term compares one field, or for no field every text of the item, word by word.
func (p *queryParser) term(field, value string) matcher {
	same := comparer(value)
	orgID := p.orgID
	return func(it *item) bool {
		switch field {
		case "id":
			return same(it.ID)
		case "owner":
			return same(it.Owner)
		case "orgid", "accountid":
			return same(cmp.Or(it.org, orgID))
		case "group":
			return anyOf(it.groups, same)
		case "type":
			return same(it.Type)
		case "access":
			return same(it.Access)
		case "typekeywords":
			return anyOf(it.Keywords, same)
		case "tags":
			return anyOf(it.Tags, same)
		case "title":
			return phrase(it.Title, value, same)
		case "snippet", "description":
			return phrase(it.fields[field], value, same)
		case "ownerfolder":
			return same(it.Folder)
		case "":
			return phrase(it.Title, value, same) || phrase(it.fields["snippet"], value, same) || phrase(it.fields["description"], value, same) ||
				anyOf(it.Tags, same) || anyOf(it.Keywords, same) || same(it.Owner) || same(it.Type) || same(it.ID)
		}
		return false
	}
}

func anyOf(list []string, same func(string) bool) bool {
	return slices.ContainsFunc(list, same)
}

// comparer compares whole values without regard to case, with wildcards where the value has some.
func comparer(value string) func(string) bool {
	if !strings.ContainsAny(value, "*?") {
		return func(s string) bool { return strings.EqualFold(s, value) }
	}
	pattern := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(value))
	return regexp.MustCompile("(?is)^" + pattern + "$").MatchString
}

// phrase finds the value's words side by side in a text; with wildcards one word must match.
func phrase(text, value string, same func(string) bool) bool {
	if same(text) {
		return true
	}
	words := func(s string) []string {
		return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	}
	if strings.ContainsAny(value, "*?") {
		return anyOf(strings.Fields(text), same)
	}
	wanted := strings.Join(words(value), " ")
	return wanted != "" && strings.Contains(" "+strings.Join(words(text), " ")+" ", " "+wanted+" ")
}
