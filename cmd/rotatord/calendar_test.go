package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/metrics"
	"rotatord/internal/rotate"
)

const calendarConfig = `portals:
  main: {url: https://www.arcgis.com, product: online, identity: {api_key: env:NOT_ASKED}}
sinks:
  file: {file: {path: 'DIR/{{.Name}}'}}
defaults: {portal: main, sinks: [file], mode: rotate, policy: {lifetime: 90d, renew_before: 30d, overlap: 7d, critical_before: 5d}}
state: {dir: DIR}
credentials:
  - name: shut
    item: 0123456789abcdef0123456789abcdef
    freezes: [{from: 2026-12-20, to: 2027-01-06}]
    freeze_file: DIR/freeze.ics
    time_zone: Europe/Berlin
  - name: open
    item: fedcba9876543210fedcba9876543210
`

// What the config says of windows and freezes reaches the policy, and the file is read
// each time.
func TestCalendarsReachThePolicy(t *testing.T) {
	dir := t.TempDir()
	load := func() *daemon.Fleet {
		t.Helper()
		cfg, err := config.Parse("config.yaml", []byte(strings.ReplaceAll(calendarConfig, "DIR", dir)))
		if err != nil {
			t.Fatal(err)
		}
		a, err := newAdapters(cfg, slog.New(slog.DiscardHandler), metrics.New(metrics.Options{}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(a.close)
		return a.fleet
	}
	write := func(start string) {
		t.Helper()
		ics := "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:" + start + "\nEND:VEVENT\nEND:VCALENDAR\n"
		if err := os.WriteFile(filepath.Join(dir, "freeze.ics"), []byte(ics), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	frozen := func(f *daemon.Fleet, now string) bool {
		t.Helper()
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		why, _ := f.Credentials[0].Policy.Calendar.Closed(at)
		return why == rotate.ReasonFrozen
	}
	write("20260601")
	f := load()
	if !frozen(f, "2026-05-31T22:00:00Z") || !frozen(f, "2027-01-06T22:59:59Z") || frozen(f, "2026-07-01T12:00:00Z") {
		t.Error("the freezes of config and file are not in force")
	}
	if c := f.Credentials[1].Policy.Calendar; c != nil {
		t.Errorf("calendar %v without windows and freezes", c)
	}
	write("20260701")
	if f := load(); !frozen(f, "2026-07-01T12:00:00Z") || frozen(f, "2026-05-31T22:00:00Z") {
		t.Error("the changed file is not in force after a reload")
	}
}

// plan says in one line what a due rotation waits for.
func TestPlanSaysWhatIsClosed(t *testing.T) {
	now := time.Date(2026, 12, 24, 12, 0, 0, 0, time.UTC)
	opens := time.Date(2027, 1, 6, 23, 0, 0, 0, time.UTC)
	for why, want := range map[rotate.Reason]string{
		rotate.ReasonWindow: "maps: due (expiring), waits for outside_window until 2027-01-06T23:00:00Z (in 13 days)\n",
		rotate.ReasonFrozen: "maps: due (expiring), waits for frozen until 2027-01-06T23:00:00Z (in 13 days)\n",
	} {
		got := plansText([]planned{{Plan: daemon.Plan{Name: "maps", Forecast: &rotate.Forecast{Due: rotate.ReasonExpiring, Blocked: why, Next: opens}}}}, now)
		if !strings.HasPrefix(got, want) {
			t.Errorf("plan of %s:\n%swant it to begin\n%s", why, got, want)
		}
	}
}
