package crashsweep

import (
	"testing"
	"time"

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
