package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"rotatord/internal/rotate"
)

// fakeEngine advances by a script and notices two callers on one credential.
type fakeEngine struct {
	advance func(ctx context.Context, c *rotate.Credential, r rotate.Record) rotate.AdvanceResult
	command func(cmd rotate.Command, r rotate.Record) (rotate.Record, error)

	mu      sync.Mutex
	t       *testing.T
	records map[rotate.Name]rotate.Record
	busy    map[rotate.Name]bool
	calls   []call
}

type call struct {
	name rotate.Name
	at   time.Time
	what string
}

func newFakeEngine(t *testing.T) *fakeEngine {
	return &fakeEngine{t: t, records: map[rotate.Name]rotate.Record{}, busy: map[rotate.Name]bool{}}
}

func (f *fakeEngine) enter(name rotate.Name, what string) rotate.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy[name] {
		f.t.Errorf("credential %s is in two workers", name)
	}
	f.busy[name] = true
	f.calls = append(f.calls, call{name, time.Now(), what})
	r := f.records[name]
	r.Name = name
	return r
}

func (f *fakeEngine) leave(r rotate.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy[r.Name] = false
	r.Epoch++
	f.records[r.Name] = r
}

func (f *fakeEngine) Advance(ctx context.Context, c *rotate.Credential, _ *rotate.Session) rotate.AdvanceResult {
	r := f.enter(c.Name, "advance")
	res := rotate.AdvanceResult{Record: r, Next: time.Now().Add(time.Hour), Healthy: true}
	if f.advance != nil {
		res = f.advance(ctx, c, r)
		res.Record.Name = c.Name
	}
	res.Record.NextAt = res.Next
	f.leave(res.Record)
	return res
}

func (f *fakeEngine) Command(_ context.Context, c *rotate.Credential, cmd rotate.Command) (rotate.Record, error) {
	r := f.enter(c.Name, string(cmd.Kind))
	var err error
	if f.command != nil {
		r, err = f.command(cmd, r)
	}
	r.Name = c.Name
	f.leave(r)
	return r, err
}

func (f *fakeEngine) called(name rotate.Name) []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.calls), func(c call) bool { return c.name != name })
}

// The fake engine is its own journal.
func (f *fakeEngine) Load(_ context.Context, name rotate.Name) (rotate.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.records[name], nil
}

func (f *fakeEngine) List(context.Context) ([]rotate.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []rotate.Record
	for _, r := range f.records {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b rotate.Record) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func (f *fakeEngine) Save(context.Context, rotate.Record, ...rotate.Event) (rotate.Record, error) {
	return rotate.Record{}, errors.New("not in this test")
}

func (f *fakeEngine) Deaths(context.Context, rotate.PortalID, time.Time) (int, error) { return 0, nil }

// fakeMonitor counts.
type fakeMonitor struct {
	mu      sync.Mutex
	passes  []bool
	surveys []error
	reloads []error
}

func (m *fakeMonitor) SurveyDone(_ rotate.PortalID, _ time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.surveys = append(m.surveys, err)
}

func (m *fakeMonitor) PassDone(healthy bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passes = append(m.passes, healthy)
}

func (m *fakeMonitor) ReloadDone(_ *Fleet, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reloads = append(m.reloads, err)
}

// everyMinute is the tick of most tests.
func everyMinute() cron.Schedule { return cron.Every(time.Minute) }

// fleetOf makes credentials named PORTAL-N.
func fleetOf(counts map[rotate.PortalID]int) *Fleet {
	f := &Fleet{Tick: everyMinute()}
	for _, id := range slices.Sorted(keysOf(counts)) {
		f.Portals = append(f.Portals, Portal{ID: id, Workers: 2})
		for i := range counts[id] {
			f.Credentials = append(f.Credentials, managed(id, i))
		}
	}
	return f
}

func keysOf(m map[rotate.PortalID]int) func(func(rotate.PortalID) bool) {
	return func(yield func(rotate.PortalID) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func managed(id rotate.PortalID, i int) Managed {
	name := rotate.Name(fmt.Sprintf("%s-%d", id, i))
	return Managed{Credential: &rotate.Credential{Name: name, ID: rotate.ID{Portal: id, Item: rotate.ItemID(name)}, Mode: rotate.ModeRotate}}
}

// running is a daemon under test.
type running struct {
	*Daemon
	engine  *fakeEngine
	monitor *fakeMonitor
	stop    context.CancelFunc
	result  chan error
}

// startDaemon runs a daemon until stopped; call it inside a bubble.
func startDaemon(t *testing.T, e *fakeEngine, o Options) *running {
	t.Helper()
	m := &fakeMonitor{}
	o.Engine, o.Journal, o.Monitor = e, e, m
	d, err := New(o)
	if err != nil {
		t.Fatalf("make daemon: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Daemon: d, engine: e, monitor: m, stop: cancel, result: make(chan error, 1)}
	go func() { r.result <- d.Run(ctx) }()
	return r
}

// end stops the daemon and wants it to end well.
func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.result; err != nil {
		t.Errorf("run = %v, want a clean stop", err)
	}
}
