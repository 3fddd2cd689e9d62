package rotate

import (
	"slices"
	"time"
)

// slotClass is what may be done with a slot (rule 2).
type slotClass int

const (
	slotEmpty    slotClass = iota // flag false, or its date is past
	slotOwn                       // only our own lost or unpublished key
	slotPast                      // our previous key, past its overlap
	slotOverlap                   // our previous key, still in use
	slotServed                    // a sink serves its key
	slotOccupied                  // somebody unknown
	slotAllowed                   // somebody unknown, and a person or the config allows it
)

// classify one slot from a fresh look at app and sinks, and at the item where the
// flag is true.
func (in *In) classify(s Slot) slotClass {
	st := &in.Record.Slots[s]
	active := in.View.App.Active[s]
	if st.Use == UseOwn && active && in.onlyTheDeadServed(s) && !in.foreignDate(s) {
		return slotOwn // what is served there died of our own mint, and that key is lost
	}
	if in.served(s) && (active || in.Record.DeadAt.IsZero()) && !in.pastDate(s) {
		return slotServed
	}
	if !active || in.pastDate(s) {
		return slotEmpty
	}
	switch st.Use {
	case UseOwn:
		if !in.foreignDate(s) {
			return slotOwn
		}
	case UsePrevious, UseLive:
		if st.Use == UsePrevious && in.overlapOver() {
			return slotPast
		}
		if st.Use == UsePrevious {
			return slotOverlap
		}
	case UseEmpty, UseUnknown:
		if in.claimedByUs(s) {
			return slotOwn
		}
	}
	if st.Taken || in.Policy.SpareExpendable {
		return slotAllowed
	}
	return slotOccupied
}

// onlyTheDeadServed: what sinks serve of the slot is the live key, which is dead, and
// which is not the key that our journal knows there.
func (in *In) onlyTheDeadServed(s Slot) bool {
	live := in.Record.Live
	if !in.dead() || live.Slot != s || in.Record.Slots[s].Key.Fingerprint == live.Fingerprint {
		return false
	}
	for _, v := range in.View.Sinks {
		if fp := v.Entry.Key.Fingerprint(); v.Err != nil || fp.Slot() == s && fp != live.Fingerprint {
			return false
		}
	}
	return true
}

// served tells whether any sink's current key sits in the slot.
func (in *In) served(s Slot) bool {
	for _, v := range in.View.Sinks {
		fp := v.Entry.Key.Fingerprint()
		if fp.Slot() == s && (in.Record.ClientID == "" || fp.ClientTail() == tailOf(in.Record.ClientID)) {
			return true
		}
	}
	return in.Record.Live.Slot == s && in.Record.Live.Fingerprint != ""
}

// pastDate tells whether every known expiry of the slot's key is past (rule 11:
// dead by date is the latest). A date that we set for a key that we never minted
// does not count for the key before it.
func (in *In) pastDate(s Slot) bool {
	latest := in.Record.Slots[s].Key.LatestExpiry
	if in.View.Have&NeedItem != 0 && in.View.err(NeedItem) == nil {
		at := in.View.Item.Expires[s]
		ourDate := !in.Record.Slots[s].Asked.IsZero() && at.Sub(in.Record.Slots[s].Asked).Abs() < dateTolerance && !latest.IsZero()
		if at.After(latest) && !ourDate {
			latest = at
		}
	}
	return !latest.IsZero() && in.Portal.After(latest)
}

// foreignDate tells that the slot's date is not the one that we set for our key:
// somebody made another one there since.
func (in *In) foreignDate(s Slot) bool {
	asked := in.Record.Slots[s].Asked
	if in.View.Have&NeedItem == 0 || in.View.err(NeedItem) != nil || asked.IsZero() {
		return false
	}
	at := in.View.Item.Expires[s]
	return !at.IsZero() && at.Sub(asked).Abs() > dateTolerance
}

// claimedByUs tells whether the first sink's claim says that this rotatord was about
// to mint there, and the journal is older than that claim. Of a rotation that it
// knows it also knows whether anything was minted: ids are ULIDs, and grow.
func (in *In) claimedByUs(s Slot) bool {
	m := in.View.first().Meta
	return m != nil && m.Claim != nil && m.Claim.Slot == s && m.Claim.Instance == in.Instance && m.Claim.Generation > m.Key.Generation &&
		m.Claim.RotationID > in.Record.LastRotation
}

