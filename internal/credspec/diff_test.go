package credspec

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func portalHas() Settings {
	return Settings{Owner: "ops", Title: "Store locator", Folder: "keys", Tags: []string{"prod", "web"}, Snippet: "For the shop's map.", Description: "Line one\nline two",
		Privileges: []string{GrantOf(item), "premium:user:basemaps"}, Referrers: []string{"https://maps.example.com"}, Protected: true, Sharing: SharePrivate}
}

func TestDiffOfTheSameIsEmpty(t *testing.T) {
	if cs := Diff(tutorial(), portalHas()); len(cs) != 0 || cs.Text() != "" || cs.NeedReplacement() {
		t.Errorf("%+v", cs)
	}
	if b, err := json.Marshal(Diff(tutorial(), portalHas())); err != nil || string(b) != "[]" {
		t.Errorf("%s, %v", b, err)
	}
}

func TestDiff(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Settings)
		field  Field
		effect Effect
		text   string
	}{
		"title":      {func(s *Settings) { s.Title = "Old" }, FieldTitle, EffectHarmless, "title (edited in place, harmless)\n  - Old\n  + Store locator\n"},
		"folder":     {func(s *Settings) { s.Folder = "" }, FieldFolder, EffectHarmless, "folder (edited in place, harmless)\n  - /\n  + keys\n"},
		"tags":       {func(s *Settings) { s.Tags = []string{"web", "old"} }, FieldTags, EffectHarmless, "tags (edited in place, harmless)\n  - old\n  + prod\n"},
		"snippet":    {func(s *Settings) { s.Snippet = "" }, FieldSnippet, EffectHarmless, "snippet (edited in place, harmless)\n  - (none)\n  + For the shop's map.\n"},
		"lines":      {func(s *Settings) { s.Description = "x" }, FieldDescription, EffectHarmless, "description (edited in place, harmless)\n  - x\n  + \"Line one\\nline two\"\n"},
		"sharing":    {func(s *Settings) { s.Sharing = ShareOrg }, FieldSharing, EffectHarmless, "sharing (edited in place, harmless)\n  - organization\n  + private\n"},
		"protection": {func(s *Settings) { s.Protected = false }, FieldProtect, EffectHarmless, "protect (edited in place, harmless)\n  - false\n  + true\n"},
		"privileges": {func(s *Settings) { s.Privileges = append(s.Privileges, "premium:user:places") }, FieldPrivileges, EffectKillsKeys, "privileges (kills both keys: needs a replacement)\n  - premium:user:places  (Places)\n"},
		"items":      {func(s *Settings) { s.Privileges = s.Privileges[1:] }, FieldItems, EffectKillsKeys, "items (kills both keys: needs a replacement)\n  + " + item + "\n"},
		"referrers":  {func(s *Settings) { s.Referrers = nil }, FieldReferrers, EffectKillsKeys, "referrers (kills both keys: needs a replacement)\n  + https://maps.example.com\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := portalHas()
			s.Privileges = slices.Clone(s.Privileges)
			c.change(&s)
			cs := Diff(tutorial(), s)
			if len(cs) != 1 || cs[0].Field != c.field || cs[0].Effect != c.effect {
				t.Fatalf("%+v", cs)
			}
			if got := cs.Text(); got != c.text {
				t.Errorf("text:\n%s\nwant:\n%s", got, c.text)
			}
			if kills := c.effect == EffectKillsKeys; cs.NeedReplacement() != kills || (len(cs.Harmless()) == 0) != kills {
				t.Errorf("replacement %v, harmless %v", cs.NeedReplacement(), cs.Harmless())
			}
			b, err := json.Marshal(cs)
			if err != nil || !strings.Contains(string(b), `"effect":"`+string(c.effect)+`"`) || strings.Contains(string(b), "null") {
				t.Errorf("JSON: %s, %v", b, err)
			}
		})
	}
}

func TestWhatIsNotManagedDoesNotDiffer(t *testing.T) {
	if cs := Diff(&Spec{Title: "Store locator", Protect: true}, portalHas()); len(cs) != 0 {
		t.Errorf("%+v", cs)
	}
	empty := &Spec{Title: "Store locator", Protect: true, Tags: []string{}, Privileges: []string{}, Items: []string{}, Referrers: []string{AnyReferrer}}
	if cs := Diff(empty, portalHas()); len(cs) != 4 {
		t.Errorf("lists that are empty and managed: %+v", cs)
	}
}

// An imported specification differs in nothing, and is as valid as what the portal took.
func TestImportedSpecDiffersInNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ids []string
		for _, p := range Find(Query{Product: Online}) {
			if p.Scope != ScopeItem {
				ids = append(ids, p.ID)
			}
		}
		hex := rapid.StringMatching(`[0-9a-f]{32}`)
		s := Settings{Title: rapid.StringMatching(`[a-zA-Z]{1,9}( [a-z]{1,5})?`).Draw(t, "title"), Folder: rapid.SampledFrom([]string{"", "/", "keys"}).Draw(t, "folder"),
			Tags: rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,3}`), 0, 4).Draw(t, "tags"), Privileges: rapid.SliceOfN(rapid.SampledFrom(ids), 0, 6).Draw(t, "privileges"),
			Items: rapid.SliceOfN(hex, 0, 4).Draw(t, "items"), Referrers: rapid.SampledFrom([][]string{nil, {"https://a.example"}, {"*.b.example", "https://a.example"}}).Draw(t, "referrers"),
			Protected: rapid.Bool().Draw(t, "protected"), Sharing: rapid.SampledFrom([]Sharing{"", SharePrivate, ShareOrg}).Draw(t, "sharing"), Personal: rapid.Bool().Draw(t, "personal")}
		for _, i := range rapid.SliceOfN(hex, 0, 3).Draw(t, "granted") {
			s.Privileges = append(s.Privileges, GrantOf(i))
		}
		spec := SpecOf(s)
		if cs := Diff(&spec, s); len(cs) > 0 {
			t.Fatalf("differs: %s", cs.Text())
		}
		for _, p := range Validate(&spec, Online, nil) {
			if !p.Warning {
				t.Fatalf("imported, but not valid: %+v", p)
			}
		}
	})
}
