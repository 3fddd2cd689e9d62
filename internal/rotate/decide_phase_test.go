package rotate

import (
	"testing"
	"time"
)

// working is a row's want for the rotation of phaseIn.
func working(w want) want { w.Due = ReasonExpiring; return w }

func minted(in *In) { in.Record.Rotation.Mints = 1 }

// republish turns phaseIn's rotation into one that writes the live key back.
func republish(in *In) {
	rot := in.Record.Rotation
	rot.Reason, rot.Republish, rot.Target, rot.New = ReasonRestore, true, Slot1, in.Record.Live
	rot.New.Generation, rot.Mints = 5, 0
	in.Mem.Minted = ""
	in.View.OldHad, in.View.Old = true, Proof{Valid: true}
}

func restored(w want) want { w.Due = ReasonRestore; return w }

func occupiedTarget(in *In) {
	in.View.App.Active[Slot2] = true
	in.Record.Slots[Slot2] = SlotState{Use: UseUnknown, Active: true}
}

func staleClaim(in *In) { in.Mem.ClaimFresh = false }

// sent is a mint of that age and outcome whose key is in no memory.
func sent(age time.Duration, o Outcome) func(in *In) {
	return func(in *In) {
		in.Mem.Minted = ""
		in.Record.Rotation.Mints = 1
		in.Record.Slots[Slot2] = SlotState{Use: UseOwn, Intent: &Intent{Effect: EffectMint, RotationID: "R1", SentAt: t0().Add(-age), Outcome: o}}
	}
}

func TestDecideClaiming(t *testing.T) {
	abort := func(b Reason) want { return working(want{Step: StepAbort, Blocked: b}) }
	claim := working(want{Step: StepClaim, Slot: Slot2})
	runDecide(t, inPhase(PhaseClaiming), []decideRow{
		{"claim", func(*In) {}, claim},
		{"claim again over our own old claim", claimBy("here", time.Hour), claim},
		{"backing off", backingOff, working(want{Blocked: ReasonBackoff})},
		{"held before the mint", held, abort(ReasonHeld)},
		{"held before the mint, compromised", with(held, func(in *In) { in.Record.Rotation.Compromised = true }), claim},
		{"held after the mint", with(held, minted), claim},
		{"quarantined before the mint", quarantined, abort(ReasonHeld)},
		{"quarantined after the mint", with(quarantined, minted), claim},
		{"watch before the mint", watching, abort(ReasonWatch)},
		{"watch after the mint, the key lost", with(watching, minted), abort(ReasonWatch)},
		{"first sink down", sinkDown(0), working(want{Step: StepFail, Blocked: ReasonUnreachable})},
		{"later sink down", sinkDown(1), claim},
		{"another rotatord's young claim", claimBy("there", 9*time.Minute), working(want{Blocked: ReasonForeignClaim})},
		{"another rotatord's old claim", claimBy("there", 11*time.Minute), abort(ReasonDrift)},
		{"another rotatord wrote, after our mint", with(instance("there"), minted), working(want{Blocked: ReasonDrift})},
		{"a foreign key", shows(0, prevKey(), 0), abort(ReasonDrift)},
		{"a foreign key after our mint", with(shows(0, prevKey(), 0), minted), working(want{Blocked: ReasonDrift})},
		{"a foreign key, outage accepted", with(shows(0, prevKey(), 0), func(in *In) { in.Record.Rotation.OutageOK = true }), claim},
		{"vanished", vanish(0), abort(ReasonDrift)},
		{"the new key is there after all", func(in *In) {
			in.Record.Rotation.New = facts(newKey(), 5, t0(), t0())
			shows(0, newKey(), 5)(in)
		}, working(want{Step: StepCommit})},
		{"bootstrap", func(in *In) {
			in.Record.Live, in.Record.Slots[Slot1] = KeyFacts{}, SlotState{}
			in.View.Sinks[0].Entry, in.View.Sinks[1].Entry = Entry{}, Entry{}
		}, claim},
		{"write back a vanished key", with(republish, vanish(0)), restored(want{Step: StepClaim, Slot: Slot1})},
		{"write back over an older key", with(republish, shows(0, prevKey(), 3)), restored(want{Step: StepClaim, Slot: Slot1})},
		{"nothing to write back any more", republish, restored(want{Step: StepAbort})},
		{"write back while held", with(republish, vanish(0), held), restored(want{Step: StepClaim, Slot: Slot1})},
	})
}

