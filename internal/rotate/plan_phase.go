package rotate

// The phases from claiming to publishing. In each, an unlocked decision is either
// the phase's one effect, a change of the journal, or a wait.

// pause is the common gate of these phases: back-off, and before the first mint
// also everything that stops a start (rule 13).
func (in *In) pause() (Decision, bool) {
	r := &in.Record
	if in.Now.Before(r.RetryAt) {
		d := in.backingOff()
		d.Due = r.Rotation.Reason
		return d, true
	}
	if in.backing() && in.lostForGood() {
		return Decision{Step: StepAbort, Due: r.Rotation.Reason, Detail: "the item before stays"}, true
	}
	if r.Rotation.Mints > 0 || r.Rotation.Republish {
		return Decision{}, false
	}
	if (in.hold() != nil && !r.Rotation.Compromised) || r.Quarantine != nil || in.Mode != ModeRotate {
		return Decision{Step: StepAbort, Due: r.Rotation.Reason, Blocked: ReasonHeld, Detail: "stopped before its mint"}, true
	}
	return Decision{}, false
}

// working marks a decision as part of the rotation under way.
func (in *In) working(d Decision) Decision {
	if d.Due == "" && in.Record.Rotation != nil {
		d.Due = in.Record.Rotation.Reason
	}
	return d
}

func (in *In) decideClaiming() Decision {
	if d, ok := in.pause(); ok {
		return d
	}
	if d, ok := in.lookedAt(NeedSinks); !ok {
		return in.working(d)
	}
	r, e := &in.Record, in.View.first()
	rot := r.Rotation
	if in.foreignInstance(e) {
		if text := in.claimBlock(); text != "" {
			return in.working(wait(ReasonForeignClaim, e.Meta.Claim.At.Add(in.Policy.EffectHorizon), text))
		}
		return in.working(in.giveWay(DriftForeignInstance, "rotatord instance "+e.Meta.Instance+" wrote into the first sink"))
	}
	sh := in.show(e)
	switch {
	case sh == showsNew:
		return in.working(Decision{Step: StepCommit, Detail: "the first sink shows the new key after all"})
	case rot.Republish && sh == showsLive && rot.New.Fingerprint == r.Live.Fingerprint:
		return in.working(Decision{Step: StepAbort, Detail: "the first sink shows the key after all"})
	case sh == showsLive, (sh == showsNever || sh == showsFormer) && r.Live.Fingerprint == "":
	case rot.Republish && wentBack(sh):
	case rot.OutageOK, in.dead() && wentBack(sh):
	case wentBack(sh) && in.lostForGood():
		// The minted key is lost, and the sink went back meanwhile: the repairs of an idle credential have their turn.
		return in.working(Decision{Step: StepAbort, Blocked: ReasonDrift, Drift: driftOf(sh), Detail: "the first sink shows " + orNothing(e.Key.Fingerprint()) + " (" + string(sh) + ")"})
	default:
		return in.working(in.giveWay(driftOf(sh), "the first sink shows "+orNothing(e.Key.Fingerprint())+" ("+string(sh)+")"))
	}
	return in.working(Decision{Step: StepClaim, Slot: rot.Target})
}

// wentBack: the sink lost the key that it served, or serves an older one.
func wentBack(sh showing) bool {
	return sh == showsVanished || sh == showsPrevious || sh == showsFormer
}

// lostForGood: what the rotation minted is in no memory, and no request for it is under way.
func (in *In) lostForGood() bool {
	s := in.Record.Rotation.Target
	return in.Mem.Minted == "" && !in.Mem.InFlight[s] && !in.Record.Slots[s].Intent.InFlight(in.Now, in.Policy.EffectHorizon)
}

// giveWay ends a rotation that minted nothing, and waits with one that did.
func (in *In) giveWay(drift Drift, detail string) Decision {
	if in.Record.Rotation.Mints == 0 {
		return Decision{Step: StepAbort, Blocked: ReasonDrift, Drift: drift, Detail: detail}
	}
	d := wait(ReasonDrift, in.Now.Add(in.Policy.ProbeEvery), detail)
	d.Drift = drift
	return d
}

func (in *In) decideDating() Decision {
	if d, ok := in.pause(); ok {
		return d
	}
	if !in.Mem.ClaimFresh {
		return in.working(Decision{Step: StepReclaim, Detail: "the claim is too old to be used"})
	}
	if d, ok := in.lookedAt(in.slotNeed()); !ok {
		return in.working(d)
	}
	if d, ok := in.targetGone(); ok {
		return in.working(d)
	}
	return in.working(Decision{Step: StepDate, Slot: in.Record.Rotation.Target})
}

