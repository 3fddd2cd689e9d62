package alert

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

var updateGolden = flag.Bool("update", false, "rewrite the golden files")

func alerter(t *testing.T) *Alerter {
	t.Helper()
	a, err := New(options(&memory{values: map[string][]byte{}}, &channel{}))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// at is a fixed now.
func at() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// expiringIn is an adopted credential whose key has so many days left and became due
// so many days before its end.
func expiringIn(left, lead int, change func(*View)) View {
	v := View{Name: "maps", Portal: "esri", Owner: "Team Maps", Environment: "prod", Consumers: []string{"tile server", "web shop"}, Mode: rotate.ModeRotate,
		DueAt: at().Add(days(left - lead)),
		Record: rotate.Record{Name: "maps", AdoptedAt: at().Add(-days(300)), Phase: rotate.PhaseIdle, Blocked: rotate.ReasonBackoff, NextAt: at().Add(time.Hour),
			Live: rotate.KeyFacts{Slot: rotate.Slot1, Generation: 3, Expires: at().Add(days(left))}}}
	if change != nil {
		change(&v)
	}
	return v
}

func TestExpiring(t *testing.T) {
	hold := func(v *View) { v.Record.Hold = &rotate.Hold{Reason: "audit"} }
	watch := func(v *View) { v.Mode = rotate.ModeWatch }
	for _, tt := range []struct {
		name string
		view View
		step int // 0: nothing to say
		sev  Severity
		once bool
	}{
		{"far off", expiringIn(20, 10, watch), 0, "", false},
		{"scheduled: not due yet", expiringIn(13, 10, nil), 0, "", false},
		{"scheduled: due, and not late", expiringIn(12, 15, nil), 0, "", false},
		{"late", expiringIn(10, 15, nil), 1, SeverityWarning, true},
		{"under way", expiringIn(10, 15, func(v *View) { v.Record.Phase = rotate.PhaseMinting }), 0, "", false},
		{"under way and failing", expiringIn(10, 15, func(v *View) { v.Record.Phase, v.Record.Attempts = rotate.PhaseMinting, 1 }), 1, SeverityWarning, true},
		{"only watched", expiringIn(13, 10, watch), 1, SeverityWarning, true},
		{"held", expiringIn(13, 10, hold), 1, SeverityWarning, true},
		{"not adopted", expiringIn(13, 10, func(v *View) { v.Record.AdoptedAt = time.Time{} }), 1, SeverityWarning, true},
		{"in drift", expiringIn(13, 10, func(v *View) { v.Record.Drift = rotate.DriftSinkForeign }), 1, SeverityWarning, true},
		{"slot occupied", expiringIn(13, 10, func(v *View) { v.Record.Blocked = rotate.ReasonOccupied }), 1, SeverityWarning, true},
		{"second step", expiringIn(7, 30, watch), 2, SeverityWarning, true},
		{"last step", expiringIn(1, 30, watch), 4, SeverityCritical, false},
		{"expired", expiringIn(0, 30, nil), 5, SeverityCritical, false},
		{"unknown expiry", expiringIn(1, 30, func(v *View) { v.Record.Live.Expires = time.Time{} }), 0, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, ok := alerter(t).expiring(tt.view, at())
			if !ok {
				f = finding{}
			}
			if f.step != tt.step || f.severity != tt.sev && tt.step > 0 || f.once != tt.once && tt.step > 0 {
				t.Errorf("expiring = %+v, %v; want step %d %s once %v", f, ok, tt.step, tt.sev, tt.once)
			}
		})
	}
}

func TestEachStepIsSaidOnce(t *testing.T) {
	bubble(t, func(_ *testing.T, r *rig) {
		v := healthy("maps")
		v.Mode = rotate.ModeWatch
		v.Record.Live.Expires = time.Now().Add(days(15))
		var said []string
		for range 15*4 + 2 { // to half a day after the end
			r.check(v)
			time.Sleep(6*time.Hour - 30*time.Second)
			said = append(said, r.channel.take()...)
		}
		r.channel.take()
		want := []string{
			"maps: key expires in 14 days and no rotation is on its way",
			"maps: key expires in 7 days and no rotation is on its way",
			"maps: key expires in 3 days and no rotation is on its way",
			"maps: key expires in 24 hours and no rotation is on its way",
			"maps: the served key has expired",
		}
		if diff := cmp.Diff(want, said); diff != "" {
			r.t.Errorf("said (-want +got):\n%s", diff)
		}
	})
}

