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
	"testing"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

// Lifetimes of the torture: a rotation is due every 25 seconds. One that takes as
// long as that would leave its own reason true, which quarantines (rule 12).
const (
	overlap     = 5 * time.Second
	renewBefore = 40 * time.Second
)

// Deaths are not limited: a restored Vault kills half of the fleet at once, and the
// portal is not to blame.
const configText = `portals:
  online:
    url: %[1]s
    product: online
    identity: {username: %[2]s, password: 'file:%[3]s/password'}
    limits: {per_second: 2000, at_once: 40}
    breaker: {failures: 1000, open_for: 1s}
    deaths_per_hour: 1000000
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
  policy: {renew_before: 40s, overlap: 5s, critical_before: 10s, lifetime: 65s, min_interval: 1s, min_gain: 2s, probe_every: 1s, deep_every: 10s,
    orphan_delay: 6s, effect_horizon: 6s, retry_base: 300ms, retry_max: 2s, max_attempts: 1000, dead_after: 2s, expiry_precision: second}
http: {off: true}
admin: {socket: '%[3]s/%[6]s.sock', group: 'root'}
state: {dir: '%[7]s'}
schedules: {tick: '@every 1s', survey: '@every 10s'}
workers: 40
log: {level: info, format: json}
credentials:
`

// world is everything around the daemon.
type world struct {
	t      *testing.T
	began  time.Time
	dir    string
	disk   disk // the daemon's state and key files
	emu    *portaltest.Emulator
	url    string
	vault  *testkit.VaultServer
	policy string // of the daemon's token, as the program itself asks for it
	binary string
	names  []string
	items  map[string]string // name to item
	config string
	other  string // the second daemon's config
	log    *os.File

	// The test's own goroutine only.
	daemon    *process
	full      bool // the disk was full at some time of this process
	snapshots []snapshot
	done      map[trouble]int
	diskEnds  int // times the daemon ended because of the full disk

	watches sync.WaitGroup

	mu       sync.Mutex
	interval int               // how many kills there were
	minted   map[string]minted // by secret
	struck   map[string]int    // by item and interval: faults of mints, each of which may cost a key too
	armed    []portaltest.Fault
	restores []*restore
}

// minted is where a key comes from.
type minted struct {
	interval int
	late     bool // after its request had failed
}

func newWorld(t *testing.T, credentials int) *world {
	t.Helper()
	w := &world{t: t, began: time.Now(), dir: t.TempDir(), vault: testkit.Vault(t, testkit.WithRaft()), items: map[string]string{},
		done: map[trouble]int{}, minted: map[string]minted{}, struck: map[string]int{}}
	w.disk = smallDisk(t, w.dir)
	w.vault.MountKV("kv", 2)
	w.emu = portaltest.New(portaltest.Options{Product: portaltest.Online, Switches: map[string]string{portaltest.SwitchDateRounding: "none"}})
	server := httptest.NewServer(w.emu)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.emu.OnEffect(w.noteMint)
	w.emu.SetHook(w.strike)
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
	states := filepath.Join(w.dir, "second")
	for _, d := range []string{w.keyFile(""), filepath.Join(w.disk.dir, "state"), states} {
		w.must(os.Mkdir(d, 0o700))
	}
	w.must(os.WriteFile(filepath.Join(w.dir, "password"), []byte(portaltest.StandardPassword), 0o600))
	w.config = w.writeConfig("first", filepath.Join(w.disk.dir, "state"))
	w.other = w.writeConfig("second", states)
	w.leastPrivilege()
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

// leastPrivilege gives the daemons a token that may do what vault-policy prints, and
// nothing else.
func (w *world) leastPrivilege() {
	w.t.Helper()
	out, err := exec.CommandContext(w.t.Context(), w.binary, "--config", w.config, "vault-policy").Output()
	w.must(err)
	w.policy = string(out)
	w.writable()
	token := w.vault.NewToken(map[string]any{"policies": []string{"rotatord"}, "ttl": "24h"})
	w.must(os.WriteFile(filepath.Join(w.dir, "vault-token"), []byte(token), 0o600))
}

// hasFile: every second credential has a file as its second sink.
func (w *world) hasFile(i int) bool { return i%2 == 0 }

func (w *world) keyFile(name string) string { return filepath.Join(w.disk.dir, "keys", name) }

// writeConfig for a daemon with that state folder.
func (w *world) writeConfig(name, state string) string {
	w.t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, configText, w.url, portaltest.AdminUser, w.dir, w.vault.Addr, w.keyFile(""), name, state)
	for i, name := range w.names {
		sinks := "[kv]"
		if w.hasFile(i) {
			sinks = "[kv, files]"
		}
		fmt.Fprintf(&text, "  - {name: %s, item: %s, sinks: %s}\n", name, w.items[name], sinks)
	}
	path := filepath.Join(w.dir, name+".yaml")
	w.must(os.WriteFile(path, []byte(text.String()), 0o600))
	return path
}

func (w *world) noteMint(e portaltest.Event) {
	if e.Kind != portaltest.EventMinted {
		return
	}
	keys := w.emu.Keys()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		if _, known := w.minted[k.Secret]; !known && k.ItemID == e.ItemID {
			w.minted[k.Secret] = minted{interval: w.interval, late: e.Late}
		}
	}
}

// strike breaks the request if a fault waits for one like it.
func (w *world) strike(c portaltest.Call) *portaltest.Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.armed {
		f := w.armed[i]
		if f.Op != c.Op {
			continue
		}
		if w.armed[i].Count--; w.armed[i].Count == 0 {
			w.armed = append(w.armed[:i:i], w.armed[i+1:]...)
		}
		if f.Op == portaltest.OpMint {
			w.struck[during(c.ItemID, w.interval)]++
		}
		return &f
	}
	return nil
}

func during(item string, interval int) string { return fmt.Sprint(item, " ", interval) }

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
