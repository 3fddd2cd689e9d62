package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// Options of a Daemon.
type Options struct {
	Engine  Engine
	Journal rotate.Journal
	Fleet   *Fleet
	Log     *slog.Logger // nil: nowhere
	Monitor Monitor      // nil: nobody

	// Load makes a new fleet from the config as it is now; nil: a reload is refused.
	Load func(ctx context.Context) (*Fleet, error)
	// Rename has the journal follow names that changed in the config, all or none, and returns the records; nil: never.
	Rename func(ctx context.Context, namings []Naming) ([]rotate.Record, error)
	// Followed is told of a credential that is another item from now on, as a replacement
	// has it, and must not block; nil: nobody.
	Followed func(name rotate.Name)
	// Hangup asks for a reload each time it delivers; nil: never.
	Hangup <-chan os.Signal
	// Heartbeat is called after a pass in which every due credential advanced or is knowingly held; nil: nobody waits.
	Heartbeat func(ctx context.Context) error

	EffectTimeout time.Duration // of one effect, also of one that a stop waits for; 0: DefaultEffectTimeout
	SurveyTimeout time.Duration // of one portal's light survey; 0: DefaultSurveyTimeout
	StopTimeout   time.Duration // for keys that are in memory only; 0: DefaultStopTimeout
}

// The defaults of Options.
const (
	DefaultEffectTimeout = 2 * time.Minute
	DefaultSurveyTimeout = 10 * time.Minute
	DefaultStopTimeout   = 90 * time.Second
)

// Monitor is told what the daemon does besides rotating. It must not block.
type Monitor interface {
	SurveyDone(portal rotate.PortalID, took time.Duration, err error)
	PassDone(healthy bool)
	// ReloadDone is told the fleet that is looked after now; nil where the reload was refused.
	ReloadDone(fleet *Fleet, err error)
}

type silent struct{}

func (silent) SurveyDone(rotate.PortalID, time.Duration, error) {}
func (silent) PassDone(bool)                                    {}
func (silent) ReloadDone(*Fleet, error)                         {}

// Daemon looks after a fleet. New starts nothing; Run does the work.
type Daemon struct {
	o         Options
	reloading sync.Mutex // one reload at a time
	calls     chan func(*loop)
	ended     chan struct{} // closed when Run has returned
	shown     shown
}

// New checks the options.
func New(o Options) (*Daemon, error) {
	if o.Engine == nil || o.Journal == nil || o.Fleet == nil {
		return nil, errors.New("make daemon: engine, journal and fleet are needed")
	}
	if err := o.Fleet.validate(); err != nil {
		return nil, fmt.Errorf("make daemon: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Monitor == nil {
		o.Monitor = silent{}
	}
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&o.EffectTimeout, DefaultEffectTimeout}, {&o.SurveyTimeout, DefaultSurveyTimeout}, {&o.StopTimeout, DefaultStopTimeout}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	return &Daemon{o: o, calls: make(chan func(*loop)), ended: make(chan struct{})}, nil
}

// errStopped answers what comes after the end.
var errStopped = errors.New("the daemon has stopped")

// Run looks after the fleet until ctx ends, then stops gracefully. It returns nil after a clean stop. It is called once.
func (d *Daemon) Run(ctx context.Context) error {
	defer close(d.ended)
	l, err := d.newLoop(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	l.notify.ready(l.headline(time.Now()))
	l.run(ctx)
	return l.stop(ctx)
}

// Once advances the named credentials (all, where none is named) until each of them waits for more than a while, and
// returns. Naming one has it looked at whether it is due or not. It is called once, instead of Run.
func (d *Daemon) Once(ctx context.Context, names ...rotate.Name) error {
	defer close(d.ended)
	l, err := d.newLoop(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	l.only = map[rotate.Name]bool{}
	for name := range l.entries {
		l.only[name] = len(names) == 0
	}
	for _, name := range names {
		e := l.entries[name]
		if e == nil {
			return fmt.Errorf("credential %s: %w", name, errGone)
		}
		l.only[name] = true
		l.lanes[e.m.ID.Portal].wake(e, time.Now())
	}
	l.run(ctx)
	return l.stop(ctx)
}

// Drain has the running daemon start nothing new, finish every rotation under way, its overlap and the retiring of the old
// key included, and returns when none is left.
func (d *Daemon) Drain(ctx context.Context) error {
	done := make(chan struct{})
	if err := d.call(ctx, func(l *loop) { l.drain(done) }); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-d.ended:
		return errStopped
	case <-ctx.Done():
		return fmt.Errorf("drain: %w", context.Cause(ctx))
	}
}

// call has f run by the loop and waits for it.
func (d *Daemon) call(ctx context.Context, f func(*loop)) error {
	done := make(chan struct{})
	select {
	case d.calls <- func(l *loop) { defer close(done); f(l) }:
	case <-d.ended:
		return errStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	<-done
	return nil
}
