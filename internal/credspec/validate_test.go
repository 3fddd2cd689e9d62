package credspec

import (
	"fmt"
	"strings"
	"testing"
)

const item = "0123456789abcdef0123456789abcdef"

// tutorial is the key of Esri's tutorial: basemaps and one private layer, for a public site.
func tutorial() *Spec {
	return &Spec{Use: UsePublic, Title: "Store locator", Folder: "keys", Tags: []string{"web", "prod"}, Snippet: "For the shop's map.", Description: "Line one\nline two",
		Privileges: []string{"premium:user:basemaps"}, Items: []string{item}, Referrers: []string{"https://maps.example.com"}, Protect: true, Sharing: SharePrivate}
}

func TestValidSpecsHaveNoProblems(t *testing.T) {
	online := tutorial()
	online.Use, online.AcknowledgePersonal, online.Privileges = UsePersonal, true, []string{"premium:user:geocode", "portal:admin:viewItems"}
	for name, c := range map[string]struct {
		spec  *Spec
		in    Product
		owner []string
	}{
		"tutorial":   {tutorial(), LocationPlatform, []string{"premium:user:basemaps"}},
		"personal":   {online, Online, nil},
		"any site":   {&Spec{Use: UsePublic, Title: "t", Referrers: []string{AnyReferrer}}, Enterprise, []string{}},
		"no product": {tutorial(), "", nil},
	} {
		if ps := Validate(c.spec, c.in, c.owner); len(ps) > 0 {
			t.Errorf("%s: %+v", name, ps)
		}
	}
}

func TestValidate(t *testing.T) {
	many := make([]string, MaxGrants+1)
	for i := range many {
		many[i] = fmt.Sprintf("%032x", i)
	}
	for name, c := range map[string]struct {
		change func(*Spec)
		in     Product
		owner  []string
		want   string // field: part of what or cure
		warn   bool
	}{
		"misspelt":     {func(s *Spec) { s.Privileges = []string{"premium:user:basemap"} }, LocationPlatform, nil, "privileges[0]: did you mean premium:user:basemaps?", false},
		"wrong case":   {func(s *Spec) { s.Privileges = []string{"Premium:User:Basemaps"} }, LocationPlatform, nil, "privileges[0]: did you mean premium:user:basemaps?", false},
		"wrong prefix": {func(s *Spec) { s.Privileges = []string{"portal:user:basemaps"} }, LocationPlatform, nil, "privileges[0]: did you mean premium:user:basemaps?", false},
		"no privilege": {func(s *Spec) { s.Privileges = []string{"routing please"} }, Online, nil, "privileges[0]: rotatord privileges --product online", false},
		"newer than the table": {func(s *Spec) {
			s.Use = UsePrivate
			s.AcknowledgePersonal = true
			s.Privileges = []string{"premium:user:teleport"}
		}, Online, nil, "privileges[0]: is not in the table", true},
		"coarse on LP":           {func(s *Spec) { s.Privileges = []string{"premium:user:geocode"} }, LocationPlatform, nil, "privileges[0]: write premium:user:geocode:stored or premium:user:geocode:temporary", false},
		"fine on Online":         {func(s *Spec) { s.Privileges = []string{"premium:user:networkanalysis:routing"} }, Online, nil, "privileges[0]: write premium:user:networkanalysis", false},
		"location on Enterprise": {func(s *Spec) {}, Enterprise, nil, "privileges[0]: keys of Enterprise open no location services", false},
		"owner lacks it":         {func(s *Spec) {}, Online, []string{"portal:user:createItem"}, "privileges[0]: the item's owner lacks premium:user:basemaps (Basemaps)", false},
		"twice":                  {func(s *Spec) { s.Privileges = []string{"premium:user:basemaps", "premium:user:basemaps"} }, Online, nil, "privileges[1]: is there twice", false},
		"grant as privilege":     {func(s *Spec) { s.Privileges = []string{GrantOf(item)} }, Online, nil, "privileges[0]: write its id under items", false},
		"undocumented":           {func(s *Spec) { s.Privileges = []string{"premium:user:staticMaps"} }, LocationPlatform, nil, "privileges[0]: is on no page", true},
		"public acts as owner":   {func(s *Spec) { s.Privileges = []string{"portal:user:createItem"} }, Online, nil, "privileges[0]: lets the key act as its owner", false},
		"private unacknowledged": {func(s *Spec) {
			s.Use = UsePrivate
			s.Privileges = []string{"features:user:edit", "portal:user:createItem", "portal:user:joinGroup"}
		}, Online, nil, "acknowledge: features:user:edit, portal:user:createItem and 1 more", false},
		"personal":               {func(s *Spec) { s.Use = UsePersonal }, Online, nil, "acknowledge: write acknowledge: personal", false},
		"no use":                 {func(s *Spec) { s.Use = "" }, Online, nil, "use: write public, private or personal", false},
		"no title":               {func(s *Spec) { s.Title = "" }, Online, nil, "title: is missing", false},
		"long title":             {func(s *Spec) { s.Title = strings.Repeat("ü", maxTitle+1) }, Online, nil, "title: has 251 characters", false},
		"blank at the end":       {func(s *Spec) { s.Title = "key " }, Online, nil, "title: begins or ends with blanks", false},
		"control character":      {func(s *Spec) { s.Snippet = "a\nb" }, Online, nil, "snippet: line breaks", false},
		"control in description": {func(s *Spec) { s.Description = "a\x1b[31m" }, Online, nil, "description: control characters", false},
		"nested folder":          {func(s *Spec) { s.Folder = "a/b" }, Online, nil, "folder: folders have no folders", false},
		"comma in tag":           {func(s *Spec) { s.Tags = []string{"a,b"} }, Online, nil, "tags[0]: make it two tags", false},
		"empty tag":              {func(s *Spec) { s.Tags = []string{"a", ""} }, Online, nil, "tags[1]: is empty", false},
		"tag twice":              {func(s *Spec) { s.Tags = []string{"a", "A"} }, Online, nil, "tags[1]: is there twice", false},
		"too many tags":          {func(s *Spec) { s.Tags = many; s.Tags = append(s.Tags, many[0]+"x", many[1]+"x") }, Online, nil, "", false},
		"too many items":         {func(s *Spec) { s.Items = many }, Online, nil, "items: there are 101", false},
		"no item":                {func(s *Spec) { s.Items = []string{"https://www.arcgis.com/home/item.html?id=" + item} }, Online, nil, "items[0]: is no item id", false},
		"item twice":             {func(s *Spec) { s.Items = []string{item, strings.ToUpper(item)} }, Online, nil, "items[1]: is there twice", false},
		"unrestricted":           {func(s *Spec) { s.Referrers = nil }, Online, nil, "referrers: unrestricted_key", true},
		"any among others":       {func(s *Spec) { s.Referrers = []string{"https://a.example", AnyReferrer} }, Online, nil, "referrers[1]: any stands beside others", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := tutorial()
			c.change(s)
			ps := Validate(s, c.in, c.owner)
			if c.want == "" {
				if len(ps) != 0 {
					t.Errorf("%+v", ps)
				}
				return
			}
			field, part, _ := strings.Cut(c.want, ": ")
			if len(ps) != 1 || ps[0].Field != field || !strings.Contains(ps[0].Text(), part) || ps[0].Warning != c.warn || ps[0].Cure == "" {
				t.Errorf("want one problem %q, got:\n%+v", c.want, ps)
			}
		})
	}
}

