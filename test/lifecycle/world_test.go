package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rotatord/internal/portal/portaltest"
)

// atOnce worlds are played: they wait more than they work, since the horizon of a request of unknown
// outcome is real time. Fewer beside the tests of other packages.
func atOnce() string {
	if os.Getenv("ROTATORD_SWEEP") == "full" {
		return "8"
	}
	return "4"
}

var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "rotatord-lifecycle-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "rotatord")
	if out, err := exec.Command("go", "build", "-o", binary, "rotatord/cmd/rotatord").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build: %v\n%s", err, out))
	}
	if err := flag.Set("test.parallel", atOnce()); err != nil {
		panic(err)
	}
	return m.Run()
}

// configText has one credential that is to be made.
const configText = `portals:
  here:
    url: %[1]s
    product: online
    identity: {username: %[2]s, password: 'file:%[3]s/password'}
    limits: {per_second: 1000}
    breaker: {failures: 50, open_for: 1s}
sinks:
  files:
    file: {path: '%[3]s/keys/{{.Name}}.key'}
defaults:
  portal: here
  sinks: [files]
  mode: rotate
  policy: {renew_before: 1h, overlap: 1s, critical_before: 10m, lifetime: 3h, min_interval: 1s, min_gain: 2s, probe_every: 1s,
    effect_horizon: 2s, retry_base: 1s, retry_max: 2s, dead_after: 2s, expiry_precision: second}
http: {off: true}
admin: {socket: '%[3]s/admin.sock'}
state: {dir: '%[3]s/state'}
credentials:
  - name: trail-map
    create:
      use: public
      title: Trail map
      folder: API keys
      tags: [web]
      privileges: [premium:user:basemaps]
      items: [%[4]s]
      referrers: [https://trails.example.com]
`

// strike breaks one request of a process.
type strike struct {
	at   int // 1 is the first request since it was armed; 0 none
	kind portaltest.FaultKind
}

// The two strikes that no portal deals: SIGKILL before the request has an effect, or after it.
const (
	killBefore portaltest.FaultKind = "kill_before"
	killAfter  portaltest.FaultKind = "kill_after"
)

func (s strike) String() string { return fmt.Sprintf("%s/%d", s.kind, s.at) }

// world is a portal, a config, a sink and a journal, which processes come and go in.
type world struct {
	t      testing.TB
	dir    string
	config string
	emu    *portaltest.Emulator
	seeds  []string // items that are not ours

	mu      sync.Mutex
	armed   strike
	calls   int
	process *os.Process
	struck  portaltest.Op // what the strike hit; "" nothing
	log     []string
	soft    bool
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), emu: portaltest.New(portaltest.Options{Switches: map[string]string{portaltest.SwitchDateRounding: "none", portaltest.SwitchManner: "strict"}})}
	server := httptest.NewServer(w.emu)
	t.Cleanup(server.Close)
	w.seeds = []string{w.emu.AddCredential(portaltest.CredentialSeed{Title: "layer"}).ItemID}
	w.config = filepath.Join(w.dir, "config.yaml")
	text := fmt.Sprintf(configText, server.URL, portaltest.AdminUser, w.dir, w.seeds[0])
	err := errors.Join(os.Mkdir(filepath.Join(w.dir, "keys"), 0o700), os.Mkdir(filepath.Join(w.dir, "state"), 0o700),
		os.WriteFile(w.config, []byte(text), 0o600), os.WriteFile(filepath.Join(w.dir, "password"), []byte(portaltest.StandardPassword), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	w.emu.SetHook(w.hook)
	return w
}

// hook deals the armed strike.
func (w *world) hook(c portaltest.Call) *portaltest.Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls++; w.calls != w.armed.at {
		return nil
	}
	w.struck = c.Op
	switch w.armed.kind {
	case killBefore, killAfter:
		_ = w.process.Kill()
		if w.armed.kind == killBefore {
			return &portaltest.Fault{Kind: portaltest.LoseRequest}
		}
		return &portaltest.Fault{Kind: portaltest.LoseReply}
	case portaltest.LateEffect:
		return &portaltest.Fault{Kind: w.armed.kind, LateFor: 500 * time.Millisecond}
	}
	return &portaltest.Fault{Kind: w.armed.kind, Delay: 200 * time.Millisecond}
}

// patience with one process: only a broken program uses it up.
const patience = time.Minute

