package rotate

import (
	"cmp"
	"time"
)

func (in *In) decideIdle() Decision {
	if d, ok := in.decideBack(); ok {
		return d
	}
	if d, ok := in.decideRequest(); ok {
		return d
	}
	due, detail := in.due()
	if in.Record.HookDue != nil && !urgent(due) && !in.Now.Before(in.Record.RetryAt) {
		return Decision{Step: StepHook, Hook: in.Record.HookDue.Point, Detail: "the old key is gone"}
	}
	if !urgent(due) {
		if d, ok := in.decideMark(); ok {
			d.Due = due
			return d
		}
	}
	if due != "" {
		return in.decideDue(due, detail)
	}
	if d, ok := in.housekeeping(); ok {
		return d
	}
	next := in.nextSurvey()
	if at, ok := DueAt(in.Record, in.Policy); ok {
		next = earlier(next, at.Add(-in.Record.Offset))
	}
	if at := in.Record.Revoke.RetryAt; at.After(in.Now) {
		next = earlier(next, at)
	}
	return in.withFormer(wait(in.idleReason(), next, in.idleDetail()))
}

// decideDue starts what is due. Where that is blocked the credential is still
// looked after: a look may lift the block, and finds a death.
func (in *In) decideDue(due Reason, detail string) Decision {
	d := in.decideStart(due, detail)
	if d.Step != StepNone || d.Need != 0 {
		return d
	}
	if h, ok := in.housekeeping(); ok {
		h.Due = cmp.Or(h.Due, due)
		if h.Step == StepSurvey {
			h.Blocked, h.Detail = d.Blocked, d.Detail
		}
		return h
	}
	d.Next = earlier(d.Next, in.nextSurvey())
	return d
}

// housekeeping is what an idle credential gets beside rotations.
func (in *In) housekeeping() (Decision, bool) {
	if d, ok := in.decideMark(); ok {
		return d, true
	}
	if d, ok := in.decideOrphan(); ok {
		return d, true
	}
	if d, ok := in.decideFormer(); ok {
		return d, true
	}
	return in.survey()
}

func (in *In) idleReason() Reason {
	switch {
	case in.Record.Quarantine != nil:
		return ReasonQuarantined
	case in.Record.Drift != DriftNone:
		return ReasonDrift
	case in.hold() != nil:
		return ReasonHeld
	case in.spareOccupied() != NoSlot:
		return ReasonOccupied
	}
	return ReasonNotDue
}

// spareOccupied is the spare slot if somebody unknown sat in it when it was last
// seen: said long before the rotation that it will stop.
func (in *In) spareOccupied() Slot {
	r := &in.Record
	s := r.Live.Slot.Other()
	if s == NoSlot || in.Policy.SpareExpendable {
		return NoSlot
	}
	st := &r.Slots[s]
	expired := !st.Expires.IsZero() && in.Portal.After(st.Expires)
	if st.Use == UseUnknown && st.Active && !st.Taken && !expired {
		return s
	}
	return NoSlot
}

func (in *In) idleDetail() string {
	r := &in.Record
	switch in.idleReason() {
	case ReasonQuarantined:
		return r.Quarantine.Reason
	case ReasonDrift:
		return r.DriftDetail
	case ReasonHeld:
		return in.hold().sentence()
	case ReasonOccupied:
		return "slot " + in.spareOccupied().String() + ": " + blockedSentence(ReasonOccupied)
	default:
		at, ok := DueAt(*r, in.Policy)
		if !ok {
			return "the key's expiry is unknown"
		}
		return "due " + stamp(at)
	}
}

// decideStart begins a rotation that is due, under every check that stands against
// it and under agreement.
func (in *In) decideStart(due Reason, detail string) Decision {
	blocked := func(why Reason, until time.Time, text string) Decision {
		d := wait(why, until, text)
		d.Due = due
		if d.Next.IsZero() {
			d.Next = in.Now.Add(in.Policy.ProbeEvery)
		}
		return d
	}
	if why, until, text := in.startBlock(due); why != "" {
		return blocked(why, until, text)
	}
	if d, ok := in.lookedAt(NeedSinks | NeedApp | NeedItem | NeedProof); !ok {
		d.Due = due
		return d
	}
	if err := in.sinkErr(); err != nil && !in.dead() {
		d := unreachable(err)
		d.Due = due
		return d
	}
	if d, ok := in.decideRepair(); ok {
		d.Due = cmp.Or(d.Due, due)
		return d
	}
	if due == ReasonReplace && in.Record.Former == nil {
		return in.startHandover(blocked)
	}
	target, d := in.chooseTarget(due)
	if why, text := in.effectDrift(target); why != DriftNone {
		if why == DriftKeyRefused {
			return blocked(ReasonSuspect, in.nextSuspect(), text)
		}
		return blocked(ReasonDrift, time.Time{}, text)
	}
	if s := in.bootstrapBlock(due); s != NoSlot {
		return blocked(ReasonOccupied, time.Time{}, "slot "+s.String()+": "+blockedSentence(ReasonOccupied))
	}
	if target == NoSlot {
		return blocked(d.Blocked, d.Next, d.Detail)
	}
	if d, ok := in.replacedByAPerson(target); ok {
		if d.Step == StepNone && d.Need == 0 {
			return blocked(d.Blocked, d.Next, d.Detail)
		}
		d.Due = due
		return d
	}
	if text := in.claimBlock(); text != "" {
		return blocked(ReasonForeignClaim, in.View.first().Meta.Claim.At.Add(in.Policy.EffectHorizon), text)
	}
	return Decision{Step: StepStart, Due: due, Slot: target, Detail: detail}
}

