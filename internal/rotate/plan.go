package rotate

import (
	"fmt"
	"time"
)

// Decide is the plan: pure, total, one step at a time. A decision with a Need asks
// for a look first; everything else is final for this Advance.
func Decide(in In) Decision {
	r := &in.Record
	if r.Epoch > 0 && r.ID != (ID{}) && r.ID != in.ID {
		return drift(DriftIdentity, "the journal knows item "+r.ID.String()+" under this name, the config says "+in.ID.String())
	}
	if r.AdoptedAt.IsZero() || (r.Request != nil && r.Request.Kind == RequestAdopt) {
		return in.decideUnadopted()
	}
	if d, ok := in.decideTakeover(); ok {
		return d
	}
	if r.Phase.InCutOver() && r.Rotation == nil {
		return Decision{Step: StepAbort, Detail: "the journal has no rotation in phase " + string(r.Phase)}
	}
	if in.Mode != ModeRotate {
		switch {
		case !r.Phase.InCutOver():
			return in.decideWatch()
		case in.Mem.Minted == "" && !r.Rotation.Committed:
			return in.working(Decision{Step: StepAbort, Blocked: ReasonWatch, Detail: "mode is watch"})
		}
	}
	return in.hooked(in.decidePhase())
}

func (in *In) decidePhase() Decision {
	var d Decision
	switch in.Record.Phase {
	case PhaseClaiming:
		d = in.decideClaiming()
	case PhaseDating:
		d = in.decideDating()
	case PhaseMinting:
		d = in.decideMinting()
	case PhaseProving:
		d = in.decideProving()
	case PhasePublishing:
		d = in.decidePublishing()
	case PhaseOverlap, PhaseRetiring:
		d = in.decideOverlap()
	case PhaseIdle, "":
		d = in.decideIdle()
	}
	return d
}

// drift is a decision to do nothing because journal, sinks and portal disagree.
func drift(d Drift, detail string) Decision {
	return Decision{Blocked: ReasonDrift, Drift: d, Detail: detail}
}

// surveyEvery is how often an idle credential is looked at deeply: sooner while
// something is wrong with it.
func (in *In) surveyEvery() time.Duration {
	r := &in.Record
	if in.suspected() {
		return min(in.suspectEvery(), in.Policy.DeepEvery)
	}
	if r.Drift != DriftNone || len(r.Refusals) > 0 || !r.DeadAt.IsZero() {
		return min(in.Policy.ProbeEvery, in.Policy.DeepEvery)
	}
	return in.Policy.DeepEvery
}

func (in *In) surveyDue() bool {
	return in.Mem.Look || (!in.Now.Before(in.Record.SurveyedAt.Add(in.surveyEvery())) && !in.Now.Before(in.Record.RetryAt))
}

// survey is the deep look that is due by time or asked for, with the repairs that
// it calls for; ok false if none is due.
func (in *In) survey() (Decision, bool) {
	if !in.surveyDue() {
		return Decision{}, false
	}
	if d, ok := in.lookedAt(NeedAll); !ok {
		return d, true
	}
	if d, ok := in.decideRepair(); ok {
		return d, true
	}
	return Decision{Step: StepSurvey, Blocked: in.idleReason(), Detail: in.idleDetail()}, true
}

func (in *In) nextSurvey() time.Time {
	at := in.Record.SurveyedAt.Add(in.surveyEvery())
	if at.Before(in.Record.RetryAt) {
		return in.Record.RetryAt
	}
	return at
}

func (in *In) decideWatch() Decision {
	d, ok := in.survey()
	if !ok {
		d = wait(ReasonWatch, in.nextSurvey(), "mode is watch")
	}
	d.Due, _ = in.due()
	return d
}

// decideUnadopted observes, and adopts where a person asked for it, or the config
// allows it and nothing is ambiguous.
func (in *In) decideUnadopted() Decision {
	r := &in.Record
	asked := r.Request != nil && r.Request.Kind == RequestAdopt
	if in.Now.Before(r.RetryAt) {
		return in.backingOff()
	}
	if !asked && !in.surveyDue() {
		return wait(ReasonUnadopted, in.nextSurvey(), "never adopted: `rotatord adopt "+string(r.Name)+"`")
	}
	if d, ok := in.lookedAt(NeedSinks); !ok {
		return d
	}
	m := in.View.first().Meta
	if m != nil && !m.AdoptedAt.IsZero() && in.successor(m) && in.sinkErr() == nil {
		return Decision{Step: StepRebuild, Detail: "the journal was rebuilt from the sink, which says that item " + string(m.Item) + " replaced " + string(in.ID.Item)}
	}
	if d, ok := in.lookedAt(NeedSinks | NeedApp | NeedItem | NeedProof); !ok {
		return d
	}
	if err := in.sinkErr(); err != nil {
		return unreachable(err)
	}
	if !asked && m != nil && !m.AdoptedAt.IsZero() && m.Item == in.ID.Item && m.Instance == in.Instance {
		return Decision{Step: StepRebuild, Detail: "the journal was rebuilt from the sink"}
	}
	d := in.adoption()
	switch {
	case asked && in.Mode != ModeRotate:
		return Decision{Step: StepRefuse, Blocked: ReasonWatch, Detail: "mode is watch: set `mode: rotate` first"}
	case asked && d.Step == StepNone:
		return Decision{Step: StepRefuse, Blocked: d.Blocked, Detail: d.Detail}
	case asked:
		return d
	case in.Mode == ModeRotate && in.Policy.AutoAdopt && d.Step == StepAdopt && in.View.Proof.Valid == (d.Key.Fingerprint != ""):
		return d
	}
	return Decision{Step: StepSurvey, Blocked: ReasonUnadopted, Detail: d.Detail}
}

