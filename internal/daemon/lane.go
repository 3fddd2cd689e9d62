package daemon

import (
	"cmp"
	"container/heap"
	"time"

	"rotatord/internal/rotate"
)

// entry is one credential in the loop. Every field is the loop's, but session, which belongs to the worker while running.
type entry struct {
	m       *Managed // of fleet
	fleet   *generation
	session *rotate.Session // nil until the first advance
	record  kept            // as last journalled

	at      time.Time // when to advance it
	rank    rotate.Urgency
	home    *entryHeap // where it is queued; nil while it is not
	index   int        // in home
	running bool
	began   time.Time     // when running
	slow    bool          // running, and for so long that it does not count against its lane
	look    bool          // a light survey disagrees: the next advance makes a deep survey
	gone    bool          // a reload removed it
	parked  bool          // not to be advanced for a moment: it gets another name, or ends
	freed   chan struct{} // closed when its worker is done; nil: nobody waits
	after   *entry        // of the same name and another identity, which a worker may still have
	orders  []*order
	holding bool // as the worker last reported: a minted key is in no sink

	asked   uint64 // the last pass that asked for it
	healthy bool
	detail  string
}

// listed notes what a survey saw, for the next close look; no worker has the entry.
func (e *entry) listed(keys [3]rotate.ListedKey) {
	if e.session == nil {
		if keys == [3]rotate.ListedKey{} {
			return
		}
		e.session = &rotate.Session{}
	}
	e.session.Listed(keys)
}

// rankAt is how urgent an entry is, within its lane and before the limits of its portal.
func (e *entry) rankAt(now time.Time) rotate.Urgency {
	phase, due, expires := e.record.phase(), e.record.due(), e.record.expires()
	switch {
	case len(e.orders) > 0:
		return rotate.UrgencyOrder
	case e.holding:
		return rotate.UrgencyHolding
	case phase.InCutOver():
		return rotate.UrgencyCutOver
	case due == rotate.ReasonDead, due == rotate.ReasonCompromised, !expires.IsZero() && expires.Sub(now) < e.m.Policy.CriticalBefore:
		return rotate.UrgencyDying
	case phase == rotate.PhaseOverlap, phase == rotate.PhaseRetiring:
		return rotate.UrgencyOpen
	}
	return rotate.UrgencyIdle
}

// lane is one portal's queue.
type lane struct {
	limit   int
	crew    crew
	waiting entryHeap // not yet due, by time
	ready   entryHeap // due, by urgency
}

func newLane(limit int) *lane {
	if limit <= 0 {
		limit = DefaultWorkers
	}
	return &lane{limit: limit,
		waiting: entryHeap{less: func(a, b *entry) bool { return a.at.Before(b.at) }},
		ready:   entryHeap{less: moreUrgent}}
}

func moreUrgent(a, b *entry) bool {
	if c := cmp.Compare(a.rank, b.rank); c != 0 {
		return c < 0
	}
	// A key that ends sooner goes first; one of unknown end goes last.
	ea, eb := a.record.expires(), b.record.expires()
	if !ea.Equal(eb) {
		return !ea.IsZero() && (eb.IsZero() || ea.Before(eb))
	}
	return a.at.Before(b.at)
}

// add puts an entry into the lane by its time.
func (l *lane) add(e *entry, now time.Time) {
	if e.at.After(now) && len(e.orders) == 0 {
		heap.Push(&l.waiting, e)
		return
	}
	e.rank = e.rankAt(now)
	heap.Push(&l.ready, e)
}

// wake makes a queued entry ready, or gives it its new rank; it does nothing to one that a worker has.
func (l *lane) wake(e *entry, now time.Time) {
	if e.home == nil {
		return
	}
	heap.Remove(e.home, e.index)
	if e.at.After(now) {
		e.at = now
	}
	l.add(e, now)
}

// settle moves what has become due to the ready ones.
func (l *lane) settle(now time.Time) {
	l.crew.settle(l.limit, now)
	for l.waiting.Len() > 0 && !l.waiting.list[0].at.After(now) {
		e := heap.Pop(&l.waiting).(*entry)
		l.add(e, now)
	}
}

// take the most urgent ready entry that may be started; nil if there is none or the lane is full.
func (l *lane) take(may func(*entry) bool) *entry {
	var skipped []*entry
	defer func() {
		for _, e := range skipped {
			heap.Push(&l.ready, e)
		}
	}()
	for len(l.crew.busy) < l.limit && l.ready.Len() > 0 {
		e := heap.Pop(&l.ready).(*entry)
		if e.gone {
			continue
		}
		if !may(e) {
			skipped = append(skipped, e)
			continue
		}
		return e
	}
	return nil
}

// entryHeap is a heap of entries under one order.
type entryHeap struct {
	list []*entry
	less func(a, b *entry) bool
}

// The methods of container/heap.
func (h *entryHeap) Len() int           { return len(h.list) }
func (h *entryHeap) Less(i, j int) bool { return h.less(h.list[i], h.list[j]) }
func (h *entryHeap) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].index, h.list[j].index = i, j
}

func (h *entryHeap) Push(x any) {
	e := x.(*entry)
	e.home, e.index = h, len(h.list)
	h.list = append(h.list, e)
}

func (h *entryHeap) Pop() any {
	last := len(h.list) - 1
	e := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	e.home = nil
	return e
}
