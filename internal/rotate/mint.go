package rotate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// mint journals the intent and the time of sending, then asks for the key. Its
// outcome is known, known not to have happened, or unknown (rule 6).
func (w *work) mint(ctx context.Context) {
	if !w.fresh(EffectMint) {
		return
	}
	before := w.rec
	w.intendMint()
	if !w.intend(ctx) {
		return
	}
	slot, app := w.rec.Rotation.Target, w.in.View.App
	w.s.sentAt[slot] = w.e.o.Elapsed()
	minted, err := w.c.Portal.Mint(WithPurpose(ctx, PurposeProtocol), w.c.ID, app, slot)
	switch {
	case KindOf(err) == KindUnknownOutcome:
		w.setIntent(slot, OutcomeUnknown)
		w.fail(EffectMint, err)
		w.rec.RetryAt = time.Time{}
		w.wait(w.rec.Slots[slot].Intent.SentAt.Add(w.c.Policy.EffectHorizon))
	case err != nil:
		epoch := w.rec.Epoch
		w.rec = before
		w.rec.Epoch = epoch
		w.s.sentAt[slot] = 0
		if CauseOf(err) == CauseBadDate {
			w.rec.Phase = PhaseDating
		}
		w.fail(EffectMint, err)
	default:
		w.minted(slot, minted)
	}
}

// intendMint changes the record to what is true once the request is sent: the slot
// holds a key of ours that nobody has seen, and no other.
func (w *work) intendMint() {
	r := &w.rec
	rot := *r.Rotation
	rot.Mints++
	rot.New = KeyFacts{}
	r.Rotation = &rot
	if r.Previous.Slot == rot.Target {
		r.Previous, r.RetireAt = KeyFacts{}, time.Time{}
	}
	st := &r.Slots[rot.Target]
	*st = SlotState{Use: UseOwn, Since: w.in.Now, Asked: st.Asked, Expires: st.Expires, Active: st.Active, SeenAt: st.SeenAt,
		Intent: &Intent{Effect: EffectMint, RotationID: rot.ID, SentAt: time.Now().UTC().Round(0), Outcome: OutcomePending}}
}

func (w *work) setIntent(slot Slot, o Outcome) {
	st := &w.rec.Slots[slot]
	if st.Intent == nil {
		// A journal that is older than its own intent.
		st.Intent = &Intent{Effect: EffectMint, SentAt: w.in.Now}
	}
	i := *st.Intent
	i.Outcome = o
	st.Intent = &i
}

// minted takes the key into memory. It must name the slot and the client that were
// asked for; another one is nobody's to use.
func (w *work) minted(slot Slot, m Minted) {
	fp := m.Key.Fingerprint()
	if fp.Slot() != slot || fp.ClientTail() != tailOf(w.in.View.App.ClientID) {
		w.setIntent(slot, OutcomeUnknown)
		err := &Error{Op: "mint slot " + slot.String(), Kind: KindPermanent, Err: fmt.Errorf("the portal answered with the key %s", fp)}
		w.fail(EffectMint, err)
		w.giveUp(err.Error())
		return
	}
	w.setIntent(slot, OutcomeDone)
	w.s.sentAt[slot] = 0 // its outcome is known: nothing of it can still happen
	k := KeyFacts{Slot: slot, Fingerprint: fp, Generation: w.rec.Rotation.Generation, MintedAt: w.in.Now}.seen(m.Expires)
	w.s.minted, w.s.facts, w.s.privileges, w.s.provedAt = m.Key, k, w.wantedPrivileges(), 0
	w.s.granted = w.in.View.App.Privileges
	w.takeMinted()
	w.done(EffectMint, Event{Slot: slot, Fingerprint: fp, Generation: k.Generation, Expires: k.Expires})
}

// wantedPrivileges is what a proof of the new key must show: what the app has, as
// far as the portal shows it for the served key, else all but item grants, which a
// portal may keep to itself.
func (w *work) wantedPrivileges() []string {
	v := &w.in.View
	var wanted []string
	for _, p := range v.App.Privileges {
		if shown := v.Proof.Valid && v.Proof.Privileges != nil && !w.rec.Unserved(); shown && !slices.Contains(v.Proof.Privileges, p) {
			continue
		} else if !shown && strings.HasPrefix(p, "portal:app:access:item:") {
			continue
		}
		wanted = append(wanted, p)
	}
	return wanted
}

// takeMinted writes the facts of the key in memory into the record; also after a
// journal write that failed right behind the mint.
func (w *work) takeMinted() {
	rot := *w.rec.Rotation
	rot.New = w.s.facts
	w.rec.Rotation = &rot
	w.rec.Slots[rot.Target].Key = rot.New
	w.rec.Phase = PhaseProving
	w.setIntent(rot.Target, OutcomeDone)
}

