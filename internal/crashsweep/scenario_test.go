package crashsweep

import (
	"context"
	"slices"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// scenario prepares a world, then is driven under faults until it is done.
type scenario struct {
	name string
	// prepare brings the world to where the faults begin; it runs without any.
	prepare func(w *world)
	// begin is done at the fault's side of the line: a command, or time.
	begin func(w *world)
	// mints that an undisturbed run makes after prepare.
	mints int
	// end, if set, looks at what came of it.
	end func(w *world)
}

// wantItem checks that the nth item has the name in the end, and that the other is gone.
func (w *world) wantItem(n int) {
	r := w.record()
	if string(r.ID.Item) != w.items[n] || r.Former != nil {
		w.check.fail("item %s at the end, want %s; former %v", r.ID.Item, w.items[n], r.Former)
	}
	for i, id := range w.items {
		_, err := w.client.Item(context.Background(), rotate.ID{Portal: r.ID.Portal, Item: rotate.ItemID(id)})
		if there := err == nil; there != (i == n) {
			w.check.fail("item %d: %v", i, err)
		}
	}
}

func scenarios() []scenario {
	return []scenario{
		{name: "bootstrap", mints: 1, prepare: func(*world) {}, begin: adopt},
		{name: "adopt", mints: 0, prepare: running, begin: adopt},
		{name: "normal", mints: 1, prepare: settled, begin: func(w *world) { pause(w.untilDue()) }},
		{name: "rolled back", mints: 0, prepare: func(w *world) { settled(w); rotateToOverlap(w) }, begin: func(w *world) {
			_ = w.try(rotate.Command{Kind: rotate.CommandRollback})
		}},
		{name: "compromised", mints: 1, prepare: settled, begin: func(w *world) {
			for _, s := range w.sinks {
				w.check.excused[s.Served().Key.Reveal()] = true
			}
			_ = w.try(rotate.Command{Kind: rotate.CommandCompromised})
		}},
		{name: "hooks and gates", mints: 1, prepare: func(w *world) { settled(w); w.ask() }, begin: func(w *world) { pause(w.untilDue()) }},
		{name: "replaced", mints: 1, prepare: settled, begin: (*world).replace, end: func(w *world) { w.wantItem(1) }},
		{name: "replaced in an overlap", mints: 1, prepare: func(w *world) { settled(w); rotateToOverlap(w) }, begin: (*world).replace, end: func(w *world) { w.wantItem(1) }},
		{name: "replacement given up", mints: 0, prepare: settled, begin: func(w *world) {
			w.replace()
			w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Unserved() })
			_ = w.try(rotate.Command{Kind: rotate.CommandCancel})
		}, end: func(w *world) { w.wantItem(0) }},
	}
}

func adopt(w *world) { _ = w.try(rotate.Command{Kind: rotate.CommandAdopt}) }

// running: a credential that people made a key for by hand, and put into sink a.
func running(w *world) {
	key, err := w.emu.MintOutOfBand(string(w.cred.ID.Item), 2, time.Now().Add(80*day))
	if err != nil {
		w.t.Fatal(err)
	}
	w.sinks[0].Overwrite(rotate.NewSecret(key), nil)
	w.sinks[0].SetForeign("owner", "maps")
	w.sinks[1].Overwrite(rotate.NewSecret(key), nil)
	w.check.now("running")
}

// settled: adopted and bootstrapped long ago.
func settled(w *world) {
	adopt(w)
	if !w.run(5*day, w.idle) {
		w.t.Fatalf("no rest after bootstrap: %v", w.steps)
	}
}

// rotateToOverlap brings the world into the overlap of a rotation by hand.
func rotateToOverlap(w *world) {
	pause(2 * day)
	w.order(rotate.Command{Kind: rotate.CommandRotate})
	if !w.run(5*day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseOverlap }) {
		w.t.Fatalf("no overlap: %v", w.steps)
	}
}

func (w *world) untilDue() time.Duration {
	at, _ := rotate.DueAt(w.record(), w.cred.Policy)
	return time.Until(at)
}

// outcome of one run.
type outcome struct {
	trace    []call
	problems []string
	steps    []string
	extra    int
}

// play runs one scenario under its faults to the end.
func (s scenario) play(w *world) outcome {
	faults := w.faults
	w.faults = nil
	s.prepare(w)
	w.trace, w.faults = nil, faults
	w.steps = nil
	before := len(ours(w))
	s.begin(w)
	rest := false
	if s.name == "rolled back" {
		// The roll-back holds the credential; a person resumes it a day later.
		w.run(day, func(r rotate.AdvanceResult) bool {
			return r.Record.Hold != nil && r.Record.Phase == rotate.PhaseOverlap && r.Step == ""
		})
		if w.record().Hold == nil && w.record().Request == nil && w.record().Rotation == nil {
			w.check.fail("the roll-back was not done")
		}
		w.run(day, nil)
		_ = w.try(rotate.Command{Kind: rotate.CommandResume})
	}
	rest = w.run(25*day, w.idle)
	for _, sink := range w.sinks {
		sink.Settle()
	}
	w.emu.FlushLate()
	w.run(12*day, nil)
	if !rest {
		w.check.fail("no rest within 25 days: %+v", w.record())
	}
	if r := w.record(); r.Drift != rotate.DriftNone || r.Quarantine != nil {
		w.check.fail("not well at the end: drift %q (%s), quarantine %v", r.Drift, r.DriftDetail, r.Quarantine)
	}
	if s.end != nil {
		w.faults = nil
		s.end(w)
		w.faults = faults
	}
	extra := w.check.end(before + s.mints)
	return outcome{trace: w.trace, problems: w.check.problems, steps: w.steps, extra: extra}
}

func ours(w *world) []portaltest.KeyInfo {
	var keys []portaltest.KeyInfo
	for _, k := range w.emu.Keys() {
		if slices.Contains(w.items, k.ItemID) && !k.OutOfBand && k.EndedBy != portaltest.EndedNeverWas {
			keys = append(keys, k)
		}
	}
	return keys
}
