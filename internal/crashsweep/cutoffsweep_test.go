package crashsweep

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/journal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/usage"
)

// cutOffScenario is where a credential is when its budget is spent.
type cutOffScenario struct {
	name    string
	prepare func(w *world)
	// keys of ours that are to die, at most.
	keys int
	// mints that may still be made before the hold is there.
	mints int
	// foreign: somebody's key is in the spare slot, which lives on.
	foreign bool
}

func cutOffScenarios() []cutOffScenario {
	return []cutOffScenario{
		{name: "at rest", keys: 1, prepare: func(*world) {}},
		{name: "in overlap", keys: 2, prepare: func(w *world) { rotateUntil(w, rotate.PhaseOverlap) }},
		{name: "beside somebody's key", keys: 1, foreign: true, prepare: func(w *world) {
			if _, err := w.emu.MintOutOfBand(string(w.cred.ID.Item), int(w.record().Live.Slot.Other()), w.start.Add(200*day)); err != nil {
				w.t.Fatal(err)
			}
		}},
		{name: "asked to rotate", keys: 2, mints: 1, prepare: func(w *world) { rotateUntil(w, rotate.PhaseMinting) }},
		{name: "in mid-rotation", keys: 2, prepare: func(w *world) { rotateUntil(w, rotate.PhaseProving) }},
	}
}

func rotateUntil(w *world, phase rotate.Phase) {
	w.t.Helper()
	w.order(rotate.Command{Kind: rotate.CommandRotate})
	if !w.run(time.Hour, func(r rotate.AdvanceResult) bool { return r.Record.Phase == phase }) {
		w.t.Fatalf("never %s: %v", phase, w.steps)
	}
}

// play a cut-off under its faults, from the spent budget into the next day. The day has
// two hours left: a runner looks often while keys are cut off.
func (s cutOffScenario) play(w *world) outcome {
	faults := w.faults
	w.faults = nil
	settled(w)
	midnight := w.start.Add(3 * day)
	pause(time.Until(midnight) - 2*time.Hour)
	s.prepare(w)
	w.trace, w.faults, w.steps, w.advances = nil, faults, nil, 0
	before := len(ours(w))
	b := spend(w)
	done := func() bool {
		r := w.record()
		if r.Blocked == rotate.ReasonRebuilt { // rule 10; a person does what status says
			b.lock <- struct{}{}
			_ = w.try(rotate.Command{Kind: rotate.CommandConfirm})
			<-b.lock
		}
		return b.stage() == usage.StageDone && r.Request == nil
	}
	if !b.drive(100*time.Minute, done) {
		w.check.fail("the cut-off is %q after 100 minutes: %+v", b.stage(), w.record())
	}
	s.checkCut(b)
	made := len(ours(w))
	w.emu.FlushLate()
	b.drive(time.Until(midnight)-time.Minute, nil)
	s.checkCut(b)
	if n := len(ours(w)); n != made {
		w.check.fail("%d keys were minted while the budget was spent", n-made)
	}
	calls := len(w.trace) // what comes then is a rotation, which TestSweep breaks
	b.newDay(midnight)
	extra := w.check.end(before + s.mints + 1)
	if _, err := w.db.Verify(context.Background(), w.cred.Name); err != nil {
		w.check.fail("the history: %v", err)
	}
	return outcome{trace: w.trace[:calls], problems: w.check.problems, steps: w.steps, extra: extra}
}

// newDay brings a new key, and the budget is forgotten.
func (b *budgeted) newDay(midnight time.Time) {
	b.drive(time.Until(midnight)+6*time.Hour, nil)
	b.proc.stop()
	for _, sink := range b.sinks {
		sink.Settle()
	}
	b.run(8*day, nil)
	if r := b.record(); r.Hold != nil && r.Hold.Active(time.Now()) || r.Phase != rotate.PhaseIdle || r.Drift != rotate.DriftNone || r.Quarantine != nil {
		b.check.fail("not well on the next day: %+v", r)
	}
	if stage := b.stage(); stage != "" {
		b.check.fail("on the next day the cut-off is still %q", stage)
	}
}

// stage as it is on disk; "" without one.
func (b *budgeted) stage() usage.Stage {
	raw, ok, err := b.db.UsageState().Get(context.Background(), "cut-off/"+string(b.cred.Name))
	var c usage.CutOff
	if err == nil && ok {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		b.check.fail("the note of the cut-off: %v", err)
	}
	return c.Stage
}

