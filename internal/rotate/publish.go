package rotate

import (
	"context"
	"fmt"
	"time"
)

// publish writes the key into one sink by compare-and-swap and reads it back. The
// first sink's write commits the rotation; later ones are copied from what the
// first one shows.
func (w *work) publish(ctx context.Context) {
	i, target := w.d.Sink, w.in.View.Sinks[w.d.Sink]
	e, err := w.entryFor(i)
	if err == nil {
		_, err = w.write(ctx, i, e, target.Entry.Version)
	}
	w.sink = target.Name
	if err != nil {
		w.fail(EffectPublish, err)
		return
	}
	back, err := w.c.Sinks[i].Read(ctx)
	if err == nil && back.Key.Fingerprint() != e.Key.Fingerprint() {
		err = &Error{Op: "read back sink " + w.sink, Kind: KindConflict, Err: fmt.Errorf("it shows %s", orNothing(back.Key.Fingerprint()))}
	}
	if err != nil {
		w.fail(EffectPublish, err)
		return
	}
	k := e.Meta.Key
	w.done(EffectPublish, Event{Slot: k.Slot, Fingerprint: k.Fingerprint, Generation: k.Generation, Sink: w.sink, Expires: k.Expires})
	switch {
	case i == 0:
		w.commit(back)
	case w.rec.Phase == PhaseOverlap || w.rec.Phase == PhaseRetiring:
		// A re-publish restarts the overlap (rule 5).
		w.rec.RetireAt, w.rec.Phase = w.in.latest().Add(w.c.Policy.Overlap), PhaseOverlap
	}
}

// entryFor a sink: the new key for the first one, a copy of the first one's entry
// for the others.
func (w *work) entryFor(i int) (Entry, error) {
	r := &w.rec
	if i > 0 {
		first := w.in.View.first()
		m := w.meta(first)
		m.Claim = nil
		return Entry{Key: first.Key, Meta: m}, nil
	}
	rot := r.Rotation
	key := w.s.minted
	if rot.Republish {
		found, ok := w.in.View.find(rot.New.Fingerprint)
		if !ok {
			return Entry{}, &Error{Op: "publish", Kind: KindPermanent, Cause: CauseNotFound}
		}
		key = found
	}
	m := w.meta(w.in.View.first())
	m.Key, m.RotationID, m.Published, m.Claim = rot.New, rot.ID, w.in.Now, nil
	if w.in.formerKey(w.in.View.first()) {
		m.Portal, m.Item, m.AdoptedAt, m.Previous, m.RetireAt = w.c.ID.Portal, w.c.ID.Item, r.AdoptedAt, KeyFacts{}, time.Time{}
	}
	m.named(r, w.in.latest().Add(w.overlap()))
	if r.Live.Fingerprint != "" && r.Live.Slot != rot.New.Slot {
		m.Previous, m.RetireAt = r.Live, w.in.latest().Add(w.overlap())
	}
	return Entry{Key: key, Meta: m}, nil
}

// overlap of the rotation under way: none where the old key is compromised or dead.
func (w *work) overlap() time.Duration {
	if rot := w.rec.Rotation; rot != nil && (rot.Compromised || rot.DeadOld) {
		return 0
	}
	return w.c.Policy.Overlap
}

// commit makes the key that the first sink shows the live one.
func (w *work) commit(back Entry) {
	r := &w.rec
	rot := *r.Rotation
	rot.Committed = true
	fp := back.Key.Fingerprint()
	if fp != rot.New.Fingerprint {
		return
	}
	if r.Live.Fingerprint != "" && r.Live.Slot != rot.New.Slot {
		r.Previous, r.RetireAt = r.Live, time.Time{}
		if r.Slots[r.Live.Slot].Use != UseOwn {
			r.Slots[r.Live.Slot] = w.slot(r.Live.Slot, UsePrevious, r.Live)
		}
	}
	r.Live = rot.New
	st := w.slot(rot.New.Slot, UseLive, rot.New)
	st.Intent = nil
	r.Slots[rot.New.Slot] = st
	r.TopGeneration = max(r.TopGeneration, rot.New.Generation)
	r.DeadAt, r.Refusals = time.Time{}, nil
	r.Rotation, r.Phase = &rot, PhasePublishing
	w.s.minted.Forget()
	w.s.facts = KeyFacts{}
}

// slot is the slot's state with another use, what was seen of it kept.
func (w *work) slot(s Slot, use SlotUse, k KeyFacts) SlotState {
	st := w.rec.Slots[s]
	if st.Key.Fingerprint != k.Fingerprint {
		st.Listed = time.Time{} // of the key before
	}
	st.Use, st.Key, st.Since, st.Taken = use, k, w.in.Now, false
	if use == UseLive {
		st.Active = true
	}
	return st
}

