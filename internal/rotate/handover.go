package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// handover puts the heir's record in the place of this one, and begins the rotation
// that makes its first key. Journal only: until the first sink shows that key,
// everything can be put back.
func (w *work) handover() {
	if !w.begins() {
		return
	}
	old, q := w.rec, *w.rec.Request
	old.Request = nil
	app := &w.in.View.Other
	heir := Record{Name: old.Name, ID: q.Heir.ID, Epoch: old.Epoch, Owner: w.in.View.OtherItem.Owner, ClientID: app.ClientID, Referrer: first(app.Referrers),
		AdoptedAt: old.AdoptedAt, Hold: old.Hold, LastRotation: old.LastRotation, TopGeneration: w.top(), SurveyedAt: w.in.Now, HookDue: old.HookDue}
	if heir.ID.Portal == old.ID.Portal {
		heir.Offset = old.Offset
	}
	for _, s := range Slots() {
		heir.Slots[s] = SlotState{Use: UseEmpty, Since: w.in.Now, SeenAt: w.in.Now, Expires: w.in.View.OtherItem.Expires[s]}
	}
	heir.Former = &Former{Record: old, Since: w.in.Now, By: q.By, Keep: q.Heir.Keep, Rushed: q.Heir.Compromised, Made: q.Heir.Made}
	heir.Formerly = formerly(old.Formerly, old.ID, heir.ID)
	w.event(Event{Kind: EventHandedOver, Actor: q.By, Detail: w.d.Detail})
	w.rec = heir
	w.s.listed, w.s.look = [3]ListedKey{}, false
	w.open(&Rotation{Reason: ReasonReplace, Target: w.d.Slot, By: q.By, Compromised: q.Heir.Compromised})
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// formerly is the list of items that a name had before, with one more and without the
// one that it has now.
func formerly(list []ID, more, now ID) []ID {
	out := slices.DeleteFunc(slices.Clone(list), func(id ID) bool { return id == now || id == more })
	return append(out, more)
}

// back puts the former record back; the item that was to take over becomes the former
// one, and is retired as such: nobody ever had a key of it.
func (w *work) back() {
	heir := w.rec
	f, by := heir.Former, ""
	if q := heir.Request; q != nil {
		by = q.By
	}
	old := f.Record
	old.Epoch, old.Hold, old.Offset, old.ProofFailedAt = heir.Epoch, heir.Hold, heir.Offset, heir.ProofFailedAt
	old.MarkDue = old.MarkDue || heir.MarkDue
	old.TopGeneration = max(old.TopGeneration, heir.TopGeneration)
	old.LastRotation = max(old.LastRotation, heir.LastRotation)
	if rot := heir.Rotation; rot != nil {
		old.TopGeneration = max(old.TopGeneration, rot.Generation)
	}
	old.Attempts, old.LastError, old.LastKind, old.LastFailure, old.RetryAt = 0, "", "", time.Time{}, time.Time{}
	old.SurveyedAt = time.Time{} // look at it at once
	heir.Former, heir.Rotation, heir.Request, heir.Phase = nil, nil, nil, PhaseIdle
	old.Former = &Former{Record: heir, Since: w.in.Now, By: by, Rushed: true, Keep: !f.Made, PromotedAt: w.in.Now, RetireAt: w.in.latest()}
	old.Formerly = formerly(heir.Formerly, heir.ID, old.ID)
	w.s.minted.Forget()
	w.s.listed, w.s.look = [3]ListedKey{}, false
	w.event(Event{Kind: EventHandedBack, Actor: by, Detail: "item " + string(old.ID.Item) + " stays: " + w.d.Detail})
	w.rec = old
}

// promoteFormer begins the overlap of the former item.
func (w *work) promoteFormer(rot *Rotation) {
	old := w.rec.Former
	if old == nil || !old.PromotedAt.IsZero() {
		return
	}
	f := *old
	f.PromotedAt, f.RetireAt, f.RotationID = w.in.Portal, w.in.latest(), rot.ID
	if !rot.Compromised && !f.Rushed {
		f.RetireAt = earlier(f.RetireAt.Add(w.c.Policy.Overlap), f.latestExpiry())
	}
	w.rec.Former = &f
}

// retireFormer revokes the key in one slot of the former item.
func (w *work) retireFormer(ctx context.Context) {
	if !w.fresh(EffectRevoke) {
		return
	}
	f, slot := *w.rec.Former, w.d.Slot
	f.Record.Slots[slot].Intent = &Intent{Effect: EffectRevoke, SentAt: time.Now().UTC().Round(0), Outcome: OutcomePending}
	w.rec.Former = &f
	if !w.intend(ctx) {
		return
	}
	id := f.Record.ID
	p := w.c.portalOf(id)
	ctx = WithPurpose(ctx, PurposeProtocol)
	err := p.Revoke(ctx, id, w.in.View.Other, slot)
	if err == nil {
		var app App
		if app, err = p.App(ctx, id, f.Record.Owner); err == nil && app.Active[slot] {
			err = &Error{Op: "revoke slot " + slot.String() + " of item " + string(id.Item), Kind: KindTransient, Err: fmt.Errorf("the portal said success, and its flag is still true")}
		}
	}
	if err != nil {
		w.fail(EffectRevoke, err)
		return
	}
	gone := f.Record.Slots[slot].Key
	f.Record.Slots[slot] = SlotState{Use: UseEmpty, Since: w.in.Now}
	w.rec.Former, w.rec.Revoke = &f, Ladder{}
	w.done(EffectRevoke, Event{Slot: slot, Fingerprint: gone.Fingerprint, Generation: gone.Generation, Detail: "of item " + string(id.Item) + ", which was replaced"})
}

// removeFormer deletes the item and sees it gone. It may be repeated.
func (w *work) removeFormer(ctx context.Context) {
	id := w.rec.Former.Record.ID
	p := w.c.portalOf(id)
	ctx = WithPurpose(ctx, PurposeProtocol)
	err := p.Remove(ctx, id, w.in.View.OtherItem.Owner)
	if err == nil {
		if _, err = p.Item(ctx, id); err == nil {
			err = &Error{Op: "remove item " + string(id.Item), Kind: KindTransient, Err: errors.New("the portal said success, and it is still there")}
		}
	}
	if CauseOf(err) != CauseNotFound {
		w.fail(EffectRemove, err)
		return
	}
	w.rec.Revoke = Ladder{}
	w.done(EffectRemove, Event{Detail: "item " + string(id.Item)})
	w.formerEnd()
}

// formerEnd: nothing is left of the former item that could be used.
func (w *work) formerEnd() {
	w.event(Event{Kind: EventReplaced, Detail: w.d.Detail, Actor: w.rec.Former.By, Generation: w.rec.Live.Generation})
	if id := w.rec.Former.RotationID; id != "" {
		w.event(Event{Kind: EventFinished, Slot: w.rec.Live.Slot, Generation: w.rec.Live.Generation, Reason: ReasonReplace, RotationID: id})
	}
	if w.in.Hooks.Has(AfterRetiring) && w.rec.HookDue == nil {
		call := w.hookCall(AfterRetiring, Rotation{ID: w.rec.LastRotation, Reason: ReasonReplace})
		old := &w.rec.Former.Record
		call.Item, call.Slot, call.Fingerprint = old.ID.Item, old.Live.Slot, old.Live.Fingerprint
		w.rec.HookDue = &call
	}
	w.rec.Former, w.rec.MarkDue = nil, w.rec.Live.Fingerprint != ""
}

// forget the live key, which no sink has any more: it is our own unserved one, and
// another one is made.
func (w *work) forget() {
	r := &w.rec
	w.event(Event{Kind: EventKeyLost, Slot: r.Live.Slot, Fingerprint: r.Live.Fingerprint, Detail: w.d.Detail})
	r.TopGeneration = w.top()
	r.Slots[r.Live.Slot].Use, r.Slots[r.Live.Slot].Since = UseOwn, w.in.Now
	r.Live, r.DeadAt, r.Refusals = KeyFacts{}, time.Time{}, nil
	r.Rotation, r.Phase = nil, PhaseIdle
	if r.Previous.Fingerprint != "" {
		r.Slots[r.Previous.Slot].Use, r.Slots[r.Previous.Slot].Since = UseOwn, w.in.Now
		r.Previous, r.RetireAt = KeyFacts{}, time.Time{}
	}
	if f := r.Former; f != nil {
		again := *f
		again.PromotedAt, again.RetireAt = time.Time{}, time.Time{}
		r.Former = &again
	}
	w.s.minted.Forget()
}
