package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rotatord/internal/credspec"
	"rotatord/internal/daemon"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

// settingsRig is a running daemon with one credential that apply made, looked at every second.
type settingsRig struct {
	*applyWorld
	*started
	t     *testing.T
	await func(what string, ok func(context.Context) bool)
	item  string
	bytes string // of the config
}

func newSettingsRig(t *testing.T) *settingsRig {
	t.Helper()
	w := newApplyWorld(t)
	group, err := ownGroup()
	if err != nil {
		t.Fatal(err)
	}
	w.change(t, "http: {off: true}", fmt.Sprintf("http: {listen: '127.0.0.1:%d'}", testkit.FreePorts(t, 1)),
		"admin.sock'}", fmt.Sprintf("admin.sock', group: '%s'}\nschedules: {tick: '@every 1s', settings: '@every 1s'}", group),
		"      tags: [web]", "      tags: [web]\n      snippet: Of the trails")
	if r := runCLI(t, "--config", w.config, "apply", "--yes"); r.code != exitOK {
		t.Fatalf("apply: code %d\n%s%s", r.code, r.out, r.err)
	}
	await := &world{log: filepath.Join(w.dir, "daemon.log")}
	s := &settingsRig{applyWorld: w, t: t, await: func(what string, ok func(context.Context) bool) {
		t.Helper()
		await.await(t, what, ok)
	}}
	_, rest, _ := strings.Cut(s.text(), `item: "`)
	s.item, _, _ = strings.Cut(rest, `"`)
	s.start()
	return s
}

