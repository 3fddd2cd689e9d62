package usage

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// Reader asks one portal.
type Reader interface {
	// ClientID of a credential's app, which usage goes by.
	ClientID(ctx context.Context, id rotate.ID) (string, error)
	// Use of an app by the day. CauseForbidden and CauseNotFound mean that no app's can be read.
	Use(ctx context.Context, clientID string, from, until time.Time) ([]Use, error)
}

// Store keeps rows, and small notes by key.
type Store interface {
	Rows(ctx context.Context, name rotate.Name, from Day) ([]Row, error)
	// Change makes all changes or none.
	Change(ctx context.Context, changes ...Change) error
	Prune(ctx context.Context, before Day) (int64, error)
	Note(ctx context.Context, key string) ([]byte, bool, error)
	PutNote(ctx context.Context, key string, value []byte) error
	DropNote(ctx context.Context, key string) error
}

// Change replaces a credential's rows of some days, both included, by what Make makes of them.
type Change struct {
	Name        rotate.Name
	From, Until Day
	Make        func([]Row) []Row
}

// Change that a reading makes.
func (r Reading) Change(name rotate.Name) Change {
	return Change{Name: name, From: r.From, Until: r.Until, Make: func(known []Row) []Row { return Merge(known, r) }}
}

// Keys tells of a credential's key and takes orders about it, as a person's commands do.
type Keys interface {
	Key(ctx context.Context, name rotate.Name) (Key, error)
	Order(ctx context.Context, name rotate.Name, cmd rotate.Command) error
}

// Target is one credential whose use is followed.
type Target struct {
	Name    rotate.Name
	ID      rotate.ID
	Reader  Reader // nil where Missing says why
	Missing Missing
	Page    string // Esri's own page of its usage; "" if there is none
	Budget  Budget
}

// Options of a Runner.
type Options struct {
	Targets []Target
	Store   Store
	Keys    Keys // nil: nothing is cut off
	// Schedule tells when to read next.
	Schedule interface{ Next(t time.Time) time.Time }
	// OnRead is told what became of each credential's reading. It must not block.
	OnRead func(portal rotate.PortalID, result rotate.Result)
	Log    *slog.Logger
	Jitter func() float64 // [0,1); nil takes math/rand
	Pace   time.Duration  // least time between two readings of one portal; 0 is DefaultPace
}

const (
	// DefaultPace leaves a portal's request limits to rotations: ten thousand credentials take 42 minutes.
	DefaultPace = 250 * time.Millisecond
	// late is how long after its end a day is read again: figures come in late.
	late = 48 * time.Hour
	// freshEnough spares a daemon that restarts again and again the reading.
	freshEnough = 10 * time.Minute
	// judgeEvery is how often findings follow the clock; cutEvery while a cut-off is under
	// way, watchEvery while one is in force.
	judgeEvery = 10 * time.Minute
	cutEvery   = 2 * time.Second
	watchEvery = 15 * time.Second
	maxNap     = time.Hour // timers do not count a machine's sleep
	maxDelay   = 5 * time.Minute
	// giveUpAfter so many failures in a row a pass over a portal ends until the next.
	giveUpAfter = 3
)

// Runner reads on schedule and knows what was found. New starts nothing.
type Runner struct {
	o    Options
	wake chan struct{}

	mu      sync.Mutex
	found   map[rotate.Name]verdict // guarded by mu
	missing map[rotate.Name]Missing // guarded by mu: learnt from the portal
}

