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
	mu      sync.Mutex          // guards everything below
	all     []glimpse           // by name
	at      map[rotate.Name]int // in all
	stepped time.Time           // when the loop last went round
	passed  bool                // one pass is over
}

// glimpse is what the loop last knew of one credential.
type glimpse struct {
	m      *Managed
	record kept
	detail string // the last plan's sentence
	next   moment // when it is looked at next
}

// View is one credential with its record as last journalled.
type View struct {
	Managed
	Record rotate.Record // with the key that sinks serve as Live, also before a replacement has one
	Detail string        // the last plan's sentence; "" before the first
	NextAt time.Time     // when it is looked at next
}

// Status of the credential, without waiting for the loop.
func (v View) Status(now time.Time) Status {
	s := statusOf(v.Managed, v.Record, now)
	s.Detail, s.NextAt = v.Detail, v.NextAt
	return s
}

func (g *glimpse) into(v *View) {
	v.Managed, v.Detail, v.NextAt = *g.m, g.detail, g.next.time()
	g.record.into(&v.Record)
	v.Record.Name = g.m.Name
	v.Record.Live = v.Record.Serving() // who looks wants to know what consumers have
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
	for i := range s.all {
		s.all[i].into(&v)
		f(&v)
	}
}

// View of one credential; false if it is not in the config. It does not wait for the loop.
func (d *Daemon) View(name rotate.Name) (v View, ok bool) {
	s := &d.shown
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.at[name]
	if ok {
		s.all[i].into(&v)
	}
	return v, ok
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
	return len(s.all)
}

func glimpseOf(e *entry) glimpse {
	next, _ := momentOf(e.at) // one that does not fit is told by nobody
	return glimpse{m: e.m, record: e.record, detail: e.detail, next: next}
}

// show a new fleet, with every record.
func (s *shown) show(l *loop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all, s.at = make([]glimpse, 0, len(l.entries)), make(map[rotate.Name]int, len(l.entries))
	for _, e := range l.entries {
		s.all = append(s.all, glimpseOf(e))
	}
	slices.SortFunc(s.all, func(a, b glimpse) int { return cmp.Compare(a.m.Name, b.m.Name) })
	for i := range s.all {
		s.at[s.all[i].m.Name] = i
	}
}

// update one credential.
func (s *shown) update(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.at[e.m.Name]; ok {
		s.all[i] = glimpseOf(e)
	}
}

// step notes that the loop went round.
func (s *shown) step(now time.Time, passed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepped, s.passed = now, s.passed || passed
}