// slotNeed is what classifying the target takes: the item only where a flag that
// was true may be that of an expired key, or the owner is unknown.
func (in *In) slotNeed() Need {
	n := NeedApp
	if in.Record.Owner == "" || (in.View.Have&NeedApp != 0 && in.View.App.Active[in.Record.Rotation.Target]) {
		n |= NeedItem
	}
	return n
}

// targetGone tells that the target may not be minted into any more.
func (in *In) targetGone() (Decision, bool) {
	if n := in.slotNeed(); in.missing(n) != 0 {
		return look(in.missing(n)), true
	}
	rot := in.Record.Rotation
	class, why, until := in.mintable(rot.Target, rot.Reason, in.Record.Request)
	if class != slotServed && rot.Mints == 0 && !rot.TargetWasActive && in.View.App.Active[rot.Target] && !in.claimOnly() {
		return Decision{Step: StepAbort, Blocked: ReasonOccupied, Detail: "somebody minted into slot " + rot.Target.String() + " meanwhile"}, true
	}
	switch why {
	case "":
		return Decision{}, false
	case ReasonHorizon, ReasonRebuilt, ReasonOverlap:
		return wait(why, until, blockedSentence(why)), true
	default:
		return Decision{Step: StepAbort, Blocked: why, Detail: "slot " + rot.Target.String() + ": " + blockedSentence(why)}, true
	}
}

// claimOnly: the slot's state is ours by an intent of an earlier rotation.
func (in *In) claimOnly() bool {
	return in.Record.Slots[in.Record.Rotation.Target].Use == UseOwn
}

// lostMint handles a mint that was sent and whose key is in no memory: wait out the
// effect horizon, then claim again (rule 6).
func (in *In) lostMint() (Decision, bool) {
	rot := in.Record.Rotation
	i := in.Record.Slots[rot.Target].Intent
	if i == nil || i.Effect != EffectMint || i.Outcome == OutcomeFailed || in.Mem.Minted != "" {
		return Decision{}, false
	}
	// A rotation that loses key after key slows down before it gives up (rule 12).
	pace := max(in.Policy.EffectHorizon, backoff(in.Record.Name, rot.Mints, in.Policy.RetryBase, in.Policy.RetryMax))
	if until := i.SentAt.Add(pace); in.Now.Before(until) || in.Mem.InFlight[rot.Target] {
		if until.Before(in.Now) {
			until = in.Now.Add(in.Policy.EffectHorizon / 10)
		}
		return wait(ReasonHorizon, until, "the minted key is lost; its request may still take effect"), true
	}
	return Decision{Step: StepReclaim, Slot: rot.Target, Detail: "the minted key is lost; the slot is minted into again"}, true
}

func (in *In) decideMinting() Decision {
	if d, ok := in.lostMint(); ok {
		return in.working(d)
	}
	rot := in.Record.Rotation
	if in.Mem.Minted != "" {
		return in.working(Decision{Step: StepProve, Slot: rot.Target})
	}
	if d, ok := in.pause(); ok {
		return d
	}
	if !in.Mem.ClaimFresh {
		return in.working(Decision{Step: StepReclaim, Detail: "the claim is too old to be used"})
	}
	if d, ok := in.lookedAt(NeedSinks | NeedProof | in.slotNeed()); !ok {
		return in.working(d)
	}
	e := in.View.first()
	if e.Version != rot.ClaimAt || e.Meta == nil || e.Meta.Claim == nil || e.Meta.Claim.RotationID != rot.ID || e.Meta.Claim.Instance != in.Instance {
		return in.working(Decision{Step: StepReclaim, Detail: "the first sink was written since the claim"})
	}
	if err := in.sinkErr(); err != nil && !in.dead() && !rot.OutageOK {
		return in.working(unreachable(err))
	}
	if d, ok := in.targetGone(); ok {
		return in.working(d)
	}
	if d, text := in.effectDrift(rot.Target); d == DriftKeyRefused {
		return in.working(wait(ReasonSuspect, in.nextSuspect(), text))
	} else if d != DriftNone {
		return in.working(in.giveWay(d, text))
	}
	return in.working(Decision{Step: StepMint, Slot: rot.Target})
}

