package quiet

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustGate(t *testing.T, o Options) Gate {
	t.Helper()
	g, err := NewGate(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func mustHook(t *testing.T, o Options, points ...rotate.HookPoint) Hook {
	t.Helper()
	if points == nil {
		points = []rotate.HookPoint{rotate.BeforeRetiring}
	}
	h, err := NewHook(o, points)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func called() rotate.HookCall {
	return rotate.HookCall{Point: rotate.BeforeRetiring, Name: "web", Portal: "online", Item: "4f", RotationID: "01J", Reason: rotate.ReasonExpiring,
		Generation: 7, Slot: rotate.Slot2, Fingerprint: previousKey.Fingerprint, At: noon()}
}

func TestCommandAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		quiet      bool
		detail     string
		unknown    string // in the error
	}{
		{name: "yes", body: "echo nobody; exit 0", quiet: true, detail: "nobody"},
		{name: "yes without a word", body: "exit 0", quiet: true},
		{name: "no", body: "echo; echo '  three sessions  '; echo more; exit 1", detail: "three sessions"},
		{name: "neither", body: "echo broken; exit 2", unknown: "exit status 2, which is neither yes (0) nor no (1): broken"},
		{name: "not found", body: "/nonexistent/program", unknown: "exit status 127"},
		{name: "killed", body: "kill -9 $$", unknown: "signal: killed"},
		{name: "control characters", body: `printf 'a\033[31mb\tc\rd\n'; exit 1`, detail: "a [31mb c d"},
		{name: "not text", body: `printf '\377\376\n'; exit 1`, detail: "�"},
		{name: "a key by mistake", body: "echo still " + canary + "; exit 1", detail: "still [hidden]"},
		{name: "very long", body: "head -c 100000 /dev/zero | tr '\\0' x; exit 1", detail: strings.Repeat("x", maxDetail-1) + "…"},
		{name: "standard error is not shown", body: "echo secret >&2; exit 1", detail: ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Command: []string{script(t, tt.body)}}
			got, err := mustGate(t, o).Ask(t.Context(), asked())
			hookErr := mustHook(t, o).Call(t.Context(), called())
			if tt.unknown != "" {
				if err == nil || got.Quiet || !strings.Contains(err.Error(), tt.unknown) {
					t.Errorf("answer = %+v, %v, want unknown: %q", got, err, tt.unknown)
				}
				if _, veto := errors.AsType[*VetoError](hookErr); hookErr == nil || veto {
					t.Errorf("hook = %v, want an error that is no veto of its own", hookErr)
				}
				return
			}
			if err != nil || got != (rotate.QuietAnswer{Quiet: tt.quiet, Detail: tt.detail}) {
				t.Errorf("answer = %+v, %v, want %v %q", got, err, tt.quiet, tt.detail)
			}
			veto, is := errors.AsType[*VetoError](hookErr)
			if is == tt.quiet || (is && veto.Detail != tt.detail) {
				t.Errorf("hook = %v", hookErr)
			}
		})
	}
}

