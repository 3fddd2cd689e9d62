package config

import (
	"slices"
	"strconv"

	"github.com/invopop/jsonschema"

	"rotatord/internal/credspec"
)

// Create is what a credential's item is to be like: what a person would fill in on the
// portal's own pages. A key that is left out is not managed, but for protect.
type Create struct {
	Use         string    `yaml:"use" jsonschema:"required,enum=public,enum=private,enum=personal" doc:"Where the key is used, the portal's first question: public applications, private ones and servers, or by its owner alone."`
	Title       string    `yaml:"title" jsonschema:"required" doc:"Title of the item."`
	Folder      string    `yaml:"folder,omitempty" doc:"Folder of the item by its title, made when missing; / is none."`
	Tags        []string  `yaml:"tags,omitempty" doc:"Tags of the item."`
	Snippet     string    `yaml:"snippet,omitempty" doc:"Summary, in one line."`
	Description string    `yaml:"description,omitempty" doc:"Description."`
	Privileges  []string  `yaml:"privileges,omitempty" doc:"What the key may do; see rotatord privileges. To change them kills both keys."`
	Items       []ItemID  `yaml:"items,omitempty" doc:"Private items that the key may read, at most 100. To change them kills both keys."`
	ItemsSearch string    `yaml:"items_search,omitempty" doc:"Further such items: what this search of the organisation finds, as in tags:roads AND type:\"Feature Service\"; at most 100 with all others. Asked at the portal by apply, and at each look at the settings."`
	ItemsGroup  ItemID    `yaml:"items_group,omitempty" doc:"Further such items: those shared with the group of this id. Asked likewise."`
	Referrers   Referrers `yaml:"referrers,omitempty" doc:"Sites whose pages may use the key, as in https://*.example.com; the word any says that all may. To change them kills both keys."`
	ByDaemon    bool      `yaml:"by_daemon,omitempty" doc:"A running daemon makes the item, without apply; the journal knows it, and the config need not name it."`
	InPlace     bool      `yaml:"in_place,omitempty" doc:"Edit the app that is in use where settings differ that kill keys: an outage until a new key is in every sink. Without it apply --replace makes a second item that takes over without one."`
	Protect     bool      `yaml:"protect" jsonschema:"default=true" doc:"The item is protected against deletion."`
	Sharing     string    `yaml:"sharing,omitempty" jsonschema:"enum=private,enum=organization" doc:"Who may find the item's page; its secrets are its owner's and administrators' alone in any case."`
	Acknowledge string    `yaml:"acknowledge,omitempty" jsonschema:"enum=personal" doc:"personal: it is known that the key acts as its owner. Needed by use: personal and by privileges of personal scope."`
}

// Referrers is a list of sites, or the word any.
type Referrers []string

// takeWord reads the word that may stand instead of the list.
func (r *Referrers) takeWord(s string) bool {
	if s != credspec.AnyReferrer {
		return false
	}
	*r = Referrers{s}
	return true
}

// JSONSchema takes a list, or any.
func (Referrers) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string", Const: credspec.AnyReferrer}, {Type: "array", Items: &jsonschema.Schema{Type: "string"}}}}
}

// Made tells whether the credential has its item; before that only apply deals with it.
func (cr *Credential) Made() bool { return cr.Item != "" }

// Made lists the credentials that have their items.
func (c *Config) Made() []*Credential {
	return slices.DeleteFunc(slices.Clone(c.Credentials), func(cr *Credential) bool { return !cr.Made() })
}

// Spec of a credential as the domain takes it; nil without create.
func (c *Config) Spec(cr *Credential) *credspec.Spec {
	n := cr.Create
	if n == nil {
		return nil
	}
	s := &credspec.Spec{Use: credspec.Use(n.Use), Title: n.Title, Folder: n.Folder, Tags: n.Tags, Snippet: n.Snippet, Description: n.Description,
		Privileges: n.Privileges, Referrers: n.Referrers, Protect: n.Protect, AcknowledgePersonal: n.Acknowledge == "personal",
		Drift: credspec.Drift(cr.Settings), ItemsSearch: n.ItemsSearch, ItemsGroup: string(n.ItemsGroup), Sharing: credspec.Sharing(n.Sharing), Expiry: c.RotatePolicy(cr)}
	if n.Items != nil {
		s.Items = make([]string, len(n.Items))
		for i, id := range n.Items {
			s.Items[i] = string(id)
		}
	}
	return s
}

// create checks one credential's own, and that it has an item or one to be made.
func (k *checker) create(cr *Credential, at string) {
	switch {
	case !k.has(at+".item") && !k.has(at+".create"):
		k.bad(at+".item", "add item: the 32 hexadecimal digits from the address of the item's page; or create, for an item that rotatord apply makes", "is missing")
	case !cr.Made() && cr.ownKey != "" && !k.anyBroken(at+".item"):
		k.bad(at+".create", "make the item and its first key by hand: until then rotatord cannot sign in", "is the daemon's own key, which cannot be the one that makes itself")
	}
	if cr.Create == nil && cr.Settings != string(credspec.DriftReport) && k.has(at+".settings") && !k.broken[at+".create"] {
		k.bad(at+".settings", "add create: rotatord import NAME prints what its portal has; or take settings out", "stands without create, so there is nothing to compare")
	}
	if cr.Create == nil || k.broken[at+".create"] {
		return
	}
	for _, p := range k.specProblems(cr) {
		path := at + ".create." + p.Field
		missing := (p.Field == "title" || p.Field == "use") && !k.has(path) // said by the decoder
		if !p.Warning && !missing && !k.anyBroken(path) {
			k.bad(path, p.Cure, "%s", p.What)
		}
	}
}

func (k *checker) specProblems(cr *Credential) []credspec.Problem {
	product := ""
	if p := k.c.Portals[cr.Portal]; p != nil {
		product = p.Product
	}
	return credspec.Validate(k.c.Spec(cr), credspec.Product(product), nil)
}

// creates warns of what a portal takes though it is hardly meant.
func (f *fileChecker) creates() {
	for i, cr := range f.c.Credentials {
		if cr.Create == nil {
			continue
		}
		for _, p := range f.specProblems(cr) {
			if p.Warning {
				f.bad("credentials["+strconv.Itoa(i)+"].create."+p.Field, p.Cure, "%s", p.What)
				f.problems[len(f.problems)-1].Warning = true
			}
		}
	}
}