func TestDecideDating(t *testing.T) {
	runDecide(t, inPhase(PhaseDating), []decideRow{
		{"date", func(*In) {}, working(want{Step: StepDate, Slot: Slot2})},
		{"owner unknown", func(in *In) { in.Record.Owner = "" }, working(want{Step: StepDate, Slot: Slot2})},
		{"backing off", backingOff, working(want{Blocked: ReasonBackoff})},
		{"held", held, working(want{Step: StepAbort, Blocked: ReasonHeld})},
		{"stale claim", staleClaim, working(want{Step: StepReclaim})},
		{"portal down", func(in *In) { in.View.Errs[NeedApp] = errDown }, working(want{Step: StepFail, Blocked: ReasonUnreachable})},
		{"somebody minted meanwhile", func(in *In) { in.View.App.Active[Slot2] = true }, working(want{Step: StepAbort, Blocked: ReasonOccupied})},
		{"the taken slot was active before", func(in *In) {
			occupiedTarget(in)
			in.Record.Slots[Slot2].Taken, in.Record.Rotation.TargetWasActive = true, true
		}, working(want{Step: StepDate, Slot: Slot2})},
		{"an unknown outcome", func(in *In) { in.Mem.InFlight[Slot2] = true }, working(want{Blocked: ReasonHorizon})},
		{"our own lost key", with(sent(time.Hour, OutcomeFailed), func(in *In) { in.View.App.Active[Slot2] = true }), working(want{Step: StepDate, Slot: Slot2})},
		{"somebody unknown, after our mint", with(occupiedTarget, minted, func(in *In) { in.Record.Slots[Slot2].Use = UseLive }), working(want{Step: StepAbort, Blocked: ReasonOccupied})},
	})
}

