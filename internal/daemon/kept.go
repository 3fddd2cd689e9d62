package daemon

import (
	"reflect"
	"time"

	"rotatord/internal/rotate"
)

// kept is a journalled record as it stays in memory: one for the loop and its readers,
// never changed. Most of ten thousand credentials are at rest, where most of a record
// is empty; those take a third of a rotate.Record.
type kept struct {
	rest *resting
	full *rotate.Record // of what is not at rest; nil if rest is set. Both nil: nothing was journalled yet
}

// resting is everything that a record at rest says. Times are UTC; see keep.
type resting struct {
	name      rotate.Name
	id        rotate.ID
	epoch     int64
	owner     string
	clientID  string
	referrer  string
	adopted   moment
	rebuilt   moment
	phase     rotate.Phase
	live      restingKey
	previous  restingKey
	promoted  moment
	retire    moment
	slots     [2]restingSlot
	probed    moment
	surveyed  moment
	due       rotate.Reason
	blocked   rotate.Reason
	next      moment
	highest   int64
	offset    time.Duration
	datesSaid string
}

type restingKey struct {
	fingerprint             rotate.Fingerprint
	generation              int64
	expires, latest, minted moment
	slot                    rotate.Slot
}

type restingSlot struct {
	use                          rotate.SlotUse
	key                          restingKey
	asked, since, expires        moment
	seen, listed                 moment
	intent                       *rotate.Intent
	active, taken, orphanWasTold bool
}

// moment is a time in a third of the memory: nanoseconds since 1970, which reach from
// 1678 to 2262; 0 is the zero time.
type moment int64

// momentOf a time; false if it does not fit.
func momentOf(t time.Time) (moment, bool) {
	if t.IsZero() {
		return 0, true
	}
	n := t.UnixNano()
	return moment(n), n != 0 && time.Unix(0, n).Equal(t)
}

func (m moment) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(m)).UTC()
}

// keep a record as a reader may have it. What it says stays the same; its times are UTC
// and lose the clock that counts sleep, as in the journal.
func keep(r *rotate.Record) kept {
	var p packer
	s := &resting{name: r.Name, id: r.ID, epoch: r.Epoch, owner: r.Owner, clientID: r.ClientID, referrer: r.Referrer, adopted: p.moment(r.AdoptedAt),
		rebuilt: p.moment(r.RebuiltAt), phase: r.Phase, live: p.key(&r.Live), previous: p.key(&r.Previous), promoted: p.moment(r.PromotedAt),
		retire: p.moment(r.RetireAt), slots: [2]restingSlot{p.slot(&r.Slots[1]), p.slot(&r.Slots[2])}, probed: p.moment(r.ProbedAt),
		surveyed: p.moment(r.SurveyedAt), due: r.Due, blocked: r.Blocked, next: p.moment(r.NextAt), highest: r.TopGeneration, offset: r.Offset,
		datesSaid: r.DatesDiffer}
	left := *r
	left.Name, left.ID, left.Epoch, left.Owner, left.ClientID, left.Referrer, left.Phase = "", rotate.ID{}, 0, "", "", "", ""
	left.Due, left.Blocked, left.TopGeneration, left.Offset, left.DatesDiffer = "", "", 0, 0, ""
	for _, k := range []*rotate.KeyFacts{&left.Live, &left.Previous, &left.Slots[1].Key, &left.Slots[2].Key} {
		k.Slot, k.Fingerprint, k.Generation, k.Expires, k.LatestExpiry, k.MintedAt = 0, "", 0, time.Time{}, time.Time{}, time.Time{}
	}
	for i := range left.Slots[1:] {
		st := &left.Slots[1+i]
		st.Use, st.Intent, st.Active, st.Taken, st.Told = "", nil, false, false, false
		st.Asked, st.Since, st.Expires, st.SeenAt, st.Listed = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	}
	for _, t := range []*time.Time{&left.AdoptedAt, &left.RebuiltAt, &left.PromotedAt, &left.RetireAt, &left.ProbedAt, &left.SurveyedAt, &left.NextAt} {
		*t = time.Time{}
	}
	// Whatever is left over, of a field that is here or of one that comes later, is kept
	// by keeping all of it.
	if p.strange || !reflect.ValueOf(&left).Elem().IsZero() {
		full := *r
		return kept{full: &full}
	}
	return kept{rest: s}
}

