package main

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rotatord/internal/credspec"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
)

// applyConfig has one credential that is to be made.
const applyConfig = `portals:
  here:
    url: %[1]s
    product: online
    identity: {username: %[2]s, password: 'file:%[3]s/password'}
    limits: {per_second: 1000}
sinks:
  files:
    file: {path: '%[3]s/keys/{{.Name}}.key'}
defaults:
  portal: here
  sinks: [files]
  mode: rotate
  policy: {renew_before: 1h, overlap: 1m, critical_before: 10m, lifetime: 3h, min_interval: 1s, min_gain: 2s, probe_every: 1s,
    effect_horizon: 1s, retry_base: 1s, retry_max: 2s, dead_after: 2s, expiry_precision: second}
http: {off: true}
admin: {socket: '%[3]s/admin.sock'}
state: {dir: '%[3]s/state'}
credentials:
  - name: trail-map # to be made
    create:
      use: public
      title: Trail map
      folder: API keys
      tags: [web]
      privileges: [premium:user:basemaps]
      items: [%[4]s]
      referrers: [https://trails.example.com]
`

type applyWorld struct {
	dir, config string
	emulator    *portaltest.Emulator
}

func newApplyWorld(t *testing.T) *applyWorld {
	t.Helper()
	em, server := newEmulator()
	t.Cleanup(server.Close)
	w := &applyWorld{dir: t.TempDir(), emulator: em}
	w.write(t, server, em.AddCredential(portaltest.CredentialSeed{Title: "layer"}).ItemID)
	return w
}

