package credspec

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// documented reads what the contract's table lists for each product.
func documented(t *testing.T) map[Product][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/privileges.txt")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[Product][]string{}
	for line := range strings.Lines(string(b)) {
		if words := strings.Fields(line); len(words) > 2 && words[0] != "#" {
			for _, w := range words[2:] {
				ids[Product(words[0])] = append(ids[Product(words[0])], words[1]+w)
			}
		}
	}
	return ids
}

func TestTableIsTheDocumentedOne(t *testing.T) {
	want := documented(t)
	for _, product := range Products() {
		var have []string
		for _, p := range Find(Query{Product: product}) {
			if p.Scope != ScopeItem && !p.Undocumented {
				have = append(have, p.ID)
			}
		}
		slices.Sort(have)
		slices.Sort(want[product])
		if len(want[product]) < 50 {
			t.Fatalf("%s: only %d ids were read", product, len(want[product]))
		}
		for _, id := range want[product] {
			if !slices.Contains(have, id) {
				t.Errorf("%s lacks %s", product, id)
			}
		}
		for _, id := range have {
			if !slices.Contains(want[product], id) {
				t.Errorf("%s has %s, which is not documented for it", product, id)
			}
		}
	}
}

func TestTableIsOrderlyAndComplete(t *testing.T) {
	seen := map[string]bool{}
	labels := map[string]string{}
	var before Privilege
	for _, p := range Privileges() {
		switch {
		case seen[p.ID]:
			t.Errorf("%s is there twice", p.ID)
		case slices.Index(Categories(), p.Category) < 0:
			t.Errorf("%s: unknown category %q", p.ID, p.Category)
		case before.ID != "" && p.Category == before.Category && p.ID < before.ID:
			t.Errorf("%s stands behind %s", p.ID, before.ID)
		case before.ID != "" && slices.Index(Categories(), p.Category) < slices.Index(Categories(), before.Category):
			t.Errorf("%s: its category %q stands behind %q", p.ID, p.Category, before.Category)
		case p.Label == "" || !strings.HasSuffix(p.Description, ".") || p.Products == 0:
			t.Errorf("%s is incomplete: %+v", p.ID, p)
		}
		for _, product := range p.Products.List() {
			if other := labels[string(product)+p.Label]; other != "" {
				t.Errorf("%s and %s have one label on %s", p.ID, other, product)
			}
			labels[string(product)+p.Label] = p.ID
		}
		seen[p.ID], before = true, p
	}
	if len(seen) < 105 {
		t.Errorf("only %d privileges", len(seen))
	}
}

// Esri's glossary: location services are standard, analysis and the portal's are personal.
func TestScopes(t *testing.T) {
	for _, p := range Privileges() {
		want := ScopePersonal
		switch p.Category {
		case CategoryLocation:
			want = ScopeStandard
		case CategoryItem:
			want = ScopeItem
		default:
		}
		if p.Scope != want {
			t.Errorf("%s has scope %s, want %s", p.ID, p.Scope, want)
		}
	}
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		q    Query
		want []string
	}{
		{Query{Text: "ROUTING", Product: Online}, []string{"premium:user:networkanalysis", "portal:admin:manageUtilityServices"}},
		{Query{Text: "stored geocod", Product: LocationPlatform}, []string{"premium:user:geocode:stored", "premium:user:geocode:temporary"}},
		{Query{Category: CategoryAnalysis, Product: LocationPlatform}, []string{"premium:user:spatialanalysis"}},
		{Query{Text: "no such thing"}, nil},
		{Query{Category: CategoryLocation, Product: Enterprise}, nil},
	} {
		var got []string
		for _, p := range Find(c.q) {
			got = append(got, p.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v finds %v, want %v", c.q, got, c.want)
		}
	}
}

func TestSplitAndJoin(t *testing.T) {
	items := []string{"0123456789abcdef0123456789abcdef", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}
	list := []string{GrantOf(strings.ToUpper(items[1])), "premium:user:places", GrantOf(items[0]), "premium:user:basemaps", GrantOf(items[0])}
	plain, grants := Split(list)
	if !slices.Equal(plain, []string{"premium:user:basemaps", "premium:user:places"}) || !slices.Equal(grants, items) {
		t.Errorf("split into %v and %v", plain, grants)
	}
	if back := Join(plain, grants); len(back) != 4 || back[2] != GrantOf(items[0]) {
		t.Errorf("joined to %v", back)
	}
	if p, ok := Lookup(GrantOf(items[0])); !ok || p.Scope != ScopeItem {
		t.Errorf("an item's grant is found as %+v, %v", p, ok)
	}
}

func TestProductsAsWords(t *testing.T) {
	b, err := json.Marshal(hosted)
	if err != nil || string(b) != `["location-platform","online"]` {
		t.Errorf("%s, %v", b, err)
	}
	if all.Has("arcgis") || Among(0).Has(Online) || orgs.String() != "online, enterprise" {
		t.Error("membership is wrong")
	}
}
