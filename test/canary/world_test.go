package canary

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rotatord/internal/alert/notifytest"
	"rotatord/internal/alert/slack/slacktest"
	"rotatord/internal/daemon"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

const configText = `portals:
  online:
    url: %[1]s
    product: online
    identity: {username: %[2]s, password: 'file:%[3]s/secrets/password'}
    limits: {per_second: 1000}
    breaker: {failures: 1000, open_for: 1s}
    deaths_per_hour: 1000
  byoauth:
    url: %[1]s
    product: online
    identity: {oauth: {client_id: %[8]s}}
    limits: {per_second: 1000}
    breaker: {failures: 1000, open_for: 1s}
    deaths_per_hour: 1000
  bykey:
    url: %[1]s
    product: online
    identity: {api_key: 'file:%[3]s/secrets/admin-key'}
    limits: {per_second: 1000}
    breaker: {failures: 1000, open_for: 1s}
    deaths_per_hour: 1000
vault:
  address: %[4]s
  timeout: 2s
  auth: {approle: {role_id: %[5]s, secret_id: 'file:%[3]s/secrets/secret-id'}}
sinks:
  kv: {vault: {mount: kv, path: 'apps/{{.Name}}'}}
  files: {file: {path: '%[3]s/keys/{{.Name}}', format: dotenv, keep_previous: 1, after_write: {command: ['%[3]s/hook.sh', '%[3]s/hooked'], attempts: 1}}}
defaults:
  portal: online
  mode: rotate
  adopt: auto
  sinks: [kv]
  policy: {renew_before: 15s, overlap: 2s, critical_before: 3s, lifetime: 30s, min_interval: 1s, min_gain: 2s, probe_every: 1s, deep_every: 2s,
    orphan_delay: 4s, effect_horizon: 2s, retry_base: 200ms, retry_max: 1s, max_attempts: 1000, dead_after: 2s, expiry_precision: second}
http: {listen: '127.0.0.1:%[6]d'}
admin: {socket: '%[3]s/admin.sock', group: '%[7]s'}
state: {dir: '%[3]s/state'}
schedules: {tick: '@every 1s', survey: '@every 2s', usage: '@every 3s'}
alerts:
  to: [slack, webhook, alertmanager, email]
  slack:
    bot_token: 'file:%[3]s/secrets/bot-token'
    channel: C0ALERTS01
    report_done: true
    actions: {app_token: 'file:%[3]s/secrets/app-token', users: [U0ADA00001]}
  webhook: {url: 'file:%[3]s/secrets/alert-hook', secrets: ['file:%[3]s/secrets/alert-hook-secret']}
  alertmanager: {urls: ['%[9]s'], username: rotatord, password: 'file:%[3]s/secrets/alertmanager-password'}
  email: {smarthost: '%[10]s', security: none, from: rotatord@acme.example, to: [map-keys@acme.example], username: rotatord, password: 'file:%[3]s/secrets/mail-password'}
  warn_before: [1m, 20s]
  wait: {warning: 0s, info: 0s}
  repeat_every: 1s
acks:
  listen: %[11]s
  cert_file: %[3]s/secrets/acks.pem
  key_file: %[3]s/secrets/acks.key
  consumers: {web: {token: 'file:%[3]s/secrets/ack-token'}}
heartbeat: {url: 'file:%[3]s/secrets/heartbeat'}
log: {level: debug, format: json}
credentials:
`

// The hook writes down all that a child of the daemon is given, and what is still open in it.
const hookText = `#!/bin/sh
{ echo "args: $0 $*"; tr '\0' '\n' </proc/self/environ; tr '\0' ' ' </proc/$PPID/cmdline; ls -l /proc/$$/fd; cat; } >>"$1" 2>&1 </dev/stdin
echo "hook printed"
`

