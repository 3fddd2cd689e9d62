package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// stop lets every started effect finish, and lets go on what holds a key that no sink has yet, for StopTimeout at most.
func (l *loop) stop(ctx context.Context) error {
	log := l.d.o.Log
	l.stopping = true
	l.die()
	l.notify.tell(stateStopping)
	for _, e := range l.entries {
		l.refuseOrders(e, errStopped)
	}
	log.LogAttrs(l.effects, slog.LevelInfo, "stopping", slog.Int("running", l.running), slog.Int("keys_in_memory", l.keysHeld()),
		slog.Any("cause", context.Cause(ctx)))
	limit := time.NewTimer(l.d.o.StopTimeout)
	defer limit.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for l.running > 0 || l.keysHeld() > 0 {
		l.step(time.Now())
		timer.Reset(l.nap(time.Now()))
		select {
		case <-timer.C:
		case r := <-l.results:
			l.done(r)
		case f := <-l.d.calls:
			f(l)
		case <-limit.C:
			return l.abandon()
		}
	}
	l.workers.Wait()
	log.LogAttrs(l.effects, slog.LevelInfo, "stopped")
	return nil
}

// abandon what did not end in time. A key in memory is lost with it; the next start mints another one.
func (l *loop) abandon() error {
	var left []string
	for name, e := range l.entries {
		if e.running || e.holding {
			left = append(left, string(name))
		}
	}
	return fmt.Errorf("stop: %d credentials were not done after %s: %v", len(left), l.d.o.StopTimeout, left)
}

// keysHeld counts the minted keys that are in memory and in no sink.
func (l *loop) keysHeld() int {
	n := 0
	for _, e := range l.entries {
		if e.holding {
			n++
		}
	}
	return n
}

// drain starts nothing new and closes done when nothing is under way.
func (l *loop) drain(done chan struct{}) {
	if l.drained != nil {
		close(done) // a second drain waits for nobody: the first is told
		return
	}
	l.drained = done
	l.checkDrained()
}

func (l *loop) checkDrained() {
	if l.drained == nil || l.running > 0 {
		return
	}
	for _, e := range l.entries {
		if underWay(e.record.phase()) || e.holding {
			return
		}
	}
	select {
	case <-l.drained:
	default:
		close(l.drained)
	}
}

// Patience of Once: in the middle of a rotation waits are short (propagation, a second try); a credential that waits
// longer, or at rest, is left alone.
const (
	patience        = time.Second
	patienceCutOver = 30 * time.Second
)

// finished tells whether Once has nothing left to wait for.
func (l *loop) finished() bool {
	if l.only == nil {
		return false
	}
	now := time.Now()
	for name, e := range l.entries {
		wait := patience
		if e.record.phase().InCutOver() {
			wait = patienceCutOver
		}
		if l.only[name] && (e.running || e.holding || len(e.orders) > 0 || !e.at.After(now.Add(wait))) {
			return false
		}
	}
	return l.running == 0
}
