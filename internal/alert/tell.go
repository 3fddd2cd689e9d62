package alert

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// way is one notifier with its own pace: one that is slow or broken delays no other.
type way struct {
	name     string
	notifier Notifier
	wake     chan struct{} // holds at most one
	refresh  time.Duration // zero: its other side remembers
}

// item is one notice that is due, and how urgent.
type item struct {
	notice Notice
	rank   int
	alert  *Alert // nil: of a day or a digest
	lines  int    // of the story, once it is told
}

// Ranks of what is due.
const (
	rankCritical = iota
	rankLoud
	rankEnd
	rankQuiet
	rankRoutine
	rankDigest
)

// due is the most urgent notice of a way. It is called with the desk locked.
func (a *Alerter) due(w *way, now time.Time) (item, bool) {
	var best item
	found := false
	for _, r := range a.sorted() {
		it, ok := a.dueAlert(w, r, now)
		if ok && (!found || it.rank < best.rank) {
			best, found = it, true
		}
	}
	if found {
		best.notice.Message = a.compose(best.alert, now)
		return best, true
	}
	if it, ok := a.dueRoutine(w, now); ok {
		return it, true
	}
	return a.dueDigest(w, now)
}

// dueAlert is what a way has to be told of an alert now, but for the message.
func (a *Alerter) dueAlert(w *way, r *Alert, now time.Time) (item, bool) {
	if r.Waiting || r.Group != "" || r.Calls == 0 || !slices.Contains(a.routesOf(r), w.name) {
		return item{}, false
	}
	t := a.state.told[w.name][r.Key]
	first := t == nil || t.Calls == 0
	switch {
	case t != nil && now.Before(t.RetryAt):
		return item{}, false
	case !r.Ended.IsZero() && (first || t.Over), first && r.Cause != "":
		return item{}, false // what ended before it could be told is never told
	case !first && t.Rev >= r.Rev:
		if w.refresh == 0 || !r.Ended.IsZero() || now.Sub(t.At) < w.refresh {
			return item{}, false
		}
	}
	it := item{alert: r, rank: rankQuiet, lines: r.Dropped + len(r.Story)}
	n := Notice{Key: r.Key, Kind: NoticeAlert, State: r.State, By: r.By, Until: r.Until}
	if t != nil {
		n.Ref, n.Story = t.Ref, r.since(t.Story)
	} else {
		n.Story = r.since(0)
	}
	switch {
	case !r.Ended.IsZero():
		n.Loud, it.rank = t.Rev < r.Rev, rankEnd
	case r.State == StateOpen && (first || t.Calls < r.Calls):
		n.Loud, it.rank = true, rankLoud
		if r.Severity == SeverityCritical {
			it.rank = rankCritical
		}
	}
	it.notice = n
	return it, true
}

// routesOf an alert: a group goes where its members do.
func (a *Alerter) routesOf(r *Alert) []string {
	c := r.Condition
	if len(r.Members) > 0 {
		if m := a.state.alerts[r.Members[0]]; m != nil {
			c = m.Condition
		}
	}
	return a.routeOf(c)
}

// routeOf a condition: the notifiers that tell it.
func (a *Alerter) routeOf(c Condition) []string {
	if to, given := a.o.Routes[c]; given {
		return to
	}
	out := make([]string, 0, len(a.ways))
	for _, w := range a.ways {
		out = append(out, w.name)
	}
	return out
}

