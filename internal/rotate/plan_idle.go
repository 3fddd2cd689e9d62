package rotate

import (
	"cmp"
	"fmt"
	"time"
)

func (in *In) decideIdle() Decision {
	r := &in.Record
	if d, ok := in.decideRequest(); ok {
		return d
	}
	due, detail := in.due()
	if due != "" {
		d := in.decideStart(due, detail)
		if d.Blocked != ReasonMinInterval && d.Blocked != ReasonNoGain && d.Step == StepNone && d.Need == 0 {
			// A blocked start still keeps its deep looks: they may lift the block.
			if s, ok := in.survey(); ok {
				s.Due, s.Blocked, s.Detail = due, d.Blocked, d.Detail
				return s
			}
		}
		return d
	}
	if r.MarkDue && in.Mode == ModeRotate && !in.Now.Before(r.RetryAt) {
		return in.decideMark()
	}
	if d, ok := in.decideOrphan(); ok {
		return d
	}
	if d, ok := in.survey(); ok {
		return d
	}
	next := in.nextSurvey()
	if at, ok := DueAt(*r, in.Policy); ok {
		if at = at.Add(-r.Offset); at.Before(next) {
			next = at
		}
	}
	return wait(in.idleReason(), next, in.idleDetail())
}

func (in *In) idleReason() Reason {
	switch {
	case in.Record.Quarantine != nil:
		return ReasonQuarantined
	case in.Record.Drift != DriftNone:
		return ReasonDrift
	case in.Record.Hold.Active(in.Now):
		return ReasonHeld
	}
	return ReasonNotDue
}

