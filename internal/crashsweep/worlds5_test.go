package crashsweep

import (
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

// replaced brings the world into the overlap of a replacement.
func replaced(w *world) {
	w.t.Helper()
	w.replace()
	if !w.run(day, func(r rotate.AdvanceResult) bool { return r.Step == rotate.StepPromote }) {
		w.t.Fatalf("no promotion: %v", w.steps)
	}
}

// TestSinkRestoredToTheItemBefore: a sink goes back to the time before a replacement,
// in its overlap or after its end.
func TestSinkRestoredToTheItemBefore(t *testing.T) {
	for _, late := range []bool{false, true} {
		for _, both := range []bool{false, true} {
			inWorld(t, func(w *world) {
				before := []rotate.Version{w.sinks[0].Served().Version, w.sinks[1].Served().Version}
				w.excuseSink(0)
				replaced(w)
				if late {
					w.run(10*day, nil)
				}
				w.sinks[0].Restore(before[0])
				if both {
					w.sinks[1].Restore(before[1])
				}
				w.look()
				w.wantServedWithin(time.Hour)
				w.wantRested()
				w.wantItem(1)
			})
		}
	}
}

// TestJournalLostInAReplacement: the sink says which item replaced which.
func TestJournalLostInAReplacement(t *testing.T) {
	inWorld(t, func(w *world) {
		replaced(w)
		w.loseJournal()
		w.look()
		w.run(day, nil)
		if r := w.record(); string(r.ID.Item) != w.items[1] || r.Former == nil {
			t.Errorf("rebuilt: %+v", r)
		}
		w.wantRested()
		w.wantItem(1)
	})
}

// TestAPersonUsesTheItemBefore: their key in the item that was replaced is left alone, and the
// item with it, until they take it away.
func TestAPersonUsesTheItemBefore(t *testing.T) {
	inWorld(t, func(w *world) {
		replaced(w)
		w.leavesTheirs(w.record().Former.Record.Live.Slot.Other())
	})
}

// TestAPersonRegeneratesTheKeyBefore: the slot is ours by the journal, and what is in it is not.
func TestAPersonRegeneratesTheKeyBefore(t *testing.T) {
	inWorld(t, func(w *world) {
		replaced(w)
		w.leavesTheirs(w.record().Former.Record.Live.Slot)
	})
}

// leavesTheirs mints a key in the former item by hand: it stays until its maker takes it away.
func (w *world) leavesTheirs(slot rotate.Slot) {
	w.t.Helper()
	theirs, err := w.emu.MintOutOfBand(w.items[0], int(slot), time.Now().Add(80*day))
	if err != nil {
		w.t.Fatal(err)
	}
	w.run(20*day, nil)
	r := w.record()
	if valid, why := w.emu.KeyValid(theirs); !valid || r.Former == nil || r.Blocked != rotate.ReasonOccupied {
		w.t.Errorf("their key is %s; blocked by %s; former %v", why, r.Blocked, r.Former)
	}
	if err := w.emu.RevokeOutOfBand(w.items[0], int(slot)); err != nil {
		w.t.Fatal(err)
	}
	w.wantRested()
	w.wantItem(1)
}

// TestItemBeforeDeletedByAPerson: nothing is left to retire.
func TestItemBeforeDeletedByAPerson(t *testing.T) {
	inWorld(t, func(w *world) {
		w.excuseSink(0)
		replaced(w)
		if err := w.emu.DeleteItem(w.items[0]); err != nil {
			t.Fatal(err)
		}
		w.wantRested()
		w.wantItem(1)
	})
}

// TestItemThatTakesOverDeletedByAPerson: before any key of it is served, the item before
// stays, as soon as its key cannot wait any more.
func TestItemThatTakesOverDeletedByAPerson(t *testing.T) {
	inWorld(t, func(w *world) {
		w.replace()
		w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Unserved() })
		if err := w.emu.DeleteItem(w.items[1]); err != nil {
			t.Fatal(err)
		}
		w.run(60*day, nil)
		for range 3 {
			if r := w.record(); r.Quarantine != nil {
				w.order(rotate.Command{Kind: rotate.CommandResume})
			}
			w.run(10*day, nil)
		}
		w.wantRested()
		w.wantItem(0)
		if !strings.Contains(strings.Join(w.steps, "\n"), "hand_back") {
			t.Errorf("steps: %v", w.steps)
		}
	})
}