func TestFindings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*rotate.Record)
		want   []Condition
	}{
		{"healthy", func(*rotate.Record) {}, nil},
		{"two failures", func(r *rotate.Record) { r.Attempts = 2 }, nil},
		{"three failures", func(r *rotate.Record) { r.Attempts = 3 }, []Condition{ConditionFailing}},
		{"quarantine says it all", func(r *rotate.Record) { r.Attempts, r.Quarantine = 9, &rotate.Quarantine{} }, []Condition{ConditionQuarantined}},
		{"drift of a moment", func(r *rotate.Record) { r.Drift, r.DriftSince = rotate.DriftSinksDiffer, at().Add(-time.Minute) }, nil},
		{"drift that stays", func(r *rotate.Record) { r.Drift, r.DriftSince = rotate.DriftSinksDiffer, at().Add(-time.Hour) }, []Condition{ConditionDrift}},
		{"held before it is due", func(r *rotate.Record) { r.Hold = &rotate.Hold{Reason: "x"} }, nil},
		{"held and due", func(r *rotate.Record) { r.Hold, r.Live.Expires = &rotate.Hold{Reason: "x"}, at().Add(days(9)) }, []Condition{ConditionHeld, ConditionExpiring}},
		{"held until it expired", func(r *rotate.Record) { r.Hold, r.Live.Expires = &rotate.Hold{Reason: "x"}, at() }, []Condition{ConditionExpiring}},
		{"overlap", func(r *rotate.Record) { overlapped(r, 0); r.Blocked = rotate.ReasonGate }, nil},
		{"still in use for an hour", func(r *rotate.Record) { overlapped(r, time.Hour); r.Blocked = rotate.ReasonGate }, []Condition{ConditionStraggling}},
		{"vetoed for an hour", func(r *rotate.Record) { overlapped(r, time.Hour); r.Blocked = rotate.ReasonVeto }, []Condition{ConditionUnretired}},
		{"retiring late for the window", func(r *rotate.Record) { overlapped(r, time.Hour); r.Blocked = rotate.ReasonWindow }, nil},
		{"will not die", func(r *rotate.Record) { overlapped(r, time.Hour); r.Revoke.Attempts = 3 }, []Condition{ConditionUnretired}},
		{"replaced, and used by somebody", func(r *rotate.Record) {
			r.Former = &rotate.Former{PromotedAt: at().Add(-100 * time.Hour), RetireAt: at().Add(-time.Hour)}
			r.Blocked = rotate.ReasonOccupied
		}, []Condition{ConditionUnretired}},
		{"the fleet is stopped", func(r *rotate.Record) { r.Due, r.Blocked = rotate.ReasonExpiring, rotate.ReasonFleetStop }, []Condition{ConditionStopped}},
		{"orphan", func(r *rotate.Record) { r.Slots[rotate.Slot2] = rotate.SlotState{Told: true, Active: true} }, []Condition{ConditionOrphan}},
		{"orphan that is gone", func(r *rotate.Record) { r.Slots[rotate.Slot2] = rotate.SlotState{Told: true} }, nil},
		{"slot occupied", func(r *rotate.Record) { r.Due, r.Blocked = rotate.ReasonMaxAge, rotate.ReasonOccupied }, []Condition{ConditionOccupied}},
		{"overdue", func(r *rotate.Record) { r.Live.Expires = at().Add(days(7)) }, []Condition{ConditionExpiring, ConditionOverdue}},
		{"overdue, expiry unknown", func(r *rotate.Record) { r.Live.Expires = time.Time{} }, []Condition{ConditionOverdue}},
		{"a dead key expires", func(r *rotate.Record) { r.DeadAt, r.Live.Expires = at(), at() }, []Condition{ConditionDead, ConditionExpiring}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := expiringIn(100, 10, nil)
			tt.change(&v.Record)
			v.DueAt, v.CriticalBefore = v.Record.Live.Expires.Add(-days(10)), days(3)
			var got []Condition
			for _, f := range alerter(t).findings(v, at()) {
				got = append(got, f.condition)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// overlapped has an old key whose overlap ended so long ago.
func overlapped(r *rotate.Record, ago time.Duration) {
	r.Phase, r.RetireAt = rotate.PhaseOverlap, at().Add(-ago)
	r.Previous = rotate.KeyFacts{Slot: rotate.Slot2, Fingerprint: "AT2_x", Generation: 2}
}

// TestAHoldWarnsWhenItCostsAndPagesWhenItKills: due, then critical, each said once at
// once; the config's hold too.
func TestAHoldWarnsWhenItCostsAndPagesWhenItKills(t *testing.T) {
	for _, by := range []string{"a person", "the config"} {
		var said []Severity
		for left := 15; left > 0; left-- {
			v := expiringIn(left, 10, nil)
			v.CriticalBefore = days(3)
			if by == "a person" {
				v.Record.Hold = &rotate.Hold{Reason: "audit"}
			} else {
				v.ConfigHold = "audit"
			}
			if f, ok := held(v, at()); ok && (len(said) == 0 || said[len(said)-1] != f.severity) {
				said = append(said, f.severity)
				if want := map[Severity]int{SeverityWarning: 10, SeverityCritical: 3}[f.severity]; left != want {
					t.Errorf("%s from %d days before the end, want %d", f.severity, left, want)
				}
			}
		}
		if !slices.Equal(said, []Severity{SeverityWarning, SeverityCritical}) {
			t.Errorf("%s: %v", by, said)
		}
	}
}

// pages are one message of each condition.
func pages(t *testing.T) map[string]Message {
	t.Helper()
	a := alerter(t)
	out := map[string]Message{}
	page := func(name string, c Condition, change func(*View)) {
		v := expiringIn(12, 30, change)
		v.Record.LastError = "mint slot 2 of item 4f0e: permanent (bad_date): the portal refused the date"
		a.holds, _ = a.holdings(Scene{Credentials: []View{v}}, at())
		if h := a.holds[keyOf(c, "maps")]; h != nil {
			out[name] = a.compose(&Alert{Key: h.key(), Condition: c, Subject: "maps", Owner: v.Owner, Environment: v.Environment, Portal: string(v.Portal),
				Severity: h.severity, RotationID: "01JA0000000000000000000000", Since: at().Add(-3 * time.Hour), State: StateOpen}, at())
		}
	}
	page("dead", ConditionDead, func(v *View) { v.Record.DeadAt = at().Add(-20 * time.Minute) })
	page("expiring", ConditionExpiring, nil)
	page("expiring_held", ConditionExpiring, func(v *View) {
		v.Record.Hold, v.Record.Blocked, v.DueAt = &rotate.Hold{}, rotate.ReasonHeld, at().Add(days(1))
	})
	page("held", ConditionHeld, func(v *View) {
		v.Record.Hold, v.Record.Blocked, v.CriticalBefore = &rotate.Hold{Reason: "audit"}, rotate.ReasonHeld, days(20)
	})
	page("unretired", ConditionUnretired, func(v *View) {
		overlapped(&v.Record, 2*time.Hour)
		v.Record.Revoke = rotate.Ladder{Attempts: 4, Error: "revoke slot 2: auth"}
	})
	page("stopped", ConditionStopped, func(v *View) { v.Record.Due, v.Record.Blocked = rotate.ReasonExpiring, rotate.ReasonFleetStop })
	page("orphan", ConditionOrphan, func(v *View) { v.Record.Slots[rotate.Slot2] = rotate.SlotState{Told: true, Active: true} })
	page("expiring_watched", ConditionExpiring, func(v *View) {
		v.Mode, v.Record.AdoptedAt, v.Record.Blocked = rotate.ModeWatch, time.Time{}, rotate.ReasonWatch
	})
	page("quarantined", ConditionQuarantined, func(v *View) { v.Record.Quarantine, v.Record.Blocked = &rotate.Quarantine{}, rotate.ReasonQuarantined })
	page("drift", ConditionDrift, func(v *View) {
		v.Record.Drift, v.Record.DriftSince, v.Record.Blocked = rotate.DriftSinkForeign, at().Add(-time.Hour), rotate.ReasonDrift
	})
	page("failing", ConditionFailing, func(v *View) { v.Record.Attempts, v.Record.Phase = 4, rotate.PhaseMinting })
	return out
}

func TestPagesSayEverything(t *testing.T) {
	all := pages(t)
	if len(all) != 11 {
		t.Fatalf("%d pages were composed, want 11", len(all))
	}
	for name, m := range all {
		for what, text := range map[string]string{"credential": m.Credential, "owner": m.Owner, "environment": m.Environment, "portal": m.Portal, "phase": m.Phase,
			"reason": m.Reason, "last error": m.LastError, "next attempt": m.NextAttempt, "command": m.Command, "rotation id": m.RotationID, "runbook": m.Runbook} {
			if text == "" {
				t.Errorf("%s: does not say the %s", name, what)
			}
		}
		if !strings.Contains(m.Breaks, "tile server, web shop") || !strings.Contains(m.Breaks, "2026-03-") {
			t.Errorf("%s: does not say what breaks and when: %q", name, m.Breaks)
		}
	}
}

func TestPagesGolden(t *testing.T) {
	all := pages(t)
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		got, err := json.MarshalIndent(all[name], "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		file := filepath.Join("testdata", name+".golden.json")
		if *updateGolden {
			if err := os.WriteFile(file, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got; regenerate with -update):\n%s", name, diff)
		}
	}
}

func TestWhen(t *testing.T) {
	now := at()
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{days(12) + time.Hour, "2026-03-13T13:00:00Z (in 12 days)"},
		{47 * time.Hour, "2026-03-03T11:00:00Z (in 47 hours)"},
		{days(2) - 1, "2026-03-03T11:59:59Z (in 47 hours)"},
		{90 * time.Second, "2026-03-01T12:01:30Z (in 90 seconds)"},
		{time.Second, "2026-03-01T12:00:01Z (in 1 second)"},
		{-5 * time.Minute, "2026-03-01T11:55:00Z (5 minutes ago)"},
	} {
		if got := When(now.Add(tt.d), now); got != tt.want {
			t.Errorf("When(%s) = %q, want %q", tt.d, got, tt.want)
		}
	}
}

func TestCommandIsSafeToPaste(t *testing.T) {
	v := View{Name: "it's; rm -rf /"}
	if got, want := command(v, ConditionDead, at()), `rotatord status 'it'\''s; rm -rf /'`; got != want {
		t.Errorf("command = %s, want %s", got, want)
	}
}
