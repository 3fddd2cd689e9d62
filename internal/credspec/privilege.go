package credspec

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Product is one of the three that have API key credentials, by the config's words.
type Product string

// The products.
const (
	LocationPlatform Product = "location-platform"
	Online           Product = "online"
	Enterprise       Product = "enterprise"
)

// Products lists all of them, in the order of the documentation's tables.
func Products() []Product { return []Product{LocationPlatform, Online, Enterprise} }

// Among is a set of products.
type Among uint8

const (
	lp Among = 1 << iota
	online
	enterprise

	hosted = lp | online         // Esri's own
	orgs   = online | enterprise // with members
	all    = lp | online | enterprise
)

// Has tells whether the product is in the set.
func (a Among) Has(p Product) bool {
	switch p {
	case LocationPlatform:
		return a&lp != 0
	case Online:
		return a&online != 0
	case Enterprise:
		return a&enterprise != 0
	}
	return false
}

// List is the set in the order of Products.
func (a Among) List() []Product {
	return slices.DeleteFunc(Products(), func(p Product) bool { return !a.Has(p) })
}

func (a Among) String() string {
	words := make([]string, 0, 3)
	for _, p := range a.List() {
		words = append(words, string(p))
	}
	return strings.Join(words, ", ")
}

// MarshalJSON writes a list of words.
func (a Among) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(a.List())
	if err != nil {
		return nil, fmt.Errorf("encode products: %w", err)
	}
	return b, nil
}

// Scope is who a key acts as with a privilege (Esri's glossary: standard scope, personal scope).
type Scope string

// The scopes.
const (
	// ScopeStandard: fit for any application, public ones too; says nothing about the owner.
	ScopeStandard Scope = "standard"
	// ScopePersonal: the key acts as its owner and tells who that is. Not for public applications.
	ScopePersonal Scope = "personal"
	// ScopeItem: the grant of one item (GrantOf). Standard too, and counted apart.
	ScopeItem Scope = "item"
)

// Category is a heading of the portal's own privilege list.
type Category string

// The categories, in the order of the portal's pages.
const (
	CategoryLocation   Category = "location services"
	CategoryAnalysis   Category = "spatial analysis"
	CategoryContent    Category = "content"
	CategorySharing    Category = "sharing"
	CategoryGroups     Category = "groups and members"
	CategoryFeatures   Category = "features"
	CategoryPublishing Category = "publishing"
	CategoryPremium    Category = "premium content"
	CategoryDeveloper  Category = "developer"
	CategoryAdmin      Category = "administration"
	CategoryItem       Category = "item access"
)

// Categories lists them in the order of the table.
func Categories() []Category {
	return []Category{CategoryLocation, CategoryAnalysis, CategoryContent, CategorySharing, CategoryGroups, CategoryFeatures,
		CategoryPublishing, CategoryPremium, CategoryDeveloper, CategoryAdmin, CategoryItem}
}

// Privilege is one thing that a key may be allowed to do.
type Privilege struct {
	ID          string   `json:"id"`
	Label       string   `json:"label"`
	Category    Category `json:"category"`
	Scope       Scope    `json:"scope"`
	Products    Among    `json:"products"`
	Description string   `json:"description"`
	// Cost says in words what is billed; "" is nothing by itself.
	Cost string `json:"cost,omitempty"`
	// Undocumented: known from Esri's clients, on no page; a portal may refuse it.
	Undocumented bool `json:"undocumented,omitempty"`
}

// GrantPrefix begins the privilege that is the grant of one item; its id follows.
const GrantPrefix = "portal:app:access:item:"

// MaxGrants is how many items one credential may be granted (REST reference of registerApp).
const MaxGrants = 100

// GrantOf is the privilege that grants an item.
func GrantOf(item string) string { return GrantPrefix + item }

// Split takes the item grants out of a portal's list of privileges. Both parts are
// sorted and without doubles; items are in lower case.
func Split(privileges []string) (plain, items []string) {
	for _, p := range privileges {
		if item, ok := strings.CutPrefix(p, GrantPrefix); ok {
			items = append(items, strings.ToLower(item))
		} else {
			plain = append(plain, p)
		}
	}
	return tidy(plain), tidy(items)
}

// Join is the list to register: privileges and item grants together.
func Join(privileges, items []string) []string {
	out := tidy(privileges)
	for _, item := range tidy(items) {
		out = append(out, GrantOf(strings.ToLower(item)))
	}
	return out
}

// tidy is a sorted copy without doubles.
func tidy(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

// Privileges is the whole table: by category in the order of Categories, then by id.
func Privileges() []Privilege {
	return slices.Concat(locationPrivileges(), analysisPrivileges(), contentPrivileges(), sharingPrivileges(), groupPrivileges(), featurePrivileges(),
		publishingPrivileges(), premiumPrivileges(), developerPrivileges(), adminPrivileges(), itemPrivileges())
}

// Lookup finds a privilege by its id; the grant of any item is found as such.
func Lookup(id string) (Privilege, bool) {
	if strings.HasPrefix(id, GrantPrefix) {
		return itemPrivileges()[0], true
	}
	for _, p := range Privileges() {
		if p.ID == id {
			return p, true
		}
	}
	return Privilege{}, false
}

// Query picks privileges; zero fields pick all.
type Query struct {
	Product  Product
	Category Category
	// Text is looked for in id, label, category and description, whatever its case; each word must be somewhere.
	Text string
}

// Find lists what a query picks, in the order of the table.
func Find(q Query) []Privilege {
	words := strings.Fields(strings.ToLower(q.Text))
	return slices.DeleteFunc(Privileges(), func(p Privilege) bool {
		if (q.Product != "" && !p.Products.Has(q.Product)) || (q.Category != "" && p.Category != q.Category) {
			return true
		}
		text := strings.ToLower(strings.Join([]string{p.ID, p.Label, string(p.Category), p.Description}, "\n"))
		return slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	})
}
