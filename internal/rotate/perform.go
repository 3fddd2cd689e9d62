package rotate

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"
)

// intend journals what is about to be sent; without that nothing is sent.
func (w *work) intend(ctx context.Context) bool {
	_, err := w.save(ctx)
	w.err, w.unsaved = err, err != nil
	return err == nil
}

// perform does the decision's one effect, or its change of the journal.
func (w *work) perform(ctx context.Context) {
	switch w.d.Step {
	case StepNone:
	case StepSurvey, StepProbe:
		w.looked()
	case StepFail:
		w.fail(EffectSurvey, w.d.Err)
	case StepAdopt:
		w.adopt(ctx)
	case StepRebuild:
		w.rebuild()
	case StepMark:
		w.mark(ctx)
	case StepStart:
		w.start()
	case StepClaim:
		w.claim(ctx)
	case StepReclaim:
		w.reclaim()
	case StepDate:
		w.date(ctx)
	case StepMint:
		w.mint(ctx)
	case StepProve:
		w.prove(ctx)
	case StepPublish:
		w.publish(ctx)
	case StepCommit:
		w.commit(w.in.View.first())
	case StepPromote:
		w.promote()
	case StepSwap:
		w.swap()
	case StepRetire, StepRevoke:
		w.revoke(ctx)
	case StepFinish:
		w.finish(ctx)
	case StepTaken:
		w.taken()
	case StepAbort:
		w.abort()
	case StepRefuse:
		w.refuse()
	case StepHook:
		w.hook(ctx)
	case StepHandover:
		w.handover()
	case StepBack:
		w.back()
	case StepRetireFormer:
		w.retireFormer(ctx)
	case StepRemoveFormer:
		w.removeFormer(ctx)
	case StepFormerEnd:
		w.formerEnd()
	case StepForget:
		w.forget()
	}
}

// done notes an effect that succeeded: the failures before it are over.
func (w *work) done(ef Effect, ev Event) {
	w.effect = ef
	ev.Kind, ev.Effect, ev.Result, ev.Took = EventEffect, ef, ResultOK, time.Since(w.began)
	w.event(ev)
	w.rec.RetryAt = time.Time{}
	if ef == EffectClaim || ef == EffectDate || ef == EffectHook {
		return // these work again and again while what follows them fails
	}
	w.rec.Attempts, w.rec.LastError, w.rec.LastKind, w.rec.LastFailure = 0, "", "", time.Time{}
}

// fail notes an effect that did not succeed, and when to try again.
func (w *work) fail(ef Effect, err error) {
	w.effect, w.err = ef, err
	r, p, now := &w.rec, &w.c.Policy, time.Now().UTC().Round(0)
	if ef == EffectRevoke || ef == EffectRemove {
		w.failLadder(ef, err, now)
		return
	}
	if !everybodys(err) {
		r.Attempts++
	}
	wait := max(backoff(w.c.Name, max(r.Attempts, 1), p.RetryBase, p.RetryMax), WaitOf(err))
	again := false
	if KindOf(err) == KindVeto {
		wait, again = min(max(vetoPace*p.RetryBase, now.Sub(r.waitsSince(now))/16), p.RetryMax), r.LastError == err.Error()
	}
	r.LastFailure, r.LastError, r.LastKind = now, err.Error(), KindOf(err)
	r.RetryAt = now.Add(wait)
	if !again { // the same no, every few minutes for days, is one line of history
		w.event(Event{Kind: EventEffect, Effect: ef, Result: Result(KindOf(err)), Slot: w.d.Slot, Sink: w.sink, Error: err.Error(), Took: time.Since(w.began)})
	}
	if k := KindOf(err); p.MaxAttempts > 0 && r.Attempts >= p.MaxAttempts && (k == KindPermanent || k == KindConflict) && !w.s.HoldsKey() {
		w.quarantine(plural(r.Attempts, "failure") + " in a row, the last one: " + err.Error())
	}
}

// fresh tells whether what was read is recent enough to act on (rule 1); else ef has failed.
func (w *work) fresh(ef Effect) bool {
	if time.Since(w.in.View.Since) <= freshFor {
		return true
	}
	w.fail(ef, &Error{Op: string(ef), Kind: KindTransient, Err: fmt.Errorf("what was read for it is older than %s", freshFor)})
	return false
}

