package usage

import (
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

func monthSpent(used float64) []Spent {
	first, next := today.month()
	return []Spent{{Period: PeriodMonth, From: first, Until: next, Budget: 100, Used: used, Share: used / 100}}
}

var cutting = Budget{PerMonth: 100, CutOff: true}

func keyInUse() Key {
	return Key{Mode: rotate.ModeRotate, Adopted: true, Working: []rotate.Slot{rotate.Slot2, rotate.Slot1}}
}

// TestCutOffRunsItsCourse gives what Decide asks for and looks at each order.
func TestCutOffRunsItsCourse(t *testing.T) {
	k := keyInUse()
	_, next := today.month()
	c, cmd := Decide(noon, cutting, monthSpent(100), nil, k)
	if c.Stage != StageHolding || cmd.Kind != rotate.CommandHold || !cmd.Until.Equal(next.Start()) || cmd.By != Actor {
		t.Fatalf("first %+v, order %+v", c, cmd)
	}
	for _, word := range []string{"100 of 100 credits", "month from 2026-11-01", "rotatord resume", "2026-12-01"} {
		if !strings.Contains(cmd.Text, word) {
			t.Errorf("the hold says %q, without %q", cmd.Text, word)
		}
	}
	// The order was not carried out: it is given again.
	if again, cmd := Decide(noon, cutting, monthSpent(100), c, k); again.Stage != StageHolding || cmd == nil || cmd.Kind != rotate.CommandHold {
		t.Errorf("after a crash %+v, order %+v", again, cmd)
	}
	k.Hold = &rotate.Hold{By: Actor, Reason: cmd.Text, Until: cmd.Until}
	c, cmd = Decide(noon, cutting, monthSpent(100), c, k)
	if c.Stage != StageInvalidating || cmd.Kind != rotate.CommandInvalidate || cmd.Slot != rotate.Slot2 || !cmd.OutageOK || cmd.By != Actor {
		t.Fatalf("then %+v, order %+v", c, cmd)
	}
	k.Busy = true
	if c, cmd = Decide(noon, cutting, monthSpent(101), c, k); c.Stage != StageInvalidating || cmd != nil {
		t.Fatalf("while it is carried out %+v, order %+v", c, cmd)
	}
	// A rotation that the hold stopped would stop the cut-off: it is dropped.
	k.Busy, k.Stopped = false, true
	if c, cmd = Decide(noon, cutting, monthSpent(101), c, k); c.Stage != StageInvalidating || cmd.Kind != rotate.CommandCancel || cmd.By != Actor || c.Tries != 1 {
		t.Fatalf("behind a stopped rotation %+v, order %+v", c, cmd)
	}
	k.Stopped, k.Working = false, []rotate.Slot{rotate.Slot1}
	if c, cmd = Decide(noon, cutting, monthSpent(101), c, k); cmd.Slot != rotate.Slot1 {
		t.Fatalf("the other slot: %+v, order %+v", c, cmd)
	}
	k.Working = nil
	if c, cmd = Decide(noon, cutting, monthSpent(102), c, k); c.Stage != StageDone || cmd != nil || !c.InForce() {
		t.Fatalf("in the end %+v, order %+v", c, cmd)
	}
	// A key that a person has made under the hold is left alone.
	k.Working = []rotate.Slot{rotate.Slot1}
	if c, cmd = Decide(noon, cutting, monthSpent(102), c, k); c.Stage != StageDone || cmd != nil {
		t.Errorf("a new key: %+v, order %+v", c, cmd)
	}
	// A person's hold takes the place of the budget's: still cut off.
	k.Hold = &rotate.Hold{By: "ann", Reason: "until the bill is paid"}
	if c, cmd = Decide(noon, cutting, monthSpent(102), c, k); c.Stage != StageDone || cmd != nil {
		t.Errorf("held by a person: %+v, order %+v", c, cmd)
	}
	// A person resumes: not again in this month, however much more is spent.
	k.Hold = nil
	for range 3 {
		if c, cmd = Decide(noon, cutting, monthSpent(5000), c, k); c.Stage != StageLifted || cmd != nil || c.InForce() {
			t.Fatalf("after resume %+v, order %+v", c, cmd)
		}
	}
	if c, cmd = Decide(noon, cutting, monthSpent(3), c, k); c.Stage != StageLifted || cmd != nil {
		t.Errorf("a correction makes it forget: %+v, order %+v", c, cmd)
	}
	// The next month begins afresh.
	later := next.Start().Add(time.Hour)
	if over, cmd := Decide(later, cutting, nil, c, k); over != nil || cmd != nil {
		t.Errorf("in the next month %+v, order %+v", over, cmd)
	}
	first, last := next.month()
	spent := []Spent{{Period: PeriodMonth, From: first, Until: last, Budget: 100, Used: 100, Share: 1}}
	if again, cmd := Decide(later, cutting, spent, c, k); again.Stage != StageHolding || cmd == nil || again.From != next {
		t.Errorf("spent in the next month %+v, order %+v", again, cmd)
	}
}

func TestCutOffIsForbidden(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Key)
		why    string
	}{
		"watched":            {func(k *Key) { k.Mode = rotate.ModeWatch }, "mode is watch"},
		"never adopted":      {func(k *Key) { k.Adopted = false }, "never adopted"},
		"held by the config": {func(k *Key) { k.ConfigHold = "audit" }, "audit"},
		"held by a person":   {func(k *Key) { k.Hold = &rotate.Hold{By: "ann", Reason: "release"} }, "held by ann: release"},
	} {
		k := keyInUse()
		c.change(&k)
		got, cmd := Decide(noon, cutting, monthSpent(100), nil, k)
		if got.Stage != StageBlocked || cmd != nil || !strings.Contains(got.Why, c.why) || got.InForce() {
			t.Errorf("%s: %+v, order %+v", name, got, cmd)
		}
		// Once nothing forbids it, it begins.
		if got, cmd := Decide(noon, cutting, monthSpent(100), got, keyInUse()); got.Stage != StageHolding || cmd == nil {
			t.Errorf("%s, then free: %+v, order %+v", name, got, cmd)
		}
	}
}