func TestTooManyTags(t *testing.T) {
	s := tutorial()
	s.Tags = nil
	for i := range maxTags + 1 {
		s.Tags = append(s.Tags, fmt.Sprint("tag", i))
	}
	if ps := Validate(s, Online, nil); len(ps) != 1 || ps[0].Field != "tags" {
		t.Errorf("%+v", ps)
	}
}

func TestReferrerForms(t *testing.T) {
	for r, want := range map[string]string{
		"https://maps.example.com": "", "https://maps.example.com/": "", "http://localhost:8080": "", "*.example.com": "", "https://*.example.com/app": "", "maps.example.com": "",
		"https://192.0.2.7:8443": "", "https://xn--mnchen-3ya.example": "", "localhost": "", "https://[2001:db8::1]": "",
		"": "no address", "https://": "no address", "https://münchen.example": "no address", "https://maps.example.com /x": "no address",
		"ftp://maps.example.com": "neither http", "https://user:pw@maps.example.com": "user name", "https://maps.example.com/?a=b": "query",
		"https://maps.example.com#x": "query or fragment", "https://maps.example.com/*": "star in its path", "https://maps.Example.com": "capital letters",
		"*": "allows everything", "https://maps.*.com": "first label", "https://maps*.example.com": "first label", "*.com": "top-level domain", "-a.example": "no host name",
	} {
		what, cure := referrerFault(r)
		if (want == "") != (what == "") || !strings.Contains(what, want) || (what != "" && cure == "") {
			t.Errorf("%q: %q, want %q (cure %q)", r, what, want, cure)
		}
	}
}

// Every privilege is near itself when a letter is lost, and is never taken for one of another product.
func TestNearestFindsEveryPrivilege(t *testing.T) {
	for _, product := range Products() {
		var ids []string
		for _, p := range Find(Query{Product: product}) {
			ids = append(ids, p.ID)
		}
		for _, id := range ids {
			if strings.HasPrefix(id, GrantPrefix) {
				continue
			}
			if got := nearest(id[:len(id)-2]+id[len(id)-1:], ids); got != id {
				t.Errorf("%s: nearest to %s without its last letter but one is %q", product, id, got)
			}
		}
	}
}