// vetoPace is how many first back-offs a hook that said no is left alone at least, and
// later a sixteenth of the time that the rotation has waited.
const vetoPace = 10

// everybodys trouble is a portal's that asked for a pause, or is left alone, or
// somebody's no: it is no failure of this credential, and brings it no nearer to its
// quarantine.
func everybodys(err error) bool {
	return KindOf(err) == KindRateLimited || KindOf(err) == KindVeto || CauseOf(err) == CauseBreakerOpen
}

// failLadder climbs the ladder of revocations: what will not go delays nothing else.
func (w *work) failLadder(ef Effect, err error, now time.Time) {
	l, p := &w.rec.Revoke, &w.c.Policy
	if l.Attempts == 0 {
		l.Since = now
	}
	if !everybodys(err) {
		l.Attempts++
	}
	l.Error, l.Kind = err.Error(), KindOf(err)
	l.RetryAt = now.Add(max(backoff(w.c.Name, max(l.Attempts, 1), p.RetryBase, p.RetryMax), WaitOf(err)))
	w.wait(earlier(now.Add(p.ProbeEvery), l.RetryAt))
	w.event(Event{Kind: EventEffect, Effect: ef, Result: Result(l.Kind), Slot: w.d.Slot, Error: l.Error, Took: time.Since(w.began)})
}

// backoff doubles from base to limit, with a jitter of up to a tenth that is stable
// for a name and attempt.
func backoff(name Name, attempts int, base, limit time.Duration) time.Duration {
	d := base
	for i := 1; i < attempts && d < limit; i++ {
		d *= 2
	}
	d = min(d, limit)
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	_, _ = h.Write([]byte{byte(attempts)})
	return d - time.Duration(h.Sum32()%100)*d/1000
}

func (w *work) quarantine(why string) {
	if w.rec.Quarantine != nil {
		return
	}
	w.rec.Quarantine = &Quarantine{Since: w.in.Now, Reason: why}
	w.event(Event{Kind: EventQuarantined, Detail: why})
}

// looked ends a survey or probe: what it saw is in the record already.
func (w *work) looked() {
	if w.d.Step == StepSurvey {
		w.rec.SurveyedAt, w.effect, w.s.look = w.in.Now, EffectSurvey, false
	} else {
		w.effect = EffectProbe
	}
	ok := w.in.View.Proof.Valid || w.rec.Live.Fingerprint == ""
	res := ResultOK
	if !ok {
		res = Result(KindAuth)
	}
	if w.d.Step == StepProbe {
		w.rec.ProbedAt = w.in.Now // also of a key that is not the live one: it is looked at again in a while, not at once
	}
	w.clearFailures()
	w.event(Event{Kind: EventEffect, Effect: w.effect, Result: res, Slot: w.rec.Live.Slot, Fingerprint: w.rec.Live.Fingerprint,
		Expires: w.rec.Live.Expires, Took: time.Since(w.in.View.Since)})
	if len(w.rec.Refusals) > 0 && w.rec.DeadAt.IsZero() {
		w.rec.RetryAt = w.in.nextSuspect()
		w.wait(w.rec.RetryAt)
	}
}

// clearFailures after a look that worked: outside of a rotation a look is the only
// thing that can fail.
func (w *work) clearFailures() {
	if !w.rec.Phase.InCutOver() {
		w.rec.Attempts, w.rec.LastError, w.rec.LastKind, w.rec.RetryAt, w.rec.LastFailure = 0, "", "", time.Time{}, time.Time{}
	}
}