// adoption finds which slot the sink serves, from the key's tail, flags and probe.
func (in *In) adoption() Decision {
	v, e := &in.View, in.View.first()
	take := NoSlot
	if q := in.Record.Request; q != nil {
		take = q.Slot
	}
	refuse := func(why Reason, detail string) Decision { return Decision{Blocked: why, Detail: detail} }
	if m := e.Meta; m != nil && m.Instance != "" && m.Instance != in.Instance && in.Record.Request == nil {
		return refuse(ReasonDrift, "rotatord instance "+m.Instance+" works on this credential; `rotatord adopt "+string(in.Record.Name)+"` takes over")
	}
	if m := e.Meta; m != nil && m.Item != "" && m.Item != in.ID.Item {
		return refuse(ReasonDrift, "the first sink holds the key of item "+string(m.Item))
	}
	if text := in.claimBlock(); text != "" {
		return refuse(ReasonForeignClaim, text+"; try again after "+stamp(e.Meta.Claim.At.Add(in.Policy.EffectHorizon)))
	}
	fp := e.Key.Fingerprint()
	if fp == "" {
		if e.Ever && (e.Meta == nil || e.Meta.Key.Fingerprint != "") {
			return refuse(ReasonDrift, "the first sink's secret was deleted; undelete it or write the key in use")
		}
		for i, s := range v.Sinks {
			if other := s.Entry.Key.Fingerprint(); i > 0 && other.Slot() != NoSlot && other.ClientTail() == tailOf(v.App.ClientID) {
				return refuse(ReasonDrift, "the first sink has no key, and sink "+s.Name+" serves "+string(other)+": write it into the first sink")
			}
		}
		for _, s := range Slots() {
			if v.App.Active[s] && take == NoSlot {
				return refuse(ReasonOccupied, fmt.Sprintf("slot %s holds a key that no sink has: write it into the first sink and adopt again, or let `rotatord adopt %s --take-slot N` name the slot that may be minted into", s, in.Record.Name))
			}
		}
		return Decision{Step: StepAdopt, Slot: take, Detail: "no key yet; the first one will be minted"}
	}
	slot := fp.Slot()
	if slot == NoSlot || fp.ClientTail() != tailOf(v.App.ClientID) {
		return refuse(ReasonDrift, "the first sink's value "+string(fp)+" is no key of this credential")
	}
	if v.Proof.Valid && v.Proof.Item != "" && v.Proof.Item != in.ID.Item {
		return refuse(ReasonDrift, "the first sink's key belongs to item "+string(v.Proof.Item))
	}
	for i, s := range v.Sinks {
		if other := s.Entry.Key.Fingerprint(); i > 0 && other != "" && other != fp {
			return refuse(ReasonDrift, "sink "+s.Name+" serves "+string(other)+", the first sink "+string(fp))
		}
	}
	k := KeyFacts{Slot: slot, Fingerprint: fp, Generation: 1, Expires: v.Proof.Expires, LatestExpiry: v.Proof.Expires}
	if m := e.Meta; m != nil && m.Key.Fingerprint == fp {
		k = m.Key
	}
	k = k.seen(v.Item.Expires[slot])
	return Decision{Step: StepAdopt, Slot: take, Key: k, Detail: "slot " + slot.String() + " serves " + string(fp)}
}

// seen folds another source of the key's expiry in; zero changes nothing.
func (k KeyFacts) seen(at time.Time) KeyFacts {
	if at.IsZero() {
		return k
	}
	if k.Expires.IsZero() || at.Before(k.Expires) {
		k.Expires = at
	}
	if at.After(k.LatestExpiry) {
		k.LatestExpiry = at
	}
	return k
}

// decideTakeover handles what may be found in any phase once the sinks were read: a
// journal that is older than the sink (rule 10).
func (in *In) decideTakeover() (Decision, bool) {
	if in.View.Have&NeedSinks == 0 || in.View.err(NeedSinks) != nil {
		return Decision{}, false
	}
	for _, s := range in.View.Sinks {
		if s.Err == nil && in.show(s.Entry) == showsAhead && !in.foreignInstance(s.Entry) {
			return Decision{Step: StepRebuild, Detail: fmt.Sprintf("sink %s has generation %d, newer than the journal's %d",
				s.Name, s.Entry.Meta.Key.Generation, in.Record.Live.Generation)}, true
		}
	}
	return Decision{}, false
}
