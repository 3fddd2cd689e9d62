package rotate

import (
	"context"
	"time"
)

// adopt takes the credential over: the mark goes into the first sink, if there is
// a secret to mark; an empty one gets it with its first claim.
func (w *work) adopt(ctx context.Context) {
	e := w.in.View.first()
	w.rec.AdoptedAt = w.in.Now
	w.rec.Live, w.rec.Previous, w.rec.RetireAt = w.d.Key, KeyFacts{}, time.Time{}
	w.rec.Rotation, w.rec.Phase, w.rec.RebuiltAt = nil, PhaseIdle, time.Time{}
	w.rec.ClientID = w.in.View.App.ClientID
	if m := e.Meta; m != nil && m.Key.Fingerprint == w.d.Key.Fingerprint && m.Previous.Fingerprint != "" && m.Previous.Slot != w.d.Key.Slot && w.in.View.App.Active[m.Previous.Slot] {
		w.rec.Previous, w.rec.Phase = m.Previous, PhaseOverlap
		w.rec.RetireAt = later(m.RetireAt, w.in.latest().Add(w.c.Policy.Overlap))
		w.rec.Slots[m.Previous.Slot] = w.slot(m.Previous.Slot, UsePrevious, m.Previous)
	}
	w.rec.TopGeneration = w.top()
	if m := e.Meta; m != nil && m.Claim != nil {
		w.rec.TopGeneration = max(w.rec.TopGeneration, m.Claim.Generation)
		if s := m.Claim.Slot; s.Valid() && m.Claim.Generation > m.Key.Generation && m.Claim.Instance != w.e.o.Instance {
			// The claim that is broken may have sent a mint: wait one horizon more (rule 7).
			w.rec.Slots[s].Intent = &Intent{Effect: EffectMint, RotationID: m.Claim.RotationID, SentAt: w.in.Now, Outcome: OutcomeUnknown}
		}
	}
	if k := w.d.Key; k.Fingerprint != "" {
		w.rec.Slots[k.Slot] = w.slot(k.Slot, UseLive, k)
	}
	if w.d.Slot != NoSlot && w.d.Slot != w.d.Key.Slot {
		w.rec.Slots[w.d.Slot].Taken = true
	}
	if e.Key.IsZero() {
		w.adopted()
		return
	}
	if _, err := w.write(ctx, 0, Entry{Key: e.Key, Meta: w.meta(Entry{Key: e.Key})}, e.Version); err != nil {
		w.rec = w.in.Record
		w.fail(EffectMark, err)
		return
	}
	w.done(EffectMark, Event{Sink: w.sink})
	w.adopted()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (w *work) adopted() {
	r := &w.rec
	actor := ""
	if q := r.Request; q != nil && q.Kind == RequestAdopt {
		actor, r.Request = q.By, nil
	}
	r.Drift, r.DriftSince, r.DriftDetail = DriftNone, time.Time{}, ""
	r.DeadAt, r.Refusals, r.SurveyedAt = time.Time{}, nil, w.in.Now
	if r.Live.Fingerprint != "" && !w.in.View.Proof.Valid {
		r.SurveyedAt = time.Time{} // it was refused just now: look again at once
	}
	w.s.look = false
	w.event(Event{Kind: EventAdopted, Slot: r.Live.Slot, Fingerprint: r.Live.Fingerprint, Generation: r.Live.Generation,
		Expires: r.Live.Expires, Actor: actor, Detail: w.d.Detail})
}

// rebuild takes generation, overlap and hold from the first sink's meta, where the
// journal is lost or older. Occupied slots wait for one overlap (rule 10).
func (w *work) rebuild() {
	r, m, now := &w.rec, w.newestMeta(), w.in.Now
	known := *r
	if w.in.successor(m) {
		// What was looked at is the item before; its keys retire as the sink says.
		known = Record{Name: r.Name, ID: ID{Portal: m.Portal, Item: m.Item}, Epoch: r.Epoch, Request: r.Request}
		known.Formerly = m.Formerly
	}
	*r = Record{Name: known.Name, ID: known.ID, Epoch: known.Epoch, Owner: known.Owner, ClientID: known.ClientID, Referrer: known.Referrer, Offset: known.Offset,
		AdoptedAt: m.AdoptedAt, RebuiltAt: now, Phase: PhaseIdle, Live: m.Key, Previous: m.Previous, PromotedAt: m.Published,
		Hold: m.Hold, Request: known.Request, Slots: known.Slots, Formerly: known.Formerly, Former: m.former(r, w.in.latest().Add(w.c.Policy.Overlap))}
	for _, s := range Slots() {
		st := &r.Slots[s]
		*st = SlotState{Use: UseUnknown, Since: now, Active: st.Active, Expires: st.Expires, SeenAt: st.SeenAt}
	}
	if r.AdoptedAt.IsZero() {
		r.AdoptedAt = now
	}
	if m.Key.Slot.Valid() {
		r.Slots[m.Key.Slot].Use, r.Slots[m.Key.Slot].Key = UseLive, m.Key
	}
	if p := m.Previous; p.Slot.Valid() && p.Slot != m.Key.Slot {
		r.Slots[p.Slot].Use, r.Slots[p.Slot].Key = UsePrevious, p
		r.Phase, r.RetireAt = PhaseOverlap, later(m.RetireAt, w.in.latest().Add(w.c.Policy.Overlap))
	} else {
		r.Previous = KeyFacts{}
	}
	r.TopGeneration = w.top()
	if c := m.Claim; c != nil && c.Generation > m.Key.Generation && c.Slot.Valid() && c.Slot != m.Key.Slot {
		// A rotation had begun: its slot may hold a key of ours that nobody has, and
		// its requests may still be under way.
		r.TopGeneration = max(r.TopGeneration, c.Generation)
		r.LastRotation = c.RotationID
		r.Slots[c.Slot].Use = UseOwn
		r.Slots[c.Slot].Intent = &Intent{Effect: EffectMint, RotationID: c.RotationID, SentAt: now, Outcome: OutcomeUnknown}
		r.Previous, r.RetireAt, r.Phase = KeyFacts{}, time.Time{}, PhaseIdle
	}
	w.s.minted.Forget()
	w.event(Event{Kind: EventRebuilt, Slot: r.Live.Slot, Fingerprint: r.Live.Fingerprint, Generation: r.Live.Generation, Detail: w.d.Detail})
}

// newestMeta is that of the sink with the highest generation; the first sink's
// where it is as new as the others.
func (w *work) newestMeta() *Meta {
	newest := w.in.View.first().Meta
	for _, s := range w.in.View.Sinks {
		m := s.Entry.Meta
		if s.Err != nil || m == nil || w.in.foreignInstance(s.Entry) || s.Entry.Key.Fingerprint() != m.Key.Fingerprint {
			continue
		}
		if newest == nil || m.Key.Generation > newest.Key.Generation {
			newest = m
		}
	}
	return newest
}

// mark writes adoption and hold into the first sink (rule 10).
func (w *work) mark(ctx context.Context) {
	e := w.in.View.first()
	if _, err := w.write(ctx, 0, Entry{Key: e.Key, Meta: w.meta(e)}, e.Version); err != nil {
		w.fail(EffectMark, err)
		return
	}
	w.rec.MarkDue = false
	w.done(EffectMark, Event{Sink: w.sink})
}
