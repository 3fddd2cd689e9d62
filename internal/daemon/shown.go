package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// shown is what the loop lets others read without waiting for it.
type shown struct {
	mu      sync.Mutex // guards everything below
	order   []Managed  // by name
	records map[rotate.Name]rotate.Record
	words   map[rotate.Name]words
	stepped time.Time // when the loop last went round
	passed  bool      // one pass is over
}

// words are what the loop knows of a credential beside its record.
type words struct {
	detail string    // the last plan's sentence
	at     time.Time // when it is looked at next
}

// View is one credential with its record as last journalled.
type View struct {
	Managed
	Record rotate.Record
	Detail string    // the last plan's sentence; "" before the first
	NextAt time.Time // when it is looked at next
}

// Status of the credential, without waiting for the loop.
func (v View) Status(now time.Time) Status {
	s := statusOf(v.Managed, v.Record, now)
	s.Detail, s.NextAt = v.Detail, v.NextAt
	return s
}

// Views of every credential in the config, by name. It does not wait for the loop.
func (d *Daemon) Views() []View {
	out := make([]View, 0, d.shown.len())
	d.Each(func(v *View) { out = append(out, *v) })
	return out
}

// Each calls f with every credential's view, by name, without a copy of them all: a
// scrape looks at 10,000 of them. The view is gone when f returns. The loop may have
// to wait meanwhile, so f must be quick and must not call the daemon.
func (d *Daemon) Each(f func(*View)) {
	s := &d.shown
	s.mu.Lock()
	defer s.mu.Unlock()
	var v View
	for _, m := range s.order {
		w := s.words[m.Name]
		v = View{Managed: m, Record: s.records[m.Name], Detail: w.detail, NextAt: w.at}
		v.Record.Name = m.Name
		f(&v)
	}
}

// Alive says why the daemon is not: the loop has not gone round for much longer than its longest nap.
func (d *Daemon) Alive() error {
	d.shown.mu.Lock()
	defer d.shown.mu.Unlock()
	if age := time.Since(d.shown.stepped); !d.shown.stepped.IsZero() && age > 3*maxNap {
		return fmt.Errorf("the loop is stuck since %s", d.shown.stepped.UTC().Format(time.RFC3339))
	}
	return nil
}

// Ready says why the daemon is not: no pass over the credentials is done.
func (d *Daemon) Ready() error {
	d.shown.mu.Lock()
	defer d.shown.mu.Unlock()
	if !d.shown.passed {
		return errNoPass
	}
	return nil
}

var errNoPass = errors.New("no pass over the credentials is done yet")

func (s *shown) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.order)
}

// show a new fleet, with every record.
func (s *shown) show(l *loop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = slices.SortedFunc(slices.Values(l.gen.fleet.Credentials), func(a, b Managed) int { return cmp.Compare(a.Name, b.Name) })
	s.records = make(map[rotate.Name]rotate.Record, len(l.entries))
	s.words = make(map[rotate.Name]words, len(l.entries))
	for name, e := range l.entries {
		s.records[name], s.words[name] = e.record, words{e.detail, e.at}
	}
}

// update one credential.
func (s *shown) update(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[e.m.Name], s.words[e.m.Name] = e.record, words{e.detail, e.at}
}

// step notes that the loop went round.
func (s *shown) step(now time.Time, passed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepped, s.passed = now, s.passed || passed
}