// New makes a runner.
func New(o Options) (*Runner, error) {
	if o.Store == nil || o.Schedule == nil {
		return nil, errors.New("make usage runner: a store and a schedule are needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.OnRead == nil {
		o.OnRead = func(rotate.PortalID, rotate.Result) {}
	}
	if o.Pace <= 0 {
		o.Pace = DefaultPace
	}
	return &Runner{o: o, wake: make(chan struct{}, 1), found: map[rotate.Name]verdict{}, missing: map[rotate.Name]Missing{}}, nil
}

// verdict on a credential. Of most nothing is known but why, which takes little memory.
type verdict struct {
	missing Missing
	finding *Finding // nil: nothing is known
}

// nothing is known of a target.
func nothing(t *Target, why Missing) Finding {
	return Finding{Credential: t.Name, Missing: why, Page: t.Page}
}

// Findings of every credential, by name. A credential that was not judged yet is absent.
func (r *Runner) Findings() []Finding {
	var all []Finding
	r.Each(func(f *Finding) { all = append(all, *f) })
	slices.SortFunc(all, func(a, b Finding) int { return strings.Compare(string(a.Credential), string(b.Credential)) })
	return all
}

// Finding of one credential; false if it was not judged yet, or is not followed.
func (r *Runner) Finding(name rotate.Name) (Finding, bool) {
	i := slices.IndexFunc(r.o.Targets, func(t Target) bool { return t.Name == name })
	if i < 0 {
		return Finding{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v, judged := r.found[name]
	if v.finding != nil {
		return *v.finding, true
	}
	return nothing(&r.o.Targets[i], v.missing), judged
}

// Each calls f with every finding, in the order of the targets, without a copy of them
// all. The finding is gone when f returns; f must be quick and must not call the runner.
func (r *Runner) Each(f func(*Finding)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var one Finding
	for i := range r.o.Targets {
		t := &r.o.Targets[i]
		v, judged := r.found[t.Name]
		switch {
		case v.finding != nil:
			one = *v.finding
		case judged:
			one = nothing(t, v.missing)
		default:
			continue
		}
		f(&one)
	}
}

// Wake has everything judged again at once: rows came from elsewhere.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default: // it is about to
	}
}

// Run until ctx ends. Portals are read side by side, each at its own pace.
func (r *Runner) Run(ctx context.Context) error {
	var g sync.WaitGroup
	byPortal := map[rotate.PortalID][]Target{}
	for _, t := range r.o.Targets {
		if t.Reader != nil && t.Missing == MissingNothing {
			byPortal[t.ID.Portal] = append(byPortal[t.ID.Portal], t)
		}
	}
	for portal, targets := range byPortal {
		g.Go(func() { r.follow(ctx, portal, targets) })
	}
	g.Go(func() { r.judgeAll(ctx) })
	g.Wait()
	return nil
}

// follow one portal: at the start, and on schedule.
func (r *Runner) follow(ctx context.Context, portal rotate.PortalID, targets []Target) {
	for {
		now := time.Now()
		next := r.o.Schedule.Next(now)
		// A fleet of daemons on one cron line must not ask in the same second.
		delay := min(time.Duration(0.1*float64(next.Sub(now))), maxDelay)
		if !r.sleepUntil(ctx, now.Add(time.Duration(r.o.Jitter()*float64(delay)))) {
			return
		}
		r.pass(ctx, portal, targets)
		if !r.sleepUntil(ctx, next) {
			return
		}
	}
}

// sleepUntil a time of the wall clock; false: ctx ended first.
func (r *Runner) sleepUntil(ctx context.Context, at time.Time) bool {
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

// pass reads every target of one portal once. What fails is tried again on schedule.
func (r *Runner) pass(ctx context.Context, portal rotate.PortalID, targets []Target) {
	failures, inARow := 0, 0
	var last error
	for _, t := range targets {
		asked, err := r.read(ctx, t)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures, inARow, last = failures+1, inARow+1, err
			r.o.OnRead(portal, rotate.Result(rotate.KindOf(err)))
			if why := missingFor(err); why != MissingNothing {
				r.learn(targets, why)
				break
			}
			if inARow == giveUpAfter {
				break
			}
		} else if asked {
			inARow = 0
			r.learn([]Target{t}, MissingNothing)
			r.o.OnRead(portal, rotate.ResultOK)
		}
		if asked && !r.sleepUntil(ctx, time.Now().Add(r.o.Pace)) {
			return
		}
	}
	if last != nil {
		r.o.Log.LogAttrs(ctx, slog.LevelWarn, "usage not read", slog.String("portal", string(portal)), slog.Int("credentials", failures), slog.Any("err", last))
	}
	r.Wake()
}

// useError marks a failure of Use, which is the portal's answer to every credential alike.
type useError struct{ error }

func (e useError) Unwrap() error { return e.error }

func missingFor(err error) Missing {
	if _, ok := errors.AsType[useError](err); !ok {
		return MissingNothing
	}
	switch rotate.CauseOf(err) {
	case rotate.CauseForbidden:
		return MissingForbidden
	case rotate.CauseNotFound:
		return MissingUnsupported
	default:
		return MissingNothing
	}
}

func (r *Runner) learn(targets []Target, why Missing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range targets {
		r.missing[t.Name] = why
	}
}

// read one credential from the first day that is not finished. asked tells whether the portal was.
func (r *Runner) read(ctx context.Context, t Target) (asked bool, err error) {
	now := time.Now().UTC().Round(0)
	rows, err := r.o.Store.Rows(ctx, t.Name, DayOf(now)-BackfillDays)
	if err != nil {
		return false, err
	}
	from, due := unfinished(rows, now)
	if !due {
		return false, nil
	}
	client, err := r.clientID(ctx, t)
	if err != nil {
		return true, err
	}
	uses, err := t.Reader.Use(ctx, client, from.Start(), now)
	if err != nil {
		return true, useError{err}
	}
	reading := Reading{From: from, Until: DayOf(now), At: now, Source: SourcePortal, Uses: uses, Whole: true}
	return true, r.o.Store.Change(ctx, reading.Change(t.Name))
}

// unfinished is the first day that must be read, and whether it is time to.
func unfinished(rows []Row, now time.Time) (from Day, due bool) {
	today := DayOf(now)
	whole := map[Day]time.Time{}
	for _, row := range rows {
		if row.Service == "" && row.Source == SourcePortal {
			whole[row.Day] = row.ReadAt
		}
	}
	for from = today - BackfillDays + 1; from < today; from++ {
		if at, ok := whole[from]; !ok || at.Before(from.End().Add(late)) {
			break
		}
	}
	at, ok := whole[today]
	return from, !ok || now.Sub(at) >= freshEnough || at.After(now)
}
