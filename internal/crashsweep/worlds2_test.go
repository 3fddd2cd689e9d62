package crashsweep

import (
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

func TestTheFirstSinkThatIsDownIsNeverMintedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		w.sinks[0].SetFaults(func(op rotatetest.SinkOp) rotatetest.SinkFault {
			if op == rotatetest.SinkWrite {
				return rotatetest.SinkFault{Kind: rotatetest.SinkFailBefore, Err: &rotate.Error{Op: "write", Kind: rotate.KindPermanent, Cause: rotate.CauseForbidden}}
			}
			return rotatetest.SinkFault{}
		})
		w.order(rotate.Command{Kind: rotate.CommandRotate})
		w.run(5*day, nil)
		w.wantMints(1)
	})
}

func TestWatchModeHasNoEffects(t *testing.T) {
	dir := scratch(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, nil, nil)
		defer w.close()
		running(w)
		w.cred.Mode = rotate.ModeWatch
		w.cred.Policy.AutoAdopt = true
		events, version := len(w.emu.Events()), w.sinks[0].Served().Version
		w.run(100*day, nil)
		for _, e := range w.emu.Events()[events:] {
			if e.Kind != portaltest.EventSignedIn {
				t.Errorf("watch mode did %s", e.Kind)
			}
		}
		if got := w.sinks[0].Served().Version; got != version {
			t.Errorf("watch mode wrote into the sink: version %s, was %s", got, version)
		}
	})
}

func TestRegenerateAndInvalidateByHand(t *testing.T) {
	inWorld(t, func(w *world) {
		live := w.record().Live.Slot
		if err := w.try(rotate.Command{Kind: rotate.CommandRegenerate, Slot: live}); err == nil {
			w.t.Error("the served slot was regenerated without --outage-ok")
		}
		w.order(rotate.Command{Kind: rotate.CommandRegenerate, Slot: live.Other()})
		if !w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseOverlap && r.Step == "" }) {
			w.t.Fatal("no overlap after regenerate")
		}
		for _, s := range w.sinks {
			if slot := s.Served().Key.Fingerprint().Slot(); slot != live.Other() {
				w.t.Errorf("sink %s serves slot %s, want %s", s.Name(), slot, live.Other())
			}
		}
		if err := w.try(rotate.Command{Kind: rotate.CommandInvalidate, Slot: live.Other()}); err == nil {
			w.t.Error("the served slot was invalidated without --outage-ok")
		}
		w.check.excused[w.previousKey()] = true
		w.order(rotate.Command{Kind: rotate.CommandInvalidate, Slot: live})
		w.run(time.Hour, nil)
		if w.record().Slots[live].Use != rotate.UseEmpty {
			w.t.Errorf("slot %s is %q after invalidate", live, w.record().Slots[live].Use)
		}
		w.wantRested()
		w.excuseSink(0)
		w.order(rotate.Command{Kind: rotate.CommandRegenerate, Slot: live.Other(), OutageOK: true})
		w.wantRested()
	})
}

func (w *world) previousKey() string {
	for _, k := range ours(w) {
		if rotate.NewSecret(k.Secret).Fingerprint() == w.record().Previous.Fingerprint {
			return k.Secret
		}
	}
	return ""
}

// noRevoke drives for d and fails on any revocation.
func (w *world) noRevoke(d time.Duration, because string) {
	w.t.Helper()
	w.run(d, func(r rotate.AdvanceResult) bool {
		if r.Effect == rotate.EffectRevoke && r.Err == nil {
			w.t.Errorf("revoked although %s", because)
		}
		return false
	})
}

func TestNothingIsRetiredWhileALaterSinkShowsAForeignKey(t *testing.T) {
	inWorld(t, func(w *world) {
		rotateToOverlap(w)
		good := w.sinks[1].Served()
		w.sinks[1].Overwrite(rotate.NewSecret("somebody's own value"), nil)
		w.noRevoke(20*day, "sink b shows a foreign key")
		w.wantDrift(rotate.DriftSinkForeign)
		w.sinks[1].Overwrite(good.Key, good.Meta)
		w.look()
		w.wantRested()
	})
}

func TestNothingIsRetiredWhileTheServedKeyIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		rotateToOverlap(w)
		pause(time.Until(w.record().RetireAt))
		id, err := w.emu.Inject(portaltest.Fault{Op: portaltest.OpProve, Kind: portaltest.InvalidToken, Count: -1})
		if err != nil {
			w.t.Fatal(err)
		}
		w.noRevoke(8*time.Minute, "the served key is refused")
		w.emu.Withdraw(id)
		w.wantRested()
	})
}

func TestAHoldStopsStartsAndRetiring(t *testing.T) {
	inWorld(t, func(w *world) {
		rotateToOverlap(w)
		w.order(rotate.Command{Kind: rotate.CommandHold, Text: "release week"})
		w.noRevoke(20*day, "it is held")
		w.order(rotate.Command{Kind: rotate.CommandResume})
		w.wantRested()
		w.order(rotate.Command{Kind: rotate.CommandHold, Text: "release week"})
		mints := len(ours(w))
		w.run(w.untilDue()+10*day, nil)
		if got := len(ours(w)); got != mints {
			w.t.Errorf("minted %d keys while held", got-mints)
		}
		if r := w.record(); r.Blocked != rotate.ReasonHeld || r.Due != rotate.ReasonExpiring {
			w.t.Errorf("got due %q blocked %q, want expiring and held", r.Due, r.Blocked)
		}
	})
}

func TestACompromisedKeyDiesAtOnceAndOverridesAHold(t *testing.T) {
	inWorld(t, func(w *world) {
		w.order(rotate.Command{Kind: rotate.CommandHold, Text: "release week"})
		leaked := w.sinks[0].Served().Key
		w.check.excused[leaked.Reveal()] = true
		w.order(rotate.Command{Kind: rotate.CommandCompromised, Fingerprints: []rotate.Fingerprint{leaked.Fingerprint()}})
		if !w.run(time.Hour, func(rotate.AdvanceResult) bool { ok, _ := w.emu.KeyValid(leaked.Reveal()); return !ok }) {
			w.t.Error("the compromised key still works after an hour")
		}
		if r := w.record(); r.Request != nil {
			w.t.Errorf("the request is not spent: %+v", r.Request)
		}
		// The sink says so too, for a journal that is lost right now.
		if m := w.sinks[0].Served().Meta; m.RetireAt.After(time.Now()) {
			w.t.Errorf("the sink says that the leaked key may be used until %s", m.RetireAt)
		}
		w.wantMints(2)
	})
}

func TestAnOrphanIsRetiredAfterItsDelayOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.order(rotate.Command{Kind: rotate.CommandRotate})
		w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseProving })
		w.boot("one") // the key is lost; its rotation is given up by the quarantine below
		w.cred.Policy.MaxAttempts = 1
		w.run(time.Hour, func(r rotate.AdvanceResult) bool { return r.Record.Quarantine != nil })
		w.cred.Policy.MaxAttempts = 8
		w.order(rotate.Command{Kind: rotate.CommandResume})
		w.noRevoke(w.cred.Policy.OrphanDelay-2*time.Hour, "the orphan is younger than its delay")
		w.wantRested()
	})
}

func TestARotationThatGainsNothingIsNotRepeated(t *testing.T) {
	inWorld(t, func(w *world) {
		// The portal gives short lives whatever is asked for: every key is due at once.
		w.cred.Policy.Lifetime = 35 * day
		w.cred.Policy.RenewBefore = 40 * day
		w.run(120*day, nil)
		if got := len(ours(w)); got != 2 {
			w.t.Errorf("got %d mints in 120 days, want 2: a storm", got)
		}
		if w.record().Quarantine == nil {
			w.t.Error("not quarantined")
		}
	})
}

