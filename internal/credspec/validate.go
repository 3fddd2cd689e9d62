package credspec

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of an item's texts on the portal's own pages; the REST reference names none of
// them but the snippet's.
const (
	maxTitle       = 250
	maxSnippet     = 2048
	maxDescription = 65536
	maxTags        = 128
	maxTag         = 128
	maxFolder      = 250
	maxReferrer    = 2048
	maxQuery       = 1024
)

// The forms. Two words and more between colons make a privilege of known shape.
var (
	itemForm      = regexp.MustCompile(`^[0-9a-f]{32}$`)
	privilegeForm = regexp.MustCompile(`^(premium|portal|features|opendata|marketplace):(user|publisher|admin)(:[A-Za-z]+){1,2}$`)
	hostForm      = regexp.MustCompile(`^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// Problem is one thing that the portal would refuse, or that would not do what it seems to.
type Problem struct {
	Field   string `json:"field"` // as the config calls it: title, privileges[2]
	What    string `json:"what"`
	Cure    string `json:"cure"`
	Warning bool   `json:"warning,omitempty"` // it may be meant
}

// Text is the problem in one line.
func (p Problem) Text() string {
	word := ""
	if p.Warning {
		word = "warning: "
	}
	return p.Field + ": " + word + p.What + "; " + p.Cure
}

// Validate reports everything about a specification that a portal of the product would
// refuse, and as warnings what it would take though it is hardly meant. owner is what
// the item's owner may do; nil where that is not known.
func Validate(spec *Spec, product Product, owner []string) []Problem {
	v := validator{spec: spec, product: product, owner: owner}
	v.texts()
	v.tags()
	v.privileges()
	v.items()
	v.sharing()
	v.referrers()
	v.use()
	return v.problems
}

type validator struct {
	spec     *Spec
	product  Product
	owner    []string
	problems []Problem
}

func (v *validator) bad(field, cure, format string, args ...any) {
	v.problems = append(v.problems, Problem{Field: field, What: fmt.Sprintf(format, args...), Cure: cure})
}

func (v *validator) warn(field, cure, format string, args ...any) {
	v.bad(field, cure, format, args...)
	v.problems[len(v.problems)-1].Warning = true
}

func (v *validator) texts() {
	s := v.spec
	if s.Title == "" {
		v.bad("title", "write what the item is to be called", "is missing")
	}
	for _, t := range []struct {
		field, text string
		most        int
		lines       bool
	}{{"title", s.Title, maxTitle, false}, {"folder", s.Folder, maxFolder, false}, {"snippet", s.Snippet, maxSnippet, false},
		{"description", s.Description, maxDescription, true}} {
		v.text(t.field, t.text, t.most, t.lines)
	}
	if f := s.Folder; f != "" && f != RootFolder && strings.ContainsAny(f, `/\`) {
		v.bad("folder", "write one name; folders have no folders in them, and / alone is the root", "is no name of a folder")
	}
}

func (v *validator) text(field, text string, most int, lines bool) {
	if n := utf8.RuneCountInString(text); n > most {
		v.bad(field, fmt.Sprintf("write at most %d characters", most), "has %d characters", n)
	}
	odd := func(r rune) bool { return unicode.IsControl(r) && (!lines || r != '\n' && r != '\t') }
	if strings.ContainsFunc(text, odd) {
		v.bad(field, "take them out", "holds line breaks or control characters")
	} else if text != "" && text != strings.TrimSpace(text) && !lines {
		v.bad(field, "take them off: the portal does, and the two would differ for ever", "begins or ends with blanks")
	}
}

func (v *validator) tags() {
	tags := v.spec.Tags
	if len(tags) > maxTags {
		v.bad("tags", fmt.Sprintf("keep %d", maxTags), "there are %d", len(tags))
	}
	for i, t := range tags {
		field := at("tags", i)
		switch {
		case strings.TrimSpace(t) == "":
			v.bad(field, "write a word, or remove it", "is empty")
		case strings.Contains(t, ","):
			v.bad(field, "make it two tags", "holds a comma, which separates tags at the portal")
		default:
			v.text(field, t, maxTag, false)
		}
		v.twice(field, t, tags[:i])
	}
}

func at(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

func (v *validator) twice(field, value string, before []string) {
	if slices.ContainsFunc(before, func(b string) bool { return strings.EqualFold(b, value) }) {
		v.bad(field, "remove one of the two", "is there twice")
	}
}

func (v *validator) privileges() {
	for i, id := range v.spec.Privileges {
		field := at("privileges", i)
		if slices.Contains(v.spec.Privileges[:i], id) {
			v.bad(field, "remove one of the two", "is there twice")
			continue
		}
		v.privilege(field, id)
	}
}

func (v *validator) privilege(field, id string) {
	if item, ok := strings.CutPrefix(id, GrantPrefix); ok {
		v.bad(field, "write its id under items: ["+shown(item)+"]", "is the grant of an item")
		return
	}
	p, known := Lookup(id)
	if !known {
		v.unknown(field, id)
		return
	}
	if v.product != "" && !p.Products.Has(v.product) {
		v.bad(field, v.instead(p), "%s is no privilege of %s, only of %s", id, v.product, p.Products)
		return
	}
	if p.Undocumented {
		v.warn(field, "be ready for the portal to refuse it", "%s is on no page of the documentation", id)
	}
	if v.owner != nil && !slices.Contains(v.owner, id) {
		v.bad(field, "have an administrator add it to the owner's role, or leave it out here", "the item's owner lacks %s (%s), so no key of theirs can have it", id, p.Label)
	}
}

// unknown privileges are mistakes where a known one is near. One of the usual shape that
// is like no other may be newer than this table: then the portal decides.
func (v *validator) unknown(field, id string) {
	var ids []string
	for _, p := range Find(Query{Product: v.product}) {
		ids = append(ids, p.ID)
	}
	near := nearest(id, ids)
	switch {
	case near != "":
		v.bad(field, "did you mean "+near+"?", "no privilege is called %s", shown(id))
	case !privilegeForm.MatchString(id):
		v.bad(field, "choose one of: rotatord privileges"+v.productFlag(), "%s is no privilege", shown(id))
	default:
		v.warn(field, "compare with: rotatord privileges"+v.productFlag(), "%s is not in the table; the portal may refuse it", id)
	}
}

func (v *validator) productFlag() string {
	if v.product == "" {
		return ""
	}
	return " --product " + string(v.product)
}

// instead of a privilege of another product: what does the same on this one.
func (v *validator) instead(p Privilege) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(p.ID, "premium:user:"), ":")
	var like []string
	for _, other := range Find(Query{Product: v.product, Category: p.Category}) {
		word, _, _ := strings.Cut(strings.TrimPrefix(other.ID, "premium:user:"), ":")
		if p.Category == CategoryLocation && word == first {
			like = append(like, other.ID)
		}
	}
	switch {
	case len(like) > 0:
		return "write " + strings.Join(like, " or ")
	case p.Category == CategoryLocation && v.product == Enterprise:
		return "leave it out: keys of Enterprise open no location services; use a credential of online or location-platform for them"
	}
	return "leave it out, or see: rotatord privileges" + v.productFlag()
}

func (v *validator) items() {
	if n := len(v.spec.Items); n > MaxGrants {
		v.bad("items", fmt.Sprintf("keep %d at most, or spread them over several credentials", MaxGrants), "there are %d", n)
	}
	for i, id := range v.spec.Items {
		if !itemForm.MatchString(strings.ToLower(id)) {
			v.bad(at("items", i), "copy the 32 hexadecimal digits after id= from the address of the item's page", "is no item id")
		}
		v.twice(at("items", i), id, v.spec.Items[:i])
	}
	v.text("items_search", v.spec.ItemsSearch, maxQuery, false)
	if g := v.spec.ItemsGroup; g != "" && !itemForm.MatchString(strings.ToLower(g)) {
		v.bad("items_group", "copy the 32 hexadecimal digits after id= from the address of the group's page", "is no group id")
	}
}

func (v *validator) sharing() {
	switch v.spec.Sharing {
	case "", SharePrivate, ShareOrg:
	default:
		v.bad("sharing", "write private or organization; nobody else needs to find a credential", "%s is no sharing of a credential", shown(string(v.spec.Sharing)))
	}
}

func (v *validator) referrers() {
	list := v.spec.Referrers
	for i, r := range list {
		field := at("referrers", i)
		if r == AnyReferrer {
			if len(list) > 1 {
				v.bad(field, "write referrers: any, or the list without it", "any stands beside others, and would allow everything")
			}
			continue
		}
		if what, cure := referrerFault(r); what != "" {
			v.bad(field, cure, "%s %s", shown(r), what)
		}
		v.twice(field, r, list[:i])
	}
	if v.spec.Unrestricted() {
		v.warn("referrers", "name the sites that use it, as in https://maps.example.com or https://*.example.com, or write referrers: any if that is meant",
			"unrestricted_key: anybody who sees this public key can use it from everywhere, at your cost")
	}
}

// referrerFault says why no Referer header can match an entry. How the portal compares
// is on no page; browsers send scheme and host, rarely a path, never a fragment, a
// query only on request (Referrer-Policy: strict-origin-when-cross-origin is the default).
func referrerFault(r string) (what, cure string) {
	const form = "write it as https://maps.example.com, https://*.example.com or maps.example.com"
	if r == "" || len(r) > maxReferrer || strings.ContainsFunc(r, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "is no address", form + "; a name with other letters in its xn-- form"
	}
	full := r
	if !strings.Contains(r, "://") {
		full = "https://" + r
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" {
		return "is no address", form
	}
	host, path := u.Hostname(), strings.Trim(u.Path, "/")
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "is neither http nor https", form
	case u.User != nil:
		return "holds a user name, which no browser sends", "take it out"
	case u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(r, "?"):
		return "holds a query or fragment, which no browser sends from another site", "end it before ? and #"
	case strings.Contains(path, "*"):
		return "has a star in its path", "end it at the folder; what lies below is included"
	case host != strings.ToLower(host):
		return "has capital letters in its host, which browsers send in small ones", "write " + strings.ToLower(host)
	case host == "*":
		return "allows everything", "write referrers: any if that is meant"
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return "", ""
	}
	if !hostForm.MatchString(host) {
		return "is no host name; a star may only be the first label", form
	}
	if bare, wild := strings.CutPrefix(host, "*."); wild && !strings.Contains(bare, ".") {
		return "would allow a whole top-level domain", "name the domain, as in *.example.com"
	}
	return "", ""
}

func (v *validator) use() {
	// What is wrong already is not judged again.
	sound, places := []string{}, []string{}
	for i, id := range v.spec.Privileges {
		place := at("privileges", i)
		if !slices.ContainsFunc(v.problems, func(p Problem) bool { return p.Field == place && !p.Warning }) {
			sound, places = append(sound, id), append(places, place)
		}
	}
	list := personal(sound)
	switch v.spec.Use {
	case UsePublic:
		for i, id := range sound {
			if slices.Contains(list, id) {
				v.bad(places[i], "leave it out, or write use: private or personal", "%s lets the key act as its owner, which a public key must not", id)
			}
		}
	case UsePrivate, UsePersonal:
		if v.spec.AcknowledgePersonal {
			return
		}
		const cure = "write acknowledge: personal if that is meant"
		switch {
		case len(list) > 0:
			v.bad("acknowledge", cure, "with %s the key acts as its owner: who has it can find out who that is and do the same", andMore(list))
		case v.spec.Use == UsePersonal:
			v.bad("acknowledge", cure, "use: personal makes a key for its owner alone")
		}
	default:
		v.bad("use", "write public, private or personal", "%s is no place where a key is used", shown(string(v.spec.Use)))
	}
}

// andMore names the first two of a list.
func andMore(list []string) string {
	if len(list) <= 2 {
		return strings.Join(list, " and ")
	}
	return fmt.Sprintf("%s, %s and %d more", list[0], list[1], len(list)-2)
}

// shown repeats a value in a message, if it is short.
func shown(s string) string {
	if n := utf8.RuneCountInString(s); n > 60 {
		return fmt.Sprintf("a value of %d characters", n)
	}
	return strconv.Quote(s)
}
