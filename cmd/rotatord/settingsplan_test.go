package main

import (
	"os"
	"strings"
	"testing"

	"rotatord/internal/portal/portaltest"
)

// A public key without referrers is warned of in plan, by what the portal has and by what the config says, adopted or not;
// what kills keys is told with its cure; and one that cannot be read does not hide the others.
func TestPlanOfSettings(t *testing.T) {
	path, em := settingsWorld(t, portaltest.Online, "online", []string{"premium:user:basemaps"}, []string{"features:user:edit"})
	if r := runCLI(t, "--config", path, "import", "--all", "--write", path); r.code != exitOK {
		t.Fatal(r.err)
	}
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change := func(pairs ...string) {
		t.Helper()
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(string(src), pairs[i]) {
				t.Fatalf("no %q in\n%s", pairs[i], src)
			}
		}
		if err := os.WriteFile(path, []byte(strings.NewReplacer(pairs...).Replace(string(src))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plan := func(code int, says string, not ...string) {
		t.Helper()
		r := runCLI(t, "--config", path, "plan", "trail-map")
		if r.code != code || !strings.Contains(r.out, says) {
			t.Errorf("code %d, want %d with %q\n%s%s", r.code, code, says, r.out, r.err)
		}
		for _, n := range not {
			if strings.Contains(r.out, n) {
				t.Errorf("it says %q\n%s", n, r.out)
			}
		}
	}
	list := "      referrers:\n        - \"https://trails.example.com\"\n"
	change()
	plan(exitOK, "  settings: as the config says\n", "unrestricted_key")
	change("use: private", "use: public", list, "")
	plan(exitOK, "warning: unrestricted_key: the config says nothing of this public key's referrers, which the portal has now")
	items := strings.Split(string(src), "item: ")
	item := items[1][:32]
	if err := em.EditAppOutOfBand(item, []string{}, []string{"premium:user:basemaps"}); err != nil {
		t.Fatal(err)
	}
	plan(exitAttention, "warning: unrestricted_key: public and without referrers, in the config and at the portal")
	change("use: private", "use: public", list, "      referrers: any\n")
	plan(exitAttention, "items (kills both keys: needs a replacement)", "unrestricted_key") // the person took the grant away, too
	change("use: private", "use: public", "    item: ", "    settings: adopt\n    item: ")
	plan(exitOK, "settings taken as meant from the portal (- portal, + config):\n    items (kills both keys: needs a replacement)\n")
	plan(exitOK, "warning: unrestricted_key: the portal has no referrers for this public key")
	change("use: private", "use: public")
	plan(exitAttention, "    What kills both keys needs a replacement: rotatord apply trail-map --replace\n")
	if err := em.DeleteItem(item); err != nil {
		t.Fatal(err)
	}
	r := runCLI(t, "--config", path, "plan")
	if r.code != exitAttention || !strings.Contains(r.out, "settings: not compared: ") || strings.Count(r.out, "settings: as the config says") != 1 {
		t.Errorf("without the item: code %d\n%s%s", r.code, r.out, r.err)
	}
	t.Log("\n" + r.out)
}
