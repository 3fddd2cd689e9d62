// Package alert tells people what is worth telling, once: a rotation done, and
// conditions that want somebody, from their first sight to their end.
//
// It is driven by levels, not by events. Check is given every configured credential
// after each pass; what holds then and was not said is said, what was said and no
// longer holds is said to be resolved. So a lost event, a full channel or a restart
// forgets nothing, a message is composed from what is true when it is sent, and what
// ended before it could be said is never said. What was said is kept in the Store;
// a crash between sending and storing repeats one message at most.
//
// Delivery never blocks a rotation: Observe and Check only note and return, Run sends.
package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// View is what an alert says of one configured credential.
type View struct {
	Name        rotate.Name
	Portal      rotate.PortalID
	Item        rotate.ItemID
	Owner       string
	Environment string
	Consumers   []string // who breaks when the key dies
	Mode        rotate.Mode
	Record      rotate.Record
	DueAt       time.Time // when a rotation becomes due by the clock; zero is unknown
	ConfigHold  string    // the config's reason to hold it; "" is none
	// CriticalBefore its end, a key's rotation waits for nothing that only postpones it.
	CriticalBefore time.Duration
}

// Store keeps JSON values under keys, durably.
type Store interface {
	Values(ctx context.Context) (map[string][]byte, error)
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
}

// Sender delivers one message. Its errors are classified by rotate.Kind: a permanent
// one is about this message, any other about the channel.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Delivery is what became of a message.
type Delivery string

// The deliveries.
const (
	DeliveryOK     Delivery = "ok"
	DeliveryFailed Delivery = "failed" // it is tried again
)

// Links of a message.
type Links struct {
	Runbook string // its sections are named after the Prometheus alerts; empty: none
}

// Options of New.
type Options struct {
	Store  Store
	Sender Sender
	Links  Links
	// WarnBefore is how long before its expiry a key with no rotation on its way is
	// reported, the longest first, each once.
	WarnBefore  []time.Duration
	RepeatEvery time.Duration  // how often something unresolved is said again
	ReportDone  bool           // also say that a rotation went well
	OnDelivery  func(Delivery) // may be nil
	Log         *slog.Logger   // nil: none
}

// Alerter is an Observer that talks to people.
type Alerter struct {
	o Options

	mu       sync.Mutex
	views    []View                       // guarded by mu: the last Check's
	checked  time.Time                    // guarded by mu: its time; zero before the first
	promoted map[rotate.Name]rotate.Event // guarded by mu: not yet taken up by Run; one a credential

	wake chan struct{} // holds at most one

	state     state     // owned by Run
	notBefore time.Time // owned by Run: the channel rests until then
	failures  int       // owned by Run: of the channel, in a row
}

var _ rotate.Observer = (*Alerter)(nil)

