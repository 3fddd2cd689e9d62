package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// surveys runs the light surveys, one goroutine a portal. A survey is a listing; where it disagrees with the journal the
// credential's next advance looks closely. A survey that fails changes nothing that an earlier one saw.
type surveys struct {
	d      *Daemon
	parent context.Context
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	woken  chan struct{} // closed to have every portal look at the clock again
	mu     sync.Mutex    // guards woken
}

func newSurveys(ctx context.Context, d *Daemon) *surveys {
	s := &surveys{d: d, parent: ctx, woken: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

// start surveys of gen in place of those of the generation before.
func (s *surveys) start(gen *generation) {
	s.cancel()
	s.ctx, s.cancel = context.WithCancel(s.parent)
	for _, p := range gen.fleet.Portals {
		if p.Survey != nil {
			s.run(gen, func(ctx context.Context) { s.watch(ctx, p) })
		}
	}
	if work := gen.fleet.Background; work != nil {
		s.run(gen, func(ctx context.Context) {
			if err := work(ctx); err != nil && ctx.Err() == nil {
				s.d.o.Log.LogAttrs(ctx, slog.LevelError, "background work ended", slog.Any("err", err))
			}
		})
	}
}

// run f as long as gen is looked after.
func (s *surveys) run(gen *generation, f func(ctx context.Context)) {
	gen.users++
	ctx := s.ctx
	s.tasks.Go(func() {
		f(ctx)
		s.leave(gen)
	})
}

// leave tells the loop that one user of gen has ended.
func (s *surveys) leave(gen *generation) {
	_ = s.d.call(s.parent, func(l *loop) { l.dropped(gen) }) // an error means that the loop has ended, and with it gen
}

// wake has every portal compare its schedule with the wall clock at once.
func (s *surveys) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.woken)
	s.woken = make(chan struct{})
}

func (s *surveys) wakeup() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.woken
}

func (s *surveys) stop() {
	s.cancel()
	s.tasks.Wait()
}

// watch surveys one portal at the start and on its schedule, until ctx ends.
func (s *surveys) watch(ctx context.Context, p Portal) {
	for {
		s.once(ctx, p)
		if p.SurveyAt == nil || !s.sleepUntil(ctx, p.SurveyAt.Next(time.Now())) {
			return
		}
	}
}

// sleepUntil waits for a time of the wall clock; false: ctx ended first.
func (s *surveys) sleepUntil(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for now := time.Now(); at.After(now); now = time.Now() {
		timer.Reset(min(at.Sub(now), maxNap))
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
		case <-s.wakeup():
		}
	}
	return ctx.Err() == nil
}

// once surveys one portal.
func (s *surveys) once(ctx context.Context, p Portal) {
	began := time.Now()
	marked := rotate.WithUrgency(rotate.WithPurpose(ctx, rotate.PurposeSurvey), rotate.UrgencySurvey)
	listCtx, cancel := context.WithTimeout(marked, s.d.o.SurveyTimeout)
	seen, err := p.Survey(listCtx)
	cancel()
	if ctx.Err() != nil {
		return
	}
	s.d.o.Monitor.SurveyDone(p.ID, time.Since(began), err)
	if err != nil {
		s.d.o.Log.LogAttrs(ctx, slog.LevelWarn, "survey failed", slog.String("portal", string(p.ID)),
			slog.Any("err", fmt.Errorf("list credentials of portal %s: %w", p.ID, err)))
		return
	}
	_ = s.d.call(ctx, func(l *loop) { l.compare(seen, time.Now()) }) // an error means that nobody is left to tell
}

// compare what a listing saw with the journal, and look closely where they disagree.
func (l *loop) compare(seen []Seen, now time.Time) {
	byID := make(map[rotate.ID]*entry, len(l.entries))
	for _, e := range l.entries {
		byID[e.m.ID] = e
	}
	for _, s := range seen {
		e := byID[s.ID]
		if e != nil && !e.running {
			e.listed(s.Slots)
		}
		if e == nil || e.look || !rotate.Disagrees(e.record.record(), s.Slots) {
			continue
		}
		e.look = true
		l.d.o.Log.LogAttrs(l.effects, slog.LevelInfo, "listing disagrees with the journal",
			slog.String("credential", string(e.m.Name)))
		if ln := l.lanes[e.m.ID.Portal]; ln != nil {
			ln.wake(e, now)
		}
	}
}