// What a command sees of us: its arguments, a fresh environment, and the question.
func TestCommandSees(t *testing.T) {
	t.Setenv("INHERITED", canary)
	dir := t.TempDir()
	hook := script(t, `cat >"$2/stdin"; env >"$2/env"; tr '\0' ' ' </proc/$$/cmdline >"$2/argv"; pwd >"$2/pwd"`)
	h := mustHook(t, Options{Command: []string{hook, "one two", dir}}, rotate.BeforeRetiring, rotate.AfterRetiring)
	if err := h.Call(t.Context(), called()); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), canary) {
			t.Errorf("%s holds our environment", name)
		}
		return string(b)
	}
	var got rotate.HookCall
	if err := json.Unmarshal([]byte(read("stdin")), &got); err != nil || got != called() || !strings.HasPrefix(read("stdin"), `{"ask":"allow",`) {
		t.Errorf("stdin = %s, %v", read("stdin"), err)
	}
	for _, want := range []string{"PATH=/usr", "ROTATORD_ASK=allow\n", "ROTATORD_CREDENTIAL=web\n", "ROTATORD_GENERATION=7\n",
		"ROTATORD_FINGERPRINT=AT2_abcdefgh-00000006\n", "ROTATORD_POINT=before_retiring\n"} {
		if !strings.Contains(read("env"), want) {
			t.Errorf("the environment lacks %q:\n%s", want, read("env"))
		}
	}
	if n := strings.Count(read("env"), "ROTATORD_"); n != 5 {
		t.Errorf("the environment has %d variables of ours:\n%s", n, read("env"))
	}
	if !strings.Contains(read("argv"), hook+" one two "+dir) || read("pwd") != "/\n" {
		t.Errorf("argv = %q, pwd = %q", read("argv"), read("pwd"))
	}

	if _, err := mustGate(t, Options{Command: []string{hook, "", dir}}).Ask(t.Context(), asked()); err != nil {
		t.Fatal(err)
	}
	want := `{"ask":"quiet","credential":"web","portal":"online","item":"4f","live":{"slot":1,"fingerprint":"AT1_abcdefgh-00000007","generation":7},` +
		`"previous":{"slot":2,"fingerprint":"AT2_abcdefgh-00000006","generation":6},"retire_at":"2026-03-01T12:00:00Z","now":"2026-03-01T12:00:00Z"}`
	if got := read("stdin"); got != want {
		t.Errorf("stdin of a gate = %s\nwant %s", got, want)
	}
	if strings.Contains(read("env"), "ROTATORD_POINT") {
		t.Error("a gate has no point")
	}
}

// A command that hangs is unknown in time, and ended with all that it started.
func TestCommandHangs(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	g := mustGate(t, Options{Command: []string{script(t, "sleep 600 &\necho $! >"+pidFile+"\nwait")}, Timeout: 500 * time.Millisecond})
	a, err := g.Ask(t.Context(), asked())
	if err == nil || a.Quiet || !strings.Contains(err.Error(), "no answer within 500ms") {
		t.Fatalf("answer = %+v, %v, want unknown", a, err)
	}
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	stat := "/proc/" + strings.TrimSpace(string(pid)) + "/stat"
	for range 200 { // an orphan is reaped by init some time after its end
		raw, err := os.ReadFile(stat)
		if err != nil || strings.Contains(string(raw), ") Z ") {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Error("the command's child lives on")
}

// A child that keeps the output open neither hangs the answer nor changes it.
func TestCommandLeavesAChild(t *testing.T) {
	for code, quiet := range map[string]bool{"0": true, "1": false} {
		body := "sleep 20 &\necho $! ; exit " + code
		got, err := mustGate(t, Options{Command: []string{script(t, body)}}).Ask(t.Context(), asked())
		if err != nil || got.Quiet != quiet || got.Detail == "" {
			t.Errorf("exit %s: answer = %+v, %v", code, got, err)
		}
	}
}

// A question that nobody reads is no error.
func TestCommandDoesNotRead(t *testing.T) {
	c := called()
	c.RotationID = strings.Repeat("x", 1<<20) // more than a pipe holds
	if err := mustHook(t, Options{Command: []string{script(t, "exec <&-; exit 0")}}).Call(t.Context(), c); err != nil {
		t.Error(err)
	}
}

func TestRefusedOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"nothing": {}, "both": {Command: []string{"/bin/true"}, URL: "https://x"}, "relative": {Command: []string{"true"}},
		"clear text": {URL: "http://gates.example/x"}, "scheme": {URL: "ftp://x"}, "user": {URL: "https://a:b@x/"},
		"no CA": {URL: "https://x", CAFile: "/nonexistent"}, "empty CA": {URL: "https://x", CAFile: os.DevNull},
	} {
		if _, err := NewGate(o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for name, points := range map[string][]rotate.HookPoint{"none": nil, "unknown": {"before_lunch"}, "twice": {rotate.BeforeMinting, rotate.BeforeMinting}} {
		if _, err := NewHook(Options{Command: []string{"/bin/true"}}, points); err == nil {
			t.Errorf("points %s were taken", name)
		}
	}
	if _, err := mustGate(t, Options{Command: []string{"/nonexistent/gate"}}).Ask(t.Context(), asked()); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing command answers %v", err)
	}
}