func (s *settingsRig) text() string {
	s.t.Helper()
	b, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *settingsRig) start() {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(buildBinary(s.t), "--config", s.config, "run")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	p := &started{Cmd: cmd, client: daemon.NewClient(filepath.Join(s.dir, "admin.sock"))}
	s.started = p
	s.t.Cleanup(func() {
		p.client.Close()
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	s.await("the daemon answers", func(ctx context.Context) bool {
		_, err := p.client.Health(ctx)
		return err == nil
	})
}

// policy of the credential, by a reload.
func (s *settingsRig) policy(policy credspec.Drift) {
	s.t.Helper()
	text := s.text()
	for _, p := range []credspec.Drift{credspec.DriftReport, credspec.DriftCorrect, credspec.DriftAdopt} {
		text = strings.Replace(text, "    settings: "+string(p)+"\n", "", 1)
	}
	text = strings.Replace(text, "    create:\n", "    settings: "+string(policy)+"\n    create:\n", 1)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if r, err := s.client.Reload(s.t.Context()); err != nil {
		s.t.Fatalf("reload: %+v, %v", r, err)
	}
	s.bytes = text
}

// person edits the item's page by hand.
func (s *settingsRig) person(page portaltest.ItemPage) {
	s.t.Helper()
	if err := s.emulator.EditItemOutOfBand(s.item, page); err != nil {
		s.t.Fatal(err)
	}
}

func (s *settingsRig) title() string {
	s.t.Helper()
	_, have := s.have(s.t)
	return have.Title
}

// awaitSettings that the status tells.
func (s *settingsRig) awaitSettings(what string, ok func(st *daemon.SettingsStatus) bool) {
	s.t.Helper()
	s.await(what, func(ctx context.Context) bool {
		st := s.status(ctx).Settings
		return st != nil && !st.CheckedAt.IsZero() && ok(st)
	})
}

func (s *settingsRig) history(part string) int {
	s.t.Helper()
	entries, err := s.client.History(s.t.Context(), daemon.HistoryQuery{Name: "trail-map"})
	if err != nil {
		s.t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if e.Kind == rotate.EventSettings && strings.Contains(e.Detail, part) {
			n++
			if e.Actor != "rotatord" {
				s.t.Errorf("%q was done by %q", e.Detail, e.Actor)
			}
		}
	}
	return n
}

func (s *settingsRig) command(kind rotate.CommandKind, text string) {
	s.t.Helper()
	if _, err := s.client.Command(s.t.Context(), rotate.Command{Kind: kind, Text: text}, "trail-map"); err != nil {
		s.t.Fatal(err)
	}
}

// plan is what `rotatord plan` says, as text and as JSON.
func (s *settingsRig) plan() (cliResult, []planned) {
	s.t.Helper()
	text := runCLI(s.t, "--config", s.config, "plan", "trail-map")
	var out []planned
	r := runCLI(s.t, "--config", s.config, "--json", "plan")
	if err := json.Unmarshal([]byte(r.out), &out); err != nil || len(out) != 1 || out[0].Settings == nil {
		s.t.Fatalf("%v\n%s%s", err, r.out, r.err)
	}
	return text, out
}

// TestSettingsOfARunningDaemon: the built daemon says, corrects and adopts what a person changes behind its back.
func TestSettingsOfARunningDaemon(t *testing.T) {
	t.Parallel()
	s := newSettingsRig(t)
	s.awaitSettings("all is as the config says", func(st *daemon.SettingsStatus) bool { return st.Differ == 0 })
	s.reports()
	s.corrects()
	s.adopts()
	key, err := os.ReadFile(filepath.Join(s.dir, "keys", "trail-map.key"))
	if err != nil {
		t.Fatal(err)
	}
	if valid, why := s.emulator.KeyValid(strings.TrimSpace(string(key))); !valid {
		t.Errorf("the served key died of it: %s", why)
	}
	if s.text() != s.bytes {
		t.Error("the config was changed")
	}
	s.terminate(t)
}

// shows wants lines of the metrics.
func (s *settingsRig) shows(lines ...string) {
	s.t.Helper()
	text := (&world{config: s.config}).metrics(s.t)
	for _, line := range lines {
		if !strings.Contains(text, line+"\n") {
			s.t.Errorf("the metrics lack %s", line)
		}
	}
}

func (s *settingsRig) reports() {
	s.t.Helper()
	hand, none := "By hand", []string{}
	s.person(portaltest.ItemPage{Title: &hand, Tags: &none})
	s.awaitSettings("two differences are told", func(st *daemon.SettingsStatus) bool { return st.Differ == 2 && st.KillKeys == 0 })
	text, js := s.plan()
	for _, want := range []string{"  settings differ from the config (- portal, + config):\n    title (edited in place, harmless)\n      - By hand\n      + Trail map\n", "rotatord apply trail-map edits what is harmless"} {
		if text.code != exitAttention || !strings.Contains(text.out, want) {
			s.t.Errorf("plan: code %d, no %q in\n%s%s", text.code, want, text.out, text.err)
		}
	}
	if cs := js[0].Settings.Changes; len(cs) != 2 || cs[0].Field != credspec.FieldTitle || cs[0].Effect != credspec.EffectHarmless {
		s.t.Errorf("plan --json: %+v", cs)
	}
	if r := runCLI(s.t, "--config", s.config, "status", "trail-map"); !strings.Contains(r.out, "settings       title, tags differ from the config\n") {
		s.t.Errorf("status:\n%s%s", r.out, r.err)
	}
	s.shows(`rotatord_credential_settings_differences{credential="trail-map",effect="harmless"} 2`, `rotatord_credentials_settings{portal="here",state="harmless"} 1`,
		`rotatord_credential_unrestricted{credential="trail-map",source="portal"} 0`)
	if s.title() != hand || s.history("") != 0 {
		s.t.Errorf("report has changed something: title %q", s.title())
	}
}

func (s *settingsRig) corrects() {
	s.t.Helper()
	s.policy(credspec.DriftCorrect)
	s.awaitSettings("the portal is corrected", func(st *daemon.SettingsStatus) bool { return st.Differ == 0 })
	if _, have := s.have(s.t); have.Title != "Trail map" || len(have.Tags) != 1 || s.history("corrected at the portal: title: \"By hand\" -> \"Trail map\"") != 1 ||
		s.history("corrected at the portal") != 2 {
		s.t.Errorf("the portal has %+v; the history has %d lines", have, s.history(""))
	}
	s.command(rotate.CommandHold, "an audit")
	hand := "By hand"
	s.person(portaltest.ItemPage{Title: &hand})
	s.awaitSettings("it says why it waits", func(st *daemon.SettingsStatus) bool {
		return st.Differ == 1 && strings.Contains(st.Says, "nothing is corrected now: it is held: an audit")
	})
	if s.title() != hand {
		s.t.Error("corrected while held")
	}
	s.command(rotate.CommandResume, "")
	for n := 2; n <= 3; n++ { // again and again
		s.await("the person is corrected", func(context.Context) bool { return s.title() == "Trail map" })
		s.awaitSettings("and that was seen", func(st *daemon.SettingsStatus) bool { return st.Differ == 0 })
		s.person(portaltest.ItemPage{Title: &hand})
	}
	s.awaitSettings("it gives up", func(st *daemon.SettingsStatus) bool {
		return st.Differ == 1 && strings.Contains(st.Says, "rotatord corrects title no more")
	})
	s.shows(`rotatord_credential_settings_contested{credential="trail-map"} 1`)
	if s.title() != hand || s.history("corrected at the portal: title") != 3 || s.history("title is corrected no more") != 1 {
		s.t.Errorf("title %q after %d corrections", s.title(), s.history("corrected at the portal: title"))
	}
}

func (s *settingsRig) adopts() {
	s.t.Helper()
	s.policy(credspec.DriftAdopt)
	s.awaitSettings("the portal's word is taken", func(st *daemon.SettingsStatus) bool { return st.Differ == 0 && st.Adopted == 1 })
	if s.history(`adopted from the portal: title: "Trail map" -> "By hand"`) != 1 {
		s.t.Error("the history does not say that the title was adopted")
	}
	text, js := s.plan()
	if text.code != exitOK || !strings.Contains(text.out, "settings taken as meant from the portal") || !strings.Contains(text.out, "rotatord import trail-map --again --write FILE") || len(js[0].Settings.Adopted) != 1 {
		s.t.Errorf("plan: code %d\n%s%s", text.code, text.out, text.err)
	}
	s.terminate(s.t)
	// Without a daemon plan reads afresh, and knows what was adopted.
	text, js = s.plan()
	if text.code != exitOK || !strings.Contains(text.out, "settings taken as meant from the portal") || len(js[0].Settings.Changes) != 0 {
		s.t.Errorf("plan without a daemon: code %d\n%s%s", text.code, text.out, text.err)
	}
	snippet := "By another hand"
	s.person(portaltest.ItemPage{Snippet: &snippet})
	if text, js = s.plan(); text.code != exitOK || len(js[0].Settings.Adopted) != 2 {
		s.t.Errorf("a change without a daemon: code %d\n%s%s", text.code, text.out, text.err)
	}
	s.start()
	s.awaitSettings("a later change is adopted too", func(st *daemon.SettingsStatus) bool { return st.Differ == 0 && st.Adopted == 2 })
	s.await("once in the history", func(context.Context) bool { return s.history("adopted from the portal") == 2 })
}