// New checks the options. It starts nothing.
func New(o Options) (*Alerter, error) {
	if o.Store == nil || o.Sender == nil {
		return nil, errors.New("make alerter: a store and a sender are needed")
	}
	for i, d := range o.WarnBefore {
		if d <= 0 || (i > 0 && d >= o.WarnBefore[i-1]) {
			return nil, fmt.Errorf("make alerter: warn_before step %d (%s) is not above zero and shorter than the one before", i+1, d)
		}
	}
	if o.RepeatEvery <= 0 {
		return nil, errors.New("make alerter: repeat_every must be above zero")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnDelivery == nil {
		o.OnDelivery = func(Delivery) {}
	}
	return &Alerter{o: o, promoted: map[rotate.Name]rotate.Event{}, wake: make(chan struct{}, 1)}, nil
}

// Observe notes a rotation that was done.
func (a *Alerter) Observe(e rotate.Event) {
	if e.Kind != rotate.EventPromoted {
		return
	}
	a.mu.Lock()
	a.promoted[e.Name] = e
	a.mu.Unlock()
	a.ring()
}

// Check notes the state of every configured credential at now, and keeps the slice. A
// credential that is not in it has left the config.
func (a *Alerter) Check(now time.Time, views []View) {
	a.mu.Lock()
	a.views, a.checked = views, now
	a.mu.Unlock()
	a.ring()
}

func (a *Alerter) ring() {
	select {
	case a.wake <- struct{}{}:
	default: // rung already
	}
}

// Pace of the channel, and of trying again after a failure.
const (
	pace        = time.Second // Slack takes one message a second
	retryFirst  = 15 * time.Second
	retryMost   = 15 * time.Minute
	sendTimeout = time.Minute
)

// Run sends until ctx ends. What is unsaid then is said by the next Run.
func (a *Alerter) Run(ctx context.Context) error {
	if err := a.load(ctx); err != nil {
		return err
	}
	for {
		wait, _ := a.step(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-a.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Flush says what the last Check left to be said and returns, for a command that ends.
// What the channel does not take is left to the next one. It does not go with Run.
func (a *Alerter) Flush(ctx context.Context) error {
	if err := a.load(ctx); err != nil {
		return err
	}
	for {
		wait, more := a.step(ctx)
		if !more {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (a *Alerter) load(ctx context.Context) error {
	if err := a.state.load(ctx, a.o.Store, time.Now().UTC()); err != nil {
		return fmt.Errorf("load alert state: %w", err)
	}
	a.notBefore = a.state.pause
	return nil
}

// idle is how long Run sleeps when there is nothing to send; Check wakes it.
const idle = time.Hour

// step takes up what was noted, sends at most one message, and says when to go on, and
// whether the channel takes more.
func (a *Alerter) step(ctx context.Context) (time.Duration, bool) {
	a.mu.Lock()
	views, checked, promoted := a.views, a.checked, a.promoted
	a.promoted = map[rotate.Name]rotate.Event{}
	a.mu.Unlock()

	now := time.Now().UTC()
	a.noteDone(ctx, views, promoted)
	if checked.IsZero() {
		return idle, false // nothing is known yet: nothing is resolved, nothing is said
	}
	a.reconcile(ctx, views, now)
	if rest := a.notBefore.Sub(now); rest > 0 {
		return rest, false
	}
	n, ok := a.next(views, now)
	if !ok {
		return idle, false
	}
	more := a.deliver(ctx, n, now)
	return max(a.notBefore.Sub(now), 0), more
}

// deliver sends one notice, notes what came of it and says whether the channel takes
// more.
func (a *Alerter) deliver(ctx context.Context, n notice, now time.Time) bool {
	sendCtx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := a.o.Sender.Send(sendCtx, n.message)
	switch {
	case err == nil:
		a.failures, a.notBefore = 0, now.Add(pace)
		a.o.OnDelivery(DeliveryOK)
		a.said(ctx, n, now)
		return true
	case ctx.Err() != nil: // we are being stopped: not the channel's fault
		return false
	}
	a.o.OnDelivery(DeliveryFailed)
	a.o.Log.ErrorContext(ctx, "message was not delivered", slog.String("credential", n.message.Credential),
		slog.String("condition", string(n.message.Condition)), slog.Any("err", err))
	if rotate.KindOf(err) == rotate.KindPermanent {
		a.postpone(n, now.Add(retryMost))
		a.notBefore = now.Add(pace)
		return true
	}
	a.notBefore = now.Add(max(rotate.WaitOf(err), backoff(a.failures)))
	a.failures++
	if rotate.KindOf(err) == rotate.KindRateLimited {
		a.keep(a.state.putPause(ctx, a.o.Store, a.notBefore))
	}
	return false
}

func backoff(failures int) time.Duration {
	return min(retryFirst<<min(failures, 10), retryMost)
}

// keep logs a failure to store. What it was about is in memory and right until a
// restart, which may then say something twice.
func (a *Alerter) keep(err error) {
	if err != nil {
		a.o.Log.Error("alert state was not stored", slog.Any("err", err))
	}
}
