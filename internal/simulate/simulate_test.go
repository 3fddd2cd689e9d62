package simulate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rotatord/internal/fleet"
	"rotatord/internal/rotate"
)

const day = 24 * time.Hour

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func policy() rotate.Policy {
	return rotate.Policy{RenewBefore: 30 * day, Overlap: 2 * day, CriticalBefore: 5 * day, Lifetime: 90 * day, Precision: rotate.PrecisionDay,
		MinInterval: day, MinGain: 2 * day, ProbeEvery: 6 * time.Hour, DeepEvery: day, EffectHorizon: 10 * time.Minute}
}

// serving is an adopted credential whose key ends in so many days.
func serving(name rotate.Name, days int, change func(*Credential)) Credential {
	k := rotate.KeyFacts{Slot: rotate.Slot1, Fingerprint: "AT1_x", Generation: 1, Expires: start.Add(time.Duration(days) * day), MintedAt: start.Add(time.Duration(days-90) * day)}
	k.LatestExpiry = k.Expires
	c := Credential{Name: name, ID: rotate.ID{Portal: "p", Item: rotate.ItemID(name)}, Mode: rotate.ModeRotate, Policy: policy(),
		Record: rotate.Record{Name: name, AdoptedAt: start.Add(-200 * day), PromotedAt: k.MintedAt, Phase: rotate.PhaseIdle, Live: k}}
	c.Record.Slots[rotate.Slot1] = rotate.SlotState{Use: rotate.UseLive, Key: k, Active: true, Expires: k.Expires}
	if change != nil {
		change(&c)
	}
	return c
}

func TestAYearOfOneKey(t *testing.T) {
	res := Run([]Credential{serving("maps", 50, nil)}, Options{From: start, Days: 365})
	var got []string
	for _, e := range res.Events {
		got = append(got, fmt.Sprintf("%s %s %s", dateOf(e.At), e.What, e.Slot))
	}
	want := "2026-01-21 rotates 2, 2026-01-23 retires 1, 2026-03-22 rotates 1, 2026-03-24 retires 2, 2026-05-21 rotates 2, 2026-05-23 retires 1, " +
		"2026-07-20 rotates 1, 2026-07-22 retires 2, 2026-09-18 rotates 2, 2026-09-20 retires 1, 2026-11-17 rotates 1, 2026-11-19 retires 2"
	if strings.Join(got, ", ") != want {
		t.Errorf("a year:\n%s\nwant\n%s", strings.Join(got, ", "), want)
	}
	if len(res.Dying)+len(res.Late)+len(res.Unknown) > 0 || len(res.Days) != 365 {
		t.Errorf("dying %v, late %v, unknown %v, %d days", res.Dying, res.Late, res.Unknown, len(res.Days))
	}
	for date, calls := range map[string]int{
		"2026-01-10": callsPerSurvey,                  // idle
		"2026-01-21": callsPerRotation + 4,            // rotated, and probed four times
		"2026-01-22": 4,                               // overlap
		"2026-01-23": callsPerRetire + callsPerSurvey, // retired
	} {
		for _, d := range res.Days {
			if d.Date == date && d.Calls != calls {
				t.Errorf("%s: %d calls, want %d", date, d.Calls, calls)
			}
		}
	}
}

// closedUntil is a calendar that never opens before a time.
type closedUntil struct{ opens time.Time }

func (c closedUntil) Closed(now time.Time) (rotate.Reason, time.Time) {
	if now.Before(c.opens) {
		return rotate.ReasonFrozen, c.opens
	}
	return "", time.Time{}
}

func TestWhatNobodyReplacesIsSaid(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*Credential)
		why    string // "" is no death
	}{
		"rotated":       {nil, ""},
		"watched":       {func(c *Credential) { c.Mode = rotate.ModeWatch }, "it is only watched"},
		"never adopted": {func(c *Credential) { c.Record.AdoptedAt = time.Time{} }, "it was never adopted"},
		"never adopted, and nothing is known of its sink": {func(c *Credential) {
			c.Record.AdoptedAt, c.Record.Live = time.Time{}, rotate.KeyFacts{}
		}, "it was never adopted"},
		"quarantined":        {func(c *Credential) { c.Record.Quarantine = &rotate.Quarantine{Reason: "x"} }, "it is quarantined: x"},
		"held by the config": {func(c *Credential) { c.Hold = "audit" }, "the config holds it: audit"},
		"held":               {func(c *Credential) { c.Record.Hold = &rotate.Hold{Reason: "r", By: "ann"} }, "it is held by ann: r"},
		"held for a while": {func(c *Credential) {
			c.Record.Hold = &rotate.Hold{Reason: "r", By: "ann", Until: start.Add(40 * day)}
		}, ""},
		"held beyond its end": {func(c *Credential) {
			c.Record.Hold = &rotate.Hold{Reason: "r", By: "ann", Until: start.Add(60 * day)}
		}, "held by ann: r"},
		"in drift":      {func(c *Credential) { c.Record.Drift = rotate.DriftSinkForeign }, "it is in drift (sink_foreign)"},
		"occupied":      {func(c *Credential) { c.Record.Slots[rotate.Slot2] = rotate.SlotState{Active: true} }, "slot 2: a valid key of somebody unknown"},
		"frozen beyond": {func(c *Credential) { c.Policy.Calendar = closedUntil{start.Add(80 * day)} }, ""}, // critical_before beats it
	} {
		t.Run(name, func(t *testing.T) {
			res := Run([]Credential{serving("maps", 50, row.change)}, Options{From: start, Days: 60})
			switch {
			case row.why == "" && len(res.Dying) > 0:
				t.Errorf("dies: %+v", res.Dying)
			case row.why != "" && (len(res.Dying) != 1 || !strings.HasPrefix(res.Dying[0].Detail, row.why) || !res.Dying[0].At.Equal(start.Add(50*day))):
				t.Errorf("dying: %+v, want because %s", res.Dying, row.why)
			}
		})
	}
}

