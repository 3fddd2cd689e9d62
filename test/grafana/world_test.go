package grafana

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rotatord/internal/daemon"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/testkit"
)

// theOwner has what a regular expression and a query trip over.
const theOwner = `R&D (maps) [GIS+] a|b $5.00`

const configText = `portals:
  maps:
    url: %[1]s
    product: online
    identity: {username: %[2]s, password: 'file:%[3]s/password'}
    limits: {per_second: 1000}
  places:
    url: %[4]s
    product: location-platform
    identity: {username: %[2]s, password: 'file:%[3]s/password'}
    limits: {per_second: 1000}
vault:
  address: %[5]s
  auth: {approle: {role_id: %[9]s, role: rotatord, rotate: {}}}
sinks:
  kv: {vault: {mount: kv, path: 'apps/{{.Name}}'}}
  files: {file: {path: '%[3]s/keys/{{.Name}}', format: dotenv, keep_previous: 1}}
defaults:
  portal: maps
  mode: rotate
  adopt: auto
  sinks: [kv]
  policy: {renew_before: 15s, overlap: 2s, critical_before: 3s, lifetime: 30s, min_interval: 1s, min_gain: 2s, probe_every: 1s, deep_every: 2s,
    orphan_delay: 4s, effect_horizon: 2s, retry_base: 200ms, retry_max: 1s, max_attempts: 1000, dead_after: 2s, expiry_precision: second}
http: {listen: '127.0.0.1:%[6]d'}
admin: {socket: '%[3]s/admin.sock', group: '%[7]s', users: ['%[8]s']}
state: {dir: '%[3]s/state'}
schedules: {tick: '@every 1s', survey: '@every 2s', usage: '@every 1s', settings: '@every 1s'}
alerts: {slack: {webhook: 'file:%[3]s/webhook', report_done: true}}
heartbeat: {url: 'file:%[3]s/heartbeat'}
credentials:
`

// world is the built daemon between two emulated portals, a real Vault and a receiver of messages.
type world struct {
	t              *testing.T
	dir, binary    string
	config, listen string
	maps, places   *portaltest.Emulator
	made           map[string]portaltest.Credential
	client         *daemon.Client
	process        *os.Process
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	vault := testkit.Vault(t)
	w := &world{t: t, dir: t.TempDir(), made: map[string]portaltest.Credential{}}
	w.binary = filepath.Join(w.dir, "rotatord")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", w.binary, "rotatord/cmd/rotatord").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	exact := map[string]string{portaltest.SwitchDateRounding: "none", portaltest.SwitchUsageLag: "0s"}
	w.maps = portaltest.New(portaltest.Options{Product: portaltest.Online, Switches: exact})
	w.places = portaltest.New(portaltest.Options{Product: portaltest.LocationPlatform, Switches: exact})
	hook := w.serve(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(rw, "ok") }))
	vault.MountKV("kv", 2)
	vault.Policy("rotatord", `path "kv/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }
path "auth/approle/role/rotatord/secret-id*" { capabilities = ["update"] }`)
	role := vault.AppRole("rotatord", map[string]any{"token_policies": []string{"rotatord"}, "token_ttl": "1h", "secret_id_ttl": "1h"})
	w.must(errors.Join(os.Mkdir(filepath.Join(w.dir, "keys"), 0o700), os.Mkdir(filepath.Join(w.dir, "state"), 0o700),
		w.secret("password", portaltest.StandardPassword), w.secret("webhook", hook+"/services/T/B/x"), w.secret("heartbeat", hook+"/ping")))
	group, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	w.must(err)
	me, err := user.Current()
	w.must(err)
	port := testkit.FreePorts(t, 1)
	w.listen = fmt.Sprintf("127.0.0.1:%d", port)
	var text strings.Builder
	fmt.Fprintf(&text, configText, w.serve(w.maps), portaltest.AdminUser, w.dir, w.serve(w.places), vault.Addr, port, group.Name, me.Username, role)
	w.fleet(&text)
	w.config = filepath.Join(w.dir, "config.yaml")
	w.must(os.WriteFile(w.config, []byte(text.String()), 0o600))
	w.client = daemon.NewClient(filepath.Join(w.dir, "admin.sock"))
	t.Cleanup(w.client.Close)
	login := exec.CommandContext(t.Context(), w.binary, "--config", w.config, "login", "--vault")
	login.Stdin = strings.NewReader(vault.SecretID("rotatord"))
	if out, err := login.CombinedOutput(); err != nil {
		t.Fatalf("login: %v\n%s", err, out)
	}
	return w
}

