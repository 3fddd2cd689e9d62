package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

// Lifetimes of the torture: a rotation is due every 20 seconds, and has twice that
// to get through.
const (
	overlap = 5 * time.Second
	horizon = 6 * time.Second
)

const configText = `portals:
  online:
    url: %[1]s
    product: online
    identity: {username: %[2]s, password: 'file:%[3]s/password'}
    limits: {per_second: 2000, at_once: 40}
    breaker: {failures: 1000, open_for: 1s}
vault:
  address: %[4]s
  timeout: 2s
  auth: {token_file: '%[3]s/vault-token'}
sinks:
  kv: {vault: {mount: kv, path: 'apps/{{.Name}}'}}
  files: {file: {path: '%[5]s/{{.Name}}', format: bare}}
defaults:
  portal: online
  mode: rotate
  adopt: auto
  policy: {renew_before: 40s, overlap: 5s, critical_before: 10s, lifetime: 60s, min_interval: 1s, min_gain: 2s, probe_every: 1s, deep_every: 10s,
    orphan_delay: 6s, effect_horizon: 6s, retry_base: 300ms, retry_max: 2s, max_attempts: 1000, dead_after: 2s, expiry_precision: second}
http: {off: true}
admin: {socket: '%[6]s/admin.sock', group: '%[7]s'}
state: {dir: '%[6]s'}
schedules: {tick: '@every 1s', survey: '@every 10s'}
workers: 40
log: {level: info, format: json}
credentials:
`

// world is everything around the daemon.
type world struct {
	t      *testing.T
	dir    string
	emu    *portaltest.Emulator
	url    string
	vault  *testkit.VaultServer
	binary string
	names  []string
	items  map[string]string // name to item
	config string
	log    *os.File

	mu       sync.Mutex
	interval int            // how many kills there were
	mintedIn map[string]int // key tail and time of mint to the interval, by secret
	lied     map[int]int    // interval to faults of mints, which may cost a key too
}

func newWorld(t *testing.T, credentials int) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), vault: testkit.Vault(t, testkit.WithRaft()), items: map[string]string{}, mintedIn: map[string]int{}, lied: map[int]int{}}
	w.vault.MountKV("kv", 2)
	w.emu = portaltest.New(portaltest.Options{Product: portaltest.Online, Switches: map[string]string{portaltest.SwitchDateRounding: "none"}})
	server := httptest.NewServer(w.emu)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.emu.OnEffect(w.noteMint)
	w.binary = filepath.Join(w.dir, "rotatord")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", w.binary, "rotatord/cmd/rotatord")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for i := range credentials {
		name := fmt.Sprintf("app-%02d", i)
		w.names = append(w.names, name)
		w.items[name] = w.emu.AddCredential(portaltest.CredentialSeed{Title: name}).ItemID
	}
	for _, d := range []string{"keys", "state", "state2"} {
		w.must(os.Mkdir(filepath.Join(w.dir, d), 0o700))
	}
	w.must(os.WriteFile(filepath.Join(w.dir, "password"), []byte(portaltest.StandardPassword), 0o600))
	w.must(os.WriteFile(filepath.Join(w.dir, "vault-token"), []byte(w.vault.Token), 0o600))
	w.config = w.writeConfig("state")
	log, err := os.Create(filepath.Join(w.dir, "daemon.log"))
	w.must(err)
	w.log = log
	t.Cleanup(func() { _ = log.Close() })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// writeConfig for a daemon with that state folder; every second credential has a
// file as its second sink.
func (w *world) writeConfig(state string) string {
	w.t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, configText, w.url, portaltest.AdminUser, w.dir, w.vault.Addr, filepath.Join(w.dir, "keys"), filepath.Join(w.dir, state), "root")
	for i, name := range w.names {
		sinks := "[kv]"
		if i%2 == 0 {
			sinks = "[kv, files]"
		}
		fmt.Fprintf(&text, "  - {name: %s, item: %s, sinks: %s}\n", name, w.items[name], sinks)
	}
	path := filepath.Join(w.dir, state+".yaml")
	w.must(os.WriteFile(path, []byte(text.String()), 0o600))
	return path
}

func (w *world) noteMint(e portaltest.Event) {
	if e.Kind != portaltest.EventMinted {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.emu.Keys() {
		if _, known := w.mintedIn[k.Secret]; !known {
			w.mintedIn[k.Secret] = w.interval
		}
	}
}

// daemon is one process of the built program.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (w *world) start(config string) *process {
	w.t.Helper()
	cmd := exec.Command(w.binary, "--config", config, "run")
	cmd.Stdout, cmd.Stderr = w.log, w.log
	w.must(cmd.Start())
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // killed, as it should be
	}()
	return p
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// served is the key that Vault serves now; "" if Vault does not say.
func (w *world) served(ctx context.Context, name string) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	a, err := w.vault.Try(ctx, w.vault.Token, http.MethodGet, "kv/data/apps/"+name, nil)
	if err != nil || a.Status != http.StatusOK {
		return ""
	}
	data, _ := a.Body["data"].(map[string]any)
	fields, _ := data["data"].(map[string]any)
	key, _ := fields["api_key"].(string)
	return key
}

// use the key as an application would: refused means that the portal said 498.
func (w *world) use(ctx context.Context, key string) (refused bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/sharing/rest/portals/self", strings.NewReader("f=json&token="+key))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return false, err
	}
	var answer struct {
		Error *struct{ Code int } `json:"error"`
		App   any                 `json:"appInfo"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || (answer.Error == nil && answer.App == nil) {
		return false, fmt.Errorf("no answer of a portal: %w", err)
	}
	return answer.Error != nil && answer.Error.Code == 498, nil
}

func fingerprint(key string) rotate.Fingerprint { return rotate.NewSecret(key).Fingerprint() }
