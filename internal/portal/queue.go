package portal

import (
	"cmp"
	"container/heap"
	"context"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// queue hands out permits to send: so many at once, one an interval, none while the
// portal is paused. The most urgent waiter is next; among equals, who came first.
type queue struct {
	atOnce   int
	interval time.Duration // between two permits; 0: none
	// patience is the longest pause that is waited for; a longer one is answered at once.
	patience time.Duration

	mu      sync.Mutex // guards everything below
	inUse   int
	next    time.Time // no permit before, for the rate
	paused  time.Time // no permit before, for the portal
	waiting waiters
	arrived uint64 // waiters so far
	waits   uint64 // those of them that did not get a permit at once
	waited  time.Duration
	timer   *time.Timer // looks again when next or paused has come; nil: was never needed
}

// waiter is one request that waits for its permit.
type waiter struct {
	urgency rotate.Urgency
	since   time.Time
	seq     uint64
	index   int       // in waiting; -1 once it is out
	allowed chan bool // gets one answer: go, or turned away
	at      time.Time // of the permit
}

// aged is what a waiter of a low class is sorted by. Everything up to dying goes strictly
// by class. Below, who has waited for his class's patience goes level with the class
// above, so that a rate limit that leaves little over starves nobody.
func (w *waiter) aged() (rotate.Urgency, time.Time) {
	switch w.urgency {
	case rotate.UrgencyIdle:
		return rotate.UrgencyOpen, w.since.Add(30 * time.Second)
	case rotate.UrgencySurvey:
		return rotate.UrgencyOpen, w.since.Add(2 * time.Minute)
	case rotate.UrgencyOrder, rotate.UrgencyHolding, rotate.UrgencyCutOver, rotate.UrgencyDying, rotate.UrgencyOpen:
	}
	return w.urgency, w.since
}

func (w *waiter) before(other *waiter) bool {
	class, at := w.aged()
	otherClass, otherAt := other.aged()
	return cmp.Or(cmp.Compare(class, otherClass), at.Compare(otherAt), cmp.Compare(w.seq, other.seq)) < 0
}

// acquire waits for a permit. Who got one releases it once. turned is true where the
// queue was cleared meanwhile: whoever cleared it knows why.
func (q *queue) acquire(ctx context.Context, u rotate.Urgency) (turned bool, refused *rotate.Error) {
	w, refused := q.join(ctx, u)
	if refused != nil {
		return false, refused
	}
	select {
	case allowed := <-w.allowed:
		switch {
		case !allowed:
			return true, nil
		case ctx.Err() == nil:
			return false, nil
		}
		w.allowed <- true // too late to be used
	case <-ctx.Done():
	}
	return false, q.withdraw(ctx, w)
}

func (q *queue) join(ctx context.Context, u rotate.Urgency) (*waiter, *rotate.Error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if ctx.Err() != nil {
		return nil, gaveUp(ctx)
	}
	if q.paused.Sub(now) > q.patience {
		return nil, q.pausedError(now)
	}
	q.arrived++
	w := &waiter{urgency: u, since: now, seq: q.arrived, allowed: make(chan bool, 1)}
	heap.Push(&q.waiting, w)
	q.dispatch()
	if w.index >= 0 {
		q.waits++
	}
	return w, nil
}

// withdraw takes a waiter out whose context has ended, with the permit that it may
// have got meanwhile.
func (q *queue) withdraw(ctx context.Context, w *waiter) *rotate.Error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.index >= 0 {
		heap.Remove(&q.waiting, w.index)
		q.waited += time.Since(w.since)
	} else if <-w.allowed {
		q.inUse--
		if q.next.Equal(w.at.Add(q.interval)) { // the last permit, and nothing was sent on it
			q.next = w.at
		}
		q.dispatch()
	}
	if now := time.Now(); q.paused.After(now) {
		return q.pausedError(now) // the wait is what the caller needs to know
	}
	return gaveUp(ctx)
}

// release gives a permit back whose request has ended.
func (q *queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inUse--
	q.dispatch()
}

// dispatch hands out what may be handed out now. The caller holds mu.
func (q *queue) dispatch() {
	for now := time.Now(); len(q.waiting) > 0 && q.inUse < q.atOnce; {
		opens := q.next
		if q.paused.After(opens) {
			opens = q.paused
		}
		if wait := opens.Sub(now); wait > 0 {
			q.lookIn(wait)
			return
		}
		w := heap.Pop(&q.waiting).(*waiter)
		q.inUse++
		w.at, q.next = now, now.Add(q.interval)
		q.waited += now.Sub(w.since)
		w.allowed <- true
	}
}

// lookIn has the queue looked at again after a while. The caller holds mu.
func (q *queue) lookIn(wait time.Duration) {
	if q.timer != nil {
		q.timer.Reset(wait)
		return
	}
	q.timer = time.AfterFunc(wait, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.dispatch()
	})
}

// pause lets nothing out before until, and tells what the pause was extended by; 0:
// it lasts longer already. Who would have to wait for too long is turned away.
func (q *queue) pause(until time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	from := now
	if q.paused.After(from) {
		from = q.paused
	}
	if !until.After(from) {
		return 0
	}
	q.paused = until
	if until.Sub(now) > q.patience {
		q.turnAway()
	}
	return until.Sub(from)
}

func (q *queue) isPaused() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.paused.After(time.Now())
}

func (q *queue) standing(now time.Time) Standing {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Standing{UnderWay: q.inUse, Waits: q.waits, Waited: q.waited, Waiting: make(map[rotate.Urgency]int, len(rotate.Urgencies()))}
	for _, u := range rotate.Urgencies() {
		s.Waiting[u] = 0
	}
	for _, w := range q.waiting {
		s.Waiting[w.urgency]++
	}
	if q.paused.After(now) {
		s.PausedUntil = q.paused.Round(0).UTC()
	}
	return s
}

// clear turns every waiter away.
func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.turnAway()
}

func (q *queue) turnAway() {
	for _, w := range q.waiting {
		w.index = -1
		q.waited += time.Since(w.since)
		w.allowed <- false
	}
	clear(q.waiting)
	q.waiting = q.waiting[:0]
}

// pausedError is what a request is told that would wait too long. The caller holds mu.
func (q *queue) pausedError(now time.Time) *rotate.Error {
	return &rotate.Error{Kind: rotate.KindRateLimited, Wait: q.paused.Sub(now), Err: errPaused}
}

// waiters is a heap, the most urgent first.
type waiters []*waiter

// The methods of container/heap.
func (h waiters) Len() int           { return len(h) }
func (h waiters) Less(i, j int) bool { return h[i].before(h[j]) }
func (h waiters) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *waiters) Push(x any) {
	w := x.(*waiter)
	w.index = len(*h)
	*h = append(*h, w)
}

func (h *waiters) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	w.index = -1
	return w
}
