// Package alert tells people what is worth telling, once: conditions that want somebody,
// from their first sight to their end, and each day what went well.
//
// It is driven by levels, not by events. Check is shown everything after each pass; what
// holds becomes an Alert, with an identity (condition and subject) and a state, and what
// no longer holds ends it. Every change raises the alert's revision, and what asks for
// attention its calls; each notifier is brought up to the newest of both, at its own
// pace. So a lost event, a broken notifier or a restart forgets nothing, what is told is
// composed from what is true when it is told, and what ended before it could be told is
// never told. All of it is in the Store; a crash between telling and storing repeats one
// notice at most.
//
// Delivery never blocks a rotation: Observe and Check only note and return, Run tells.
package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	Sinks       []string // by name, and VaultSubject where one is in it
	Mode        rotate.Mode
	Record      rotate.Record
	Detail      string    // the last plan's sentence; "" before the first
	DueAt       time.Time // when a rotation becomes due by the clock; zero is unknown
	ConfigHold  string    // the config's reason to hold it; "" is none
	// CriticalBefore its end, a key's rotation waits for nothing that only postpones it.
	CriticalBefore time.Duration
	Links          []Link // to the portal's item page and the status page
	// Settings at the portal against the config's; nil: the config states none.
	Settings *Settings
}

// Store keeps JSON values under keys, durably.
type Store interface {
	Values(ctx context.Context) (map[string][]byte, error)
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
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
	Always  []Link // to the dashboard and the status page, in every alert
}

// Schedule tells when a digest is due.
type Schedule interface {
	Next(t time.Time) time.Time
}

// Options of New.
type Options struct {
	Store     Store
	Notifiers []Notifier
	// Routes are the notifiers by name that tell a condition: none of them, where it is
	// left to the Prometheus rules. What has no route is told by all.
	Routes map[Condition][]string
	Links  Links
	Owner  string // of alerts on portals, sinks and the daemon
	// WarnBefore is how long before its expiry a key with no rotation on its way is
	// reported, the longest first, each once.
	WarnBefore []time.Duration
	// Waits is how long something must hold before it is told; RepeatEvery how often what
	// is unresolved is told again, RepeatCritical the same of what is critical (0: RepeatEvery).
	Waits          map[Severity]time.Duration
	RepeatEvery    time.Duration
	RepeatCritical time.Duration
	QuietHours     []QuietHours
	// FlapTimes within FlapWindow an alert opens before it is held open as one that comes
	// and goes; 0: never.
	FlapTimes  int
	FlapWindow time.Duration
	Digest     Schedule       // nil: none
	Quiet      []string       // notifiers by name that are not told of a day's rotations
	OnDelivery func(Delivery) // may be nil
	Log        *slog.Logger   // nil: none
}

func (o *Options) repeat(s Severity) time.Duration {
	if s == SeverityCritical && o.RepeatCritical > 0 {
		return o.RepeatCritical
	}
	return o.RepeatEvery
}

// Alerter is an Observer that talks to people.
type Alerter struct {
	o     Options
	ways  []*way
	kinds map[Condition]kind

	mu       sync.Mutex
	scene    Scene                        // guarded by mu: the last Check's
	checked  time.Time                    // guarded by mu: its time; zero before the first
	promoted map[rotate.Name]rotate.Event // guarded by mu: not yet taken up; one a credential

	wake chan struct{} // holds at most one

	desk   sync.Mutex // guards what follows
	state  state
	loaded bool
	ready  bool                // something was checked since the start
	shown  Scene               // the last scene that was reconciled
	holds  map[string]*holding // of it
}

var _ rotate.Observer = (*Alerter)(nil)