// world is everything around the daemon, and all that came out of it.
type world struct {
	t      *testing.T
	sieve  *sieve
	dir    string
	emu    *portaltest.Emulator
	vault  *testkit.VaultServer
	binary string
	config string
	page   string // address of the daemon's HTTP
	items  map[string]string
	portal *front
	store  *front // before Vault
	pager  *front // webhook, Alertmanager, heartbeat, gate and hook
	chat   *front // before Slack
	slack  *slacktest.Server
	proxy  []string // environment in which slack.com is chat
	mail   evilMail
	acks   string // address of the listener for acknowledgements
	client *daemon.Client

	mu       sync.Mutex
	surfaces map[string]*bytes.Buffer
}

// seen adds to what came out somewhere.
func (w *world) seen(where string, what []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.surfaces[where] == nil {
		w.surfaces[where] = &bytes.Buffer{}
	}
	w.surfaces[where].Write(what)
	w.surfaces[where].WriteByte('\n')
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, sieve: newSieve(), dir: t.TempDir(), vault: testkit.Vault(t), items: map[string]string{}, surfaces: map[string]*bytes.Buffer{}}
	for _, d := range []string{"secrets", "keys", "state", "tmp", "run", "out"} {
		w.must(os.Mkdir(filepath.Join(w.dir, d), 0o700))
	}
	w.must(os.WriteFile(filepath.Join(w.dir, "hook.sh"), []byte(hookText), 0o700))
	w.must(os.WriteFile(filepath.Join(w.dir, "ask.sh"), []byte(hookText), 0o700)) // it ends with 0, which is yes
	w.binary = filepath.Join(w.dir, "rotatord")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", w.binary, "rotatord/cmd/rotatord").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.seen("a request to another host", fmt.Appendf(nil, "%s %s %v %s", r.Method, r.URL, r.Header, body))
	}))
	t.Cleanup(elsewhere.Close)
	w.emu = portaltest.New(portaltest.Options{Product: portaltest.Online, Switches: map[string]string{portaltest.SwitchDateRounding: "none"}})
	w.portal = w.before(w.emu, elsewhere.URL)
	address, err := url.Parse(w.vault.Addr)
	w.must(err)
	w.store = w.before(httputil.NewSingleHostReverseProxy(address), elsewhere.URL)
	w.pager = w.before(http.HandlerFunc(w.paged), elsewhere.URL)
	w.slack = slacktest.New(t)
	w.slack.Links = []string{"Item at the portal", "Usage at Esri"}
	w.chat = w.before(http.HandlerFunc(w.chatted), elsewhere.URL)
	w.proxy = notifytest.Impersonate(t, "slack.com", w.chat)
	w.configure()
	return w
}

// before puts a front before a server.
func (w *world) before(next http.Handler, elsewhere string) *front {
	return &front{sieve: w.sieve, next: next, elsewhere: elsewhere, told: map[int]int{}}
}

func (w *world) serve(f *front) string {
	s := httptest.NewServer(f)
	w.t.Cleanup(s.Close)
	return s.URL
}

// secret is a new one, kept in a file and known to the sieve.
func (w *world) secret(file, what, format string) string {
	random := rand.Text() + rand.Text()
	w.sieve.add(what, random)
	text := fmt.Sprintf(format, random)
	w.must(os.WriteFile(filepath.Join(w.dir, "secrets", file), []byte(text), 0o600))
	return text
}