func TestAFreezeMakesItLate(t *testing.T) {
	c := serving("maps", 50, func(c *Credential) { c.Policy.Calendar = closedUntil{start.Add(80 * day)} })
	res := Run([]Credential{c}, Options{From: start, Days: 60})
	if len(res.Late) != 1 || res.Late[0].Left > int64(5*day/time.Second) || res.Late[0].Left < int64((5*day-time.Hour)/time.Second) {
		t.Errorf("late: %+v", res.Late)
	}
}

// aMinuteADay is a calendar that is open for the first minute of each day.
type aMinuteADay struct{}

func (aMinuteADay) Closed(now time.Time) (rotate.Reason, time.Time) {
	midnight := now.Truncate(day)
	if now.Before(midnight.Add(time.Minute)) {
		return "", time.Time{}
	}
	return rotate.ReasonWindow, midnight.Add(day)
}

// TestALimitThatIsTooNarrow: a hundred keys that end on one day, a minute a day, and one
// at once; who dies first goes first.
func TestALimitThatIsTooNarrow(t *testing.T) {
	var all []Credential
	for i := range 100 {
		all = append(all, serving(rotate.Name(fmt.Sprintf("c%02d", i)), 50, func(c *Credential) {
			c.Policy.Calendar, c.Policy.CriticalBefore = aMinuteADay{}, time.Second
			if i == 99 {
				c.Record.Live.Expires = c.Record.Live.Expires.Add(-time.Hour)
			}
		}))
	}
	res := Run(all, Options{From: start, Days: 60, CutOver: time.Minute, Fleet: fleet.Policy{AtOnce: 1}})
	first := map[rotate.Name]bool{}
	for _, e := range res.Events {
		if e.What == Rotates {
			first[e.Name] = true
		}
	}
	whys := map[string]int{}
	both := map[rotate.Name]bool{}
	for _, e := range res.Dying {
		whys[e.Detail]++
		both[e.Name] = true
	}
	died := len(both)
	for name := range first {
		both[name] = true
	}
	if died < 60 || len(both) != 100 || !first["c99"] {
		t.Errorf("%d rotated, %d died, %d in all", len(first), died, len(both))
	}
	if whys["as many rotations are under way as may be"]+whys["1 of at most 1 rotations are under way"] == 0 {
		t.Errorf("died because %v", whys)
	}
	wide := Run(all, Options{From: start, Days: 60, CutOver: time.Second, Fleet: fleet.Policy{AtOnce: 10}})
	if len(wide.Dying) > 0 {
		t.Errorf("ten at once: %d died, the first because %q", len(wide.Dying), wide.Dying[0].Detail)
	}
}

func TestUnknownEnds(t *testing.T) {
	c := serving("maps", 50, func(c *Credential) { c.Mode, c.Record.Live.Expires = rotate.ModeWatch, time.Time{} })
	res := Run([]Credential{c}, Options{From: start, Days: 60})
	if len(res.Unknown) != 1 || len(res.Dying) != 0 {
		t.Errorf("%+v", res)
	}
}

func TestOneRunIsLikeTheOther(t *testing.T) {
	var all []Credential
	for i := range 50 {
		all = append(all, serving(rotate.Name(fmt.Sprint(i)), 40+i%3, nil))
	}
	o := Options{From: start, Days: 200, Fleet: fleet.Policy{AtOnce: 2}}
	if a, b := fmt.Sprint(Run(all, o)), fmt.Sprint(Run(all, o)); a != b {
		t.Error("two runs of one fleet differ")
	}
}

func BenchmarkRun(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		var all []Credential
		for i := range n {
			all = append(all, serving(rotate.Name(fmt.Sprint(i)), 31+i%59, nil))
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				Run(all, Options{From: start, Days: 400})
			}
		})
	}
}

func TestACutOverThatTakesLongerThanTheKeyLives(t *testing.T) {
	res := Run([]Credential{serving("maps", 1, nil)}, Options{From: start, Days: 3, CutOver: 30 * time.Hour})
	if len(res.Dying) != 1 || !strings.HasPrefix(res.Dying[0].Detail, "its rotation began too late") {
		t.Errorf("%+v", res.Dying)
	}
}