// step tells a way at most one notice, and says when to go on, and whether it takes more.
func (a *Alerter) step(ctx context.Context, w *way) (time.Duration, bool) {
	a.desk.Lock()
	now := time.Now().UTC()
	if !a.ready {
		a.desk.Unlock()
		return idle, false
	}
	if rest := a.state.ways[w.name].Pause.Sub(now); rest > 0 {
		a.desk.Unlock()
		return rest, false
	}
	it, ok := a.due(w, now)
	var rev, calls int
	if ok && it.alert != nil {
		rev, calls = it.alert.Rev, it.alert.Calls
	}
	a.desk.Unlock()
	if !ok {
		return idle, false
	}
	sendCtx, cancel := context.WithTimeout(ctx, sendTimeout)
	ref, err := w.notifier.Tell(sendCtx, it.notice)
	cancel()

	a.desk.Lock()
	defer a.desk.Unlock()
	now = time.Now().UTC()
	if err != nil {
		return a.refused(ctx, w, it, err, now)
	}
	a.o.OnDelivery(DeliveryOK)
	t := a.toldFor(w, it.notice.Key)
	*t = told{Ref: ref, Calls: calls, Rev: rev, Story: it.lines, At: now, Over: it.notice.State == StateResolved}
	a.keep(put(context.WithoutCancel(ctx), a.o.Store, toldPrefix+w.name+"/"+it.notice.Key, t))
	a.state.ways[w.name] = wayState{}
	return pace, true
}

func (a *Alerter) toldFor(w *way, key string) *told {
	of := a.state.toldOf(w.name)
	if of[key] == nil {
		of[key] = &told{}
	}
	return of[key]
}

// refused notes that a notice was not delivered. A permanent error is about the notice
// and holds up no other; any other is about the way.
func (a *Alerter) refused(ctx context.Context, w *way, it item, err error, now time.Time) (time.Duration, bool) {
	if ctx.Err() != nil { // we are being stopped: nobody's fault
		return idle, false
	}
	a.o.OnDelivery(DeliveryFailed)
	a.o.Log.ErrorContext(ctx, "message was not delivered", slog.String("notifier", w.name), slog.String("alert", it.notice.Key), slog.Any("err", err))
	if rotate.KindOf(err) == rotate.KindPermanent {
		t := a.toldFor(w, it.notice.Key)
		t.RetryAt = now.Add(retryMost)
		a.keep(put(ctx, a.o.Store, toldPrefix+w.name+"/"+it.notice.Key, t))
		return pace, true
	}
	s := a.state.ways[w.name]
	rest := max(rotate.WaitOf(err), backoff(s.failures))
	s.Pause, s.failures, s.asked = now.Add(rest), s.failures+1, rotate.KindOf(err) == rotate.KindRateLimited
	a.state.ways[w.name] = s
	if s.asked { // it binds a restarted daemon too
		a.keep(put(ctx, a.o.Store, wayPrefix+w.name, s))
	}
	return rest, false
}

// Again tries now what failed, for somebody who has mended it. What the other side asked
// to wait for is waited for.
func (a *Alerter) Again() {
	a.desk.Lock()
	for name, s := range a.state.ways {
		if s.failures > 0 && !s.asked {
			s.Pause = time.Time{}
			a.state.ways[name] = s
		}
	}
	a.desk.Unlock()
	for _, w := range a.ways {
		ring(w.wake)
	}
}

func backoff(failures int) time.Duration {
	return min(retryFirst<<min(failures, 10), retryMost)
}

// serve a way until ctx ends.
func (a *Alerter) serve(ctx context.Context, w *way) {
	for {
		wait, _ := a.step(ctx, w)
		if wait == pace { // whoever rings meanwhile is heard afterwards
			if !sleep(ctx, wait) {
				return
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// drain a way: tell what is due, as long as it takes it.
func (a *Alerter) drain(ctx context.Context, w *way) {
	for {
		wait, more := a.step(ctx, w)
		if !more || !sleep(ctx, wait) {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Told is what one notifier knows of an alert.
type Told struct {
	Way     string    `json:"notifier"`
	At      time.Time `json:"at,omitzero"`
	Current bool      `json:"current"` // it knows the newest state
}

// toldBy lists what notifiers know of an alert, by name.
func (a *Alerter) toldBy(r *Alert) []Told {
	var out []Told
	for _, w := range a.ways {
		if t := a.state.told[w.name][r.Key]; t != nil && t.Calls > 0 {
			out = append(out, Told{Way: w.name, At: t.At, Current: t.Rev >= r.Rev})
		}
	}
	slices.SortFunc(out, func(x, y Told) int { return cmp.Compare(x.Way, y.Way) })
	return out
}