func TestDecideMinting(t *testing.T) {
	mint := working(want{Step: StepMint, Slot: Slot2})
	reclaim := working(want{Step: StepReclaim})
	drift := working(want{Step: StepAbort, Blocked: ReasonDrift})
	claim := func(change func(c *Claim)) func(in *In) {
		return func(in *In) { change(in.View.Sinks[0].Entry.Meta.Claim) }
	}
	runDecide(t, inPhase(PhaseMinting), []decideRow{
		{"mint", func(*In) {}, mint},
		{"backing off", backingOff, working(want{Blocked: ReasonBackoff})},
		{"held", held, working(want{Step: StepAbort, Blocked: ReasonHeld})},
		{"held after a mint", with(held, minted), mint},
		{"stale claim", staleClaim, reclaim},
		{"the sink was written since", func(in *In) { in.View.Sinks[0].Entry.Version = "9" }, reclaim},
		{"the claim is another rotation's", claim(func(c *Claim) { c.RotationID = "R9" }), reclaim},
		{"the claim is another rotatord's", claim(func(c *Claim) { c.Instance = "there" }), reclaim},
		{"the claim is gone", func(in *In) { in.View.Sinks[0].Entry.Meta.Claim = nil }, reclaim},
		{"first sink down", sinkDown(0), working(want{Step: StepFail, Blocked: ReasonUnreachable})},
		{"later sink down", sinkDown(1), working(want{Step: StepFail, Blocked: ReasonUnreachable})},
		{"later sink down, dead", with(deadKey, sinkDown(1), func(in *In) { in.Record.Rotation.Reason = ReasonDead }), want{Step: StepMint, Due: ReasonDead, Slot: Slot2}},
		{"portal down", func(in *In) { in.View.Errs[NeedApp] = errDown }, working(want{Step: StepFail, Blocked: ReasonUnreachable})},
		{"somebody minted meanwhile", func(in *In) { in.View.App.Active[Slot2] = true }, working(want{Step: StepAbort, Blocked: ReasonOccupied})},
		{"served key refused", refusedKey, working(want{Blocked: ReasonSuspect})},
		{"a later sink differs", shows(1, testKey(Slot1, "older"), 3), drift},
		{"a later sink differs, after a mint", with(shows(1, testKey(Slot1, "older"), 3), minted), working(want{Blocked: ReasonDrift})},
		{"a later sink serves the target", shows(1, prevKey(), 3), working(want{Step: StepAbort, Blocked: ReasonOccupied})},
		{"generations differ", func(in *In) { in.View.Sinks[1].Entry.Meta.Key.Generation = 3 }, drift},
		{"its flag is false and it works", func(in *In) { in.View.App.Active[Slot1] = false }, drift},
		{"the key is in memory", func(in *In) { in.Mem.Minted = newKey().Fingerprint() }, working(want{Step: StepProve, Slot: Slot2})},
		{"pending intent", sent(time.Minute, OutcomePending), working(want{Blocked: ReasonHorizon})},
		{"unknown outcome", sent(9*time.Minute, OutcomeUnknown), working(want{Blocked: ReasonHorizon})},
		{"the key is lost, horizon over", sent(10*time.Minute, OutcomeUnknown), working(want{Step: StepReclaim, Slot: Slot2})},
		{"the key is lost, horizon over by the wall clock only", with(sent(10*time.Minute, OutcomePending), func(in *In) { in.Mem.InFlight[Slot2] = true }),
			working(want{Blocked: ReasonHorizon})},
		{"the mint is known not to have happened", sent(time.Minute, OutcomeFailed), mint},
	})
}

func TestDecideProving(t *testing.T) {
	runDecide(t, inPhase(PhaseProving), []decideRow{
		{"prove", func(*In) {}, working(want{Step: StepProve, Slot: Slot2})},
		{"held: it runs on", held, working(want{Step: StepProve, Slot: Slot2})},
		{"watch: it runs on", watching, working(want{Step: StepProve, Slot: Slot2})},
		{"backing off", backingOff, working(want{Blocked: ReasonBackoff})},
		{"the key is lost", sent(time.Minute, OutcomeDone), working(want{Blocked: ReasonHorizon})},
		{"the key is lost, horizon over", sent(11*time.Minute, OutcomeDone), working(want{Step: StepReclaim, Slot: Slot2})},
	})
}