// New checks the options. It starts nothing.
func New(o Options) (*Alerter, error) {
	if o.Store == nil || len(o.Notifiers) == 0 {
		return nil, errors.New("make alerter: a store and a notifier are needed")
	}
	for i, d := range o.WarnBefore {
		if d <= 0 || (i > 0 && d >= o.WarnBefore[i-1]) {
			return nil, fmt.Errorf("make alerter: warn_before step %d (%s) is not above zero and shorter than the one before", i+1, d)
		}
	}
	for _, q := range o.QuietHours {
		if err := q.check(); err != nil {
			return nil, fmt.Errorf("make alerter: %w", err)
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
	if o.FlapWindow <= 0 {
		o.FlapWindow = time.Hour
	}
	a := &Alerter{o: o, kinds: kindsByCondition(), promoted: map[rotate.Name]rotate.Event{}, wake: make(chan struct{}, 1)}
	for _, n := range o.Notifiers {
		if slices.ContainsFunc(a.ways, func(w *way) bool { return w.name == n.Name() }) {
			return nil, fmt.Errorf("make alerter: two notifiers are called %s", n.Name())
		}
		w := &way{name: n.Name(), notifier: n, wake: make(chan struct{}, 1)}
		if r, ok := n.(Refresher); ok {
			w.refresh = r.RefreshEvery()
		}
		a.ways = append(a.ways, w)
	}
	return a, nil
}

// Observe notes a rotation that was done.
func (a *Alerter) Observe(e rotate.Event) {
	if e.Kind != rotate.EventPromoted {
		return
	}
	a.mu.Lock()
	a.promoted[e.Name] = e
	a.mu.Unlock()
	ring(a.wake)
}

// Check notes how everything is at now, and keeps the scene. A credential, a portal or a
// sink that is not in it has left the config.
func (a *Alerter) Check(now time.Time, s Scene) {
	a.mu.Lock()
	a.scene, a.checked = s, now
	a.mu.Unlock()
	ring(a.wake)
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default: // rung already
	}
}

// Pace of a notifier, and of trying again after a failure.
const (
	pace        = time.Second // Slack takes one message a second
	retryFirst  = 15 * time.Second
	retryMost   = 15 * time.Minute
	sendTimeout = time.Minute
	// idle is how long a notifier sleeps when there is nothing to tell; it is woken.
	idle = time.Hour
	// lookEvery: what only the clock changes (waiting times, snoozes, quiet hours) is
	// looked at so often.
	lookEvery = time.Minute
)

// Run tells until ctx ends. What is untold then is told by the next Run.
func (a *Alerter) Run(ctx context.Context) error {
	if err := a.load(ctx); err != nil {
		return err
	}
	var ways sync.WaitGroup
	defer ways.Wait()
	for _, w := range a.ways {
		ways.Go(func() { a.serve(ctx, w) })
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		a.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-tick.C:
		}
	}
}

// Flush tells what the last Check left to be told and returns, for a command that ends.
// What a notifier does not take is left to the next one. It does not go with Run.
func (a *Alerter) Flush(ctx context.Context) error {
	if err := a.load(ctx); err != nil {
		return err
	}
	a.look(ctx)
	var ways sync.WaitGroup
	for _, w := range a.ways {
		ways.Go(func() { a.drain(ctx, w) })
	}
	ways.Wait()
	return nil
}

// Load what was stored, for List and the others without a Run.
func (a *Alerter) Load(ctx context.Context) error { return a.load(ctx) }

func (a *Alerter) load(ctx context.Context) error {
	a.desk.Lock()
	defer a.desk.Unlock()
	if a.loaded {
		return nil
	}
	if err := a.state.load(ctx, a.o.Store); err != nil {
		return fmt.Errorf("load alert state: %w", err)
	}
	if err := a.takeOver(ctx); err != nil {
		return fmt.Errorf("load alert state: %w", err)
	}
	if a.state.started.IsZero() {
		a.state.started = time.Now().UTC()
		a.keep(put(ctx, a.o.Store, startedKey, a.state.started))
	}
	a.loaded = true
	return nil
}

// look takes up what was noted, decides what is to be told, and wakes the notifiers.
func (a *Alerter) look(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	scene, checked, promoted := a.scene, a.checked, a.promoted
	a.promoted = map[rotate.Name]rotate.Event{}
	a.mu.Unlock()

	a.desk.Lock()
	now := time.Now().UTC()
	a.noteDone(ctx, &scene, promoted, now)
	if !checked.IsZero() { // else nothing is known yet: nothing is resolved, nothing is told
		a.shown, a.ready = scene, true
		a.reconcile(ctx, scene, now)
		a.planDigest(ctx, now)
	}
	a.desk.Unlock()
	for _, w := range a.ways {
		ring(w.wake)
	}
}

// keep logs a failure to store. What it was about is in memory and right until a
// restart, which may then tell something twice.
func (a *Alerter) keep(err error) {
	if err != nil {
		a.o.Log.Error("alert state was not stored", slog.Any("err", err))
	}
}
