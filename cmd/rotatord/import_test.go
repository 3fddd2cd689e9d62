package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rotatord/internal/config"
	"rotatord/internal/credspec"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
)

// settingsConfig is a config against an emulator of which only the portal is used.
const settingsConfig = `portals:
  here:
    url: %[1]s
    product: %[2]s
    identity: {username: %[3]s, password: 'file:%[4]s/password'}
    limits: {per_second: 1000}
sinks:
  files:
    file: {path: '%[4]s/keys/{{.Name}}.key'}
defaults: {portal: here, sinks: [files], mode: rotate, adopt: auto}
http: {off: true}
admin: {socket: '%[4]s/admin.sock'}
state: {dir: '%[4]s/state'}
credentials: # all of them
  # the first
  - name: trail-map # public
    item: %[5]s # its item
    mode: watch
  - name: nightly

    item: %[6]s
    mode: watch
`

// settingsWorld writes settingsConfig for two credentials of one emulated product; the config's path and the portal come back.
func settingsWorld(t *testing.T, product portaltest.Product, word string, privileges, personal []string) (string, *portaltest.Emulator) {
	t.Helper()
	em := portaltest.New(portaltest.Options{Product: product})
	server := httptest.NewServer(em)
	t.Cleanup(server.Close)
	grant := em.AddCredential(portaltest.CredentialSeed{Title: "granted"}).ItemID
	first := em.AddCredential(portaltest.CredentialSeed{Title: "Trail map: #1", Folder: "API keys", Tags: []string{"web", "prod"},
		Referrers: []string{"https://trails.example.com"}, Privileges: append(privileges, credspec.GrantOf(grant))})
	second := em.AddCredential(portaltest.CredentialSeed{Title: "Nightly", Privileges: personal})
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(settingsConfig, server.URL, word, portaltest.AdminUser, dir, first.ItemID, second.ItemID)
	for name, content := range map[string]string{path: text, filepath.Join(dir, "password"): portaltest.StandardPassword} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path, em
}

// What was imported is in the config, every other byte is as before, and there is no difference to the portal.
func TestImportRoundTrip(t *testing.T) {
	for word, c := range map[string]struct {
		product              portaltest.Product
		privileges, personal []string
	}{
		"location-platform": {portaltest.LocationPlatform, []string{"premium:user:basemaps", "premium:user:geocode:stored"}, []string{"portal:user:createItem"}},
		"online":            {portaltest.Online, []string{"premium:user:geocode"}, []string{"portal:admin:viewItems", "premium:user:spatialanalysis"}},
		"enterprise":        {portaltest.Enterprise114, []string{}, []string{"features:user:edit"}},
	} {
		t.Run(word, func(t *testing.T) {
			path, _ := settingsWorld(t, c.product, word, c.privileges, c.personal)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if r := runCLI(t, "--config", path, "import", "--all", "--write", path); r.code != exitOK || r.out != "" || !strings.Contains(r.err, "2 credentials with settings") {
				t.Fatalf("code %d, %q, %s", r.code, r.out, r.err)
			}
			after, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			rest := string(after)
			for line := range strings.Lines(string(before)) {
				i := strings.Index(rest, line)
				if i < 0 {
					t.Fatalf("line %q is lost or moved:\n%s", line, after)
				}
				rest = rest[i+len(line):]
			}
			noDifference(t, path)
			if r := runCLI(t, "--config", path, "check-config"); r.code != exitOK {
				t.Errorf("check-config: %s", r.err)
			}
			if r := runCLI(t, "--config", path, "import", "--all"); r.code != exitOK || r.out != "" || strings.Count(r.err, "left alone") != 2 {
				t.Errorf("a second import: code %d, %q, %s", r.code, r.out, r.err)
			}
		})
	}
}

// noDifference reads the config and the portal anew.
func noDifference(t *testing.T, path string) {
	t.Helper()
	a, err := (&cli{configPath: path}).openAdapters()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	reader := settingsReader{adapters: a, folders: map[[2]string][]portal.Folder{}}
	for _, cr := range a.cfg.Credentials {
		have, err := reader.settings(t.Context(), cr)
		if err != nil {
			t.Fatal(err)
		}
		spec := a.cfg.Spec(cr)
		if cs := credspec.Diff(spec, have); len(cs) > 0 {
			t.Errorf("%s differs from what it was imported from:\n%s", cr.Name, cs.Text())
		}
		if wants := cr.Name == "nightly"; (spec.Use == credspec.UsePersonal) != wants || spec.AcknowledgePersonal != wants {
			t.Errorf("%s has use %s, acknowledged %v", cr.Name, spec.Use, spec.AcknowledgePersonal)
		}
	}
}

func TestImportPrints(t *testing.T) {
	path, _ := settingsWorld(t, portaltest.Online, "online", []string{"premium:user:basemaps"}, []string{"features:user:edit"})
	r := runCLI(t, "--config", path, "import", "trail-map")
	for _, want := range []string{"  - name: trail-map\n", "    create:\n      use: private\n", `      title: "Trail map: #1"`, `folder: "API keys"`, `- "https://trails.example.com"`} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in:\n%s", want, r.out)
		}
	}
	var list []struct {
		Credential config.Name
		Settings   credspec.Settings
	}
	r = runCLI(t, "--config", path, "--json", "import", "--all")
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || len(list) != 2 || len(list[0].Settings.Items) != 1 || list[1].Settings.Folder != "/" {
		t.Errorf("%v: %+v", err, list)
	}
	for want, args := range map[string][]string{"did you mean nightly?": {"nightl"}, "name one credential": {}, "or say --all": {"nightly", "--all"}} {
		if r := runCLI(t, append([]string{"--config", path, "import"}, args...)...); r.code == exitOK || !strings.Contains(r.err, want) {
			t.Errorf("%v: code %d, %s", args, r.code, r.err)
		}
	}
}