func TestDecidePublishing(t *testing.T) {
	publish := working(want{Step: StepPublish, Slot: Slot2})
	waits := working(want{Blocked: ReasonDrift})
	runDecide(t, inPhase(PhasePublishing), []decideRow{
		{"publish", func(*In) {}, publish},
		{"held: it runs on", held, publish},
		{"quarantined: it runs on", quarantined, publish},
		{"backing off", backingOff, working(want{Blocked: ReasonBackoff})},
		{"the proof is old", func(in *In) { in.Mem.ProofFresh = false }, working(want{Step: StepProve, Slot: Slot2})},
		{"first sink down", sinkDown(0), working(want{Step: StepFail, Blocked: ReasonUnreachable})},
		{"later sink down", sinkDown(1), publish},
		{"our own write arrived", shows(0, newKey(), 5), working(want{Step: StepCommit})},
		{"our own write arrived, and its key is in no memory", with(sent(time.Minute, OutcomeDone), shows(0, newKey(), 5)), working(want{Step: StepCommit})},
		{"a newer version with the old key", func(in *In) { in.View.Sinks[0].Entry.Version = "11" }, publish},
		{"vanished meanwhile", vanish(0), publish},
		{"a third key", shows(0, testKey(Slot2, "third"), 0), waits},
		{"another rotatord wrote", instance("there"), waits},
		{"the key is lost", sent(time.Minute, OutcomeDone), working(want{Blocked: ReasonHorizon})},
		{"the key is lost, horizon over", sent(time.Hour, OutcomeDone), working(want{Step: StepReclaim, Slot: Slot2})},
		{"write back", with(republish, vanish(0)), restored(want{Step: StepPublish, Slot: Slot1})},
		{"write back a refused key", with(republish, vanish(0), func(in *In) { in.View.Old.Valid = false }), restored(want{Step: StepAbort, Blocked: ReasonDrift})},
		{"write back a key that nobody has", with(republish, vanish(0), func(in *In) { in.View.OldHad = false }), restored(want{Step: StepAbort, Blocked: ReasonDrift})},
		{"write back over a foreign key", with(republish, shows(0, testKey(Slot2, "third"), 0)), restored(want{Step: StepAbort, Blocked: ReasonDrift})},
		{"write back over another rotatord's", with(republish, instance("there")), restored(want{Step: StepAbort, Blocked: ReasonDrift})},
	})
}

// committedIn is the publishing phase once the first sink holds the new key.
func committedIn() In {
	in := phaseIn(PhasePublishing)
	r := &in.Record
	old := r.Live
	r.Previous, r.Live, r.Rotation.Committed = old, r.Rotation.New, true
	r.Slots[Slot1] = SlotState{Use: UsePrevious, Key: old, Active: true, Since: t0()}
	r.Slots[Slot2] = SlotState{Use: UseLive, Key: r.Live, Active: true, Since: t0()}
	in.Mem.Minted = ""
	shows(0, newKey(), 5)(&in)
	shows(1, newKey(), 5)(&in)
	in.View.Proof.Expires = r.Live.Expires
	in.View.Item.Expires[Slot2] = r.Live.Expires
	return in
}

func TestDecideCommitted(t *testing.T) {
	runDecide(t, committedIn, []decideRow{
		{"promote", func(*In) {}, working(want{Step: StepPromote, Slot: Slot2})},
		{"a later sink has the old key", shows(1, liveKey(), 4), working(want{Step: StepPublish, Slot: Slot2})},
		{"a later sink is empty", vanish(1), working(want{Step: StepPublish, Slot: Slot2})},
		{"a later sink has old facts", func(in *In) { in.View.Sinks[1].Entry.Meta = nil }, working(want{Step: StepPublish, Slot: Slot2})},
		{"a later sink is down", sinkDown(1), working(want{Step: StepFail, Blocked: ReasonUnreachable})},
		{"a later sink is foreign", shows(1, testKey(Slot2, "third"), 0), working(want{Blocked: ReasonDrift})},
		{"the first sink is foreign", shows(0, testKey(Slot2, "third"), 0), working(want{Blocked: ReasonDrift})},
		{"the first sink lost it", shows(0, liveKey(), 4), working(want{Blocked: ReasonDrift})},
		{"the first sink lost it, believed", with(shows(0, liveKey(), 4), lookedBefore(DriftSinkBehind)), want{Step: StepStart, Due: ReasonRestore, Slot: Slot2}},
		{"the portal is down", func(in *In) { in.View.Errs[NeedProof] = errDown }, working(want{Step: StepFail, Blocked: ReasonUnreachable})},
		{"the served key is refused", refusedKey, working(want{Step: StepProbe, Blocked: ReasonSuspect})},
		{"the served key is dead, the old one works", with(deadKey, func(in *In) { in.View.OldHad, in.View.Old = true, Proof{Valid: true} }),
			want{Step: StepStart, Due: ReasonRestore, Slot: Slot1}},
		{"the served key is dead, the old one too", with(deadKey, func(in *In) { in.View.App.Active = [3]bool{} }), want{Step: StepStart, Due: ReasonDead, Slot: Slot1}},
	})
}

