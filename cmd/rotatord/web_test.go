package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"rotatord/internal/daemon"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

const pageConfig = `portals:
  online:
    url: %[1]s
    product: online
    identity: {username: %[2]s, password: 'file:%[3]s/password'}
    limits: {per_second: 1000}
sinks:
  files:
    file: {path: '%[3]s/{{.Name}}.key'}
defaults:
  portal: online
  sinks: [files]
  mode: rotate
  adopt: auto
  policy: {renew_before: 30d, overlap: 7d, critical_before: 3d, lifetime: 90d}
http: {listen: '127.0.0.1:%[4]d', web_config_file: '%[3]s/web.yaml', status_page: %[5]v}
admin: {socket: '%[3]s/admin.sock', group: '%[6]s'}
state: {dir: '%[3]s/state'}
schedules: {tick: '@every 1s'}
credentials:
  - {name: first, item: %[7]s, owner: team-a, environment: production, consumers: [tile server]}
  - {name: foreign, item: %[8]s, owner: team-b}
  - {name: watched, item: %[9]s, mode: watch, hold: release week}
`

const (
	pageUser     = "oncall"
	pagePassword = "three in the morning"
)

// newPageWorld has one credential that is made and published, one whose slot somebody
// unknown uses, and one that is only watched.
func newPageWorld(t *testing.T, page bool) (*world, string) {
	t.Helper()
	w := &world{dir: t.TempDir()}
	em, server := newEmulator()
	t.Cleanup(server.Close)
	w.emulator = em
	var items []any
	for i, title := range []string{`First <script>alert(1)</script>`, "Foreign", "Watched"} {
		seed := portaltest.CredentialSeed{Title: title}
		if i == 1 {
			seed.Minted, seed.Expires = true, [2]time.Time{time.Now().Add(100 * 24 * time.Hour)}
		}
		items = append(items, em.AddCredential(seed).ItemID)
	}
	group, err := ownGroup()
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(pagePassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	port := testkit.FreePorts(t, 1)
	w.config, w.log = filepath.Join(w.dir, "config.yaml"), filepath.Join(w.dir, "daemon.log")
	args := append([]any{server.URL, portaltest.AdminUser, w.dir, port, page, group}, items...)
	err = errors.Join(os.Mkdir(filepath.Join(w.dir, "state"), 0o700),
		os.WriteFile(filepath.Join(w.dir, "password"), []byte(portaltest.StandardPassword), 0o600),
		os.WriteFile(filepath.Join(w.dir, "web.yaml"), fmt.Appendf(nil, "basic_auth_users:\n  %s: %s\n", pageUser, hash), 0o600),
		os.WriteFile(w.config, fmt.Appendf(nil, pageConfig, args...), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return w, fmt.Sprintf("http://127.0.0.1:%d/", port)
}

// ask the page as the person on call.
func ask(t *testing.T, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(pageUser, pagePassword)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// settled waits until nothing moves any more, and returns what `rotatord status --json` prints then.
func settled(t *testing.T, w *world, root string) string {
	t.Helper()
	var said string
	w.await(t, "status --json and status.json are the same", func(context.Context) bool {
		r := runCLI(t, "--config", w.config, "--json", "status")
		code, page := ask(t, http.MethodGet, root+"status.json")
		said = r.out
		return code == http.StatusOK && page == r.out && strings.Contains(r.out, `"use": "live"`) && strings.Contains(r.out, `"blocked": "not_due"`)
	})
	return said
}

// TestPageSaysWhatTheTerminalSays: a real daemon's page, its JSON and the commands agree.
func TestPageSaysWhatTheTerminalSays(t *testing.T) {
	t.Parallel()
	w, root := newPageWorld(t, true)
	p := w.start(t)
	var all []daemon.Status
	if err := json.Unmarshal([]byte(settled(t, w, root)), &all); err != nil || len(all) != 3 {
		t.Fatalf("status: %d credentials, %v", len(all), err)
	}
	_, fleet := ask(t, http.MethodGet, root)
	wants := 0
	for _, s := range all {
		if s.Attention != "" {
			wants++
		}
		t.Run(string(s.Name), func(t *testing.T) { comparePages(t, root, fleet, s) })
	}
	if wants != 1 || !strings.Contains(fleet, "<h1>1 credential to look at</h1>") {
		t.Errorf("the status wants a person for %d, and the page does not say the same", wants)
	}
	w.checkPages(t, root)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		if code, _ := ask(t, method, root+"credential?name=first"); code != http.StatusMethodNotAllowed {
			t.Errorf("%s is answered with %d", method, code)
		}
	}
	p.terminate(t)
}

func comparePages(t *testing.T, root, fleet string, s daemon.Status) {
	row := regexp.MustCompile(`(?s)<tr class="[a-z]+">\n<th scope="row"><a href="credential\?name=` + string(s.Name) + `">.*?</tr>`).FindString(fleet)
	code, page := ask(t, http.MethodGet, root+"credential?name="+string(s.Name))
	if row == "" || code != http.StatusOK {
		t.Fatalf("row %q, page %d", row, code)
	}
	has := func(where, in, what string) {
		t.Helper()
		seen := html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(in, ""))
		// A time stands in an attribute, and a command in back quotes is code.
		if !strings.Contains(in, what) && !strings.Contains(seen, strings.ReplaceAll(what, "`", "")) {
			t.Errorf("the %s does not say %q:\n%s", where, what, in)
		}
	}
	date := func(at time.Time) string { return at.UTC().Format(time.RFC3339) }
	for _, text := range []string{string(s.Portal), s.Owner, s.Environment, string(s.Phase), s.Attention} {
		has("row", row, text)
	}
	for _, text := range append([]string{s.Owner, s.Environment, string(s.Item), string(s.Mode), s.Attention, s.Cure, s.Detail}, s.Consumers...) {
		has("page", page, text)
	}
	for _, at := range []time.Time{s.Live.Expires, s.DueAt, s.NextAt} {
		if !at.IsZero() {
			has("row", row, date(at))
		}
	}
	for _, slot := range s.Slots {
		has("page", page, string(slot.Key.Fingerprint))
		if !slot.Expires.IsZero() {
			has("page", page, date(slot.Expires))
		}
	}
	has("page", page, "Phase: "+string(s.Phase))
	has("page", page, "("+string(s.Blocked)) // the plan's line
}

// checkPages finds no key, no password and no script on any of them, whoever asks.
func (w *world) checkPages(t *testing.T, root string) {
	t.Helper()
	secrets := []string{portaltest.StandardPassword, pagePassword}
	for _, k := range w.emulator.Keys() {
		secrets = append(secrets, k.Secret)
	}
	if len(secrets) < 4 {
		t.Fatalf("only %d secrets to look for", len(secrets))
	}
	for _, path := range []string{"", "timeline", "timeline?span=all", "calendar", "credential?name=first", "credential?name=foreign", "credential?name=no", "runbook", "status.json"} {
		res, err := http.Get(root + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("/%s without a password: %d", path, res.StatusCode)
		}
		_, page := ask(t, http.MethodGet, root+path)
		for i, s := range secrets {
			if strings.Contains(page, s) {
				t.Errorf("/%s shows secret %d", path, i)
			}
		}
		if strings.Contains(page, "<script") {
			t.Errorf("/%s has a script", path)
		}
	}
}

// TestPlanAndPageAgree: what `rotatord plan` finds afresh is what the page foretells.
func TestPlanAndPageAgree(t *testing.T) {
	t.Parallel()
	w, root := newPageWorld(t, true)
	w.start(t)
	settled(t, w, root)
	r := runCLI(t, "--config", w.config, "--json", "plan", "first")
	var plans []daemon.Plan
	if err := json.Unmarshal([]byte(r.out), &plans); err != nil || len(plans) != 1 || plans[0].Forecast == nil {
		t.Fatalf("plan: %v\n%s%s", err, r.out, r.err)
	}
	f := plans[0].Forecast
	_, page := ask(t, http.MethodGet, root+"credential?name=first")
	_, calendar := ask(t, http.MethodGet, root+"calendar?from="+f.DueAt.UTC().Format(time.DateOnly))
	steps := map[rotate.Phase]time.Time{}
	for _, s := range f.Steps {
		steps[s.Phase] = s.At
	}
	if !strings.Contains(page, "nothing to do ("+string(f.Blocked)+")") {
		t.Errorf("the page does not say %q", f.Blocked)
	}
	for _, want := range []time.Time{f.DueAt, steps[rotate.PhaseClaiming], steps[rotate.PhaseRetiring]} {
		if want.IsZero() || !foretold(page, want) {
			t.Errorf("the plan knows of %s, and the page does not", want)
		}
	}
	// A key whose due time is the end of a day is rotated at the beginning of the next.
	dated := func(at time.Time) bool { return strings.Contains(calendar, `id="d`+at.UTC().Format(time.DateOnly)+`"`) }
	if !dated(f.DueAt) && !dated(f.DueAt.Add(time.Minute)) || !strings.Contains(calendar, `name=first"`) {
		t.Errorf("the calendar does not have the rotation on %s", f.DueAt)
	}
}

// foretold tells whether a page names a time. A plan has just asked the portal, which
// may tell the end of a key to a second differently than the answer to its mint did.
func foretold(page string, at time.Time) bool {
	for _, m := range regexp.MustCompile(`datetime="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if got, err := time.Parse(time.RFC3339, m[1]); err == nil && got.Sub(at).Abs() <= 2*time.Second {
			return true
		}
	}
	return false
}

func TestStatusPageSwitchedOff(t *testing.T) {
	t.Parallel()
	w, root := newPageWorld(t, false)
	w.start(t)
	code, page := ask(t, http.MethodGet, root)
	if code != http.StatusOK || !strings.Contains(page, "/metrics") || strings.Contains(page, "Fleet") {
		t.Errorf("/ answers %d: %s", code, page)
	}
	for _, path := range []string{"credential?name=first", "status.json", "calendar"} {
		if code, _ := ask(t, http.MethodGet, root+path); code != http.StatusNotFound {
			t.Errorf("/%s answers %d", path, code)
		}
	}
	if code, page := ask(t, http.MethodGet, root+"metrics"); code != http.StatusOK || !bytes.Contains([]byte(page), []byte("rotatord_build_info")) {
		t.Errorf("/metrics answers %d", code)
	}
}

// closedUntil is a calendar that opens at one time, and counts how often it is asked.
type closedUntil struct {
	opens time.Time
	asked int
}

func (c *closedUntil) Closed(now time.Time) (rotate.Reason, time.Time) {
	c.asked++
	if now.Before(c.opens) {
		return rotate.ReasonWindow, c.opens
	}
	return "", time.Time{}
}

// TestStartIsMovedIntoTheWindow and remembered, until the key or the calendar is another.
func TestStartIsMovedIntoTheWindow(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	due := now.Add(10 * day)
	cal := &closedUntil{opens: due.Add(2 * day)}
	v := &daemon.View{Managed: daemon.Managed{Credential: &rotate.Credential{Name: "maps", Policy: rotate.Policy{Calendar: cal, CriticalBefore: 3 * day}}}}
	v.Record.Live.Expires = due.Add(30 * day)
	m := &startMemo{known: map[rotate.Name]startEntry{}}
	for range 3 {
		if got := m.of(v, due, now); !got.Equal(cal.opens) {
			t.Errorf("it starts %s, want %s", got, cal.opens)
		}
	}
	if cal.asked != 1 {
		t.Errorf("the calendar was asked %d times", cal.asked)
	}
	if got := m.of(v, due.Add(day), now); !got.Equal(cal.opens) || cal.asked != 2 {
		t.Errorf("another key: %s after %d questions", got, cal.asked)
	}
	if got := m.of(v, due.Add(5*day), now); !got.Equal(due.Add(5 * day)) {
		t.Errorf("an open calendar moves it to %s", got)
	}
	other := &closedUntil{opens: due.Add(100 * day)}
	v.Policy.Calendar = other
	if got, want := m.of(v, due.Add(5*day), now), v.Record.Live.Expires.Add(-3*day); !got.Equal(want) {
		t.Errorf("critical_before: %s, want %s", got, want)
	}
	if got := m.of(v, now.Add(-day), now); !got.Equal(v.Record.Live.Expires.Add(-3 * day)) {
		t.Errorf("an overdue one starts %s", got)
	}
	if got := m.of(v, time.Time{}, now); !got.IsZero() {
		t.Errorf("nothing makes it due, and it starts %s", got)
	}
}