// start begins a rotation in the journal.
func (w *work) start() {
	if !w.begins() {
		return
	}
	r, d := &w.rec, &w.d
	r.Hooked = nil
	if st := &r.Slots[d.Slot]; w.in.claimedByUs(d.Slot) && (st.Use == UseEmpty || st.Use == UseUnknown) {
		st.Use, st.Since = UseOwn, w.in.Now // the claim that says so is about to be replaced
	}
	rot := &Rotation{Reason: d.Due, Target: d.Slot}
	if q := r.Request; q != nil && (d.Due == ReasonRequested || d.Due == ReasonCompromised || d.Due == ReasonRollback) {
		rot.By, rot.OutageOK = q.By, q.OutageOK
		rot.Compromised = d.Due == ReasonCompromised
		rot.Fingerprints = q.Fingerprints
	}
	rot.DeadOld = !r.DeadAt.IsZero() && (d.Key.Fingerprint == "" || d.Key.Fingerprint != r.Live.Fingerprint) // it is not replaced by itself
	if d.Key.Fingerprint != "" {
		rot.Republish, rot.New = true, d.Key
	} else {
		rot.TargetWasActive = w.in.View.App.Active[d.Slot]
		if st := &r.Slots[d.Slot]; rot.TargetWasActive && st.Key.LatestExpiry.IsZero() {
			st.Key.LatestExpiry = w.in.View.Item.Expires[d.Slot]
		}
	}
	w.open(rot)
}

// begins takes the place that the other credentials leave, or waits.
func (w *work) begins() bool {
	if w.c.Peers == nil || urgent(w.d.Due) || w.in.critical() {
		return true
	}
	b := w.c.Peers.Begin(w.rec, w.in.Now)
	if b.Reason == "" {
		return true
	}
	w.d = Decision{Due: w.d.Due, Blocked: b.Reason, Detail: b.Text}
	w.wait(b.Until)
	return false
}

// open a rotation in the journal.
func (w *work) open(rot *Rotation) {
	r := &w.rec
	rot.ID, rot.Started, rot.Generation = w.e.o.NewID(w.in.Now), w.in.Now, w.top()+1
	if rot.Republish {
		rot.New.Generation = rot.Generation
	}
	r.Rotation, r.Phase, r.LastRotation = rot, PhaseClaiming, max(r.LastRotation, rot.ID)
	w.event(Event{Kind: EventStarted, Slot: rot.Target, Generation: rot.Generation, Actor: rot.By, Reason: rot.Reason, Detail: w.d.Detail})
}

func (w *work) top() int64 {
	return max(w.rec.TopGeneration, w.rec.Live.Generation, w.rec.Previous.Generation)
}

// meta is what a sink's entry should say about the key that it holds.
func (w *work) meta(e Entry) *Meta {
	r := &w.rec
	m := Meta{Key: r.Live, Previous: r.Previous, RetireAt: r.RetireAt}
	if old := e.Meta; old != nil {
		m.RotationID, m.Published, m.Claim = old.RotationID, old.Published, old.Claim
		if fp := e.Key.Fingerprint(); fp != "" && fp != r.Live.Fingerprint {
			m.Key, m.Previous, m.RetireAt = old.Key, old.Previous, old.RetireAt
		}
	}
	m.Format, m.Portal, m.Item, m.Instance = MetaFormat, w.c.ID.Portal, w.c.ID.Item, w.e.o.Instance
	m.AdoptedAt, m.Hold = r.AdoptedAt, r.Hold
	if w.in.formerKey(e) && e.Meta != nil {
		m.Portal, m.Item, m.AdoptedAt = e.Meta.Portal, e.Meta.Item, e.Meta.AdoptedAt // whose key it is
	} else {
		m.named(r, r.Former.retireAt())
	}
	return &m
}

// write is one compare-and-swap into a sink.
func (w *work) write(ctx context.Context, i int, e Entry, cas Version) (Version, error) {
	w.sink = w.c.Sinks[i].Name()
	return w.c.Sinks[i].Write(ctx, e, cas)
}

func (w *work) claim(ctx context.Context) {
	r, rot, e := &w.rec, w.rec.Rotation, w.in.View.first()
	m := w.meta(e)
	m.Claim = &Claim{Generation: rot.Generation, Slot: rot.Target, Instance: w.e.o.Instance, RotationID: rot.ID, At: w.in.Now}
	v, err := w.write(ctx, 0, Entry{Key: e.Key, Meta: m}, e.Version)
	if err != nil {
		w.fail(EffectClaim, err)
		return
	}
	w.s.claim, w.s.claimedAt, w.s.old = v, w.e.o.Elapsed(), e.Key
	if rot.Republish {
		w.s.old = Secret{}
	}
	changed := *rot
	changed.ClaimAt, changed.ClaimedAt = v, w.in.Now
	r.Rotation, r.MarkDue = &changed, false
	r.Phase = PhaseDating
	if rot.Republish {
		r.Phase = PhasePublishing
	}
	w.done(EffectClaim, Event{Slot: rot.Target, Sink: w.sink, Generation: rot.Generation})
}