func TestDecideOverlap(t *testing.T) {
	probeDue := func(in *In) { in.Record.ProbedAt = t0().Add(-time.Hour) }
	runDecide(t, overlapIn, []decideRow{
		{"both keys work", func(*In) {}, want{Blocked: ReasonOverlap}},
		{"probe", probeDue, want{Step: StepProbe, Blocked: ReasonOverlap}},
		{"probe refused", with(probeDue, refusedKey), want{Step: StepProbe, Blocked: ReasonSuspect}},
		{"probe fails", with(probeDue, func(in *In) { in.View.Errs[NeedProof] = errDown }), want{Step: StepFail, Blocked: ReasonUnreachable}},
		{"probe backs off", with(probeDue, backingOff), want{Blocked: ReasonOverlap}},
		{"probe sees a lagging sink", with(probeDue, shows(1, prevKey(), 3)), want{Step: StepPublish, Slot: Slot1}},
		{"mark due", func(in *In) { in.Record.MarkDue = true }, want{Step: StepMark}},
		{"a look is asked for", func(in *In) { in.Mem.Look = true }, want{Step: StepSurvey, Blocked: ReasonNotDue}},
		{"watch", watching, want{Blocked: ReasonWatch}},
		{"dead, the previous key works: the way back", with(deadKey), want{Step: StepStart, Due: ReasonRestore, Slot: Slot2}},
		{"dead, and held", with(deadKey, held), want{Blocked: ReasonHeld, Due: ReasonDead}},
		{"dead, the previous one refused", with(deadKey, func(in *In) { in.View.Old.Valid = false }), want{Step: StepStart, Due: ReasonDead, Slot: Slot1}},
		{"critical in the overlap waits", func(in *In) {
			setLive(in, func(k *KeyFacts) { k.Expires, k.LatestExpiry = t0().Add(2*day), t0().Add(2*day) })
			in.View.Proof.Expires, in.View.Item.Expires[Slot1] = t0().Add(2*day), t0().Add(2*day)
		}, want{Blocked: ReasonOverlap}},
	})
	in := overlapIn()
	if d := decided(t, in); !d.Next.Equal(t0().Add(time.Hour)) {
		t.Errorf("next at %s, want the probe", d.Next)
	}
	in.Record.RetireAt = t0().Add(time.Minute)
	if d := decided(t, in); !d.Next.Equal(t0().Add(time.Minute)) {
		t.Errorf("next at %s, want the end of the overlap", d.Next)
	}
}