func TestNoCutOff(t *testing.T) {
	yesterday := Spent{Period: PeriodDay, From: today - 1, Until: today, Budget: 10, Used: 20, Share: 2}
	for name, c := range map[string]struct {
		b     Budget
		spent []Spent
	}{
		"not asked for":               {Budget{PerMonth: 100}, monthSpent(500)},
		"not spent":                   {cutting, monthSpent(99.9)},
		"yesterday's budget":          {Budget{PerDay: 10, CutOff: true}, []Spent{yesterday}},
		"nothing is known of its use": {cutting, nil},
	} {
		if got, cmd := Decide(noon, c.b, c.spent, nil, keyInUse()); got != nil || cmd != nil {
			t.Errorf("%s: %+v, order %+v", name, got, cmd)
		}
	}
}

func TestCutOffGivesUp(t *testing.T) {
	k := keyInUse()
	c, cmd := Decide(noon, cutting, monthSpent(100), nil, k)
	k.Hold = &rotate.Hold{By: Actor, Until: cmd.Until}
	orders := 0
	for range 20 {
		if c, cmd = Decide(noon, cutting, monthSpent(100), c, k); cmd != nil {
			orders++
		}
	}
	if c.Stage != StageStuck || orders != maxTries || c.Why == "" {
		t.Errorf("after %d refusals %+v", orders, c)
	}
}

