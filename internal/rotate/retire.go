package rotate

import (
	"context"
	"fmt"
	"time"
)

// revoke kills the key of one slot: the previous one after its overlap, an orphan,
// or what a person named. The intent is journalled first, the end is proved after.
func (w *work) revoke(ctx context.Context) {
	if !w.fresh(EffectRevoke) {
		return
	}
	slot := w.d.Slot
	if w.d.Step == StepRetire {
		w.rec.Phase = PhaseRetiring
	}
	id := ""
	if rot := w.rec.Rotation; rot != nil {
		id = rot.ID
	}
	w.rec.Slots[slot].Intent = &Intent{Effect: EffectRevoke, RotationID: id, SentAt: time.Now().UTC().Round(0), Outcome: OutcomePending}
	if !w.intend(ctx) {
		return
	}
	w.s.sentAt[slot] = w.e.o.Elapsed()
	err := w.c.Portal.Revoke(WithPurpose(ctx, PurposeProtocol), w.c.ID, w.in.View.App, slot)
	switch {
	case KindOf(err) == KindUnknownOutcome:
		w.setIntent(slot, OutcomeUnknown)
		w.fail(EffectRevoke, err)
		return
	case err != nil:
		w.setIntent(slot, OutcomeFailed)
		w.s.sentAt[slot] = 0
		w.fail(EffectRevoke, err)
		return
	}
	w.setIntent(slot, OutcomeDone)
	w.s.sentAt[slot] = 0
	if err := w.proveEnd(ctx, slot); err != nil {
		w.fail(EffectRevoke, err)
		return
	}
	gone := w.rec.Slots[slot].Key
	w.done(EffectRevoke, Event{Slot: slot, Fingerprint: gone.Fingerprint, Generation: gone.Generation})
	w.emptied(slot)
}

// proveEnd reads the flag, and where anybody still has the old key, sees it
// refused. `success` alone proves nothing (contract 5.2).
func (w *work) proveEnd(ctx context.Context, slot Slot) error {
	ctx = WithPurpose(ctx, PurposeProtocol)
	app, err := w.c.Portal.App(ctx, w.c.ID, w.rec.Owner)
	if err != nil {
		return err
	}
	if app.Active[slot] {
		return &Error{Op: "revoke slot " + slot.String(), Kind: KindTransient, Err: fmt.Errorf("the portal said success, and its flag is still true")}
	}
	w.rec.Slots[slot].Active = false
	if w.rec.Previous.Slot != slot {
		return nil
	}
	old, ok := w.e.oldKey(ctx, w.c, w.s, w.in)
	if !ok {
		return nil
	}
	p, err := w.c.Portal.Prove(ctx, old, w.c.referrer(w.in))
	if err != nil {
		return err
	}
	if p.Valid {
		return &Error{Op: "revoke slot " + slot.String(), Kind: KindTransient, Err: fmt.Errorf("the old key still works")}
	}
	return nil
}

// emptied notes that a slot holds no key any more.
func (w *work) emptied(slot Slot) {
	r := &w.rec
	st := r.Slots[slot]
	r.Revoke = Ladder{}
	r.Slots[slot] = SlotState{Use: UseEmpty, Since: w.in.Now, Asked: st.Asked, Expires: st.Expires, SeenAt: st.SeenAt}
	if r.Previous.Slot == slot {
		w.ended(slot)
	}
	if r.Live.Slot == slot && r.Live.Fingerprint != "" {
		r.Slots[slot].Use, r.Slots[slot].Key = UseLive, r.Live
		r.DeadAt = w.in.Now
		dead := Event{Kind: EventKeyDead, Slot: slot, Fingerprint: r.Live.Fingerprint, Detail: "invalidated by hand"}
		if q := r.Request; q != nil {
			dead.Actor, dead.Detail = q.By, "invalidated, as "+q.By+" asked"
			if q.Text != "" {
				dead.Detail += ": " + q.Text
			}
		}
		w.event(dead)
	}
	if q := r.Request; q != nil && q.Kind == RequestInvalidate {
		r.Request = nil
	}
}

// ended closes the rotation whose previous key is gone.
func (w *work) ended(slot Slot) {
	r := &w.rec
	gone := r.Previous
	r.Previous, r.RetireAt, r.OldRefusals, r.Revoke = KeyFacts{}, time.Time{}, nil, Ladder{}
	ev := Event{Kind: EventFinished, Slot: slot, Fingerprint: gone.Fingerprint, Generation: r.Live.Generation}
	if rot := r.Rotation; rot != nil {
		ev.RotationID, ev.Reason = rot.ID, rot.Reason
		if w.in.Hooks.Has(AfterRetiring) {
			call := w.hookCall(AfterRetiring, *rot)
			r.HookDue = &call
		}
		r.Hooked = nil
	}
	w.event(ev)
	r.Rotation, r.Phase = nil, PhaseIdle
	if q := r.Request; q != nil && q.Kind == RequestCompromised && !w.in.compromisedLive(q) {
		r.Request = nil
	}
	w.s.old.Forget()
}

// finish: the old slot is empty already, or its key has expired.
func (w *work) finish(context.Context) {
	w.clearFailures()
	w.emptied(w.d.Slot)
}

// taken: somebody minted into the slot of our previous key. That key is gone, theirs
// is left alone.
func (w *work) taken() {
	if w.rec.Slots[w.d.Slot].Use == UseOwn { // by us: what is in it is retired as an orphan
		w.ended(w.d.Slot)
		return
	}
	w.event(Event{Kind: EventDrift, Drift: DriftSlotTaken, Slot: w.d.Slot, Detail: w.d.Detail})
	st := w.rec.Slots[w.d.Slot]
	w.rec.Slots[w.d.Slot] = SlotState{Use: UseUnknown, Since: w.in.Now, Active: st.Active, Expires: st.Expires, SeenAt: st.SeenAt}
	w.ended(w.d.Slot)
}