func (in *In) idleDetail() string {
	r := &in.Record
	switch in.idleReason() {
	case ReasonQuarantined:
		return r.Quarantine.Reason
	case ReasonDrift:
		return r.DriftDetail
	case ReasonHeld:
		return "held by " + r.Hold.By + ": " + r.Hold.Reason
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
	if err := in.sinkErr(); err != nil && due != ReasonDead {
		return Decision{Step: StepFail, Due: due, Blocked: ReasonUnreachable, Err: err, Detail: err.Error()}
	}
	if d, ok := in.decideRepair(); ok {
		d.Due = cmp.Or(d.Due, due)
		return d
	}
	if why, text := in.startDrift(due, in.outageOK()); why != DriftNone {
		if why == DriftKeyRefused {
			return blocked(ReasonSuspect, in.nextSuspect(), text)
		}
		return blocked(ReasonDrift, time.Time{}, text)
	}
	target, d := in.chooseTarget(due)
	if target == NoSlot {
		return blocked(d.Blocked, d.Next, d.Detail)
	}
	if text := in.claimBlock(); text != "" {
		return blocked(ReasonForeignClaim, in.View.first().Meta.Claim.At.Add(in.Policy.EffectHorizon), text)
	}
	return Decision{Step: StepStart, Due: due, Slot: target, Detail: detail}
}

// startDrift is agreement as far as the reason to start can ask for it.
func (in *In) startDrift(due Reason, outageOK bool) (Drift, string) {
	if outageOK {
		return DriftNone, ""
	}
	d, why := in.agreement()
	switch {
	case due == ReasonDead && (d == DriftKeyRefused || d == DriftFlag):
		return DriftNone, ""
	case d == DriftDates:
		// Dates that disagree never stop a mint into an empty slot, which is what
		// ends the disagreement; they stop everything else.
		if target, _ := in.chooseTarget(due); target != NoSlot && in.classify(target) == slotEmpty {
			return DriftNone, ""
		}
	}
	return d, why
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

func (in *In) nextSuspect() time.Time {
	n := max(in.Policy.DeadProbes-1, 1)
	return in.Now.Add(in.Policy.DeadAfter / time.Duration(n))
}

// decideRepair is what heals without destroying anything: the way back to a valid
// previous key (rule 4), a vanished secret (rule 8), a restored sink (rule 9) and a
// later sink that lags (rule 5).
func (in *In) decideRepair() (Decision, bool) {
	r, v := &in.Record, &in.View
	if r.Live.Fingerprint == "" || in.Mode != ModeRotate || in.Now.Before(r.RetryAt) {
		return Decision{}, false
	}
	if d, ok := in.lookedAt(NeedSinks | NeedProof); !ok {
		return d, true
	}
	first := in.show(v.first())
	switch {
	case first != showsNever && in.foreignInstance(v.first()):
		return Decision{}, false
	case first == showsVanished || first == showsPrevious:
		// One read may be a stale standby's: it must say the same for a while.
		if until := r.DriftSince.Add(in.Policy.EffectHorizon / 10); r.Drift != driftOf(first) || in.Now.Before(until) {
			return wait(ReasonDrift, in.Now.Add(in.Policy.EffectHorizon/10), "the first sink's answer is looked at again"), true
		}
		if first == showsVanished {
			return in.repairVanished()
		}
		return in.repairBehind()
	case first == showsLive && !r.DeadAt.IsZero():
		return in.repairDead()
	}
	if first != showsLive || r.Hold.Active(in.Now) {
		return Decision{}, false
	}
	if in.oldMeta(v.first()) {
		return Decision{Step: StepMark, Detail: "the first sink's facts are brought up to date"}, true
	}
	for i, s := range v.Sinks {
		if i == 0 || s.Err != nil {
			continue
		}
		if in.lags(s.Entry) {
			return Decision{Step: StepPublish, Sink: i, Slot: r.Live.Slot, Detail: "sink " + s.Name + " is copied from " + v.Sinks[0].Name}, true
		}
	}
	return Decision{}, false
}

// lags tells whether a later sink is to be copied from the first one.
func (in *In) lags(e Entry) bool {
	switch in.show(e) {
	case showsNever, showsVanished, showsPrevious:
		return true
	case showsLive:
		return in.oldMeta(e)
	case showsNew, showsAhead, showsForeign, showsOtherItem, showsNewFormat:
		return false
	}
	return false
}

// oldMeta: the sink serves the live key with facts that say otherwise.
func (in *In) oldMeta(e Entry) bool {
	return e.Meta == nil || e.Meta.Key.Generation != in.Record.Live.Generation || e.Meta.Key.Fingerprint != in.Record.Live.Fingerprint
}

// repairVanished republishes the served key from the sink's own history or another
// sink; without either it is drift.
func (in *In) repairVanished() (Decision, bool) {
	if d, ok := in.lookedAt(NeedEarlier); !ok {
		return d, true
	}
	for _, k := range []KeyFacts{in.Record.Live, in.Record.Previous} {
		if k.Fingerprint != "" && in.View.finds(k.Fingerprint) {
			return Decision{Step: StepStart, Due: ReasonRestore, Key: k, Slot: k.Slot,
				Detail: "the secret vanished from the first sink; its earlier version is written back"}, true
		}
	}
	return Decision{}, false
}

// finds tells whether a readable entry, current or earlier, holds the key.
func (v *View) finds(f Fingerprint) bool {
	_, ok := v.find(f)
	return ok
}

func (v *View) find(f Fingerprint) (Secret, bool) {
	for _, s := range v.Sinks {
		if s.Entry.Key.Fingerprint() == f {
			return s.Entry.Key, true
		}
	}
	for _, e := range v.Earlier {
		if e.Key.Fingerprint() == f {
			return e.Key, true
		}
	}
	return Secret{}, false
}

// repairBehind: the first sink serves an older key of ours. A newer one that some
// sink still has is republished; else what is served becomes the live key, and the
// other one counts as in use for one overlap.
func (in *In) repairBehind() (Decision, bool) {
	if d, ok := in.lookedAt(NeedEarlier); !ok {
		return d, true
	}
	if in.View.finds(in.Record.Live.Fingerprint) {
		k := in.Record.Live
		return Decision{Step: StepStart, Due: ReasonRestore, Key: k, Slot: k.Slot,
			Detail: "the first sink went back to an older key; the newer one is republished"}, true
	}
	e := in.View.first()
	k := in.Record.Previous
	if fp := e.Key.Fingerprint(); k.Fingerprint != fp {
		k = e.Meta.Key
	}
	return Decision{Step: StepSwap, Key: k, Slot: k.Slot,
		Detail: "the first sink was restored: it serves " + string(k.Fingerprint) + " again"}, true
}

// repairDead is the way back: the served key is dead and the previous one is not.
func (in *In) repairDead() (Decision, bool) {
	r := &in.Record
	if d, ok := in.lookedAt(NeedApp); !ok {
		return d, true
	}
	if r.Previous.Fingerprint == "" || !in.View.App.Active[r.Previous.Slot] {
		return Decision{}, false
	}
	if r.Rotation != nil && r.Rotation.Compromised || r.Hold != nil && r.Hold.Active(in.Now) {
		return Decision{}, false
	}
	if d, ok := in.lookedAt(NeedEarlier | NeedOld); !ok {
		return d, true
	}
	if !in.View.OldHad || !in.View.Old.Valid {
		return Decision{}, false
	}
	return Decision{Step: StepStart, Due: ReasonRestore, Key: r.Previous, Slot: r.Previous.Slot,
		Detail: fmt.Sprintf("the served key is dead and the previous one of slot %s works: it is written back", r.Previous.Slot)}, true
}

// decideMark writes adoption and hold into the first sink.
func (in *In) decideMark() Decision {
	if d, ok := in.lookedAt(NeedSinks); !ok {
		return d
	}
	if sh := in.show(in.View.first()); sh != showsLive || in.claimBlock() != "" {
		return Decision{Step: StepSurvey, Blocked: ReasonDrift, Detail: "the marks wait until the first sink shows the live key"}
	}
	return Decision{Step: StepMark, Detail: "adoption and hold are written into the first sink"}
}

// decideOrphan retires a valid key of ours that no sink serves (rule 15).
func (in *In) decideOrphan() (Decision, bool) {
	r, p := &in.Record, &in.Policy
	if p.OrphanDelay <= 0 || in.Mode != ModeRotate || r.Hold.Active(in.Now) || r.Quarantine != nil || in.Now.Before(r.RetryAt) {
		return Decision{}, false
	}
	for _, s := range Slots() {
		st := &r.Slots[s]
		if st.Use != UseOwn && (st.Use != UsePrevious || r.Previous.Slot == s) || !st.Active || in.Now.Before(st.Since.Add(p.OrphanDelay)) {
			continue
		}
		if d, ok := in.lookedAt(NeedAll); !ok {
			return d, true
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

// decideRequest handles what a person asked for and is no plain rotation.
func (in *In) decideRequest() (Decision, bool) {
	q := in.Record.Request
	if q == nil || in.Mode != ModeRotate || in.Now.Before(in.Record.RetryAt) {
		return Decision{}, false
	}
	switch q.Kind {
	case RequestInvalidate:
		return in.decideInvalidate(q), true
	case RequestRollback:
		return in.decideRollback(), true
	case RequestCompromised:
		return in.decideCompromised(q)
	case RequestRotate, RequestRegenerate, RequestAdopt:
		return Decision{}, false
	}
	return Decision{}, false
}

func (in *In) refuse(why Reason, detail string) Decision {
	return Decision{Step: StepRefuse, Blocked: why, Detail: detail}
}

func (in *In) decideInvalidate(q *Request) Decision {
	if d, ok := in.lookedAt(NeedSinks | NeedApp | NeedItem | NeedProof); !ok {
		return d
	}
	if in.served(q.Slot) && !q.OutageOK {
		return in.refuse(ReasonOccupied, "a sink serves the key of slot "+q.Slot.String())
	}
	if until, flying := in.inFlight(q.Slot); flying {
		return wait(ReasonHorizon, until, blockedSentence(ReasonHorizon))
	}
	if d, why := in.agreement(); d != DriftNone && !q.OutageOK {
		return in.refuse(ReasonDrift, why)
	}
	return Decision{Step: StepRevoke, Slot: q.Slot, Detail: "asked for by " + q.By}
}

// decideRollback writes the previous key back as a new generation.
func (in *In) decideRollback() Decision {
	r := &in.Record
	if r.Previous.Fingerprint == "" {
		return in.refuse(ReasonNotDue, "there is no previous key to go back to")
	}
	if d, ok := in.lookedAt(NeedSinks | NeedEarlier | NeedApp | NeedItem | NeedProof | NeedOld); !ok {
		return d
	}
	if d, why := in.sinkDrift(); d != DriftNone && d != DriftSinksDiffer {
		return in.refuse(ReasonDrift, why)
	}
	if !in.View.OldHad {
		return in.refuse(ReasonDrift, "no sink still has the previous key")
	}
	if !in.View.Old.Valid {
		return in.refuse(ReasonDead, "the previous key is refused by the portal")
	}
	return Decision{Step: StepStart, Due: ReasonRollback, Key: r.Previous, Slot: r.Previous.Slot, Detail: "rolled back by " + r.Request.By}
}

// decideCompromised retires a named key that is no longer served at once; a served
// one is rotated first, which the due checks do.
func (in *In) decideCompromised(q *Request) (Decision, bool) {
	r := &in.Record
	if in.compromisedLive(q) {
		return Decision{}, false
	}
	if r.Previous.Fingerprint == "" || !names(q.Fingerprints, r.Previous.Fingerprint) {
		return in.refuse(ReasonNotDue, "no key of that fingerprint is in use here"), true
	}
	return in.decideRetire(), true
}

// compromisedLive tells whether the request names the served key.
func (in *In) compromisedLive(q *Request) bool {
	return names(q.Fingerprints, in.Record.Live.Fingerprint)
}