func TestDecideRetiring(t *testing.T) {
	retire := want{Step: StepRetire, Slot: Slot2}
	finish := want{Step: StepFinish, Slot: Slot2}
	refusedOld := func(n int) func(in *In) {
		return func(in *In) {
			in.View.Old.Valid = false
			for i := range n {
				in.Record.OldRefusals = append(in.Record.OldRefusals, t0().Add(-time.Duration(10-5*i)*time.Minute))
			}
		}
	}
	runDecide(t, retiringIn, []decideRow{
		{"retire", func(*In) {}, retire},
		{"retire without the old key at hand", func(in *In) { in.View.OldHad = false }, retire},
		{"not by the portal's clock", func(in *In) { in.Portal = t0().Add(-2 * time.Minute) }, want{Blocked: ReasonOverlap}},
		{"a crash in between", func(in *In) { in.Record.Phase = PhaseRetiring }, retire},
		{"backing off", backingOff, want{Blocked: ReasonBackoff}},
		{"held", held, want{Blocked: ReasonHeld}},
		{"held, compromised rotation", with(held, func(in *In) { in.Record.Rotation.Compromised = true }), retire},
		{"quarantined", quarantined, want{Blocked: ReasonQuarantined}},
		{"window", func(in *In) { in.Policy.Calendar = closed{ReasonWindow} }, want{Blocked: ReasonWindow}},
		{"freeze", func(in *In) { in.Policy.Calendar = closed{ReasonFrozen} }, want{Blocked: ReasonFrozen}},
		{"rebuilt", func(in *In) { in.Record.RebuiltAt = t0().Add(-7*day + 1) }, want{Blocked: ReasonRebuilt}},
		{"rebuilt an overlap ago", func(in *In) { in.Record.RebuiltAt = t0().Add(-7 * day) }, retire},
		{"watch", watching, want{Blocked: ReasonWatch}},
		{"first sink down", sinkDown(0), want{Step: StepFail, Blocked: ReasonUnreachable}},
		{"later sink down", sinkDown(1), want{Step: StepFail, Blocked: ReasonUnreachable}},
		{"portal down", func(in *In) { in.View.Errs[NeedApp] = errDown }, want{Step: StepFail, Blocked: ReasonUnreachable}},
		{"old key cannot be probed", func(in *In) { in.View.Errs[NeedOld] = errDown }, want{Step: StepFail, Blocked: ReasonUnreachable}},
		{"a later sink lags", shows(1, prevKey(), 3), want{Step: StepPublish, Slot: Slot1}},
		{"a later sink is foreign", shows(1, testKey(Slot1, "third"), 0), want{Blocked: ReasonDrift}},
		{"another rotatord wrote", instance("there"), want{Blocked: ReasonDrift}},
		{"the served key is refused", refusedKey, want{Blocked: ReasonDrift}},
		{"its flag is false", func(in *In) { in.View.App.Active[Slot1] = false }, want{Blocked: ReasonDrift}},
		{"clocks differ by five minutes", func(in *In) { in.View.Skew = 5 * time.Minute }, retire},
		{"clocks differ by more", func(in *In) { in.View.Skew = -5*time.Minute - 1 }, want{Blocked: ReasonClock}},
		{"no Date", func(in *In) { in.View.SkewKnown = false }, want{Blocked: ReasonClock}},
		{"empty already", func(in *In) { in.View.App.Active[Slot2], in.View.OldHad = false, false }, finish},
		{"empty already, and refused", func(in *In) { in.View.App.Active[Slot2], in.View.Old.Valid = false, false }, finish},
		{"flag false, and it works", func(in *In) { in.View.App.Active[Slot2] = false }, want{Step: StepFail, Blocked: ReasonWorking}},
		{"expired", func(in *In) { in.Record.Slots[Slot2].Key.LatestExpiry = t0().Add(-time.Second) }, finish},
		{"a revoke of unknown outcome", func(in *In) {
			in.Record.Slots[Slot2].Intent = &Intent{Effect: EffectRevoke, SentAt: t0().Add(-time.Minute), Outcome: OutcomeUnknown}
		}, want{Blocked: ReasonHorizon}},
		{"a revoke of unknown outcome, horizon over", func(in *In) {
			in.Record.Slots[Slot2].Intent = &Intent{Effect: EffectRevoke, SentAt: t0().Add(-time.Hour), Outcome: OutcomePending}
		}, retire},
		{"the old key is refused", refusedOld(0), want{Blocked: ReasonSuspect}},
		{"refused twice", refusedOld(2), want{Blocked: ReasonSuspect}},
		{"refused three times over ten minutes", refusedOld(3), want{Step: StepTaken, Slot: Slot2}},
		{"critical: minted into without having been retired", func(in *In) {
			setLive(in, func(k *KeyFacts) { k.Expires, k.LatestExpiry = t0().Add(2*day), t0().Add(2*day) })
			in.View.Proof.Expires, in.View.Item.Expires[Slot1] = t0().Add(2*day), t0().Add(2*day)
		}, want{Step: StepStart, Due: ReasonExpiring, Slot: Slot2}},
	})
}