// checkCut: our keys are dead, others' live on, and the history says who asked for it.
func (s cutOffScenario) checkCut(b *budgeted) {
	w := b.world
	for _, k := range validOurs(w) {
		w.check.fail("key %s of slot %d still works, the budget is spent", rotate.NewSecret(k.Secret).Fingerprint(), k.Slot)
	}
	foreign := 0
	for _, k := range w.emu.Keys() {
		if k.ItemID == w.other.ItemID && !k.Valid(w.emu.Now()) {
			w.check.fail("a key of another credential was %s", k.EndedBy)
		}
		if k.ItemID == string(w.cred.ID.Item) && k.OutOfBand && k.Valid(w.emu.Now()) {
			foreign++
		}
	}
	if s.foreign != (foreign > 0) {
		w.check.fail("somebody's key in the spare slot: %d, want it untouched: %v", foreign, s.foreign)
	}
	if len(b.asked) > s.keys {
		w.check.fail("slots were invalidated that nobody asked for: %v", b.asked)
	}
	s.checkHistory(b)
}

func (s cutOffScenario) checkHistory(b *budgeted) {
	entries, err := b.db.History(context.Background(), b.cred.Name, journal.Filter{})
	if err != nil {
		b.check.fail("read history: %v", err)
	}
	held, ordered, revoked := 0, map[rotate.Slot]int{}, map[rotate.Slot]bool{}
	for _, e := range entries {
		switch {
		case e.Actor == usage.Actor && e.Kind == rotate.EventHeld:
			held++
		case e.Actor == usage.Actor && e.Kind == rotate.EventRequested && e.Slot.Valid():
			ordered[e.Slot]++
		case e.Kind == rotate.EventEffect && e.Effect == rotate.EffectRevoke && e.Result == rotate.ResultOK:
			revoked[e.Slot] = true
		}
	}
	if held == 0 || len(ordered) < 1 {
		b.check.fail("the history has %d holds and the orders %v of the budget", held, ordered)
	}
	for slot, n := range ordered {
		if n > b.asked[slot] {
			b.check.fail("slot %d: %d orders in the history, %d were given", slot, n, b.asked[slot])
		}
		if !revoked[slot] {
			b.check.fail("slot %d was ordered to be invalidated, and the history has no revoke of it", slot)
		}
	}
	if r := b.record(); r.Hold == nil || r.Hold.By != usage.Actor {
		b.check.fail("the hold is %+v", r.Hold)
	}
}

func (s cutOffScenario) once(t *testing.T, dir string, faults []fault) (o outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, faults, nil)
		defer w.close()
		o = s.play(w)
	})
	return o
}

// cutKinds is how a call can be broken; a note also fails on a full disk.
func cutKinds(c call) []faultKind {
	kinds := c.kind.kinds()
	if c.what == noteCall {
		kinds = append(kinds, failBefore)
	}
	return kinds
}

// TestCutOffSweep: a spent budget takes the keys away, exactly those, whatever breaks and
// whenever the program dies; nothing is minted until the next day, which brings a new key.
// ROTATORD_SWEEP=full also breaks every ordered pair of effects and writes.
func TestCutOffSweep(t *testing.T) {
	stride := 97
	switch os.Getenv("ROTATORD_SWEEP") {
	case "full":
		stride = 3
	case "points":
		stride = 1 << 30
	}
	var all tally
	t.Run("all", func(t *testing.T) {
		for _, s := range cutOffScenarios() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.sweep(t, &all, stride)
			})
		}
	})
	fmt.Printf("cut-off: crash points: %d, pairs: %d, violations: %d, worst extra mints a crash: %d\n", all.points, all.pairs, all.violations, all.worst)
}

func (s cutOffScenario) sweep(t *testing.T, all *tally, stride int) {
	dir := scratch(t)
	base := s.once(t, dir, nil)
	all.add(t, s.name, nil, base)
	n := 0
	for at, c := range base.trace {
		for _, kind := range cutKinds(c) {
			first := fault{at, kind, c}
			o := s.once(t, dir, []fault{first})
			all.add(t, s.name, []fault{first}, o)
			all.mu.Lock()
			all.points++
			all.mu.Unlock()
			if !c.effectful() {
				continue
			}
			for at := first.at + 1; at < len(o.trace); at++ {
				if n++; n%stride != 0 || !o.trace[at].effectful() {
					continue
				}
				two := []fault{first, {at, o.trace[at].kind.kinds()[n%len(o.trace[at].kind.kinds())], o.trace[at]}}
				all.add(t, s.name, two, s.once(t, dir, two))
				all.mu.Lock()
				all.pairs++
				all.mu.Unlock()
			}
		}
	}
}

// TestCutOffBaseline: nothing breaks.
func TestCutOffBaseline(t *testing.T) {
	for _, s := range cutOffScenarios() {
		t.Run(s.name, func(t *testing.T) {
			o := s.once(t, scratch(t), nil)
			if len(o.problems) > 0 {
				t.Errorf("%v\nsteps:\n%s", o.problems, o.steps)
			}
			revokes := 0
			for _, c := range o.trace {
				if c == (call{callEffect, string(portaltest.OpRevoke)}) {
					revokes++
				}
			}
			t.Logf("%d calls, %d revokes", len(o.trace), revokes)
		})
	}
}