func (in *In) decideProving() Decision {
	if d, ok := in.lostMint(); ok {
		return in.working(d)
	}
	if in.Now.Before(in.Record.RetryAt) {
		return in.working(in.backingOff())
	}
	return in.working(Decision{Step: StepProve, Slot: in.Record.Rotation.Target})
}

func (in *In) decidePublishing() Decision {
	r := &in.Record
	if in.Now.Before(r.RetryAt) {
		return in.working(in.backingOff())
	}
	if d, ok := in.lookedAt(NeedSinks); !ok {
		return in.working(d)
	}
	if r.Rotation.Committed {
		return in.working(in.decideCommitted())
	}
	e := in.View.first()
	sh := in.show(e)
	if sh == showsNew {
		return in.working(Decision{Step: StepCommit})
	}
	if r.Rotation.Republish {
		return in.working(in.decideRepublish(sh))
	}
	if in.Mem.Minted == "" {
		if d, ok := in.lostMint(); ok {
			return in.working(d)
		}
		return in.working(Decision{Step: StepReclaim, Detail: "the minted key is lost"})
	}
	// A sink that went back to a key of ours shows one that is dead: its slot was minted into, now or by the live one.
	if !r.Rotation.OutageOK && sh != showsLive && !wentBack(sh) && (sh != showsNever || r.Live.Fingerprint != "") {
		return in.working(wait(ReasonDrift, in.Now.Add(in.Policy.ProbeEvery), "the first sink shows "+orNothing(e.Key.Fingerprint())+" ("+string(sh)+"); the new key waits in memory"))
	}
	if in.foreignInstance(e) {
		return in.working(wait(ReasonDrift, in.Now.Add(in.Policy.ProbeEvery), "rotatord instance "+e.Meta.Instance+" wrote into the first sink; the new key waits in memory"))
	}
	if !in.Mem.ProofFresh {
		return in.working(Decision{Step: StepProve, Slot: r.Rotation.Target})
	}
	return in.working(Decision{Step: StepPublish, Sink: 0, Slot: r.Rotation.New.Slot})
}

// decideRepublish writes a key back that some sink held before.
func (in *In) decideRepublish(sh showing) Decision {
	if d, ok := in.lookedAt(NeedEarlier | NeedOld); !ok {
		return d
	}
	if !in.View.OldHad || !in.View.Old.Valid {
		return Decision{Step: StepAbort, Blocked: ReasonDrift, Detail: "the key to write back is gone or refused"}
	}
	if in.foreignInstance(in.View.first()) || sh == showsForeign || sh == showsOtherItem || sh == showsNewFormat {
		return Decision{Step: StepAbort, Blocked: ReasonDrift, Detail: "the first sink changed meanwhile (" + string(sh) + ")"}
	}
	return Decision{Step: StepPublish, Sink: 0, Slot: in.Record.Rotation.New.Slot}
}

// decideCommitted copies the new key into the later sinks, and promotes once all
// show it and the served key was probed.
func (in *In) decideCommitted() Decision {
	r := &in.Record
	for i, s := range in.View.Sinks {
		if s.Err != nil {
			// The key that the first sink serves is watched while a later one is down.
			if !in.Now.Before(in.nextProbe()) {
				return in.decideProbe()
			}
			return unreachable(s.Err)
		}
		switch sh := in.show(s.Entry); {
		case i > 0 && in.lags(s.Entry):
			return Decision{Step: StepPublish, Sink: i, Slot: r.Live.Slot}
		case sh == showsLive:
		case i == 0 && wentBack(sh):
			d, ok := in.decideRepair()
			if ok {
				return d
			}
			return wait(ReasonDrift, in.Now.Add(in.Policy.ProbeEvery), "the first sink lost the key that it held ("+string(sh)+")")
		default:
			return wait(ReasonDrift, in.Now.Add(in.Policy.ProbeEvery), "sink "+s.Name+" shows "+orNothing(s.Entry.Key.Fingerprint())+" ("+string(sh)+")")
		}
	}
	if d, ok := in.lookedAt(NeedProof); !ok {
		return d
	}
	if in.View.Proof.Valid {
		return Decision{Step: StepPromote, Slot: r.Live.Slot}
	}
	if !r.DeadAt.IsZero() {
		if d, ok := in.decideRepair(); ok {
			return d
		}
		return in.decideStart(ReasonDead, "the published key is dead")
	}
	return Decision{Step: StepProbe, Blocked: ReasonSuspect, Next: in.nextSuspect(), Detail: "the served key was refused; it is probed again"}
}