// run one process under a strike, to its exit code: below zero where that killed it.
func (w *world) run(s strike, args ...string) (code int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"--config", w.config}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &out, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "NO_COLOR=1"}
	w.mu.Lock()
	w.armed, w.calls, w.struck = s, 0, ""
	err := cmd.Start()
	w.process = cmd.Process
	w.mu.Unlock()
	if err != nil {
		w.t.Fatal(err)
	}
	_ = cmd.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed.at = 0
	code = cmd.ProcessState.ExitCode()
	w.log = append(w.log, fmt.Sprintf("%s under %s (%s): code %d, %d requests\n%s", strings.Join(args, " "), s, w.struck, code, w.calls, clipped(out.String())))
	if ctx.Err() != nil || strings.Contains(out.String(), "panic:") {
		w.fail("%s: code %d", strings.Join(args, " "), code)
	}
	return code
}

// calm is how long an undisturbed world takes at most to be as it should.
const calm = 20 * time.Second

// within tells whether done came to say so in that time.
func within(limit time.Duration, done func() bool) bool {
	for end := time.Now().Add(limit); !done(); {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// clipped is the beginning of what a process said.
func clipped(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if len(out) < 25 {
			out = append(out, line[:min(len(line), 300)])
		}
	}
	return strings.Join(out, "")
}

// ok runs until it succeeds: a person repeats a command that failed.
func (w *world) ok(args ...string) {
	w.t.Helper()
	if !within(calm, func() bool { return w.run(strike{}, args...) == 0 }) {
		w.fail("%s: never succeeded", strings.Join(args, " "))
	}
}

// failure is what a world that is to be shrunk panics with.
type failure string

// fail with what went before.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	text := fmt.Sprintf(format, args...) + "\n" + strings.Join(w.log[max(0, len(w.log)-8):], "\n")
	if w.soft {
		panic(failure(text))
	}
	w.t.Fatal(text)
}

func (w *world) read(name string) string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// edit the config by hand.
func (w *world) edit(old, now string) {
	w.t.Helper()
	src := w.read("config.yaml")
	if !strings.Contains(src, old) {
		w.fail("the config has no %q", old)
	}
	if err := os.WriteFile(w.config, []byte(strings.Replace(src, old, now, 1)+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) served() string { return w.read("keys/trail-map.key") }

// servedWorks: consumers are served a key that works. It holds at every moment from the first key on.
func (w *world) servedWorks() {
	w.t.Helper()
	if valid, why := w.emu.KeyValid(w.served()); !valid {
		w.fail("the served key is %s", why)
	}
}

// items of ours at the portal.
func (w *world) items() []portaltest.CredentialState {
	return slices.DeleteFunc(w.emu.Snapshot().Credentials, func(c portaltest.CredentialState) bool { return slices.Contains(w.seeds, c.ItemID) })
}

// keyed items of ours hold a key.
func (w *world) keyed() (n int) {
	for _, it := range w.items() {
		if it.Slots[0].Active || it.Slots[1].Active {
			n++
		}
	}
	return n
}

// settle drives without a daemon until so many items of ours have keys and no key but the served one works.
func (w *world) settle(items int) {
	w.t.Helper()
	if !within(patience, func() bool {
		w.run(strike{}, "once")
		return w.keyed() == items && len(w.unserved()) == 0
	}) {
		w.fail("ends with %d items that have keys, want %d, and the keys %v that nobody serves", w.keyed(), items, w.unserved())
	}
	for _, dir := range []string{"creations", "retirements"} {
		if left, err := filepath.Glob(filepath.Join(w.dir, "state", dir, "*.json")); err != nil || len(left) > 0 {
			w.fail("progress is left: %v %v", left, err)
		}
	}
	if v := w.emu.Violations(); len(v) > 0 {
		w.fail("the portal was asked what nobody should: %+v", v)
	}
	if w.run(strike{}, "history", "--verify") != 0 {
		w.fail("the history does not verify")
	}
}

// unserved keys that work, by their items.
func (w *world) unserved() (out []string) {
	for _, k := range w.emu.Keys() {
		if valid, _ := w.emu.KeyValid(k.Secret); valid && k.Secret != w.served() && !slices.Contains(w.seeds, k.ItemID) {
			out = append(out, fmt.Sprintf("%s/%d", k.ItemID, k.Slot))
		}
	}
	return out
}
