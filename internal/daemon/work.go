package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"rotatord/internal/rotate"
)

const (
	// idlePause keeps a credential that asks for "at once" without having done anything from spinning.
	idlePause = time.Second
	// journalPause is how long to wait where the journal could not say when to come back.
	journalPause = 30 * time.Second
)

// order is one command that waits for its credential to be free.
type order struct {
	cmd   rotate.Command
	reply chan orderReply // buffered: the worker never waits for the reader
}

type orderReply struct {
	record rotate.Record
	err    error
}

// start gives an entry to a worker for one order or one advance.
func (l *loop) start(ln *lane, e *entry) {
	e.running = true
	ln.crew.begin(e, time.Now())
	l.running++
	gen := e.fleet
	gen.users++
	var ord *order
	if len(e.orders) > 0 {
		ord, e.orders = e.orders[0], e.orders[1:]
	}
	look := e.look
	e.look = false
	credential := e.m.Credential
	if e.session == nil {
		e.session = &rotate.Session{}
	}
	effects := rotate.WithUrgency(l.effects, e.rank)
	l.workers.Go(func() {
		ctx, cancel := context.WithTimeoutCause(effects, l.d.o.EffectTimeout, errEffectTimeout)
		defer cancel()
		res := result{e: e, gen: gen}
		if ord != nil {
			rec, err := l.d.o.Engine.Command(ctx, credential, ord.cmd)
			if err == nil {
				res.record = rec
			}
			ord.reply <- orderReply{rec, err}
		} else {
			if look {
				e.session.Look()
			}
			adv := l.d.o.Engine.Advance(ctx, credential, e.session)
			res.advance, res.record = &adv, adv.Record
		}
		res.holding = e.session.HoldsKey()
		select {
		case l.results <- res:
		case <-l.d.ended: // a stop gave this worker up
		}
	})
}

var errEffectTimeout = errors.New("the effect took too long")

// done takes an entry back from its worker.
func (l *loop) done(r result) {
	e := r.e
	now := time.Now()
	e.running, e.holding = false, r.holding
	e.free()
	l.running--
	l.dropped(r.gen)
	ln := l.lanes[e.m.ID.Portal]
	if ln != nil {
		ln.crew.end(e)
	}
	if e.gone {
		l.refuseOrders(e, errGone)
		return
	}
	before := e.record.epoch()
	if r.record.Name != "" {
		e.record = keep(&r.record)
		l.followItem(e, &r.record)
	}
	if r.advance == nil {
		e.at = now
	} else {
		l.judge(e, r.advance, now)
		e.look = e.look || repaired(r.advance)
		l.journalWrites(e, r.advance, before)
	}
	if e.look {
		e.at = now // somebody wants it looked at since the worker began
	}
	l.d.shown.update(e)
	l.lanes[e.m.ID.Portal].add(e, now)
}

// followItem: another item has taken over, or the one before stays after all.
func (l *loop) followItem(e *entry, r *rotate.Record) {
	c := e.m.Credential.At(r)
	if c == e.m.Credential || l.lanes[c.ID.Portal] == nil {
		return
	}
	m := *e.m
	m.Credential = c
	e.m = &m
	if l.d.o.Followed != nil {
		l.d.o.Followed(m.Name)
	}
}

// repaired: a sink that lagged was written at rest. That it does not differ any more is seen by another look, which people
// need not wait for.
func repaired(a *rotate.AdvanceResult) bool {
	return a.Err == nil && a.Effect == rotate.EffectPublish && !underWay(a.Record.Phase) && a.Record.Drift != rotate.DriftNone
}

// judge what an advance said: when to come back, and whether all is well.
func (l *loop) judge(e *entry, a *rotate.AdvanceResult, now time.Time) {
	e.healthy, e.detail = a.Healthy, a.Detail
	e.asked = l.passes.number
	e.at = a.Next
	switch {
	case a.Next.IsZero() && a.Err != nil:
		e.at = now.Add(journalPause)
	case !a.Next.After(now) && a.Step == rotate.StepNone:
		e.at = now.Add(idlePause)
	}
	attrs := []slog.Attr{slog.String("credential", string(e.m.Name)), slog.String("phase", string(a.Record.Phase)),
		slog.String("effect", string(a.Effect)), slog.String("due", string(a.Due)), slog.String("blocked", string(a.Blocked)), slog.Time("next", e.at)}
	if a.Err != nil {
		attrs = append(attrs, slog.Any("err", a.Err))
	}
	l.d.o.Log.LogAttrs(l.effects, slog.LevelDebug, "advanced", attrs...)
}

// journalWrites says when the journal fails and when it works again. Every other
// error is told by an event, which is journalled with it and moves the record's epoch;
// of the journal's own, such as a full disk, nothing else would tell. It is said once:
// every credential meets it, and the log may be on that disk too.
func (l *loop) journalWrites(e *entry, a *rotate.AdvanceResult, before int64) {
	unsaved := a.Err != nil && a.Record.Epoch <= before
	switch {
	case unsaved:
		e.detail = "not journalled: " + a.Err.Error()
		if !l.journalFails {
			l.d.o.Log.LogAttrs(l.effects, slog.LevelError, "the journal fails: nothing is started that could not be written down",
				slog.String("credential", string(e.m.Name)), slog.Any("err", a.Err))
		}
		l.journalFails = true
	case l.journalFails && a.Record.Epoch > before:
		l.journalFails = false
		l.d.o.Log.LogAttrs(l.effects, slog.LevelInfo, "the journal works again")
	}
}

// refuseOrders of an entry that is not looked after any more.
func (l *loop) refuseOrders(e *entry, why error) {
	for _, ord := range e.orders {
		ord.reply <- orderReply{err: fmt.Errorf("credential %s: %w", e.m.Name, why)}
	}
	e.orders = nil
}

var errGone = errors.New("no longer in the config")