func TestALaterSinkThatIsDownExtendsTheOverlap(t *testing.T) {
	inWorld(t, func(w *world) {
		down := true
		w.sinks[1].SetFaults(func(rotatetest.SinkOp) rotatetest.SinkFault {
			if down {
				return rotatetest.SinkFault{Kind: rotatetest.SinkFailBefore}
			}
			return rotatetest.SinkFault{}
		})
		w.order(rotate.Command{Kind: rotate.CommandRotate})
		w.run(10*day, func(r rotate.AdvanceResult) bool {
			if r.Effect == rotate.EffectMint || r.Effect == rotate.EffectRevoke {
				w.t.Errorf("%s while a sink is down", r.Effect)
			}
			return false
		})
		down = false
		w.wantRested()
		w.wantMints(2)
	})
}

func TestServedKeyRevokedByAPerson(t *testing.T) {
	for _, where := range []string{"idle", "overlap"} {
		t.Run(where, func(t *testing.T) {
			inWorld(t, func(w *world) {
				if where == "overlap" {
					rotateToOverlap(w)
				}
				mints := len(ours(w))
				w.excuseSink(0)
				if err := w.emu.RevokeOutOfBand(string(w.cred.ID.Item), int(w.record().Live.Slot)); err != nil {
					w.t.Fatal(err)
				}
				w.look()
				if !w.run(2*time.Hour, func(rotate.AdvanceResult) bool {
					ok, _ := w.emu.KeyValid(w.sinks[0].Served().Key.Reveal())
					return ok
				}) {
					w.t.Error("the sinks still serve a dead key after 2 h")
				}
				if where == "overlap" && len(ours(w)) != mints {
					w.t.Error("a key was minted before the way back was taken")
				}
				w.wantRested()
			})
		})
	}
}

func TestPrivilegesEditedByAPersonKillsBothKeys(t *testing.T) {
	inWorld(t, func(w *world) {
		rotateToOverlap(w)
		for i := range w.sinks {
			w.excuseSink(i)
		}
		if err := w.emu.EditAppOutOfBand(string(w.cred.ID.Item), nil, []string{"premium:user:basemaps"}); err != nil {
			w.t.Fatal(err)
		}
		w.look()
		w.wantRested()
	})
}

func TestOldSlotRegeneratedByAPersonInTheOverlap(t *testing.T) {
	inWorld(t, func(w *world) {
		rotateToOverlap(w)
		old := w.record().Previous.Slot
		key, err := w.emu.MintOutOfBand(string(w.cred.ID.Item), int(old), time.Now().Add(200*day))
		if err != nil {
			w.t.Fatal(err)
		}
		w.run(20*day, nil)
		if ok, why := w.emu.KeyValid(key); !ok {
			w.t.Errorf("the person's key is %s", why)
		}
		if r := w.record(); r.Phase != rotate.PhaseIdle {
			w.t.Errorf("got phase %s, want idle", r.Phase)
		}
	})
}

func TestCompromisedRightAfterARollback(t *testing.T) {
	inWorld(t, func(w *world) {
		rotateToOverlap(w)
		w.order(rotate.Command{Kind: rotate.CommandRollback})
		w.run(time.Minute, func(r rotate.AdvanceResult) bool { return r.Record.Hold != nil && r.Step == rotate.StepNone })
		for _, k := range ours(w) {
			w.check.excused[k.Secret] = true
		}
		old := w.emu.Keys()
		w.order(rotate.Command{Kind: rotate.CommandCompromised})
		w.run(5*time.Minute, func(r rotate.AdvanceResult) bool { return r.Record.Request == nil && r.Step == rotate.StepNone })
		for _, k := range old {
			if ok, _ := w.emu.KeyValid(k.Secret); ok && k.ItemID == string(w.cred.ID.Item) {
				w.t.Errorf("key %s still works 5 minutes after it was declared compromised", rotate.NewSecret(k.Secret).Fingerprint())
			}
		}
		w.order(rotate.Command{Kind: rotate.CommandResume})
		w.wantRested()
	})
}