// startHandover is decideStart's end where another item is to take over.
func (in *In) startHandover(blocked func(Reason, time.Time, string) Decision) Decision {
	if why, text := in.agreement(); why != DriftNone {
		return blocked(ReasonDrift, time.Time{}, text)
	}
	if text := in.claimBlock(); text != "" {
		return blocked(ReasonForeignClaim, in.View.first().Meta.Claim.At.Add(in.Policy.EffectHorizon), text)
	}
	d := in.decideHandover()
	if d.Step == StepNone && d.Need == 0 {
		return blocked(d.Blocked, d.Next, d.Detail)
	}
	d.Due = ReasonReplace
	return d
}

// replacedByAPerson: the slot of our previous key, past its overlap or compromised, is ours to mint
// into only as long as that key is in it (rule 2).
func (in *In) replacedByAPerson(target Slot) (Decision, bool) {
	if in.Record.Previous.Slot != target || in.Record.Previous.Fingerprint == "" || in.outageOK() {
		return Decision{}, false
	}
	if class := in.classify(target); class != slotPast && class != slotOverlap { // in overlap: a compromised one
		return Decision{}, false
	}
	if d, ok := in.lookedAt(NeedOld); !ok {
		return d, true
	}
	if !in.View.OldHad || in.View.Old.Valid {
		return Decision{}, false
	}
	if !enoughRefusals(in.Record.OldRefusals, in.Policy) {
		return wait(ReasonSuspect, in.nextSuspect(), "the old key is refused while its slot is flagged active"), true
	}
	return Decision{Step: StepTaken, Slot: target, Detail: "slot " + target.String() + " holds a key that is not our previous one; it is left alone"}, true
}

// bootstrapBlock: a first key is made only where no slot holds one of somebody
// unknown (rule 8), unless a person named the slot to use.
func (in *In) bootstrapBlock(due Reason) Slot {
	if due != ReasonBootstrap || in.Record.Slots[Slot1].Taken || in.Record.Slots[Slot2].Taken {
		return NoSlot
	}
	for _, s := range Slots() {
		if in.classify(s) == slotOccupied {
			return s
		}
	}
	return NoSlot
}

// effectDrift is agreement as far as a mint into the target needs it. Dates that
// disagree never stop one into an empty slot, which is what ends the disagreement.
func (in *In) effectDrift(target Slot) (Drift, string) {
	if in.outageOK() {
		return DriftNone, ""
	}
	d, why := in.agreement()
	if in.dead() && in.deathExplains(d) || d == DriftDates && target != NoSlot && in.classify(target) == slotEmpty {
		return DriftNone, ""
	}
	return d, why
}

// deathExplains tells whether a drift is one that a dead served key may leave
// behind: nothing is lost that worked, and a new key is what mends it.
func (in *In) deathExplains(d Drift) bool {
	switch d {
	case DriftKeyRefused, DriftFlag, DriftSinksDiffer, DriftSinkBehind:
		return true
	case DriftSinkEmpty:
		// There is no key to write back (rule 8).
		return !in.backed(in.Record.Previous)
	default:
		return false
	}
}

// dead: the served key was found dead, whatever reason a rotation has, and no proof
// that was just made says otherwise.
func (in *In) dead() bool {
	works := in.View.Have&NeedProof != 0 && in.View.err(NeedProof) == nil && in.View.Proof.Valid
	return !in.Record.DeadAt.IsZero() && !works
}

// outageOK tells whether the person who asked accepts an outage.
func (in *In) outageOK() bool {
	if rot := in.Record.Rotation; rot != nil && in.Record.Phase.InCutOver() {
		return rot.OutageOK
	}
	q := in.Record.Request
	return q != nil && q.OutageOK
}

