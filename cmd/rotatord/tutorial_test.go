package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rotatord/internal/credspec"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

const tutorialSite = "https://trails.acme.example"

// tutorial is the world of deploy/examples/tutorial.yaml: the example as it stands, but for
// addresses, paths and the layer's item; an emulated Location Platform, and a real Vault.
type tutorial struct {
	*world
	server  *httptest.Server
	layer   string // its item
	layerAt string // its address
	other   string // item of a layer that is not granted
	private string // its address
}

func newTutorial(t *testing.T) *tutorial {
	t.Helper()
	em := portaltest.New(portaltest.Options{Product: portaltest.LocationPlatform, Switches: map[string]string{portaltest.SwitchManner: "strict"}})
	w := &tutorial{world: &world{dir: t.TempDir(), emulator: em, vault: testkit.Vault(t)}, server: httptest.NewServer(em)}
	t.Cleanup(w.server.Close)
	user := em.Users()[0].Username
	w.layer, w.layerAt = em.AddService(user, "Trails", "private")
	w.other, w.private = em.AddService(user, "Salaries", "private")
	group, err := ownGroup()
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(filepath.Join(testkit.Root(t), "deploy", "examples", "tutorial.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	for _, r := range [][2]string{{"https://www.arcgis.com", w.server.URL}, {"acme_keys", user}, {"credential:location-platform-password", "file:" + w.dir + "/password"},
		{"https://vault.acme.example:8200", w.vault.Addr}, {"/run/rotatord/vault-token", w.dir + "/vault-token"}, {"/var/lib/rotatord", w.dir + "/state"},
		{"/run/rotatord/admin.sock", w.dir + "/admin.sock\n  group: '" + group + "'"}, {"0123456789abcdef0123456789abcdef", w.layer}} {
		if strings.Count(text, r[0]) != 1 {
			t.Fatalf("the example has %q %d times, want once", r[0], strings.Count(text, r[0]))
		}
		text = strings.Replace(text, r[0], r[1], 1)
	}
	w.config, w.log = filepath.Join(w.dir, "tutorial.yaml"), filepath.Join(w.dir, "daemon.log")
	if err := errors.Join(os.Mkdir(filepath.Join(w.dir, "state"), 0o700), os.WriteFile(filepath.Join(w.dir, "password"), []byte(portaltest.StandardPassword), 0o600),
		os.WriteFile(w.config, []byte(text+"http: {off: true}\nschedules: {tick: '@every 1s'}\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	w.leastPrivilege(t)
	return w
}

// run the built program; its output comes back.
func (w *tutorial) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), buildBinary(t), append([]string{"--config", w.config}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// key that an application reads from Vault.
func (w *tutorial) key(t *testing.T) string {
	t.Helper()
	status, body := w.vault.Do(http.MethodGet, "secret/data/maps/trail-map", nil)
	data, _ := body["data"].(map[string]any)
	fields, _ := data["data"].(map[string]any)
	key, ok := fields["api_key"].(string)
	if !ok {
		t.Fatalf("no key in Vault: status %d", status)
	}
	return key
}

// works tells whether a page of a site gets an answer with the key: some services refuse by status, others in the body.
func (w *tutorial) works(t *testing.T, address, key, site string) bool {
	t.Helper()
	address = w.server.URL + address[strings.Index(address, "/arcgis/"):]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"?f=json&SingleLine=Redlands", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Esri-Authorization", "Bearer "+key)
	req.Header.Set("Referer", site+"/map")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var body struct{ Error json.RawMessage }
	if err := json.Unmarshal(b, &body); err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	return res.StatusCode == http.StatusOK && body.Error == nil
}

const geocode = "https://geocode-api.arcgis.com/arcgis/rest/services/World/GeocodeServer/findAddressCandidates"

const basemap = "https://basemapstyles-api.arcgis.com/arcgis/rest/services/styles/v2/styles/arcgis/navigation"

func (w *tutorial) valid(t *testing.T, what, key string, want bool) {
	t.Helper()
	if got := w.works(t, basemap, key, tutorialSite); got != want {
		t.Errorf("%s works: %t, want %t", what, got, want)
	}
}

// TestTutorialCreate is Esri's "Create an API key", with the built program and no daemon.
func TestTutorialCreate(t *testing.T) {
	t.Parallel()
	w := newTutorial(t)
	t.Run("check", func(t *testing.T) {
		if out := w.run(t, "check-config"); strings.Contains(out, "unrestricted_key") {
			t.Errorf("a key with referrers is called unrestricted:\n%s", out)
		}
	})
	t.Run("review", func(t *testing.T) {
		if out := w.run(t, "apply", "--dry-run"); !strings.Contains(out, "1. folder: ") || !strings.Contains(out, "first_key: ") || len(w.emulator.Keys()) > 0 {
			t.Errorf("the dry run says\n%s", out)
		}
	})
	t.Run("create", func(t *testing.T) {
		if out := w.run(t, "apply", "trail-map", "--yes"); !strings.Contains(out, "trail-map is made: item ") {
			t.Fatal(out)
		}
		w.asConfigured(t)
	})
	t.Run("expiry", func(t *testing.T) {
		k := w.emulator.Keys()[0]
		if days := time.Until(k.Expires).Hours() / 24; days < 28.9 || days > 31 || k.Expires.Format(time.TimeOnly) != "23:59:59" {
			t.Errorf("the key ends %s, want the end of a day in a month", k.Expires)
		}
		if out := w.run(t, "status", "trail-map"); !strings.Contains(out, k.Expires.Format(time.DateOnly)) {
			t.Errorf("status does not say when the key ends:\n%s", out)
		}
	})
	t.Run("use", func(t *testing.T) {
		key := w.key(t)
		for _, tt := range []struct {
			what, address, site string
			want                bool
		}{
			{"basemap", basemap, tutorialSite, true},
			{"private layer", w.layerAt, tutorialSite, true},
			{"layer that is not granted", w.private, tutorialSite, false},
			{"basemap from another site", basemap, "https://evil.example.com", false},
		} {
			if got := w.works(t, tt.address, key, tt.site); got != tt.want {
				t.Errorf("%s: answered %t, want %t", tt.what, got, tt.want)
			}
		}
	})
	t.Run("items", func(t *testing.T) {
		before := w.key(t)
		w.edit(t, "        - "+w.layer, "        - "+w.layer+"\n        - "+w.other)
		w.run(t, "apply", "trail-map", "--replace", "--yes")
		if !w.works(t, w.private, w.key(t), tutorialSite) || !w.works(t, w.layerAt, w.key(t), tutorialSite) {
			t.Error("the new key cannot read both layers")
		}
		if w.works(t, w.private, before, tutorialSite) {
			t.Error("the key before can read the other layer")
		}
		w.valid(t, "the key before, in its overlap,", before, true)
	})
}

// edit the config.
func (w *tutorial) edit(t *testing.T, old, now string) {
	t.Helper()
	(&applyWorld{config: w.config}).edit(t, old, now)
}

// asConfigured compares what the portal has with the config.
func (w *tutorial) asConfigured(t *testing.T) {
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
	if cs := credspec.Diff(a.cfg.Spec(cr), have); len(cs) > 0 {
		t.Errorf("made otherwise than configured:\n%s", cs.Text())
	}
	if have.Title != "Trail map" || have.Folder != "Developer credentials" || !slices.Equal(have.Tags, []string{"web", "trails"}) || !slices.Equal(have.Items, []string{w.layer}) ||
		!slices.Equal(have.Privileges, []string{"premium:user:basemaps"}) || !slices.Equal(have.Referrers, []string{tutorialSite}) || !have.Protected {
		t.Errorf("the portal has %+v", have)
	}
}

// TestTutorialManage is Esri's "Manage API key credentials" and "Rotate API keys", beside the running daemon.
func TestTutorialManage(t *testing.T) {
	t.Parallel()
	w := newTutorial(t)
	w.run(t, "apply", "trail-map", "--yes")
	p := w.start(t)
	w.await(t, "the credential is looked after", func(ctx context.Context) bool { return p.status(ctx).Live.Generation == 1 })
	t.Run("find", func(t *testing.T) {
		item := string(p.status(t.Context()).Item)
		if out := w.run(t, "discover"); !strings.Contains(out, item) {
			t.Errorf("discover does not find %s:\n%s", item, out)
		}
	})
	first := w.key(t)
	t.Run("secondary", func(t *testing.T) {
		w.run(t, "rotate", "trail-map")
		w.await(t, "both keys are there", func(ctx context.Context) bool { return p.status(ctx).Phase == rotate.PhaseOverlap })
		if w.key(t) == first {
			t.Fatal("the application still gets the first key")
		}
		w.valid(t, "the first key", first, true)
		w.valid(t, "the secondary key", w.key(t), true)
	})
	second := w.key(t)
	t.Run("invalidate", func(t *testing.T) {
		w.run(t, "invalidate", "trail-map", "--slot", "1", "--yes")
		w.valid(t, "the invalidated key", first, false)
		w.valid(t, "the other key", second, true)
	})
	t.Run("regenerate", func(t *testing.T) {
		w.run(t, "regenerate", "trail-map", "--slot", "2", "--outage-ok", "--yes")
		w.await(t, "the application gets the new key", func(context.Context) bool { return w.key(t) != second })
		w.valid(t, "the key before", second, false)
		w.valid(t, "the regenerated key", w.key(t), true)
		if k := p.status(t.Context()).Live; k.Slot != rotate.Slot2 {
			t.Errorf("slot %s serves", k.Slot)
		}
	})
	t.Run("usage", func(t *testing.T) {
		day := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)
		file := filepath.Join(w.dir, "usage.csv")
		text := fmt.Sprintf("date,credential,service,requests,credits\n%s,trail-map,basemaps,1200,3.5\n", day)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.run(t, "usage", "import", file)
		w.await(t, "the daemon shows it", func(context.Context) bool {
			out := w.run(t, "usage", "trail-map")
			return strings.Contains(out, "1200") && strings.Contains(out, "basemaps")
		})
	})
	t.Run("privileges", func(t *testing.T) {
		before, item := w.key(t), p.status(t.Context()).Item
		w.edit(t, "        - premium:user:basemaps", "        - premium:user:basemaps\n        - premium:user:geocode:temporary")
		w.run(t, "apply", "trail-map", "--replace", "--yes")
		w.await(t, "the application gets the new item's key", func(context.Context) bool { return w.key(t) != before })
		if w.works(t, geocode, before, tutorialSite) || !w.works(t, geocode, w.key(t), tutorialSite) {
			t.Error("the edited privileges are not those of the new key alone")
		}
		w.valid(t, "the key before, in its overlap,", before, true)
		w.await(t, "status names the new item", func(ctx context.Context) bool { return p.status(ctx).Item != item })
	})
	p.terminate(t)
	w.checkNoSecrets(t, first, second)
}