// promote: every sink shows the key and the served key was just probed.
func (w *work) promote() {
	r := &w.rec
	rot := r.Rotation
	r.PromotedAt, r.ProbedAt = w.in.Portal, w.in.Now
	r.SurveyedAt = w.in.Now
	r.RebuiltAt, r.ProofFailedAt = time.Time{}, time.Time{}
	r.Phase = PhaseIdle
	if r.Previous.Fingerprint != "" {
		r.Phase = PhaseOverlap
		if r.RetireAt.IsZero() || rot.Republish {
			// A previous key that this rotation did not replace keeps its own overlap.
			r.RetireAt = w.in.latest().Add(w.overlap())
		}
		r.RetireAt = earlier(r.RetireAt, r.Previous.LatestExpiry)
	}
	if q := r.Request; q != nil && !q.At.After(rot.Started) && !w.unspent(q) {
		r.Request = nil
	}
	w.effect = EffectProbe
	w.clearFailures()
	w.event(Event{Kind: EventPromoted, Slot: r.Live.Slot, Fingerprint: r.Live.Fingerprint, Generation: r.Live.Generation, Expires: r.Live.Expires,
		Reason: rot.Reason, RotationID: rot.ID})
	w.promoteFormer(rot)
	w.afterPromotion(*rot)
	if r.Phase == PhaseIdle {
		if r.Former == nil || r.Former.RotationID != rot.ID { // else its end is that of the item that was replaced
			w.event(Event{Kind: EventFinished, Slot: r.Live.Slot, Generation: r.Live.Generation, Reason: rot.Reason, RotationID: rot.ID})
		}
		if w.in.Hooks.Has(AfterPublishing) {
			call := w.hookCall(AfterPublishing, *rot)
			r.HookDue = &call
		}
		r.Rotation = nil
	}
}

// unspent: a compromised request lives until its keys are dead.
func (w *work) unspent(q *Request) bool {
	return q.Kind == RequestCompromised && w.rec.Previous.Fingerprint != "" && names(q.Fingerprints, w.rec.Previous.Fingerprint)
}

// afterPromotion does what the kind of rotation asks for, and stops storms: a
// rotation that leaves its own reason true is not repeated (rule 12).
func (w *work) afterPromotion(rot Rotation) {
	r := &w.rec
	switch {
	case rot.Reason == ReasonRollback:
		r.Hold = &Hold{Reason: "rolled back to generation " + fmt.Sprint(rot.Generation) + "; resume when the cause is known", By: rot.By, Since: w.in.Now}
		r.MarkDue = true
		w.event(Event{Kind: EventHeld, Actor: rot.By, Detail: r.Hold.Reason})
	case rot.Reason == ReasonRestore && rot.DeadOld:
		r.Request = &Request{Kind: RequestRotate, By: "rotatord", At: w.in.Now, Text: "the dead slot is minted anew"}
	case rot.Reason == ReasonExpiring || rot.Reason == ReasonMaxAge:
		after := *w.in
		after.Record = *r
		if due, why := after.due(); due == rot.Reason && !w.asAsked(rot) {
			w.quarantine("a rotation left its own reason true: " + why)
		}
	}
}

// asAsked tells whether the portal gave the new key the life that was asked for, and
// the policy would not call a fresh one due. What makes it due again then is the time
// that the rotation took, or a policy that changed meanwhile, and the next one helps.
func (w *work) asAsked(rot Rotation) bool {
	p := &w.c.Policy
	tolerance := dateTolerance
	if p.Precision == PrecisionSecond {
		tolerance = p.MinGain
	}
	given := !rot.Asked.IsZero() && !rot.New.Expires.Before(rot.Asked.Add(-tolerance))
	fresh := p.ExpiryFor(w.c.Name, w.in.Portal)
	return rot.Reason == ReasonExpiring && given && fresh.Add(-p.Lead(fresh.Sub(w.in.Portal))).After(w.in.Portal)
}

// swap makes the restored sink's key the live one; both count as in use for one
// overlap (rule 9).
func (w *work) swap() {
	r, k := &w.rec, w.d.Key
	top := w.top()
	old := r.Live
	r.Live, r.Previous = k, old
	if old.Slot == k.Slot {
		r.Previous = KeyFacts{}
	}
	r.Slots[old.Slot] = w.slot(old.Slot, UsePrevious, old)
	// A lost key of ours that was minted over k stays known as ours: k is dead, and the lost key an orphan.
	if old.Slot == k.Slot && old.Fingerprint != k.Fingerprint {
		r.Slots[old.Slot].Use = UseOwn
	}
	if st := r.Slots[k.Slot]; st.Use != UseOwn || st.Key.Fingerprint == k.Fingerprint {
		r.Slots[k.Slot] = w.slot(k.Slot, UseLive, k)
	}
	r.TopGeneration = top
	r.DeadAt, r.Refusals, r.MarkDue = time.Time{}, nil, true
	r.RetireAt, r.Phase = w.in.latest().Add(w.c.Policy.Overlap), PhaseOverlap
	if r.Previous.Fingerprint == "" {
		r.Phase, r.RetireAt = PhaseIdle, time.Time{}
	}
	r.Rotation = &Rotation{ID: w.e.o.NewID(w.in.Now), Reason: ReasonRestore, Started: w.in.Now, Generation: k.Generation, New: k, Republish: true, Committed: true}
	w.event(Event{Kind: EventRebuilt, Slot: k.Slot, Fingerprint: k.Fingerprint, Generation: k.Generation, Reason: ReasonRestore, Detail: w.d.Detail})
	if r.Phase == PhaseIdle {
		r.Rotation = nil
	}
}
