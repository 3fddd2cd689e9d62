package daemon

import (
	"context"
	"log/slog"
	"time"
)

// heartbeatTimeout bounds one call of the heartbeat.
const heartbeatTimeout = 30 * time.Second

// passes keeps account of passes: a pass is over when every credential that was due when it began has been advanced.
type passes struct {
	number  uint64
	open    bool
	began   time.Time
	waits   []*entry
	last    time.Time // end of the last pass
	beating bool
}

// begin a pass. One that has not ended is replaced: what it waited for is still due.
func (p *passes) begin(l *loop, now time.Time) {
	p.number++
	p.open, p.began, p.waits = true, now, p.waits[:0]
	for _, e := range l.entries {
		if e.running || !e.at.After(now) {
			p.waits = append(p.waits, e)
		}
	}
}

// check whether the pass is over, and tell of it.
func (p *passes) check(l *loop) {
	if !p.open || l.stopping {
		return
	}
	for _, e := range p.waits {
		if e.asked < p.number && !e.gone && l.may(e) {
			return
		}
	}
	p.open, p.last = false, time.Now()
	healthy := true
	for _, e := range l.entries {
		healthy = healthy && e.healthy
	}
	l.d.o.Monitor.PassDone(healthy)
	l.d.o.Log.LogAttrs(l.effects, slog.LevelDebug, "pass done", slog.Int("credentials", len(p.waits)),
		slog.Bool("healthy", healthy), slog.Duration("took", p.last.Sub(p.began)))
	if healthy {
		p.beat(l)
	}
}

// beat calls the heartbeat, one at a time.
func (p *passes) beat(l *loop) {
	if l.d.o.Heartbeat == nil || p.beating {
		return
	}
	p.beating = true
	d := l.d
	l.workers.Go(func() {
		ctx, cancel := context.WithTimeout(l.life, heartbeatTimeout)
		defer cancel()
		if err := d.o.Heartbeat(ctx); err != nil {
			d.o.Log.LogAttrs(ctx, slog.LevelWarn, "heartbeat not delivered", slog.Any("err", err))
		}
		_ = d.call(l.life, func(l *loop) { l.passes.beating = false }) // an error means that the loop has ended
	})
}
