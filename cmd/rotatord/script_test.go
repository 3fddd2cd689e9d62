package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rotatord/internal/portal/portaltest"
)

// worldConfig is a config against an emulator; keys live for 20 s.
const worldConfig = `portals:
  online:
    url: %[1]s
    product: online
    identity: {username: %[2]s, password: 'file:%[3]s/password'}
    limits: {per_second: 1000}
sinks:
  files:
    file: {path: '%[3]s/keys/{{.Name}}.key'}
defaults:
  portal: online
  sinks: [files]
  mode: rotate
  adopt: auto
  policy: {renew_before: 10s, overlap: 2s, critical_before: 2s, lifetime: 20s, min_interval: 1s, min_gain: 2s, probe_every: 1s,
    effect_horizon: 2s, retry_base: 1s, retry_max: 2s, dead_after: 2s, expiry_precision: second}
http: {off: true}
admin: {socket: '%[3]s/admin.sock', group: '%[4]s'}
state: {dir: '%[3]s/state'}
schedules: {tick: '@every 1s'}
credentials:
  - {name: first, item: %[5]s, owner: team-a}
  - {name: second, item: %[6]s}
  - {name: watched, item: %[7]s, mode: watch}
`

// setUpWorld gives each script an emulated portal of its own and a config for it: $WORK/config.yaml.
func setUpWorld(e *testscript.Env) error {
	em, server := newEmulator()
	e.Defer(server.Close)
	items := []string{}
	for _, title := range []string{"First", "Second", "Watched"} {
		items = append(items, em.AddCredential(portaltest.CredentialSeed{Title: title}).ItemID)
	}
	em.AddCredential(portaltest.CredentialSeed{Title: "Unknown Map", Minted: true, Expires: [2]time.Time{time.Now().Add(time.Hour)}})
	em.AddLegacyKey(portaltest.AdminUser, "Old one")
	group, err := ownGroup()
	if err != nil {
		return err
	}
	text := fmt.Sprintf(worldConfig, server.URL, portaltest.AdminUser, e.WorkDir, group, items[0], items[1], items[2])
	e.Setenv("PORTAL", server.URL)
	e.Setenv("ITEM1", items[0])
	return errors.Join(
		os.Mkdir(filepath.Join(e.WorkDir, "state"), 0o700),
		os.Mkdir(filepath.Join(e.WorkDir, "keys"), 0o700),
		os.WriteFile(filepath.Join(e.WorkDir, "password"), []byte(portaltest.StandardPassword), 0o600),
		os.WriteFile(filepath.Join(e.WorkDir, "config.yaml"), []byte(text), 0o600))
}

func newEmulator() (*portaltest.Emulator, *httptest.Server) {
	em := portaltest.New(portaltest.Options{Switches: map[string]string{portaltest.SwitchDateRounding: "none",
		portaltest.SwitchManner: "strict"}})
	return em, httptest.NewServer(em)
}

// patience of eventually: generous, since only a broken program uses it up.
const patience = 30 * time.Second

// eventually runs a program until it succeeds (or, negated, fails), and its output holds a text if one is given with -has.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	want := ""
	if len(args) > 2 && args[0] == "-has" {
		want, args = args[1], args[2:]
	}
	if len(args) == 0 {
		ts.Fatalf("usage: eventually [-has TEXT] PROGRAM ARG...")
	}
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ts.Exec(args[0], args[1:]...)
		out := ts.ReadFile("stdout")
		if (err == nil || exited(err, exitAttention)) != neg && strings.Contains(out, want) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v did not come right within %s; last: %v\n%s\n%s", args, patience, err, out, ts.ReadFile("stderr"))
		}
		<-tick.C
	}
}

func exited(err error, code int) bool {
	e, ok := errors.AsType[*exec.ExitError](err)
	return ok && e.ExitCode() == code
}

// exitCode runs a program and wants its exit code.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if e, ok := errors.AsType[*exec.ExitError](ts.Exec(args[1], args[2:]...)); ok {
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\n%s", got, want, ts.ReadFile("stderr"))
	}
}

// signalByFile sends a signal to the process that holds the journal's lock.
func signalByFile(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}
	if neg || len(args) != 1 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal HUP|TERM")
	}
	var holder struct {
		PID int `json:"pid"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("state/journal.db.lock")), &holder))
	ts.Check(syscall.Kill(holder.PID, signals[args[0]]))
}

// jsonField wants a value in the last stdout: json PATH VALUE, where a path is keys and indexes with dots between.
func jsonField(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH VALUE")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for key := range strings.SplitSeq(args[0], ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[key]
		case []any:
			i, err := strconv.Atoi(key)
			ts.Check(err)
			if i >= len(in) {
				ts.Fatalf("%s: only %d elements", args[0], len(in))
			}
			v = in[i]
		default:
			ts.Fatalf("%s: nothing below %v", args[0], in)
		}
	}
	if got := fmt.Sprint(v); (got == args[1]) == neg {
		ts.Fatalf("%s = %s, want %s", args[0], got, args[1])
	}
}
