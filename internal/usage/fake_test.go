package usage

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// memory is a Store. The journal's is tested with a daemon around it in cmd/rotatord.
type memory struct {
	mu    sync.Mutex
	rows  map[rotate.Name][]Row
	notes map[string][]byte
	fail  error // of every call, if not nil
}

func newMemory() *memory {
	return &memory{rows: map[rotate.Name][]Row{}, notes: map[string][]byte{}}
}

func (m *memory) Rows(_ context.Context, name rotate.Name, from Day) ([]Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.rows[name]), func(r Row) bool { return r.Day < from }), m.fail
}

func (m *memory) Change(_ context.Context, changes ...Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		in := func(r Row) bool { return r.Day >= c.From && r.Day <= c.Until }
		known := slices.DeleteFunc(slices.Clone(m.rows[c.Name]), func(r Row) bool { return !in(r) })
		rows := map[place]Row{}
		for _, r := range append(slices.DeleteFunc(slices.Clone(m.rows[c.Name]), in), c.Make(known)...) {
			rows[place{r.Day, r.Service}] = r
		}
		m.rows[c.Name] = sortedRows(rows)
	}
	return m.fail
}

func (m *memory) Prune(_ context.Context, before Day) (n int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range maps.Clone(m.rows) {
		was := len(m.rows[name])
		m.rows[name] = slices.DeleteFunc(m.rows[name], func(r Row) bool { return r.Day < before })
		n += int64(was - len(m.rows[name]))
	}
	return n, nil
}

func (m *memory) Note(_ context.Context, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.notes[key]
	return v, ok, nil
}

func (m *memory) PutNote(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notes[key] = value
	return nil
}

func (m *memory) DropNote(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.notes, key)
	return nil
}

// ask is one question to the fake portal.
type ask struct {
	client   string
	from, to Day
}

// steady answers 10 requests and a credit for each day asked for, today included.
type steady struct {
	mu      sync.Mutex
	asked   []ask
	clients int
	err     error
	block   chan struct{} // not nil: answers wait for it
}

func (s *steady) ClientID(_ context.Context, id rotate.ID) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients++
	return "client-" + string(id.Item), nil
}

func (s *steady) Use(ctx context.Context, client string, from, until time.Time) ([]Use, error) {
	if s.block != nil {
		select {
		case <-s.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, ask{client, DayOf(from), DayOf(until)})
	var uses []Use
	for d := DayOf(from); d <= DayOf(until) && s.err == nil; d++ {
		uses = append(uses, Use{At: d.Start(), Service: "geocode", Requests: 10, Credits: 1})
	}
	return uses, s.err
}

func (s *steady) take() []ask {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

type hourly struct{}

func (hourly) Next(t time.Time) time.Time {
	return t.Truncate(time.Hour).Add(time.Hour + 17*time.Minute)
}

type reads struct {
	mu sync.Mutex
	by map[rotate.Result]int
}

func (r *reads) note(_ rotate.PortalID, result rotate.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil {
		r.by = map[rotate.Result]int{}
	}
	r.by[result]++
}

func (r *reads) all() map[rotate.Result]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.by)
}