// prove asks the portal who the new key is. A refusal is slow propagation and is
// waited for with the key in memory; a wrong answer is quarantine.
func (w *work) prove(ctx context.Context) {
	if w.rec.Rotation.New.Fingerprint != w.s.minted.Fingerprint() {
		w.takeMinted()
	}
	p, err := w.c.Portal.Prove(WithPurpose(ctx, PurposeProtocol), w.s.minted, w.c.referrer(w.in))
	if err != nil {
		w.fail(EffectProve, err)
		return
	}
	if !p.Valid {
		w.effect = EffectProve
		if w.neverMinted(ctx) {
			w.d.Detail = "the portal said that it minted, and never accepted the key: there is none"
			w.reclaim()
			return
		}
		w.d.Blocked, w.d.Detail = ReasonPropagation, "the portal does not accept the new key yet"
		w.wait(time.Now().UTC().Round(0).Add(w.propagationWait()))
		return
	}
	if why := w.proofFault(p); why != "" {
		err := &Error{Op: "prove the new key of slot " + w.rec.Rotation.Target.String(), Kind: KindPermanent, Err: fmt.Errorf("%s", why)}
		w.s.minted.Forget()
		w.rec.ProofFailedAt = w.in.Now
		w.fail(EffectProve, err)
		w.giveUp(err.Error())
		return
	}
	if err := w.proveUse(WithPurpose(ctx, PurposeParity)); err != nil {
		if w.rec.Attempts >= 2 && CauseOf(err) != CauseUnreachable && KindOf(err) != KindRateLimited {
			w.rec.ProofFailedAt = w.in.Now // not a passing trouble any more
		}
		w.fail(EffectProve, err)
		return
	}
	rot := *w.rec.Rotation
	rot.New = rot.New.seen(p.Expires)
	w.s.facts, w.s.provedAt = rot.New, w.e.o.Elapsed()
	w.rec.Rotation, w.rec.Phase = &rot, PhasePublishing
	w.done(EffectProve, Event{Slot: rot.Target, Fingerprint: rot.New.Fingerprint, Expires: rot.New.Expires})
}

// proveUse tells whether the new key can what its grants say, and what the old one can.
// The key of an item that is replaced says nothing of the new one's grants.
func (w *work) proveUse(ctx context.Context) error {
	if w.c.Grants != nil {
		old := w.s.old
		if w.rec.Unserved() {
			old = Secret{}
		}
		if err := w.c.Grants.Prove(ctx, old, w.s.minted, w.s.granted, w.c.referrer(w.in)); err != nil {
			return err
		}
	}
	if w.c.Parity == nil || w.s.old.IsZero() {
		return nil
	}
	return w.c.Parity.Compare(ctx, w.s.old, w.s.minted, w.c.referrer(w.in))
}

// propagationWait grows with the time since the mint, from a tenth of the first
// back-off to the longest one.
func (w *work) propagationWait() time.Duration {
	p := &w.c.Policy
	return min(max(time.Since(w.s.facts.MintedAt)/4, p.RetryBase/10), p.RetryMax)
}

// neverMinted tells that no propagation is awaited any more: an effect horizon after
// the mint its slot is still empty, or the key is dead as rule 8 has it: refused all
// that time and as long again as makes a death, while the portal answers other calls.
func (w *work) neverMinted(ctx context.Context) bool {
	slot := w.rec.Rotation.Target
	i := w.rec.Slots[slot].Intent
	if i == nil || w.in.Mem.InFlight[slot] {
		return false
	}
	ctx, age := WithPurpose(ctx, PurposeSafety), time.Since(i.SentAt)
	if age >= w.c.Policy.EffectHorizon+w.c.Policy.DeadAfter {
		return w.c.Portal.Control(ctx) == nil
	}
	if age < w.c.Policy.EffectHorizon {
		return false
	}
	app, err := w.c.Portal.App(ctx, w.c.ID, w.rec.Owner)
	return err == nil && !app.Active[slot]
}

// proofFault says what is wrong with a new key that the portal accepts; "" if
// nothing is.
func (w *work) proofFault(p Proof) string {
	r := &w.rec
	if p.Item != "" && p.Item != r.ID.Item || p.ClientID != "" && p.ClientID != r.ClientID {
		return "the new key belongs to item " + string(p.Item)
	}
	for _, want := range w.s.privileges {
		if p.Privileges != nil && !slices.Contains(p.Privileges, want) {
			return "the new key lacks the privilege " + want
		}
	}
	at := r.Rotation.New.seen(p.Expires).Expires
	if at.IsZero() || r.Live.Expires.IsZero() || urgent(r.Rotation.Reason) || r.Rotation.Reason == ReasonRequested {
		return ""
	}
	if !at.After(r.Live.Expires.Add(w.c.Policy.MinGain / 2)) {
		return "the new key expires " + stamp(at) + ", hardly later than the served one (" + stamp(r.Live.Expires) + "); asked was " + stamp(r.Rotation.Asked)
	}
	return ""
}

// giveUp ends a rotation whose key must not be published.
func (w *work) giveUp(why string) {
	r := &w.rec
	w.event(Event{Kind: EventAborted, Slot: r.Rotation.Target, Detail: why})
	r.Rotation, r.Phase = nil, PhaseIdle
	if q := r.Request; q != nil && q.Kind != RequestCompromised {
		r.Request = nil
	}
	if r.Previous.Fingerprint != "" {
		r.Phase = PhaseOverlap
	}
	w.quarantine(why)
}
