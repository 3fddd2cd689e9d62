package rotatetest

import (
	"slices"
	"testing"

	"rotatord/internal/rotate"
)

func TestMemSinkContract(t *testing.T) {
	RunSinkTests(t, func(*testing.T) SinkFixture {
		s := NewMemSink("memory")
		return SinkFixture{
			Open:       func() rotate.Sink { return s },
			SetForeign: func(_ *testing.T, value string) { s.SetForeign("theirs", value) },
			Foreign:    func(*testing.T) string { return s.Foreign()["theirs"] },
			EditKey:    func(_ *testing.T, key string) { s.Overwrite(rotate.NewSecret(key), s.Served().Meta) },
			Delete:     func(*testing.T) { s.Delete() },
			LoseReply: func(*testing.T) rotate.Sink {
				s.SetFaults(onWrite(SinkFault{Kind: SinkLoseReply}))
				return s
			},
		}
	})
}

// onWrite is a hook that strikes the next write only.
func onWrite(f SinkFault) func(SinkOp) SinkFault {
	struck := false
	return func(op SinkOp) SinkFault {
		if op != SinkWrite || struck {
			return SinkFault{}
		}
		struck = true
		return f
	}
}

func TestMemSinkFaults(t *testing.T) {
	for _, tt := range []struct {
		name    string
		fault   SinkFault
		kind    rotate.Kind
		effects []int // of the faulted write and after each of two further reads
	}{
		{"none", SinkFault{}, "", []int{1, 1, 1}},
		{"before", SinkFault{Kind: SinkFailBefore}, rotate.KindTransient, []int{0, 0, 0}},
		{"before, named", SinkFault{Kind: SinkFailBefore, Err: &rotate.Error{Kind: rotate.KindAuth}}, rotate.KindAuth, []int{0, 0, 0}},
		{"after", SinkFault{Kind: SinkFailAfter}, rotate.KindUnknownOutcome, []int{1, 1, 1}},
		{"reply lost", SinkFault{Kind: SinkLoseReply}, rotate.KindUnknownOutcome, []int{1, 1, 1}},
		{"one step late", SinkFault{Kind: SinkLate, Steps: 1}, rotate.KindUnknownOutcome, []int{0, 1, 1}},
		{"two steps late", SinkFault{Kind: SinkLate, Steps: 2}, rotate.KindUnknownOutcome, []int{0, 0, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewMemSink("memory")
			effects := 0
			s.OnEffect(func() { effects++ })
			s.SetFaults(onWrite(tt.fault))
			_, err := s.Write(t.Context(), suiteEntry(1), "")
			if got := rotate.KindOf(err); got != tt.kind {
				t.Errorf("got the kind %q, want %q", got, tt.kind)
			}
			got := []int{effects}
			for range 2 {
				mustRead(t, s)
				got = append(got, effects)
			}
			if !slices.Equal(got, tt.effects) {
				t.Errorf("got effects %v, want %v", got, tt.effects)
			}
		})
	}
}

func TestMemSinkLateWriteLosesToANewerVersion(t *testing.T) {
	s := NewMemSink("memory")
	v := mustWrite(t, s, suiteEntry(1), "")
	s.SetFaults(onWrite(SinkFault{Kind: SinkLate, Steps: 9}))
	_, err := s.Write(t.Context(), suiteEntry(2), v)
	wantKind(t, err, rotate.KindUnknownOutcome)
	mustWrite(t, s, suiteEntry(3), v)
	s.Settle()
	wantEntry(t, s.Served(), suiteEntry(3))
}

func TestMemSinkStaleRead(t *testing.T) {
	s := NewMemSink("memory")
	v := mustWrite(t, s, suiteEntry(1), "")
	mustWrite(t, s, suiteEntry(2), v)
	s.SetFaults(func(SinkOp) SinkFault { return SinkFault{Kind: SinkStale} })
	got := mustRead(t, s)
	wantEntry(t, got, suiteEntry(1))
	if got.Version != v {
		t.Errorf("got version %q, want %q", got.Version, v)
	}
	wantEntry(t, s.Served(), suiteEntry(2))
}

func TestMemSinkRestoreAndVanish(t *testing.T) {
	s := NewMemSink("memory")
	first := mustWrite(t, s, suiteEntry(1), "")
	mustWrite(t, s, suiteEntry(2), first)
	s.Restore(first)
	got := mustRead(t, s)
	wantEntry(t, got, suiteEntry(1))
	if got.Version != first {
		t.Errorf("got version %q, want %q", got.Version, first)
	}
	s.Vanish()
	if got := mustRead(t, s); got.Ever || got.Version != "" {
		t.Errorf("got %+v, want a zero entry", got)
	}
}