// reclaim goes back to the claim: the key is lost, or the claim is of no use.
func (w *work) reclaim() {
	r := &w.rec
	w.s.minted.Forget()
	changed := *r.Rotation
	st := &r.Slots[changed.Target]
	if st.Intent != nil && st.Intent.Effect == EffectMint {
		w.event(Event{Kind: EventKeyLost, Slot: changed.Target, Fingerprint: changed.New.Fingerprint, Detail: w.d.Detail})
		st.Intent, st.Use = nil, UseOwn
	}
	changed.New, changed.ClaimAt = KeyFacts{}, ""
	r.Rotation, r.Phase = &changed, PhaseClaiming
	if n := w.c.Policy.MaxAttempts; n > 0 && changed.Mints >= n {
		w.giveUp(plural(changed.Mints, "key") + " of one rotation were lost between the portal and here, one after the other")
	}
}

func (w *work) abort() {
	r := &w.rec
	w.event(Event{Kind: EventAborted, Slot: w.d.Slot, Detail: w.d.Detail})
	r.Rotation, r.Phase = nil, PhaseIdle
	if r.Previous.Fingerprint != "" {
		r.Phase = PhaseOverlap
		if r.RetireAt.IsZero() {
			r.RetireAt = w.in.latest().Add(w.c.Policy.Overlap)
		}
	}
	if w.d.Blocked == ReasonDrift {
		r.Attempts++ // what sends one rotation after the other back is a failure too
	}
	r.RetryAt = w.in.Now.Add(backoff(w.c.Name, max(r.Attempts, 1), w.c.Policy.RetryBase, w.c.Policy.RetryMax))
	w.wait(r.RetryAt)
}

func (w *work) refuse() {
	q := w.rec.Request
	w.event(Event{Kind: EventRefused, Reason: w.d.Blocked, Actor: q.By, Detail: string(q.Kind) + ": " + w.d.Detail})
	if q.Kind == RequestReplace && w.rec.Former == nil {
		w.rec.drop(q.By, w.in.Now)
	}
	w.rec.Request = nil
}

// date sets the target slot's expiry; what is asked for is journalled first.
func (w *work) date(ctx context.Context) {
	r := &w.rec
	slot := r.Rotation.Target
	asked := w.c.Policy.ExpiryFor(w.c.Name, w.in.Portal)
	changed := *r.Rotation
	changed.Asked = asked
	r.Rotation = &changed
	r.Slots[slot].Asked = asked
	if !w.intend(ctx) {
		return
	}
	err := w.c.Portal.SetExpiry(WithPurpose(ctx, PurposeProtocol), w.c.ID, w.rec.Owner, slot, asked)
	if err != nil && w.dated(ctx, slot, asked) {
		err = nil
	}
	if err != nil {
		if CauseOf(err) == CauseNotFound || CauseOf(err) == CauseForbidden {
			w.rec.Owner = "" // read it again: the item may have moved
		}
		w.fail(EffectDate, err)
		return
	}
	w.rec.Phase = PhaseMinting
	w.done(EffectDate, Event{Slot: slot, Expires: asked})
}

// dated tells whether the item shows the date that was asked for, although the
// request that set it failed: within a day, since the portal rounds.
func (w *work) dated(ctx context.Context, slot Slot, asked time.Time) bool {
	item, err := w.c.Portal.Item(WithPurpose(ctx, PurposeSafety), w.c.ID)
	if err != nil || item.Expires[slot].IsZero() {
		return false
	}
	off := item.Expires[slot].Sub(asked).Abs()
	return off == 0 || (w.c.Policy.Precision == PrecisionDay && off < 24*time.Hour)
}