func (w *world) configure() {
	w.vault.MountKV("kv", 2)
	w.vault.Policy("rotatord", `path "kv/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }`)
	roleID := w.vault.AppRole("rotatord", map[string]any{"token_policies": "rotatord", "token_ttl": "1h"})
	secretID := w.vault.SecretID("rotatord")
	w.sieve.add("the secret id", secretID)
	w.must(os.WriteFile(filepath.Join(w.dir, "secrets", "secret-id"), []byte(secretID), 0o600))
	w.emu.SetPassword(portaltest.AdminUser, w.secret("password", "the portal password", "%s"))
	pager := w.serve(w.pager)
	w.secret("webhook", "the webhook", pager+"/services/T0001/B0002/%s")
	w.people(pager)
	w.secret("heartbeat", "the heartbeat", pager+"/ping/%s")
	port := testkit.FreePorts(w.t, 1)
	w.page = "http://127.0.0.1:" + strconv.Itoa(port)
	group, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	w.must(err)
	var text strings.Builder
	app := w.identities()
	fmt.Fprintf(&text, configText, w.serve(w.portal), portaltest.AdminUser, w.dir, w.serve(w.store), roleID, port, group.Name, app, pager, w.mailServer(), w.acks)
	for name, sinks := range map[string]string{"app-vault": "[kv]", "app-both": "[kv, files]", "app-file": "[files]", "app-foreign": "[kv]", "app-old": "[kv]",
		"app-gated": "[kv]", "app-oauth": "[files]", "app-key": "[files]"} {
		owner := map[string]string{"app-oauth": portaltest.SSOUser}[name]
		c := w.emu.AddCredential(portaltest.CredentialSeed{Title: name, Owner: owner, Minted: name == "app-old", Expires: [2]time.Time{time.Now().Add(time.Minute)}})
		w.sieve.add("the client secret of "+name, c.ClientSecret)
		w.items[name] = c.ItemID
		w.emu.AddUsage(portaltest.UsageRow{At: time.Now().Add(-30 * time.Hour), ClientID: c.ClientID, Type: "geocode", Num: 5000, Credits: 20})
		extra := map[string]string{"app-oauth": ", portal: byoauth", "app-key": ", portal: bykey", "app-vault": ", budget: {per_day: 1}"}[name]
		switch name {
		case "app-old":
			extra = ", adopt: manual"
			w.write(name, c.Keys[0])
		case "app-gated":
			extra = w.gates(pager)
		}
		fmt.Fprintf(&text, "  - {name: %s, item: %s, sinks: %s%s}\n", name, c.ItemID, sinks, extra)
	}
	w.config = filepath.Join(w.dir, "config.yaml")
	w.must(os.WriteFile(w.config, []byte(text.String()), 0o600))
	w.client = daemon.NewClient(filepath.Join(w.dir, "admin.sock"))
	w.t.Cleanup(w.client.Close)
}

// write a secret into Vault behind rotatord's back.
func (w *world) write(name, key string) {
	w.t.Helper()
	status, _ := w.vault.Do(http.MethodPost, "kv/data/apps/"+name, map[string]any{"data": map[string]any{"api_key": key, "note": "by hand"}})
	if status != http.StatusOK {
		w.t.Fatalf("write %s by hand: %d", name, status)
	}
}

// await a condition; a broken program is what uses the patience up.
func (w *world) await(what string, ok func(ctx context.Context) bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("%s: not within a minute\n%s", what, w.cli("status"))
		}
	}
}

// awaitEach waits until it is so for each of the credentials.
func (w *world) awaitEach(what string, ok func(s daemon.Status) bool, names ...rotate.Name) {
	w.t.Helper()
	w.await(what, func(ctx context.Context) bool {
		all, err := w.client.Status(ctx, names...)
		for _, s := range all {
			if !ok(s) {
				return false
			}
		}
		return err == nil && len(all) > 0
	})
}

// env of the daemon and of commands.
func (w *world) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + filepath.Join(w.dir, "tmp"), "GOTRACEBACK=crash", w.proxy[0], w.proxy[1]}
}

// cli runs a command and keeps what it says.
func (w *world) cli(args ...string) (out string) {
	w.t.Helper()
	return w.cliFor(w.t.Context(), args...)
}

func (w *world) cliFor(ctx context.Context, args ...string) (out string) {
	w.t.Helper()
	if ctx.Err() != nil {
		return ""
	}
	cmd := exec.CommandContext(ctx, w.binary, append([]string{"--config", w.config, "--log-level", "debug"}, args...)...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.Dir = &o, &e, w.env(), filepath.Join(w.dir, "run")
	err := cmd.Run()
	w.seen("rotatord "+strings.Join(args, " "), append(o.Bytes(), e.Bytes()...))
	if err != nil && cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	return o.String()
}