func (w *world) serve(h http.Handler) string {
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	return s.URL
}

func (w *world) secret(file, text string) error {
	return os.WriteFile(filepath.Join(w.dir, file), []byte(text), 0o600)
}

// fleet writes the credentials, and a month of use of those whose portal tells it. A key
// that leaked and one whose budget is spent are there from the start: usage is read again
// after ten minutes only.
func (w *world) fleet(text *strings.Builder) {
	for name, more := range map[string]string{
		"tiles":  "owner: '" + theOwner + "', environment: prod, budget: {per_month: 90000, per_day: 9000, warn_at: [50%]}",
		"routes": "owner: ops, environment: test, sinks: [files]",
		"spiky":  "owner: ops, environment: prod",
		"places": "owner: ops, environment: prod, portal: places",
		"spent":  "owner: ops, environment: prod, budget: {per_month: 10, cut_off: true}",
	} {
		em := w.maps
		if name == "places" {
			em = w.places
		}
		c := em.AddCredential(portaltest.CredentialSeed{Title: name})
		w.made[name] = c
		fmt.Fprintf(text, "  - {name: %s, item: %s, create: {use: public, title: '%s, as nobody calls it', privileges: []}, %s}\n", name, c.ItemID, name, more)
		for d := range 30 {
			w.use(em, name, d, "geocode", 500, 20)
			w.use(em, name, d, "tiles", 9000, 0.5)
		}
	}
	for _, daysAgo := range []int{1, 2} { // whichever the last full day is
		w.use(w.maps, "spiky", daysAgo, "geocode", 900_000, 3600)
	}
}

// use adds requests at noon some days ago; today's are of a moment ago.
func (w *world) use(em *portaltest.Emulator, name string, daysAgo int, service string, requests int, credits float64) {
	now := time.Now().UTC()
	at := now.Truncate(24*time.Hour).AddDate(0, 0, -daysAgo).Add(12 * time.Hour)
	if daysAgo == 0 {
		at = now.Add(-time.Second)
	}
	em.AddUsage(portaltest.UsageRow{At: at, ClientID: w.made[name].ClientID, Type: service, Task: "any", Num: requests, Credits: credits})
}

// start the daemon; it ends with the test.
func (w *world) start() {
	w.t.Helper()
	var said strings.Builder
	cmd := exec.CommandContext(w.t.Context(), w.binary, "--config", w.config, "run")
	cmd.Stderr = &said
	w.must(cmd.Start())
	w.process = cmd.Process
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its error is that it was killed
	}()
	w.await("the daemon answers", func(ctx context.Context) bool {
		select {
		case <-ended:
			w.t.Fatalf("rotatord ended:\n%s", said.String())
		default:
		}
		_, err := w.client.Health(ctx)
		return err == nil
	})
	w.t.Cleanup(func() {
		<-ended
		if w.t.Failed() {
			text := said.String()
			w.t.Logf("rotatord said last:\n%s", text[max(0, len(text)-4000):])
		}
	})
}

// cli runs a command.
func (w *world) cli(args ...string) string {
	w.t.Helper()
	out, err := exec.CommandContext(w.t.Context(), w.binary, append([]string{"--config", w.config}, args...)...).CombinedOutput()
	if err != nil && len(out) == 0 {
		w.t.Fatal(err)
	}
	return string(out)
}

// rewrite the config and have it loaded.
func (w *world) rewrite(old, now string) {
	w.t.Helper()
	b, err := os.ReadFile(w.config)
	w.must(err)
	if !strings.Contains(string(b), old) {
		w.t.Fatalf("the config has no %q", old)
	}
	w.must(os.WriteFile(w.config, []byte(strings.Replace(string(b), old, now, 1)), 0o600))
	w.must(w.process.Signal(syscall.SIGHUP))
}

// await a condition; a broken program is what uses the patience up.
func (w *world) await(what string, ok func(context.Context) bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("%s: not within a minute\n%s", what, w.cli("status"))
		}
	}
}
