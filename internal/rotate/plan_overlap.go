package rotate

import "time"

// decideOverlap keeps both keys working until the previous one may go.
func (in *In) decideOverlap() Decision {
	if d, ok := in.decideRequest(); ok {
		return d
	}
	due, detail := in.pressing()
	if due == "" {
		return in.decideOverlapQuiet()
	}
	pressed := in.decideStart(due, detail)
	if pressed.Step != StepNone || pressed.Need != 0 {
		return pressed
	}
	d := in.decideOverlapQuiet()
	if d.Step == StepNone && d.Need == 0 {
		pressed.Next = earlier(d.Next, pressed.Next)
		return pressed
	}
	return d
}

// decideOverlapQuiet is the overlap in which nothing is pressing.
func (in *In) decideOverlapQuiet() Decision {
	r := &in.Record
	if d, ok := in.decideMark(); ok {
		return d
	}
	if both := NeedSinks | NeedProof; in.missing(both) == 0 && in.View.err(NeedSinks) == nil && in.View.err(NeedProof) == nil {
		if d, ok := in.decideRepair(); ok {
			return d // a valid proof moves the next probe, and the look is for this
		}
	}
	if in.overlapOver() {
		d := in.decideRetire()
		if d.Step != StepNone || d.Need != 0 {
			return d
		}
		if probe := in.nextProbe(); in.Now.Before(probe) {
			d.Next = earlier(probe, d.Next)
			return d
		}
	}
	if !in.Now.Before(in.nextProbe()) && (!in.Now.Before(r.RetryAt) || r.LastKind == KindVeto) {
		return in.decideProbe()
	}
	if in.hookDue(AfterPublishing) && !in.Now.Before(r.RetryAt) {
		return Decision{Step: StepHook, Hook: AfterPublishing, Slot: r.Live.Slot, Detail: "every sink serves the new key"}
	}
	if d, ok := in.decideFormer(); ok {
		return d
	}
	if in.Mem.Look {
		if d, ok := in.survey(); ok {
			return d
		}
	}
	next := in.nextProbe()
	if at := r.RetireAt.Add(-min(r.Offset, 0)); at.After(in.Now) && at.Before(next) {
		next = at
	}
	if next.Before(r.RetryAt) {
		next = r.RetryAt
	}
	return wait(ReasonOverlap, next, "the previous key of slot "+r.Previous.Slot.String()+" is retired "+stamp(r.RetireAt))
}

// pressing is what does not wait for the end of the overlap.
func (in *In) pressing() (Reason, string) {
	due, detail := in.due()
	switch {
	case due == ReasonCompromised, due == ReasonReplace:
		return due, detail
	case in.dead():
		return dueByDeath(in)
	case due != "" && in.critical() && in.overlapOver():
		return due, detail
	}
	return "", ""
}

// decideProbe probes the served key, and repairs what it finds.
func (in *In) decideProbe() Decision {
	if d, ok := in.lookedAt(NeedSinks | NeedProof); !ok {
		return d
	}
	if d, ok := in.decideRepair(); ok {
		return d
	}
	d := Decision{Step: StepProbe, Blocked: ReasonOverlap, Detail: "the served key works"}
	if !in.View.Proof.Valid {
		d.Blocked, d.Detail, d.Next = ReasonSuspect, "the served key was refused", in.nextSuspect()
	}
	return d
}

// decideRetire revokes the previous key under fresh agreement. What stops it
// (rule 13) never outlives the key's own expiry.
func (in *In) decideRetire() Decision {
	r := &in.Record
	later := in.Now.Add(in.Policy.ProbeEvery)
	rushed := in.rushed()
	if in.Now.Before(r.Revoke.RetryAt) {
		return wait(ReasonBackoff, earlier(later, r.Revoke.RetryAt), "after "+plural(r.Revoke.Attempts, "failed revocation")+": "+r.Revoke.Error)
	}
	if in.Now.Before(r.RetryAt) {
		return in.backingOff()
	}
	stop, stopped := in.retireStop(later)
	stopped = stopped && !rushed
	if stopped && !in.previousExpired() {
		return stop
	}
	if until, ok := in.rebuiltUntil(); ok {
		return wait(ReasonRebuilt, until, blockedSentence(ReasonRebuilt))
	}
	if in.Gated && !rushed && in.missing(NeedGates) != 0 {
		return look(NeedGates)
	}
	if d, ok := in.lookedAt(NeedSinks | NeedApp | NeedProof | NeedOld); !ok {
		return d
	}
	if err := in.sinkErr(); err != nil {
		return unreachable(err)
	}
	if d, ok := in.decideRepair(); ok {
		return d
	}
	d := in.retireNow(later)
	if stopped && d.Step == StepRetire {
		return stop // another source says that the key has not expired after all
	}
	return d
}

// retireStop is the hold, quarantine or calendar that stops retiring (rule 13).
func (in *In) retireStop(later time.Time) (Decision, bool) {
	if h := in.hold(); h != nil {
		return wait(ReasonHeld, earlier(later, h.Until), h.sentence()), true
	}
	if q := in.Record.Quarantine; q != nil {
		return wait(ReasonQuarantined, later, q.Reason), true
	}
	if c := in.Policy.Calendar; c != nil {
		if why, opens := c.Closed(in.Now); why != "" {
			return wait(why, earlier(later, opens), "opens "+stamp(opens)), true
		}
	}
	return Decision{}, false
}

func (in *In) retireNow(later time.Time) Decision {
	r, v := &in.Record, &in.View
	old := r.Previous.Slot
	if in.served(old) {
		return wait(ReasonDrift, later, "a sink serves the key of slot "+old.String()+" again")
	}
	if d, why := in.agreement(); d != DriftNone {
		return wait(ReasonDrift, later, why)
	}
	if !v.SkewKnown || v.Skew.Abs() > MaxSkew {
		return wait(ReasonClock, later, "our clock and the portal's differ by "+v.Skew.Round(time.Second).String()+", or the portal sends no Date")
	}
	refused := v.OldHad && !v.Old.Valid
	switch {
	case !v.App.Active[old] && v.OldHad && v.Old.Valid:
		return Decision{Step: StepFail, Blocked: ReasonWorking, Detail: "the old key still works though its flag is false",
			Err: &Error{Op: "prove the end of the old key", Kind: KindTransient}}
	case !v.App.Active[old]:
		return Decision{Step: StepFinish, Slot: old, Detail: "slot " + old.String() + " is empty"}
	case in.pastDate(old):
		return Decision{Step: StepFinish, Slot: old, Detail: "the key of slot " + old.String() + " has expired"}
	}
	if until, flying := in.inFlight(old); flying {
		return wait(ReasonHorizon, until, blockedSentence(ReasonHorizon))
	}
	if refused && !enoughRefusals(r.OldRefusals, in.Policy) {
		return wait(ReasonSuspect, in.nextSuspect(), "the old key is refused while its slot is flagged active")
	}
	if refused {
		return Decision{Step: StepTaken, Slot: old, Detail: "slot " + old.String() + " holds a key that is not our previous one; it is left alone"}
	}
	if in.Gated && !in.rushed() {
		if text := stillInUse(v.Gates); text != "" {
			return wait(ReasonGate, later, text)
		}
	}
	return Decision{Step: StepRetire, Slot: old, Detail: "the overlap is over"}
}

// rushed: the previous key is compromised, and goes whoever still uses it.
func (in *In) rushed() bool {
	r := &in.Record
	return r.Rotation != nil && r.Rotation.Compromised || r.Request != nil && r.Request.Kind == RequestCompromised
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}
