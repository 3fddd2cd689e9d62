package rotatetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"

	"rotatord/internal/rotate"
)

// SinkOp is one operation of a sink.
type SinkOp string

// The operations.
const (
	SinkRead    SinkOp = "read"
	SinkWrite   SinkOp = "write"
	SinkEarlier SinkOp = "earlier"
)

// SinkFaultKind is what goes wrong with one operation of a MemSink.
type SinkFaultKind string

// The faults. Reads know SinkFailBefore and SinkStale; the others do nothing to them.
const (
	SinkNoFault    SinkFaultKind = ""
	SinkFailBefore SinkFaultKind = "fail_before" // nothing happens
	SinkFailAfter  SinkFaultKind = "fail_after"  // it happens, the answer is an error
	SinkLoseReply  SinkFaultKind = "lose_reply"  // it happens, there is no answer
	SinkLate       SinkFaultKind = "late"        // no answer; it happens Steps operations later
	SinkStale      SinkFaultKind = "stale"       // a read shows the version before the current one
)

// SinkFault is the answer of a fault hook.
type SinkFault struct {
	Kind  SinkFaultKind
	Steps int   // for SinkLate; at least 1
	Err   error // for SinkFailBefore; nil is a KindTransient
}

var (
	errInjected = errors.New("injected fault")
	errNoReply  = errors.New("injected loss of the reply")
)

// MemSink is a sink in memory that keeps Vault KV v2's laws: numbered versions,
// compare-and-swap, foreign fields, deleted versions, a history. It starts no
// goroutine and waits for nothing.
type MemSink struct {
	name string

	mu       sync.Mutex
	versions []memVersion // version n is at n-1
	late     []lateWrite
	faults   func(SinkOp) SinkFault
	onEffect func()
}

var _ rotate.Sink = (*MemSink)(nil)

type memVersion struct {
	key     rotate.Secret
	meta    *rotate.Meta
	foreign map[string]string
	deleted bool
}

type lateWrite struct {
	steps int
	entry rotate.Entry
	cas   rotate.Version
}

// NewMemSink makes an empty one.
func NewMemSink(name string) *MemSink { return &MemSink{name: name} }

// SetFaults installs the hook that is asked before each operation; nil removes it. It
// is called without the sink's lock.
func (s *MemSink) SetFaults(hook func(SinkOp) SinkFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = hook
}

// OnEffect installs what is called after each change, whoever made it, without the
// sink's lock.
func (s *MemSink) OnEffect(hook func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onEffect = hook
}

// Name of the sink.
func (s *MemSink) Name() string { return s.name }

// begin an operation: late writes come nearer, and the hook says what goes wrong.
func (s *MemSink) begin(ctx context.Context, op SinkOp) (SinkFault, error) {
	if err := ctx.Err(); err != nil {
		return SinkFault{}, s.fail(op, rotate.KindTransient, err)
	}
	s.Step()
	s.mu.Lock()
	hook := s.faults
	s.mu.Unlock()
	if hook == nil {
		return SinkFault{}, nil
	}
	f := hook(op)
	if f.Kind != SinkFailBefore {
		return f, nil
	}
	if f.Err != nil {
		return f, f.Err
	}
	return f, s.fail(op, rotate.KindTransient, errInjected)
}

func (s *MemSink) fail(op SinkOp, kind rotate.Kind, err error) error {
	return &rotate.Error{Op: string(op) + " sink " + s.name, Kind: kind, Err: err}
}

// Step brings late writes one operation nearer.
func (s *MemSink) Step() { s.advance(1) }

// Settle lets every late write take effect, or lose, now.
func (s *MemSink) Settle() {
	s.mu.Lock()
	most := 0
	for _, l := range s.late {
		most = max(most, l.steps)
	}
	s.mu.Unlock()
	s.advance(most)
}

func (s *MemSink) advance(steps int) {
	s.mu.Lock()
	changed := false
	waiting := s.late
	s.late = nil
	for _, l := range waiting {
		if l.steps -= steps; l.steps > 0 {
			s.late = append(s.late, l)
		} else if l.cas == s.version() {
			s.append(l.entry)
			changed = true
		}
	}
	s.mu.Unlock()
	if changed {
		s.changed()
	}
}

// changed is called without the lock.
func (s *MemSink) changed() {
	s.mu.Lock()
	hook := s.onEffect
	s.mu.Unlock()
	if hook != nil {
		hook()
	}
}

// version, append, entry and at are called with mu held.
func (s *MemSink) version() rotate.Version { return memNumber(len(s.versions)) }

func memNumber(n int) rotate.Version {
	if n == 0 {
		return ""
	}
	return rotate.Version(strconv.Itoa(n))
}

