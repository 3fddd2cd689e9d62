package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"rotatord/internal/credspec"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
)

// change the config's text, pair by pair.
func (w *applyWorld) change(t *testing.T, pairs ...string) {
	t.Helper()
	src, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the config has no %q:\n%s", pairs[i], text)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// have is what the portal has of the one credential, and what the config wants of it.
func (w *applyWorld) have(t *testing.T) (*credspec.Spec, credspec.Settings) {
	t.Helper()
	a, err := (&cli{configPath: w.config}).openAdapters()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	cr := a.cfg.Credentials[0]
	have, err := settingsReader{adapters: a, folders: map[[2]string][]portal.Folder{}}.settings(t.Context(), cr)
	if err != nil {
		t.Fatal(err)
	}
	return a.cfg.Spec(cr), have
}

// What is harmless is edited when a person says so, and is in the history; what kills keys stays, and the key lives.
func TestApplyEditsWhatIsHarmless(t *testing.T) {
	w := newApplyWorld(t)
	if r := runCLI(t, "--config", w.config, "apply", "--yes"); r.code != exitOK {
		t.Fatalf("code %d\n%s%s", r.code, r.out, r.err)
	}
	w.change(t, "title: Trail map", "title: Path map", "folder: API keys", "folder: Keys of maps\n      snippet: For the map\n      description: Of the web team\n      sharing: organization\n      protect: false",
		"tags: [web]", "tags: [web, prod]", "privileges: [premium:user:basemaps]", "privileges: [premium:user:basemaps, premium:user:geocode]")
	before := len(w.emulator.Events())
	r := runCLI(t, "--config", w.config, "apply", "trail-map", "--dry-run")
	if r.code != exitAttention || strings.Count(r.out, "edited in place, harmless") != 7 || !strings.Contains(r.out, "rotatord apply trail-map --replace") {
		t.Fatalf("dry run: code %d\n%s%s", r.code, r.out, r.err)
	}
	if r := runCLI(t, "--config", w.config, "apply"); r.code == exitOK {
		t.Error("nobody was asked")
	}
	for _, e := range w.emulator.Events()[before:] {
		if e.Kind == portaltest.EventItemUpdated {
			t.Errorf("edited without a word: %+v", e)
		}
	}
	r = runCLI(t, "--config", w.config, "--json", "apply", "trail-map", "--yes")
	var out []applied
	if err := json.Unmarshal([]byte(r.out), &out); err != nil || r.code != exitAttention || len(out) != 1 || len(out[0].Edited) != 7 || len(out[0].Changes) != 1 ||
		out[0].Changes[0].Field != credspec.FieldPrivileges {
		t.Fatalf("code %d, %v\n%s%s", r.code, err, r.out, r.err)
	}
	want, have := w.have(t)
	if cs := credspec.Diff(want, have); len(cs) != 1 || have.Title != "Path map" || have.Folder != "Keys of maps" || have.Protected || have.Sharing != credspec.ShareOrg {
		t.Errorf("the portal has %+v\n%s", have, cs.Text())
	}
	r = runCLI(t, "--config", w.config, "history", "trail-map")
	if !strings.Contains(r.out, `edited by apply: title: "Trail map" -> "Path map"`) || strings.Count(r.out, "edited by apply") != 7 {
		t.Errorf("the history says\n%s%s", r.out, r.err)
	}
	key, err := os.ReadFile(w.dir + "/keys/trail-map.key")
	if err != nil {
		t.Fatal(err)
	}
	if valid, why := w.emulator.KeyValid(strings.TrimSpace(string(key))); !valid {
		t.Errorf("the served key died of it: %s", why)
	}
}

// Items by search and by group, and sharing, from the creation on.
func TestApplyWithASearchAndAGroup(t *testing.T) {
	w := newApplyWorld(t)
	const group = "0123456789abcdef0123456789abcdef"
	var want []string
	for _, title := range []string{"roads 1", "roads 2", "rivers"} {
		id, _ := w.emulator.AddService(portaltest.AdminUser, title, "private")
		want = append(want, id)
	}
	if err := w.emulator.ShareWithGroup(want[2], group); err != nil {
		t.Fatal(err)
	}
	w.change(t, "      referrers: [", "      items_search: title:paths\n      items_group: "+group+"\n      sharing: organization\n      referrers: [")
	r := runCLI(t, "--config", w.config, "apply", "--yes")
	if r.code != exitAttention || !strings.Contains(r.out, "items_search: search items to be granted: permanent: it finds no item") {
		t.Errorf("a search that finds nothing: code %d\n%s%s", r.code, r.out, r.err)
	}
	r = runCLI(t, "--config", w.config, "check-config", "--online")
	if r.code != exitUsage || !strings.Contains(r.err, "error: here trail-map: The items that its key may read cannot be told: ") {
		t.Errorf("check-config --online: code %d\n%s%s", r.code, r.out, r.err)
	}
	w.change(t, "title:paths", "title:roads")
	if r := runCLI(t, "--config", w.config, "check-config", "--online"); strings.Contains(r.err, "cannot be told") {
		t.Errorf("a search that finds something: %s", r.err)
	}
	if r := runCLI(t, "--config", w.config, "apply", "--yes"); r.code != exitOK {
		t.Fatalf("code %d\n%s%s", r.code, r.out, r.err)
	}
	spec, have := w.have(t)
	want = slices.Sorted(slices.Values(append(want, spec.Items...)))
	if !slices.Equal(have.Items, want) || have.Sharing != credspec.ShareOrg {
		t.Errorf("granted %v, want %v; shared %s", have.Items, want, have.Sharing)
	}
	w.made(t)
	another, _ := w.emulator.AddService(portaltest.AdminUser, "roads 3", "private")
	if r := runCLI(t, "--config", w.config, "apply", "--yes"); r.code != exitAttention || !strings.Contains(r.out, "+ "+another) || !strings.Contains(r.out, "items (kills both keys") {
		t.Errorf("the search finds more: code %d\n%s%s", r.code, r.out, r.err)
	}
}

// Killed anywhere while its search finds more and more, apply makes one item with what the search had come to when it was registered.
func TestApplyKilledWhileASearchChanges(t *testing.T) {
	for n := 1; ; n++ {
		w := newApplyWorld(t)
		w.emulator.AddService(portaltest.AdminUser, "roads 1", "private")
		w.change(t, "      referrers: [", "      items_search: title:roads\n      referrers: [")
		if w.attempt(t, n) == nil {
			return
		}
		w.emulator.AddService(portaltest.AdminUser, "roads 2", "private")
		if err := w.attempt(t, 0); err != nil {
			t.Fatalf("after a kill at point %d: %v", n, err)
		}
		w.made(t)
	}
}
