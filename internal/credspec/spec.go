package credspec

import (
	"slices"
	"strings"

	"rotatord/internal/rotate"
)

// Use is the portal's first question: where the key will be used.
type Use string

// The uses.
const (
	UsePublic   Use = "public"   // in applications that anybody can open; the key is visible to them
	UsePrivate  Use = "private"  // in applications of the organisation, and on servers
	UsePersonal Use = "personal" // by its owner, in scripts; the key acts as the owner
)

// Sharing is who may see the credential's item. Only owner and administrators ever see its secrets.
type Sharing string

// The sharings; public is none: nobody needs to find a credential.
const (
	SharePrivate Sharing = "private"
	ShareOrg     Sharing = "organization"
)

// Drift is what is done about settings that differ from the specification.
type Drift string

// The ways with drift.
const (
	DriftReport  Drift = "report"  // say it, change nothing
	DriftCorrect Drift = "correct" // bring the portal back to the specification
	DriftAdopt   Drift = "adopt"   // take what the portal has as meant
)

// AnyReferrer stands alone in Spec.Referrers: the key may be used from everywhere, and that is meant.
const AnyReferrer = "any"

// RootFolder is the folder of items that are in none.
const RootFolder = "/"

// Spec is a credential as somebody wants it. What is left empty is not managed: the
// portal's value stands, whatever it is. An empty list that is not nil is managed and
// means none.
type Spec struct {
	Use         Use
	Title       string
	Folder      string // by title; RootFolder is none; "" is not managed
	Tags        []string
	Snippet     string
	Description string
	Privileges  []string // without item grants
	Items       []string // ids that the key may read
	// ItemsSearch and ItemsGroup name further ones: what a search of the organisation finds, and what is shared with a
	// group. Only the portal knows which those are: see Sourced and WithItems.
	ItemsSearch string
	ItemsGroup  string
	Referrers   []string // AnyReferrer alone: no limit
	Protect     bool     // against deletion
	Sharing     Sharing  // "" is not managed
	// AcknowledgePersonal: somebody knows that the key acts as its owner.
	AcknowledgePersonal bool
	Drift               Drift
	// Expiry is the policy that a new key's date comes from.
	Expiry rotate.Policy
}

// Settings is what a portal has.
type Settings struct {
	Owner       string   `json:"owner,omitempty"`
	Title       string   `json:"title"`
	Folder      string   `json:"folder"` // by title; RootFolder is none
	Tags        []string `json:"tags,omitempty"`
	Snippet     string   `json:"snippet,omitempty"`
	Description string   `json:"description,omitempty"`
	Privileges  []string `json:"privileges,omitempty"` // as registered: item grants may be among them
	Items       []string `json:"items,omitempty"`      // grants that were taken out already
	Referrers   []string `json:"referrers,omitempty"`
	Protected   bool     `json:"protected"`
	Sharing     Sharing  `json:"sharing,omitempty"`
	// Personal is the portal's own word (isPersonalAPIToken).
	Personal bool `json:"personal,omitempty"`
}

// clean is a copy with the grants apart and lists sorted.
func (s Settings) clean() Settings {
	plain, items := Split(s.Privileges)
	s.Privileges, s.Items = plain, tidy(slices.Concat(items, lower(s.Items)))
	s.Referrers, s.Tags = tidy(s.Referrers), tidy(s.Tags)
	if s.Folder == "" {
		s.Folder = RootFolder
	}
	return s
}

func lower(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.ToLower(s)
	}
	return out
}

// Sourced tells whether the items are not known before the portal was asked.
func (s *Spec) Sourced() bool { return s.ItemsSearch != "" || s.ItemsGroup != "" }

// WithItems is the specification with what its search and its group came to: ids, all
// items in one sorted list, and nothing left to ask.
func (s *Spec) WithItems(found []string) *Spec {
	out := *s
	out.Items, out.ItemsSearch, out.ItemsGroup = full(tidy(lower(slices.Concat(s.Items, found)))), "", ""
	return &out
}

// Grants is what to register: privileges with the item grants.
func (s *Spec) Grants() []string { return Join(s.Privileges, s.Items) }

// HTTPReferrers is what to register; none is no limit.
func (s *Spec) HTTPReferrers() []string {
	if slices.Equal(s.Referrers, []string{AnyReferrer}) {
		return []string{}
	}
	return tidy(s.Referrers)
}

// Personal lists the privileges with which the key acts as its owner.
func (s *Spec) Personal() []string { return personal(s.Privileges) }

func personal(privileges []string) []string {
	var out []string
	for _, id := range tidy(privileges) {
		if p, ok := Lookup(id); ok && p.Scope == ScopePersonal || !ok {
			out = append(out, id) // an unknown one may be
		}
	}
	return out
}

// Unrestricted tells of a public key that works from everywhere without anybody having said that it should.
func (s *Spec) Unrestricted() bool { return s.Use == UsePublic && len(s.Referrers) == 0 }

// UnrestrictedAt tells of a public key that works from everywhere at its portal, whatever the
// configuration says of it, without anybody having said that it should.
func (s *Spec) UnrestrictedAt(have Settings) bool {
	return s.Use == UsePublic && len(have.Referrers) == 0 && !slices.Equal(s.Referrers, []string{AnyReferrer})
}

// SpecOf is the specification of what a portal has: Diff of the two is empty. Where the
// key acts as its owner it says so, since somebody acknowledged that at the portal.
func SpecOf(have Settings) Spec {
	s := have.clean()
	spec := Spec{Use: UsePrivate, Title: s.Title, Folder: s.Folder, Tags: s.Tags, Snippet: s.Snippet, Description: s.Description, Privileges: s.Privileges,
		Items: s.Items, Referrers: s.Referrers, Protect: s.Protected, Drift: DriftReport}
	if s.Sharing == SharePrivate || s.Sharing == ShareOrg {
		spec.Sharing = s.Sharing // with groups or everybody is nothing that a specification asks for
	}
	if len(spec.Referrers) == 0 {
		spec.Referrers = []string{AnyReferrer}
	}
	if s.Personal || len(spec.Personal()) > 0 {
		spec.Use, spec.AcknowledgePersonal = UsePersonal, true
	}
	return spec
}