// record as it was kept. What its pointers lead to is shared and not to be changed.
func (k kept) record() rotate.Record {
	var r rotate.Record
	k.into(&r)
	return r
}

// into r, all of which is replaced.
func (k kept) into(r *rotate.Record) {
	switch s := k.rest; {
	case s != nil:
		*r = rotate.Record{Name: s.name, ID: s.id, Epoch: s.epoch, Owner: s.owner, ClientID: s.clientID, Referrer: s.referrer, AdoptedAt: s.adopted.time(),
			RebuiltAt: s.rebuilt.time(), Phase: s.phase, Live: s.live.facts(), Previous: s.previous.facts(), PromotedAt: s.promoted.time(),
			RetireAt: s.retire.time(), Slots: [3]rotate.SlotState{1: s.slots[0].state(), 2: s.slots[1].state()}, ProbedAt: s.probed.time(),
			SurveyedAt: s.surveyed.time(), Due: s.due, Blocked: s.blocked, NextAt: s.next.time(), TopGeneration: s.highest, Offset: s.offset,
			DatesDiffer: s.datesSaid}
	case k.full != nil:
		*r = *k.full
	default:
		*r = rotate.Record{}
	}
}

// phase, without the rest of it.
func (k kept) phase() rotate.Phase {
	switch {
	case k.rest != nil:
		return k.rest.phase
	case k.full != nil:
		return k.full.Phase
	}
	return ""
}

// epoch of the record; 0 was never journalled.
func (k kept) epoch() int64 {
	switch {
	case k.rest != nil:
		return k.rest.epoch
	case k.full != nil:
		return k.full.Epoch
	}
	return 0
}

// expires is when the live key does.
func (k kept) expires() time.Time {
	switch {
	case k.rest != nil:
		return k.rest.live.expires.time()
	case k.full != nil:
		return k.full.Serving().Expires
	}
	return time.Time{}
}

// due is why a rotation is, as the last plan said.
func (k kept) due() rotate.Reason {
	switch {
	case k.rest != nil:
		return k.rest.due
	case k.full != nil:
		return k.full.Due
	}
	return ""
}

// packer notes whether anything did not fit.
type packer struct{ strange bool }

func (p *packer) moment(t time.Time) moment {
	m, ok := momentOf(t)
	p.strange = p.strange || !ok
	return m
}

func (p *packer) key(k *rotate.KeyFacts) restingKey {
	return restingKey{slot: k.Slot, fingerprint: k.Fingerprint, generation: k.Generation, expires: p.moment(k.Expires), latest: p.moment(k.LatestExpiry),
		minted: p.moment(k.MintedAt)}
}

func (p *packer) slot(s *rotate.SlotState) restingSlot {
	return restingSlot{use: s.Use, key: p.key(&s.Key), asked: p.moment(s.Asked), since: p.moment(s.Since), expires: p.moment(s.Expires),
		seen: p.moment(s.SeenAt), listed: p.moment(s.Listed), intent: s.Intent, active: s.Active, taken: s.Taken, orphanWasTold: s.Told}
}

func (k *restingKey) facts() rotate.KeyFacts {
	return rotate.KeyFacts{Slot: k.slot, Fingerprint: k.fingerprint, Generation: k.generation, Expires: k.expires.time(), LatestExpiry: k.latest.time(),
		MintedAt: k.minted.time()}
}

func (s *restingSlot) state() rotate.SlotState {
	return rotate.SlotState{Use: s.use, Key: s.key.facts(), Asked: s.asked.time(), Since: s.since.time(), Intent: s.intent, Taken: s.taken,
		Told: s.orphanWasTold, Active: s.active, Expires: s.expires.time(), SeenAt: s.seen.time(), Listed: s.listed.time()}
}