// claimBlock says that another rotatord's claim is still young (rule 7).
func (in *In) claimBlock() string {
	m := in.View.first().Meta
	if m == nil || m.Claim == nil || m.Claim.Instance == in.Instance || m.Claim.Generation <= m.Key.Generation {
		return ""
	}
	if !in.Now.Before(m.Claim.At.Add(in.Policy.EffectHorizon)) {
		return ""
	}
	return "rotatord instance " + m.Claim.Instance + " claimed this credential at " + stamp(m.Claim.At)
}

// suspectEvery is how far apart the probes of a refused key are, so that as many as
// make a death fill just the time that it takes (rule 8).
func (in *In) suspectEvery() time.Duration {
	return in.Policy.DeadAfter / time.Duration(max(in.Policy.DeadProbes-1, 1))
}

func (in *In) nextSuspect() time.Time { return in.Now.Add(in.suspectEvery()) }

// suspected: the served key was refused, and is not yet dead.
func (in *In) suspected() bool { return len(in.Record.Refusals) > 0 && in.Record.DeadAt.IsZero() }

// nextProbe of the served key in an overlap: sooner while it is suspected.
func (in *In) nextProbe() time.Time {
	at := in.Record.ProbedAt.Add(in.Policy.ProbeEvery)
	if n := len(in.Record.Refusals); in.suspected() {
		at = earlier(at, in.Record.Refusals[n-1].Add(in.suspectEvery()))
	}
	return at
}

// decideMark writes adoption and hold into the first sink; ok false while it does
// not show the live key of this rotatord.
func (in *In) decideMark() (Decision, bool) {
	if !in.Record.MarkDue || in.Mode != ModeRotate || in.Now.Before(in.Record.RetryAt) {
		return Decision{}, false
	}
	if d, ok := in.lookedAt(NeedSinks); !ok {
		return d, true
	}
	if e := in.View.first(); in.show(e) != showsLive || in.foreignInstance(e) {
		return Decision{}, false
	}
	return Decision{Step: StepMark, Detail: "adoption and hold are written into the first sink"}, true
}

// Orphan is a valid key of ours that no sink serves.
type Orphan struct {
	Slot        Slot        `json:"slot"`
	Fingerprint Fingerprint `json:"fingerprint,omitempty"` // "" for a key that nobody ever saw
	Since       time.Time   `json:"since"`
	Expires     time.Time   `json:"expires,omitzero"`
	// RetireAt is when policy retires it, if nothing stands against that then; zero: it
	// is only reported.
	RetireAt time.Time `json:"retire_at,omitzero"`
}

// Orphans of a credential, as its journal knows them (rule 15).
func Orphans(r Record, p Policy) []Orphan {
	var all []Orphan
	for _, s := range Slots() {
		st := &r.Slots[s]
		ours := st.Use == UseOwn || st.Use == UsePrevious && r.Previous.Slot != s
		if !ours || !st.Active || r.Phase.InCutOver() && r.Rotation != nil && r.Rotation.Target == s {
			continue
		}
		o := Orphan{Slot: s, Fingerprint: st.Key.Fingerprint, Since: st.Since, Expires: st.Expires}
		if p.OrphanDelay > 0 {
			o.RetireAt = st.Since.Add(p.OrphanDelay)
		}
		all = append(all, o)
	}
	return all
}

// decideOrphan retires a valid key of ours that no sink serves (rule 15).
func (in *In) decideOrphan() (Decision, bool) {
	r, p := &in.Record, &in.Policy
	if p.OrphanDelay <= 0 || in.Mode != ModeRotate || in.hold() != nil || r.Quarantine != nil || in.Now.Before(r.RetryAt) || in.Now.Before(r.Revoke.RetryAt) {
		return Decision{}, false
	}
	if c := p.Calendar; c != nil {
		if why, _ := c.Closed(in.Now); why != "" {
			return Decision{}, false
		}
	}
	for _, o := range Orphans(*r, *p) {
		s := o.Slot
		if in.Now.Before(o.RetireAt) {
			continue
		}
		if d, ok := in.lookedAt(NeedAll); !ok {
			return d, true
		}
		if in.sinkErr() != nil || in.served(s) {
			return Decision{}, false
		}
		if d, why := in.agreement(); d != DriftNone {
			return wait(ReasonDrift, in.Now.Add(p.ProbeEvery), why), false
		}
		if _, why, until := in.mintable(s, ReasonNotDue, &Request{}); why != "" {
			return wait(why, until, blockedSentence(why)), false
		}
		if !in.View.SkewKnown || in.View.Skew.Abs() > MaxSkew {
			return Decision{}, false
		}
		return Decision{Step: StepRevoke, Slot: s, Detail: "slot " + s.String() + " holds a key of ours that no sink serves"}, true
	}
	return Decision{}, false
}

// MaxSkew is the difference between our clock and the portal's that blocks retiring.
const MaxSkew = 5 * time.Minute
