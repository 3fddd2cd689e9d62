package settings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"rotatord/internal/credspec"
	"rotatord/internal/rotate"
)

// Actor is who corrects and adopts, in the history.
const Actor = "rotatord"

// Portal is one portal, as the comparison needs it.
type Portal interface {
	// Read what the portal has, all of it afresh.
	Read(ctx context.Context, item rotate.ItemID) (credspec.Settings, error)
	// Resolve what search and group of a specification come to.
	Resolve(ctx context.Context, want *credspec.Spec) (*credspec.Spec, error)
	// Edit makes one harmless change. To repeat it is harmless.
	Edit(ctx context.Context, item rotate.ItemID, owner string, c credspec.Change) error
}

// Store keeps small JSON values by key.
type Store interface {
	Get(ctx context.Context, key string) ([]byte, bool, error)
	Put(ctx context.Context, key string, value []byte) error
}

// Keys tells of credentials, and keeps their history.
type Keys interface {
	// Busy says why nothing of the credential may be edited now; "" is nothing.
	Busy(ctx context.Context, name rotate.Name) (why string, err error)
	// Note puts a line into the history.
	Note(ctx context.Context, name rotate.Name, line string) error
}

// Target is one credential whose settings the config states.
type Target struct {
	Name   rotate.Name
	ID     rotate.ID
	Spec   *credspec.Spec
	Portal Portal
}

// Options of a Runner.
type Options struct {
	Targets []Target
	Store   Store
	Keys    Keys // nil: nothing is edited, and nothing noted
	// Replace brings about what kills keys, for credentials that are to be corrected. It is
	// asked at each look as long as the difference lasts, and must not block for long. Nil:
	// such changes are said only.
	Replace func(ctx context.Context, name rotate.Name, changes credspec.Changes) error
	// Schedule tells when to look next.
	Schedule interface{ Next(t time.Time) time.Time }
	Log      *slog.Logger
	Jitter   func() float64 // [0,1); nil takes math/rand
	Pace     time.Duration  // least time between two credentials of one portal; 0 is DefaultPace
}

const (
	// DefaultPace leaves a portal's request limits to rotations: ten thousand credentials take 42 minutes.
	DefaultPace = 250 * time.Millisecond
	// freshEnough spares a daemon that restarts again and again the looks.
	freshEnough = 10 * time.Minute
	maxNap      = time.Hour // timers do not count a machine's sleep
	maxDelay    = 5 * time.Minute
	// giveUpAfter so many failures in a row that are the portal's a pass over it ends until the next.
	giveUpAfter = 3
)

// Runner looks on schedule and knows what was found. New starts nothing.
type Runner struct {
	o       Options
	entries map[rotate.Name]*entry
}

// entry is one target with what is known of it.
type entry struct {
	Target
	work sync.Mutex // held while it is looked at
	book book       // guarded by work

	mu    sync.Mutex
	found Finding // guarded by mu: nobody who asks waits for a portal
}