func (in *In) previousExpired() bool {
	e := in.Record.Previous.LatestExpiry
	return !e.IsZero() && in.Portal.After(e)
}

func (in *In) overlapOver() bool {
	r := &in.Record
	q := r.Request
	compromised := q != nil && q.Kind == RequestCompromised && names(q.Fingerprints, r.Previous.Fingerprint) && !in.compromisedLive(q)
	if compromised || in.previousExpired() {
		return true
	}
	return !r.RetireAt.IsZero() && !in.Now.Before(r.RetireAt) && !in.Portal.Before(r.RetireAt)
}

// inFlight tells whether a mint or revoke of ours may still act in the slot, and
// until when by the wall clock (rule 6).
func (in *In) inFlight(s Slot) (time.Time, bool) {
	i := in.Record.Slots[s].Intent
	if i.InFlight(in.Now, in.Policy.EffectHorizon) {
		return i.SentAt.Add(in.Policy.EffectHorizon), true
	}
	if in.Mem.InFlight[s] {
		return in.Now.Add(in.Policy.EffectHorizon / 10), true
	}
	return time.Time{}, false
}

// mintable tells whether a key may be minted into s now, or why not and until when.
func (in *In) mintable(s Slot, due Reason, q *Request) (slotClass, Reason, time.Time) {
	class := in.classify(s)
	if until, flying := in.inFlight(s); flying {
		return class, ReasonHorizon, until
	}
	if until, ok := in.rebuiltUntil(); ok && class != slotEmpty && class != slotServed {
		return class, ReasonRebuilt, until
	}
	switch class {
	case slotEmpty, slotOwn, slotPast, slotAllowed:
		return class, "", time.Time{}
	case slotOverlap:
		if due == ReasonCompromised && q != nil && names(q.Fingerprints, in.Record.Previous.Fingerprint) {
			return class, "", time.Time{}
		}
		return class, ReasonOverlap, in.Record.RetireAt
	case slotServed:
		if in.outageOK() {
			return class, "", time.Time{}
		}
		return class, ReasonOccupied, time.Time{}
	case slotOccupied:
		return class, ReasonOccupied, time.Time{}
	}
	return class, ReasonOccupied, time.Time{}
}

func names(list []Fingerprint, f Fingerprint) bool { return f != "" && slices.Contains(list, f) }

// chooseTarget is rule 2's order: empty, our own, past its overlap, allowed; the
// spare slot before the one that is served and dead. A regenerate by hand names it.
func (in *In) chooseTarget(due Reason) (Slot, Decision) {
	q := in.Record.Request
	if q != nil && q.Kind == RequestRegenerate {
		_, why, until := in.mintable(q.Slot, due, q)
		if why != "" {
			return NoSlot, wait(why, until, "slot "+q.Slot.String()+" cannot be minted into")
		}
		return q.Slot, Decision{}
	}
	order := Slots()
	if in.Record.Live.Slot == Slot1 {
		order = [2]Slot{Slot2, Slot1}
	}
	best, bestClass := NoSlot, slotServed+100
	blocked := wait(ReasonOccupied, time.Time{}, "")
	for _, s := range order {
		class, why, until := in.mintable(s, due, q)
		switch {
		case why == "" && class < bestClass:
			best, bestClass = s, class
		case why != "" && class != slotServed:
			blocked = wait(why, until, "slot "+s.String()+": "+blockedSentence(why))
		}
	}
	if best == NoSlot {
		return NoSlot, blocked
	}
	return best, Decision{}
}

func blockedSentence(why Reason) string {
	switch why {
	case ReasonOccupied:
		return "a valid key of somebody unknown; `rotatord adopt NAME --take-slot N` allows its use"
	case ReasonHorizon:
		return "a request of unknown outcome may still take effect"
	case ReasonOverlap:
		return "the previous key is still in use"
	case ReasonRebuilt:
		return "the journal was rebuilt from the sink; `rotatord confirm NAME` ends the wait"
	default:
		return string(why)
	}
}