func TestBudgetIsChanged(t *testing.T) {
	k := keyInUse()
	c, cmd := Decide(noon, cutting, monthSpent(100), nil, k)
	k.Hold = &rotate.Hold{By: Actor, Until: cmd.Until}
	for name, b := range map[string]Budget{"raised": {PerMonth: 500, CutOff: true}, "no cut-off any more": {PerMonth: 100}, "gone": {}} {
		got, cmd := Decide(noon, b, monthSpent(100)[:0], c, k)
		if got != nil || cmd == nil || cmd.Kind != rotate.CommandResume || cmd.By != Actor {
			t.Errorf("%s: %+v, order %+v", name, got, cmd)
		}
	}
	k.Hold = &rotate.Hold{By: "ann", Reason: "release"}
	if got, cmd := Decide(noon, Budget{}, nil, c, k); got != nil || cmd != nil {
		t.Errorf("a person's hold is ended with the budget: %+v, order %+v", got, cmd)
	}
}

// A month's budget that is spent while the day's is cut off holds on to the month's end.
func TestMonthAfterDay(t *testing.T) {
	b := Budget{PerDay: 10, PerMonth: 100, CutOff: true}
	day := Spent{Period: PeriodDay, From: today, Until: today + 1, Budget: 10, Used: 20, Share: 2}
	k := keyInUse()
	c, cmd := Decide(noon, b, []Spent{day}, nil, k)
	if !cmd.Until.Equal((today + 1).Start()) {
		t.Fatalf("the day's hold ends %s", cmd.Until)
	}
	k.Hold, k.Working = &rotate.Hold{By: Actor, Until: cmd.Until}, nil
	c, _ = Decide(noon, b, []Spent{day}, c, k)
	_, next := today.month()
	if c, cmd = Decide(noon, b, append(monthSpent(100), day), c, k); c.Period != PeriodMonth || cmd == nil || !cmd.Until.Equal(next.Start()) {
		t.Fatalf("%+v, order %+v", c, cmd)
	}
	k.Hold = &rotate.Hold{By: Actor, Until: cmd.Until}
	if c, cmd = Decide(noon, b, append(monthSpent(100), day), c, k); c.Stage != StageDone || cmd != nil {
		t.Errorf("%+v, order %+v", c, cmd)
	}
}

func TestKeyOf(t *testing.T) {
	r := rotate.Record{AdoptedAt: noon, Live: rotate.KeyFacts{Slot: rotate.Slot2, Fingerprint: "x"}}
	r.Slots[1] = rotate.SlotState{Use: rotate.UsePrevious, Active: true}
	r.Slots[2] = rotate.SlotState{Use: rotate.UseLive, Active: true}
	if k := KeyOf(r, rotate.ModeRotate, "", noon); len(k.Working) != 2 || k.Working[0] != rotate.Slot2 || k.Busy || !k.Adopted || k.Hold != nil {
		t.Errorf("in overlap: %+v", k)
	}
	r.Slots[1].Use = rotate.UseUnknown // somebody else's
	r.Hold = &rotate.Hold{By: "ann", Until: noon}
	r.Request = &rotate.Request{}
	if k := KeyOf(r, rotate.ModeRotate, "audit", noon); len(k.Working) != 1 || !k.Busy || k.Hold != nil || k.ConfigHold != "audit" {
		t.Errorf("beside somebody's key, under an ended hold: %+v", k)
	}
	r.Slots[1] = rotate.SlotState{Use: rotate.UseEmpty, Active: true} // somebody's, not told apart yet
	r.Request.Kind = rotate.RequestRotate
	if k := KeyOf(r, rotate.ModeRotate, "", noon); len(k.Working) != 1 || k.Busy || !k.Stopped {
		t.Errorf("beside a new key of somebody's, asked to rotate: %+v", k)
	}
	r.Phase = rotate.PhaseProving
	if k := KeyOf(r, rotate.ModeRotate, "", noon); !k.Busy || k.Stopped {
		t.Errorf("in a rotation: %+v", k)
	}
	r.Slots[2].Active, r.DeadAt = false, noon
	if k := KeyOf(r, rotate.ModeRotate, "", noon); len(k.Working) != 0 {
		t.Errorf("dead: %+v", k)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 100: "100", 1.5: "1.5", 812.41: "812.41", 0.004: "0", 10.1: "10.1"} {
		if got := number(v); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
}
