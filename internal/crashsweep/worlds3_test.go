package crashsweep

import (
	"context"
	"strings"
	"testing"
	"time"

	"rotatord/internal/journal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

func TestItemDeletedByAPerson(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range w.sinks {
			w.excuseSink(i)
		}
		served := w.sinks[0].Served().Version
		if err := w.emu.DeleteItem(string(w.cred.ID.Item)); err != nil {
			w.t.Fatal(err)
		}
		w.look()
		w.run(100*day, nil)
		w.wantDrift(rotate.DriftItemGone)
		w.wantMints(1)
		if got := w.sinks[0].Served().Version; got != served {
			w.t.Errorf("the sink was written though the item is gone: version %s, was %s", got, served)
		}
	})
}

func TestDateOfTheLiveSlotEditedByAPerson(t *testing.T) {
	for name, date := range map[string]time.Duration{"later": 300 * day, "sooner": 40 * day, "past": -day, "unset": 0} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				at := time.Time{}
				if date != 0 {
					at = time.Now().Add(date)
				}
				if err := w.emu.SetDateOutOfBand(string(w.cred.ID.Item), int(w.record().Live.Slot), at); err != nil {
					w.t.Fatal(err)
				}
				w.look()
				w.run(2*day, nil)
				if r := w.record(); name != "unset" && r.Drift != rotate.DriftDates && r.Live.Generation == 1 {
					w.t.Errorf("the disagreement of the dates is not told: drift %q", r.Drift)
				}
				// Whatever the item says, the key is replaced before its own end.
				w.run(95*day, nil)
				if g := w.record().Live.Generation; g < 2 {
					w.t.Errorf("generation %d after 97 days", g)
				}
				w.wantRested()
			})
		})
	}
}

func TestFlagThatIsFalseWhileTheKeyWorks(t *testing.T) {
	inWorld(t, func(w *world) {
		rotateToOverlap(w)
		// A portal whose revocations are slow: the flag is false at once, the key works on.
		if err := w.emu.SetSwitch(portaltest.SwitchRevokePropagation, "1m"); err != nil {
			w.t.Fatal(err)
		}
		w.excuseSink(0)
		if err := w.emu.RevokeOutOfBand(string(w.cred.ID.Item), int(w.record().Live.Slot)); err != nil {
			w.t.Fatal(err)
		}
		w.look()
		if res := w.advance(); res.Effect == rotate.EffectMint || res.Effect == rotate.EffectRevoke || res.Effect == rotate.EffectClaim {
			w.t.Errorf("%s while the flag says dead and the probe says alive", res.Effect)
		}
		w.wantDrift(rotate.DriftFlag)
		w.wantRested()
	})
}

func TestASlotSwapBehindItsBack(t *testing.T) {
	inWorld(t, func(w *world) {
		// A person makes a key in the spare slot and puts it into both sinks by hand.
		spare := w.record().Live.Slot.Other()
		key, err := w.emu.MintOutOfBand(string(w.cred.ID.Item), int(spare), time.Now().Add(200*day))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, s := range w.sinks {
			s.Overwrite(rotate.NewSecret(key), s.Served().Meta)
		}
		w.look()
		w.run(120*day, nil)
		w.wantDrift(rotate.DriftSinkForeign)
		w.wantMints(1)
		// `adopt` takes what is served.
		w.check.excused[key] = true
		w.order(rotate.Command{Kind: rotate.CommandAdopt})
		w.run(day, nil)
		w.wantDrift(rotate.DriftNone)
		if got := w.record().Live.Slot; got != spare {
			w.t.Errorf("adopted slot %s, want %s", got, spare)
		}
		pause(max(w.untilDue(), 0))
		w.wantRested()
	})
}

func TestARevokeThatIsALieIsRepeated(t *testing.T) {
	inWorld(t, func(w *world) {
		if _, err := w.emu.Inject(portaltest.Fault{Op: portaltest.OpRevoke, Kind: portaltest.Lie, Count: 3}); err != nil {
			w.t.Fatal(err)
		}
		w.order(rotate.Command{Kind: rotate.CommandRotate})
		w.wantRested()
	})
}

func TestAListThatDisagreesIsTold(t *testing.T) {
	inWorld(t, func(w *world) {
		live := w.record().Live
		list := func(at time.Time) {
			keys := [3]rotate.ListedKey{}
			keys[live.Slot] = rotate.ListedKey{Present: true, Expires: at}
			w.sess.Listed(keys)
			w.look()
			w.run(time.Minute, nil)
		}
		list(live.Expires)
		if r := w.record(); r.DatesDiffer != "" || !r.Slots[live.Slot].Listed.Equal(live.Expires) {
			w.t.Errorf("agreeing sources: %q, listed %s", r.DatesDiffer, r.Slots[live.Slot].Listed)
		}
		list(live.Expires.Add(-20 * day))
		r := w.record()
		if !strings.Contains(r.DatesDiffer, "the list of keys says") || r.Drift != rotate.DriftNone || !r.Live.Expires.Equal(live.Expires) {
			w.t.Errorf("a list that disagrees: %q, drift %q, expires %s", r.DatesDiffer, r.Drift, r.Live.Expires)
		}
		if n := w.told(rotate.EventDatesDiffer); n != 1 {
			w.t.Errorf("told %d times", n)
		}
		w.wantMints(1)
		pause(max(w.untilDue(), 0))
		w.wantRested()
		if r := w.record(); r.DatesDiffer != "" || !r.Slots[r.Live.Slot].Listed.IsZero() {
			w.t.Errorf("the new key inherits %q, listed %s", r.DatesDiffer, r.Slots[r.Live.Slot].Listed)
		}
	})
}

// told counts events of a kind in the credential's history.
func (w *world) told(k rotate.EventKind) (n int) {
	list, err := w.db.History(context.Background(), w.cred.Name, journal.Filter{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range list {
		if e.Kind == k {
			n++
		}
	}
	return n
}
