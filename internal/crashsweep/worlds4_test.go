package crashsweep

import (
	"testing"
	"time"

	"rotatord/internal/rotate"
)

// TestSinkRestoredAndTheNewerKeyDies: the first sink goes back to a retired key, and the
// newer one that another sink still has dies before it is written back.
func TestSinkRestoredAndTheNewerKeyDies(t *testing.T) {
	inWorld(t, func(w *world) {
		before := w.sinks[0].Served().Version
		w.excuseSink(0) // dead when somebody makes the sink serve it again
		pause(w.untilDue())
		w.wantRested()
		w.excuseSink(1) // killed below
		w.sinks[0].Restore(before)
		if err := w.emu.RevokeOutOfBand(string(w.cred.ID.Item), int(w.record().Live.Slot)); err != nil {
			t.Fatal(err)
		}
		w.look()
		w.wantServedWithin(30 * time.Minute)
		w.wantRested()
	})
}

// TestSinkRestoredWhileAMintedKeyIsLost: the sinks go back to a retired key while a
// rotation is between its mint and its publication; the minted key dies with the process,
// or waits in memory.
func TestSinkRestoredWhileAMintedKeyIsLost(t *testing.T) {
	for _, killed := range []bool{true, false} {
		t.Run(map[bool]string{true: "killed", false: "in memory"}[killed], func(t *testing.T) {
			inWorld(t, func(w *world) {
				before := [2]rotate.Version{w.sinks[0].Served().Version, w.sinks[1].Served().Version}
				w.excuseSink(0) // it will be dead when somebody makes the sink serve it again
				pause(w.untilDue())
				w.wantRested()
				w.order(rotate.Command{Kind: rotate.CommandRotate})
				w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseProving })
				if killed {
					w.boot("one")
				}
				w.sinks[0].Restore(before[0])
				w.sinks[1].Restore(before[1])
				w.look()
				w.wantServedWithin(time.Hour)
				w.wantRested()
			})
		})
	}
}

// wantServedWithin: the first sink serves a key that works again before the time is up.
func (w *world) wantServedWithin(limit time.Duration) {
	w.t.Helper()
	works := func(rotate.AdvanceResult) bool {
		valid, _ := w.emu.KeyValid(w.sinks[0].Served().Key.Reveal())
		return valid
	}
	if !w.run(limit, works) {
		w.t.Errorf("no working key is served within %s: %+v", limit, w.record())
	}
}

// TestAClaimLeftBehindDoesNotTakeAPersonsSlot: a rotation is given up behind its claim,
// and a person makes a key in the slot that it named. That key is theirs, and is told.
func TestAClaimLeftBehindDoesNotTakeAPersonsSlot(t *testing.T) {
	inWorld(t, func(w *world) {
		w.order(rotate.Command{Kind: rotate.CommandRotate})
		w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseDating })
		w.order(rotate.Command{Kind: rotate.CommandHold, Text: "not now"})
		w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseIdle })
		spare := w.record().Live.Slot.Other()
		key, err := w.emu.MintOutOfBand(string(w.cred.ID.Item), int(spare), time.Now().Add(200*day))
		if err != nil {
			t.Fatal(err)
		}
		w.order(rotate.Command{Kind: rotate.CommandResume})
		w.look()
		w.run(80*day, nil)
		if valid, why := w.emu.KeyValid(key); !valid {
			t.Errorf("the person's key is %s", why)
		}
		if r := w.record(); r.Blocked != rotate.ReasonOccupied || w.advances > 600 {
			t.Errorf("blocked by %s after %d advances", r.Blocked, w.advances)
		}
		w.check.excused[key] = true
		w.order(rotate.Command{Kind: rotate.CommandAdopt, Slot: spare})
		w.wantRested()
	})
}

// TestSinkRestoredAndTheNewerKeyExpired: as above, but it dies by its date, with its
// flag true.
func TestSinkRestoredAndTheNewerKeyExpired(t *testing.T) {
	inWorld(t, func(w *world) {
		before := w.sinks[0].Served().Version
		w.excuseSink(0)
		pause(w.untilDue())
		w.wantRested()
		w.excuseSink(1)
		w.order(rotate.Command{Kind: rotate.CommandHold, Text: "audit"})
		pause(time.Until(w.record().Live.LatestExpiry) - time.Hour)
		w.sinks[0].Restore(before)
		w.run(2*time.Hour, nil)
		w.order(rotate.Command{Kind: rotate.CommandResume})
		w.look()
		w.wantServedWithin(time.Hour)
		w.wantRested()
	})
}

// TestSinkRestoredAndTheNewerKeyReplacedByAPerson: its slot is flagged active, with a
// key of theirs; only its refusals tell.
func TestSinkRestoredAndTheNewerKeyReplacedByAPerson(t *testing.T) {
	inWorld(t, func(w *world) {
		before := w.sinks[0].Served().Version
		w.excuseSink(0)
		pause(w.untilDue())
		w.wantRested()
		w.excuseSink(1)
		theirs, err := w.emu.MintOutOfBand(string(w.cred.ID.Item), int(w.record().Live.Slot), time.Now().Add(80*day))
		if err != nil {
			t.Fatal(err)
		}
		w.sinks[0].Restore(before)
		w.look()
		w.wantServedWithin(2 * time.Hour)
		w.run(5*day, nil)
		if valid, why := w.emu.KeyValid(theirs); !valid {
			t.Errorf("the person's key is %s", why)
		}
	})
}