func (s *MemSink) append(e rotate.Entry) {
	next := memVersion{key: e.Key, meta: cloneMeta(e.Meta)}
	if n := len(s.versions); n > 0 && !s.versions[n-1].deleted {
		next.foreign = s.versions[n-1].foreign
	}
	s.versions = append(s.versions, next)
}

// at is the entry as it was when version n was current.
func (s *MemSink) at(n int) rotate.Entry {
	e := rotate.Entry{Version: memNumber(n), Ever: n > 0}
	if n > 0 && !s.versions[n-1].deleted {
		e.Key, e.Meta = s.versions[n-1].key, cloneMeta(s.versions[n-1].meta)
	}
	return e
}

// cloneMeta copies what a caller could change behind the sink's back.
func cloneMeta(m *rotate.Meta) *rotate.Meta {
	if m == nil {
		return nil
	}
	c := *m
	if m.Claim != nil {
		claim := *m.Claim
		c.Claim = &claim
	}
	if m.Hold != nil {
		hold := *m.Hold
		c.Hold = &hold
	}
	return &c
}

// Read the current version.
func (s *MemSink) Read(ctx context.Context) (rotate.Entry, error) {
	f, err := s.begin(ctx, SinkRead)
	if err != nil {
		return rotate.Entry{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.versions)
	if f.Kind == SinkStale && n > 0 {
		n--
	}
	return s.at(n), nil
}

// Write on the version cas.
func (s *MemSink) Write(ctx context.Context, e rotate.Entry, cas rotate.Version) (rotate.Version, error) {
	f, err := s.begin(ctx, SinkWrite)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	if f.Kind == SinkLate {
		s.late = append(s.late, lateWrite{steps: max(1, f.Steps), entry: e, cas: cas})
		s.mu.Unlock()
		return "", s.fail(SinkWrite, rotate.KindUnknownOutcome, errNoReply)
	}
	found := s.version()
	won := found == cas
	if won {
		s.append(e)
	}
	version := s.version()
	s.mu.Unlock()
	if won {
		s.changed()
	}
	switch {
	case f.Kind == SinkLoseReply:
		return "", s.fail(SinkWrite, rotate.KindUnknownOutcome, errNoReply)
	case f.Kind == SinkFailAfter:
		return "", s.fail(SinkWrite, rotate.KindUnknownOutcome, errInjected)
	case !won:
		return "", s.fail(SinkWrite, rotate.KindConflict, errors.New("at version "+string(found)+", not "+string(cas)))
	}
	return version, nil
}

// Earlier versions, newest first.
func (s *MemSink) Earlier(ctx context.Context) ([]rotate.Entry, error) {
	if _, err := s.begin(ctx, SinkEarlier); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var entries []rotate.Entry
	for n := len(s.versions) - 1; n > 0; n-- {
		if !s.versions[n-1].deleted {
			entries = append(entries, s.at(n))
		}
	}
	return entries, nil
}

// Served is what a consumer finds now, whatever faults are set.
func (s *MemSink) Served() rotate.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(len(s.versions))
}

// Foreign is a copy of the current version's foreign fields.
func (s *MemSink) Foreign() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.versions); n > 0 && !s.versions[n-1].deleted {
		return maps.Clone(s.versions[n-1].foreign)
	}
	return nil
}

// Overwrite is a write by somebody else: a new version with this key and metadata.
func (s *MemSink) Overwrite(key rotate.Secret, meta *rotate.Meta) {
	s.mu.Lock()
	s.append(rotate.Entry{Key: key, Meta: meta})
	s.mu.Unlock()
	s.changed()
}

// SetForeign is a write by somebody else that changes one field of theirs.
func (s *MemSink) SetForeign(name, value string) {
	s.mu.Lock()
	s.append(s.at(len(s.versions)))
	last := &s.versions[len(s.versions)-1]
	foreign := map[string]string{name: value}
	for k, v := range last.foreign {
		if k != name {
			foreign[k] = v
		}
	}
	last.foreign = foreign
	s.mu.Unlock()
	s.changed()
}

// Delete the current version, as "vault kv delete" does: its number stays.
func (s *MemSink) Delete() {
	s.mu.Lock()
	if n := len(s.versions); n > 0 {
		s.versions[n-1].deleted = true
	}
	s.mu.Unlock()
	s.changed()
}

// Vanish removes every version and the memory of them, as "vault kv metadata delete"
// does.
func (s *MemSink) Vanish() {
	s.mu.Lock()
	s.versions = nil
	s.mu.Unlock()
	s.changed()
}

// Restore puts the sink back to when this version was current, as restoring a backup
// of Vault does. An unknown version changes nothing.
func (s *MemSink) Restore(version rotate.Version) {
	s.mu.Lock()
	for n := range s.versions {
		if memNumber(n+1) == version {
			s.versions = slices.Clone(s.versions[:n+1])
			break
		}
	}
	s.mu.Unlock()
	s.changed()
}
