package rotate

import "time"

// decideHandover has the heir's record take this one's place and begins its first
// rotation, once everything that stands against a start was looked at. The caller has
// made sure of agreement (rule 1).
func (in *In) decideHandover() Decision {
	r, q := &in.Record, in.Record.Request
	later := in.Now.Add(in.Policy.ProbeEvery)
	for _, s := range Slots() {
		if until, flying := in.inFlight(s); flying {
			return wait(ReasonHorizon, until, blockedSentence(ReasonHorizon))
		}
		if in.classify(s) == slotOccupied {
			return in.refuse(ReasonOccupied, "slot "+s.String()+" of item "+string(r.ID.Item)+" holds "+blockedSentence(ReasonOccupied))
		}
	}
	if until, ok := in.rebuiltUntil(); ok {
		return wait(ReasonRebuilt, until, blockedSentence(ReasonRebuilt))
	}
	if in.missing(NeedOther) != 0 {
		return look(NeedOther)
	}
	if err := in.View.err(NeedOther); err != nil {
		if in.otherGone() || CauseOf(err) == CauseNotCredential {
			return in.refuse(ReasonUnreachable, "item "+q.Heir.ID.String()+", which is to take over, is not there or has no app")
		}
		return wait(ReasonUnreachable, later, "item "+q.Heir.ID.String()+", which is to take over: "+err.Error())
	}
	target := in.heirSlot()
	if target == NoSlot {
		return in.refuse(ReasonOccupied, "item "+q.Heir.ID.String()+", which is to take over, holds keys that rotatord did not make")
	}
	return Decision{Step: StepHandover, Due: ReasonReplace, Slot: target, Detail: "item " + string(q.Heir.ID.Item) + " takes over from " + string(r.ID.Item)}
}

// heirSlot is where the heir's first key goes; NoSlot where it holds keys, which somebody
// unknown made.
func (in *In) heirSlot() Slot {
	for _, s := range Slots() {
		if in.View.Other.Active[s] {
			return NoSlot
		}
	}
	return Slot1
}

// otherGone tells that the portal does not show the other item any more.
func (in *In) otherGone() bool { return CauseOf(in.View.err(NeedOther)) == CauseNotFound }

// backing: a replacement that no sink shows yet is to be given up.
func (in *In) backing() bool {
	q := in.Record.Request
	return in.pressedBack() || in.Record.Unserved() && q != nil && q.Kind == RequestBack
}

// pressedBack: the new item has no key in service, and the former one's, which is
// served, cannot wait any longer.
func (in *In) pressedBack() bool {
	if !in.Record.Unserved() {
		return false
	}
	old := &in.Record.Former.Record
	if e := old.Live.Expires; !e.IsZero() && !in.Portal.Before(e.Add(-in.Policy.CriticalBefore)) && old.DeadAt.IsZero() {
		return true
	}
	v := &in.View
	refused := v.Have&NeedProof != 0 && v.err(NeedProof) == nil && !v.first().Key.IsZero() && !v.Proof.Valid && v.ProofControl == nil
	return refused && in.Record.Quarantine != nil
}

// decideBack puts the former record back: a person asked for it, or its key is about to
// expire and the new item has none yet. Nothing of the new item is in any sink.
func (in *In) decideBack() (Decision, bool) {
	r := &in.Record
	q := r.Request
	asked := q != nil && q.Kind == RequestBack
	if in.Mode != ModeRotate || !in.backing() {
		return Decision{}, false
	}
	for _, s := range Slots() {
		if until, flying := in.inFlight(s); flying {
			return wait(ReasonHorizon, until, blockedSentence(ReasonHorizon)), true
		}
	}
	if d, ok := in.lookedAt(NeedSinks); !ok {
		return d, true
	}
	for _, s := range in.View.Sinks {
		if s.Err != nil {
			return wait(ReasonUnreachable, in.Now.Add(in.Policy.ProbeEvery), "sink "+s.Name+": "+s.Err.Error()), true
		}
		if in.show(s.Entry) == showsNew || in.show(s.Entry) == showsLive || in.show(s.Entry) == showsAhead {
			return Decision{}, false
		}
	}
	why := "the former item's key is about to expire, and item " + string(r.ID.Item) + " has none in service"
	if asked {
		why = "asked for by " + q.By
	}
	return Decision{Step: StepBack, Detail: why}, true
}

// decideFormer retires the former item: its keys, then the item. It is housekeeping,
// and stands behind whatever the credential itself needs; ok false while it only waits.
func (in *In) decideFormer() (Decision, bool) {
	f := in.Record.Former
	if f == nil || f.PromotedAt.IsZero() || in.Record.Live.Fingerprint == "" || in.Mode != ModeRotate || !in.Record.DeadAt.IsZero() {
		return Decision{}, false
	}
	d := in.retireFormer(f)
	return d, d.Step != StepNone || d.Need != 0
}