// New makes a runner.
func New(o Options) (*Runner, error) {
	if o.Store == nil || o.Schedule == nil {
		return nil, errors.New("make settings runner: a store and a schedule are needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Pace <= 0 {
		o.Pace = DefaultPace
	}
	r := &Runner{o: o, entries: make(map[rotate.Name]*entry, len(o.Targets))}
	for _, t := range o.Targets {
		e := &entry{Target: t}
		e.publish("")
		r.entries[t.Name] = e
	}
	return r, nil
}

// key in the store: by the item, so that a credential may be renamed, and another item is another credential.
func (e *entry) key() string { return string(e.ID.Portal) + "/" + string(e.ID.Item) }

// Findings of every credential, by name.
func (r *Runner) Findings() []Finding {
	out := make([]Finding, 0, len(r.o.Targets))
	r.Each(func(f *Finding) { out = append(out, *f) })
	slices.SortFunc(out, func(a, b Finding) int { return strings.Compare(string(a.Credential), string(b.Credential)) })
	return out
}

// Each calls f with every finding, in the order of the targets; it is gone when f returns.
func (r *Runner) Each(f func(*Finding)) {
	for i := range r.o.Targets {
		one := r.entries[r.o.Targets[i].Name].finding()
		f(&one)
	}
}

// Finding of one credential; ok is false where the config does not state its settings.
func (r *Runner) Finding(name rotate.Name) (f Finding, ok bool) {
	e := r.entries[name]
	if e == nil {
		return Finding{}, false
	}
	return e.finding(), true
}

func (e *entry) finding() Finding {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.found
}

// Load what was known when the process before this one ended. Run does it by itself.
func (r *Runner) Load(ctx context.Context) error {
	var errs []error
	for i := range r.o.Targets {
		e := r.entries[r.o.Targets[i].Name]
		e.work.Lock()
		if e.book.CheckedAt.IsZero() && e.book.Looks.Attempts == 0 {
			errs = append(errs, r.restore(ctx, e))
		}
		e.work.Unlock()
	}
	return errors.Join(errs...)
}

func (r *Runner) restore(ctx context.Context, e *entry) error {
	raw, there, err := r.o.Store.Get(ctx, e.key())
	if err != nil || !there {
		return err
	}
	var b book
	if err := json.Unmarshal(raw, &b); err != nil {
		return fmt.Errorf("what was known of %s's settings cannot be read: %w", e.Name, err)
	}
	e.book = b
	e.publish("")
	return nil
}

func (r *Runner) save(ctx context.Context, e *entry) error {
	raw, err := json.Marshal(e.book)
	if err != nil {
		return fmt.Errorf("keep settings of %s: %w", e.Name, err)
	}
	return r.o.Store.Put(ctx, e.key(), raw)
}

// Run until ctx ends. Portals are looked at side by side, each at its own pace.
func (r *Runner) Run(ctx context.Context) error {
	if err := r.Load(ctx); err != nil && ctx.Err() == nil {
		r.o.Log.LogAttrs(ctx, slog.LevelWarn, "what was known of settings is lost", slog.Any("err", err))
	}
	byPortal := map[rotate.PortalID][]*entry{}
	for i := range r.o.Targets {
		t := &r.o.Targets[i]
		byPortal[t.ID.Portal] = append(byPortal[t.ID.Portal], r.entries[t.Name])
	}
	var g sync.WaitGroup
	for portal, list := range byPortal {
		g.Go(func() { r.follow(ctx, portal, list) })
	}
	g.Wait()
	return nil
}

// follow one portal: at the start, on schedule, and in between what failed.
func (r *Runner) follow(ctx context.Context, portal rotate.PortalID, list []*entry) {
	for first := true; ; first = false {
		now := time.Now()
		next := r.o.Schedule.Next(now)
		// A fleet of daemons on one cron line must not ask in the same second.
		delay := min(time.Duration(0.1*float64(next.Sub(now))), maxDelay)
		if !sleepUntil(ctx, now.Add(time.Duration(r.o.Jitter()*float64(delay)))) {
			return
		}
		r.pass(ctx, portal, list, func(e *entry) bool {
			return !first || time.Since(e.book.CheckedAt) >= freshEnough || e.book.changed(e.book.want(e.Spec), e.Spec.Drift)
		})
		for at := earliest(list, time.Now()); !at.IsZero() && at.Before(next); at = earliest(list, time.Now()) {
			if !sleepUntil(ctx, at) {
				return
			}
			r.pass(ctx, portal, list, func(e *entry) bool { return e.book.Looks.due(time.Now()) || e.book.Edits.due(time.Now()) })
		}
		if !sleepUntil(ctx, next) {
			return
		}
	}
}

// earliest time at which something is to be tried again; zero: nothing is. What a pass that
// was given up left behind waits for the schedule.
func earliest(list []*entry, now time.Time) (at time.Time) {
	for _, e := range list {
		e.work.Lock()
		tries := [2]time.Time{e.book.Looks.RetryAt, e.book.Edits.RetryAt}
		e.work.Unlock()
		for _, t := range tries {
			if t.After(now) && (at.IsZero() || t.Before(at)) {
				at = t
			}
		}
	}
	return at
}

// sleepUntil a time of the wall clock; false: ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for now := time.Now(); at.After(now); now = time.Now() {
		timer.Reset(min(at.Sub(now), maxNap))
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
		}
	}
	return ctx.Err() == nil
}

// pass looks at every credential of one portal that is wanted.
func (r *Runner) pass(ctx context.Context, portal rotate.PortalID, list []*entry, wanted func(*entry) bool) {
	failures, inARow := 0, 0
	var last error
	for _, e := range list {
		asked, err := r.one(ctx, e, wanted)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures, last = failures+1, err
			if rotate.KindOf(err) == rotate.KindPermanent {
				inARow = 0 // of this credential alone, as an item that is gone: the portal answers
			} else if inARow++; inARow == giveUpAfter {
				break
			}
		} else if asked {
			inARow = 0
		}
		if asked && !sleepUntil(ctx, time.Now().Add(r.o.Pace)) {
			return
		}
	}
	if last != nil {
		r.o.Log.LogAttrs(ctx, slog.LevelWarn, "settings not compared or corrected", slog.String("portal", string(portal)), slog.Int("credentials", failures), slog.Any("err", last))
	}
}