func (w *applyWorld) write(t *testing.T, server *httptest.Server, item string) {
	t.Helper()
	w.config = filepath.Join(w.dir, "config.yaml")
	text := fmt.Sprintf(applyConfig, server.URL, portaltest.AdminUser, w.dir, item)
	err := errors.Join(os.Mkdir(filepath.Join(w.dir, "keys"), 0o700), os.Mkdir(filepath.Join(w.dir, "state"), 0o700),
		os.WriteFile(w.config, []byte(text), 0o600), os.WriteFile(filepath.Join(w.dir, "password"), []byte(portaltest.StandardPassword), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// made checks that there is one item, as the config says, with a key that is served, and nothing left over.
func (w *applyWorld) made(t *testing.T) {
	t.Helper()
	a, err := (&cli{configPath: w.config}).openAdapters()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	cr := a.cfg.Credentials[0]
	list, err := a.portals["here"].FindTitled(t.Context(), portaltest.AdminUser, "Trail map")
	if err != nil || len(list) != 1 || string(list[0].Item) != string(cr.Item) {
		t.Fatalf("items %+v, the config names %q: %v", list, cr.Item, err)
	}
	have, err := settingsReader{adapters: a, folders: map[[2]string][]portal.Folder{}}.settings(t.Context(), cr)
	if err != nil {
		t.Fatal(err)
	}
	if cs := credspec.Diff(a.cfg.Spec(cr), have); len(cs) > 0 || !slices.Equal(have.Tags, []string{"web"}) || !have.Protected {
		t.Errorf("made otherwise than configured: %+v\n%s", have, cs.Text())
	}
	key, err := os.ReadFile(filepath.Join(w.dir, "keys", "trail-map.key"))
	if err != nil {
		t.Fatal(err)
	}
	if valid, why := w.emulator.KeyValid(strings.TrimSpace(string(key))); !valid {
		t.Errorf("the served key is not valid: %s", why)
	}
	if left, err := filepath.Glob(filepath.Join(w.dir, "state", "creations", "*.json")); err != nil || len(left) > 0 {
		t.Errorf("progress is left: %v %v", left, err)
	}
}

func TestApply(t *testing.T) {
	w := newApplyWorld(t)
	before, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	r := runCLI(t, "--config", w.config, "apply", "--dry-run")
	if r.code != exitOK || !strings.Contains(r.out, "1. folder: ") || !strings.Contains(r.out, "7. first_key: ") {
		t.Errorf("dry run: code %d\n%s%s", r.code, r.out, r.err)
	}
	if r := runCLI(t, "--config", w.config, "apply"); r.code == exitOK {
		t.Error("nobody was asked")
	}
	if after, err := os.ReadFile(w.config); err != nil || string(after) != string(before) {
		t.Fatalf("a dry run changed the config: %v", err)
	}
	if r := runCLI(t, "--config", w.config, "apply", "trail-map", "--yes"); r.code != exitOK || !strings.Contains(r.out, "trail-map is made: item ") {
		t.Fatalf("code %d\n%s%s", r.code, r.out, r.err)
	}
	w.made(t)
	if r := runCLI(t, "--config", w.config, "apply", "--yes"); r.code != exitOK || !strings.Contains(r.out, "is as the config says") {
		t.Errorf("again: code %d\n%s%s", r.code, r.out, r.err)
	}
	src, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.config, []byte(strings.Replace(string(src), "title: Trail map", "title: Path map", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := runCLI(t, "--config", w.config, "apply", "--dry-run"); r.code != exitAttention || !strings.Contains(r.out, "title (edited in place, harmless)") {
		t.Errorf("with a difference: code %d\n%s%s", r.code, r.out, r.err)
	}
}

// errKilled is the end of the process at a point.
var errKilled = errors.New("killed")

// attempt runs one process of apply that is killed at its n-th point.
func (w *applyWorld) attempt(t *testing.T, n int) error {
	t.Helper()
	c := &cli{configPath: w.config, stdio: stdio{out: &strings.Builder{}, err: &strings.Builder{}}}
	a, err := c.openAdapters()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	m := newMaker(c, a, a.cfg.Credentials[0])
	point := 0
	m.kill = func(string) error {
		if point++; point == n {
			return errKilled
		}
		return nil
	}
	release, err := m.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, ps, err := m.check(t.Context()); err != nil || hasSpecError(ps) {
		t.Fatalf("%v %+v", err, ps)
	}
	_, err = m.run(t.Context())
	return err
}

// Killed between any two writes and started again, apply makes one item, and finishes it.
func TestApplyKilledAnywhere(t *testing.T) {
	for n := 1; ; n++ {
		w := newApplyWorld(t)
		err := w.attempt(t, n)
		if err == nil {
			if n < 15 {
				t.Errorf("only %d points", n)
			}
			return
		}
		if !errors.Is(err, errKilled) {
			t.Fatalf("point %d: %v", n, err)
		}
		if err := w.attempt(t, 0); err != nil {
			t.Fatalf("after a kill at point %d: %v", n, err)
		}
		w.made(t)
	}
}

// An answer that is lost is looked for, and nothing is made twice.
func TestApplyWithLostAnswers(t *testing.T) {
	for _, op := range []portaltest.Op{portaltest.OpAddItem, portaltest.OpRegisterApp, portaltest.OpCreateFolder, portaltest.OpProtect} {
		for _, kind := range []portaltest.FaultKind{portaltest.LoseReply, portaltest.LoseRequest} {
			t.Run(string(op)+" "+string(kind), func(t *testing.T) {
				w := newApplyWorld(t)
				if _, err := w.emulator.Inject(portaltest.Fault{Op: op, Kind: kind}); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if runCLI(t, "--config", w.config, "apply", "--yes").code == exitOK {
						break
					}
				}
				w.made(t)
			})
		}
	}
}

// What the portal would refuse is said before anything is sent.
func TestApplyChecksFirst(t *testing.T) {
	w := newApplyWorld(t)
	src, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(src), "username: "+portaltest.AdminUser, "username: "+portaltest.ViewerUser, 1)
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runCLI(t, "--config", w.config, "apply", "--yes")
	if r.code != exitAttention || !strings.Contains(r.out, "the item's owner lacks premium:user:basemaps") || !strings.Contains(r.out, "items[0]: ") {
		t.Errorf("code %d\n%s%s", r.code, r.out, r.err)
	}
	for _, e := range w.emulator.Events() {
		if e.Op == portaltest.OpAddItem || e.Op == portaltest.OpCreateFolder {
			t.Errorf("%s was sent", e.Op)
		}
	}
}