func (in *In) retireFormer(f *Former) Decision {
	r := &in.Record
	later := in.Now.Add(in.Policy.ProbeEvery)
	if d, ok := in.formerStop(f, later); ok {
		return d
	}
	if in.Gated && !f.Rushed {
		if r.Previous.Fingerprint != "" {
			return wait(ReasonOverlap, later, "the gates are asked about the previous key first")
		}
		if in.missing(NeedGates) != 0 {
			return look(NeedGates)
		}
	}
	if d, ok := in.lookedAt(NeedSinks | NeedApp | NeedProof); !ok {
		return d
	}
	if err := in.sinkErr(); err != nil {
		return wait(ReasonUnreachable, later, err.Error())
	}
	if d, ok := in.decideRepair(); ok {
		return d
	}
	if d, why := in.agreement(); d != DriftNone {
		return wait(ReasonDrift, later, why)
	}
	if r.Live.Fingerprint == "" || !in.View.Proof.Valid {
		return wait(ReasonSuspect, later, "the served key was not proved")
	}
	if !in.View.SkewKnown || in.View.Skew.Abs() > MaxSkew {
		return wait(ReasonClock, later, "our clock and the portal's differ by "+in.View.Skew.Round(time.Second).String()+", or the portal sends no Date")
	}
	if in.missing(NeedOther) != 0 {
		return look(NeedOther)
	}
	return in.endFormer(f, later)
}

// formerStop is what stops retiring (rule 13), or says that it is not yet time.
func (in *In) formerStop(f *Former, later time.Time) (Decision, bool) {
	r := &in.Record
	if in.Now.Before(f.RetireAt) || in.Portal.Before(f.RetireAt) {
		return wait(ReasonOverlap, f.RetireAt.Add(-min(r.Offset, 0)), "item "+string(f.Record.ID.Item)+", which was replaced, is retired "+stamp(f.RetireAt)), true
	}
	if in.Now.Before(r.Revoke.RetryAt) {
		return wait(ReasonBackoff, earlier(later, r.Revoke.RetryAt), "after "+plural(r.Revoke.Attempts, "failed revocation")+": "+r.Revoke.Error), true
	}
	if in.Now.Before(r.RetryAt) {
		return in.backingOff(), true
	}
	if d, ok := in.retireStop(later); ok {
		return d, true
	}
	if until, ok := in.rebuiltUntil(); ok {
		return wait(ReasonRebuilt, until, blockedSentence(ReasonRebuilt)), true
	}
	return Decision{}, false
}

// endFormer revokes what is ours, one slot at a time, and then removes the item.
func (in *In) endFormer(f *Former, later time.Time) Decision {
	id := string(f.Record.ID.Item)
	over := Decision{Step: StepFormerEnd, Detail: "item " + id + " is gone"}
	if err := in.View.err(NeedOther); err != nil && CauseOf(err) != CauseNotCredential {
		if in.otherGone() {
			return over
		}
		return wait(ReasonUnreachable, later, "item "+id+", which was replaced: "+err.Error())
	}
	if in.Gated && !f.Rushed {
		if text := stillInUse(in.View.Gates); text != "" {
			return wait(ReasonGate, later, text)
		}
	}
	for _, s := range Slots() {
		switch {
		case !in.View.Other.Active[s], in.thatItem().pastDate(s):
		case !in.formerOurs(s):
			return wait(ReasonOccupied, later, "slot "+s.String()+" of item "+id+", which was replaced, holds a key of somebody unknown: revoke it at the portal")
		default:
			return Decision{Step: StepRetireFormer, Slot: s, Detail: "the overlap of item " + id + " is over"}
		}
	}
	if f.Keep {
		over.Detail = "item " + id + " has no keys any more and is kept"
		return over
	}
	return Decision{Step: StepRemoveFormer, Detail: "item " + id + " has no keys any more"}
}

// repairFormer: the first sink went back to the time before the replacement (rule 9).
// The newer key is republished if anybody still has it; else another one is made.
func (in *In) repairFormer() (Decision, bool) {
	if d, ok := in.lookedAt(NeedEarlier | NeedApp | NeedItem); !ok {
		return d, true
	}
	live := in.Record.Live
	if in.View.finds(live.Fingerprint) && in.View.App.Active[live.Slot] && !in.pastDate(live.Slot) && in.Record.DeadAt.IsZero() {
		return Decision{Step: StepStart, Due: ReasonRestore, Key: live, Slot: live.Slot,
			Detail: "the first sink went back to the item before the replacement; the newer key is republished"}, true
	}
	return Decision{Step: StepForget, Slot: live.Slot,
		Detail: "the first sink went back to the item before the replacement, and no sink has the newer key"}, true
}

// withFormer shows what the former item waits for, where nothing else is the matter.
func (in *In) withFormer(d Decision) Decision {
	f := in.Record.Former
	if f == nil || f.PromotedAt.IsZero() || d.Blocked != ReasonNotDue {
		return d
	}
	w := in.retireFormer(f)
	if w.Step != StepNone || w.Need != 0 {
		return d
	}
	w.Next = earlier(d.Next, w.Next)
	return w
}
