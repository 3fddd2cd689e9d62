package daemon

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// generation is one loaded fleet, as long as something uses it. The loop owns it.
type generation struct {
	fleet   *Fleet
	users   int // workers and surveys
	retired bool
}

// loop owns every decision; its fields are touched by the goroutine of Run only.
type loop struct {
	d       *Daemon
	gen     *generation
	entries map[rotate.Name]*entry
	lanes   map[rotate.PortalID]*lane
	running int
	results chan result
	notify  *notifier
	surveys *surveys
	workers sync.WaitGroup
	effects context.Context // of workers: outlives the stop signal
	life    context.Context // of surveys and heartbeats: ends with the loop
	die     context.CancelFunc
	retired []*generation

	clock        clockMark
	journalFails bool // and the log has said so
	nextTick     time.Time
	passes       passes

	stopping bool
	drained  chan struct{}        // not nil while draining; closed when nothing is under way
	only     map[rotate.Name]bool // not nil in Once: what it is about
}

// result is what a worker reports.
type result struct {
	e       *entry
	gen     *generation
	advance *rotate.AdvanceResult // nil after an order
	record  rotate.Record         // unset where it is as it was
	holding bool
}

func (d *Daemon) newLoop(ctx context.Context) (*loop, error) {
	l := &loop{d: d, gen: &generation{fleet: d.o.Fleet}, entries: map[rotate.Name]*entry{}, lanes: map[rotate.PortalID]*lane{},
		results: make(chan result), notify: newNotifier(d.o.Log), effects: context.WithoutCancel(ctx)}
	l.life, l.die = context.WithCancel(l.effects)
	l.surveys = newSurveys(l.life, d)
	records, err := readRecords(l.effects, d.o.Journal) // a stop that comes now is a stop of the loop, and no error
	if err != nil {
		return nil, err
	}
	l.adopt(l.gen, records, time.Now())
	return l, nil
}

// adopt makes gen the fleet that is looked after: it keeps the sessions of credentials that stay.
func (l *loop) adopt(gen *generation, records map[rotate.Name]kept, now time.Time) {
	before := l.entries
	l.gen, l.entries = gen, make(map[rotate.Name]*entry, len(gen.fleet.Credentials))
	lanes := make(map[rotate.PortalID]*lane, len(gen.fleet.Portals))
	for _, p := range gen.fleet.Portals {
		ln := newLane(p.Workers)
		if old := l.lanes[p.ID]; old != nil {
			ln.crew = old.crew
		}
		lanes[p.ID] = ln
	}
	l.lanes = lanes
	for i := range gen.fleet.Credentials {
		m := &gen.fleet.Credentials[i]
		e := before[m.Name]
		if e == nil || e.m.ID != m.ID {
			e = &entry{healthy: true, after: e}
			if r, ok := records[m.Name]; ok {
				e.record, e.healthy = r, !troubled(r.record())
			}
		} else {
			delete(before, m.Name)
			e.home = nil // of the old lanes, which are dropped
			e.look = e.look || !slices.Equal(e.m.Places, m.Places)
		}
		e.m, e.fleet = m, gen
		l.entries[m.Name] = e
		if !e.running {
			e.at = dueAt(e.record.record(), m.Policy)
			if e.look {
				e.at = now // a new sink gets the key at once
			}
			l.lanes[m.ID.Portal].add(e, now)
		}
	}
	for _, e := range before {
		e.gone, e.home = true, nil
	}
	l.nextTick = gen.fleet.Tick.Next(now)
	l.d.shown.show(l)
	l.surveys.start(gen)
}

// dueAt is when to look at a credential that was not looked at since its config was loaded: as the journal says, or
// earlier where the policy does.
func dueAt(r rotate.Record, p rotate.Policy) time.Time {
	at := r.NextAt
	if due, ok := rotate.DueAt(r, p); ok && due.Before(at) {
		return due
	}
	return at
}

// troubled tells from a record alone whether a person should look.
func troubled(r rotate.Record) bool {
	return r.Attempts > 0 || r.Drift != rotate.DriftNone || r.Quarantine != nil || !r.DeadAt.IsZero()
}

// run until ctx ends, or until nothing is left to do where the loop was given an end.
func (l *loop) run(ctx context.Context) {
	l.passes.begin(l, time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	watchdog := l.notify.watchdog()
	defer watchdog.Stop()
	for !l.finished() {
		l.step(time.Now())
		timer.Reset(l.nap(time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-watchdog.C:
			l.notify.alive(l.headline(time.Now()))
		case r := <-l.results:
			l.done(r)
		case f := <-l.d.calls:
			f(l)
		case <-l.d.o.Hangup:
			l.workers.Go(func() { _, _ = l.d.Reload(l.life) }) // logged, counted and told to the service manager there
		}
	}
}

// step does everything that can be done now.
func (l *loop) step(now time.Time) {
	if wall, timers := l.clock.moved(now); jumped(wall, timers) {
		l.d.o.Log.LogAttrs(l.effects, slog.LevelWarn, "clock jumped", slog.Duration("by", wall-timers))
		l.nextTick = now
		l.surveys.wake()
	}
	if !l.nextTick.After(now) && !l.stopping {
		l.nextTick = l.gen.fleet.Tick.Next(now)
		l.passes.begin(l, now)
	}
	for _, ln := range l.lanes {
		ln.settle(now)
		for e := ln.take(l.may); e != nil; e = ln.take(l.may) {
			l.start(ln, e)
		}
	}
	l.passes.check(l)
	l.checkDrained()
	l.d.shown.step(now, !l.passes.last.IsZero())
}

// may e be advanced: always, but while stopping and draining.
func (l *loop) may(e *entry) bool {
	switch {
	case e.after != nil && e.after.running, e.parked:
		return false
	case l.stopping:
		return e.holding
	case l.only != nil && !l.only[e.m.Name]:
		return false
	case l.drained != nil:
		return underWay(e.record.phase()) || len(e.orders) > 0
	}
	return true
}

// underWay tells whether a rotation has begun and not ended.
func underWay(p rotate.Phase) bool { return p != rotate.PhaseIdle && p != "" }

// nap is how long to wait for the next due time; at most maxNap, since timers do not count sleep.
func (l *loop) nap(now time.Time) time.Duration {
	next := now.Add(maxNap)
	if l.nextTick.Before(next) && !l.stopping {
		next = l.nextTick
	}
	for _, ln := range l.lanes {
		if ln.waiting.Len() > 0 && ln.waiting.list[0].at.Before(next) {
			next = ln.waiting.list[0].at
		}
		if at, ok := ln.crew.next(ln.limit); ok && ln.ready.Len() > 0 && at.Before(next) {
			next = at
		}
	}
	return max(next.Sub(now), 0)
}

// close ends what the loop started besides workers, and releases the adapters.
func (l *loop) close() {
	l.die()
	l.surveys.stop()
	for _, g := range append(l.retired, l.gen) {
		if l.running == 0 { // else a worker that was abandoned still uses them
			g.users = 0
		}
		l.release(g)
	}
}

// release a generation that nothing uses any more.
func (l *loop) release(g *generation) {
	if g.users > 0 || g.fleet.Close == nil {
		return
	}
	if err := g.fleet.Close(); err != nil {
		l.d.o.Log.LogAttrs(l.effects, slog.LevelWarn, "adapters not released", slog.Any("err", err))
	}
	g.fleet.Close = nil
}

// dropped tells that one use of gen has ended.
func (l *loop) dropped(g *generation) {
	g.users--
	if g.retired {
		l.release(g)
	}
}