// One that cannot be read does not keep the others from being imported.
func TestImportOfAMissingItem(t *testing.T) {
	path, _ := settingsWorld(t, portaltest.Online, "online", []string{"premium:user:basemaps"}, []string{"features:user:edit"})
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lost := append(src, "  - name: lost\n    item: 00000000000000000000000000000000\n    mode: watch\n"...)
	if err := os.WriteFile(path, lost, 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(filepath.Dir(path), "new.yaml")
	r := runCLI(t, "--config", path, "import", "--all", "--write", out)
	if r.code != exitAttention || !strings.Contains(r.err, "lost: ") || !strings.Contains(r.err, "2 credentials with settings") {
		t.Errorf("code %d, %s", r.code, r.err)
	}
	if r := runCLI(t, "--config", path, "import", "trail-map", "--write", out); r.code != exitUsage || !strings.Contains(r.err, "is there already") {
		t.Errorf("a file that is there: code %d, %s", r.code, r.err)
	}
	if r := runCLI(t, "--config", path, "import", "lost"); r.code != exitFailed {
		t.Errorf("a missing item alone: code %d", r.code)
	}
}

// What a person did at the portal comes into the config again: in the place of the old create, and nowhere else.
func TestImportAgain(t *testing.T) {
	path, em := settingsWorld(t, portaltest.Online, "online", []string{"premium:user:basemaps"}, []string{"features:user:edit"})
	if r := runCLI(t, "--config", path, "import", "--all", "--write", path); r.code != exitOK {
		t.Fatal(r.err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A person makes it their own: public, a comment, lines of text, and something after it.
	text := strings.Replace(string(before), "      use: private\n", "      use: public # ours\n      snippet: |-\n        one line\n\n", 1)
	text = strings.Replace(text, "    item: ", "    # by hand\n    item: ", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := (&cli{configPath: path}).openAdapters()
	if err != nil {
		t.Fatal(err)
	}
	item := string(a.cfg.Credentials[0].Item)
	a.close()
	title, snippet := "By hand", "By hand, too"
	if err := em.EditItemOutOfBand(item, portaltest.ItemPage{Title: &title, Snippet: &snippet}); err != nil {
		t.Fatal(err)
	}
	if err := em.EditAppOutOfBand(item, []string{}, []string{"premium:user:basemaps"}); err != nil {
		t.Fatal(err)
	}
	r := runCLI(t, "--config", path, "import", "trail-map", "--again", "--write", path)
	if r.code != exitOK {
		t.Fatalf("code %d\n%s", r.code, r.err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old, rest, _ := strings.Cut(text, "    create:\n")
	_, tail, _ := strings.Cut(rest, "    # by hand\n")
	if !strings.HasPrefix(string(after), old+"    create:\n      use: public\n      title: \"By hand\"\n") || !strings.HasSuffix(string(after), "    # by hand\n"+tail) || strings.Count(string(after), "create:") != 2 {
		t.Errorf("the config is now\n%s", after)
	}
	if first, _, _ := strings.Cut(string(after), "# by hand"); strings.Contains(first, "referrers") {
		t.Error("that a public key may be used from everywhere was said by nobody")
	}
	a, err = (&cli{configPath: path}).openAdapters()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	have, err := settingsReader{adapters: a, folders: map[[2]string][]portal.Folder{}}.settings(t.Context(), a.cfg.Credentials[0])
	if err != nil {
		t.Fatal(err)
	}
	spec := a.cfg.Spec(a.cfg.Credentials[0])
	if cs := credspec.Diff(spec, have); len(cs) > 0 || spec.Use != credspec.UsePublic || !spec.UnrestrictedAt(have) {
		t.Errorf("use %s, differs:\n%s", spec.Use, cs.Text())
	}
}

// A key that somebody wrote into an item's texts goes nowhere: neither into the config nor into a plan.
func TestAKeyInATextIsHidden(t *testing.T) {
	path, em := settingsWorld(t, portaltest.Online, "online", []string{"premium:user:basemaps"}, []string{"features:user:edit"})
	if r := runCLI(t, "--config", path, "import", "--all", "--write", path); r.code != exitOK {
		t.Fatal(r.err)
	}
	a, err := (&cli{configPath: path}).openAdapters()
	if err != nil {
		t.Fatal(err)
	}
	item := string(a.cfg.Credentials[0].Item)
	a.close()
	const key = "AAPTxy8BHWo0Yg4uZz0kJt1abcdefghAT1_AbCdEfGh"
	text, tags := "The key is "+key+".", []string{key}
	if err := em.EditItemOutOfBand(item, portaltest.ItemPage{Title: &text, Snippet: &text, Description: &text, Tags: &tags}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"plan", "trail-map"}, {"--json", "plan"}, {"apply", "trail-map", "--dry-run"}, {"import", "trail-map", "--again"}, {"--json", "import", "--all", "--again"}} {
		r := runCLI(t, append([]string{"--config", path}, args...)...)
		if !strings.Contains(r.out, "The key is [hidden]") || strings.Contains(r.out+r.err, key) {
			t.Errorf("%v:\n%s%s", args, r.out, r.err)
		}
	}
}
