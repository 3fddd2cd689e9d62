package identity

import (
	"context"
	"errors"
	"testing"

	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

func TestStoreContract(t *testing.T) {
	rotatetest.RunSinkTests(t, func(*testing.T) rotatetest.SinkFixture {
		mem := rotatetest.NewMemSink("identity_store")
		return rotatetest.SinkFixture{
			Open:       func() rotate.Sink { return NewStore(mem) },
			SetForeign: func(_ *testing.T, value string) { mem.SetForeign("theirs", value) },
			Foreign:    func(*testing.T) string { return mem.Foreign()["theirs"] },
			EditKey:    func(_ *testing.T, key string) { mem.Overwrite(rotate.NewSecret(key), mem.Served().Meta) },
			Delete:     func(*testing.T) { mem.Delete() },
		}
	})
}

func TestStoreTellsTheClient(t *testing.T) {
	mem := rotatetest.NewMemSink("identity_store")
	told := 0
	s := NewStore(mem)
	s.OnWrite(func() { told++ })
	v, err := s.Write(t.Context(), rotate.Entry{Key: rotate.NewSecret("one")}, "")
	if err != nil || told != 1 {
		t.Fatalf("write: %v, told %d times, want once", err, told)
	}
	if _, err = s.Write(t.Context(), rotate.Entry{Key: rotate.NewSecret("two")}, ""); rotate.KindOf(err) != rotate.KindConflict || told != 1 {
		t.Errorf("a lost write: %v, told %d times, want once", err, told)
	}
	mem.SetFaults(func(op rotatetest.SinkOp) rotatetest.SinkFault {
		if op == rotatetest.SinkWrite {
			return rotatetest.SinkFault{Kind: rotatetest.SinkLoseReply}
		}
		return rotatetest.SinkFault{}
	})
	if _, err = s.Write(t.Context(), rotate.Entry{Key: rotate.NewSecret("two")}, v); rotate.KindOf(err) != rotate.KindUnknownOutcome || told != 2 {
		t.Errorf("a write of unknown outcome: %v, told %d times, want twice", err, told)
	}
}

func TestEarlierKeysAreDistinct(t *testing.T) {
	mem := rotatetest.NewMemSink("identity_store")
	s := NewStore(mem)
	var v rotate.Version
	for _, key := range []string{"oldest", "old", "old", "new", "new"} { // a claim repeats the key
		var err error
		if v, err = s.Write(t.Context(), rotate.Entry{Key: rotate.NewSecret(key)}, v); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.EarlierKeys(t.Context())
	if err != nil || len(got) != 2 || !got[0].Equal(rotate.NewSecret("old")) || !got[1].Equal(rotate.NewSecret("oldest")) {
		t.Errorf("got %d keys and %v, want old and oldest", len(got), err)
	}
	if key, err := s.Key(t.Context()); err != nil || !key.Equal(rotate.NewSecret("new")) {
		t.Errorf("the current key is %s, %v", key.Fingerprint(), err)
	}
}

// signedIn is a client that signs in with used, and after SignInAnew with next.
type signedIn struct {
	used, next rotate.Fingerprint
	err        error
}

func (s *signedIn) SignInAnew() { s.used = s.next }

func (s *signedIn) IdentityKey(context.Context) (rotate.Fingerprint, error) { return s.used, s.err }

func TestGate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		client signedIn
		own    bool
		quiet  bool
		fails  bool
	}{
		{"a password", signedIn{}, false, true, false},
		{"another key", signedIn{used: "x", next: "x"}, false, true, false},
		{"the very key, for good", signedIn{used: "old", next: "old"}, false, false, false},
		{"the very key until asked again", signedIn{used: "old", next: "x"}, false, true, false},
		{"own, still the old one", signedIn{used: "old", next: "old"}, true, false, false},
		{"own, new one taken when asked", signedIn{used: "old", next: "new"}, true, true, false},
		{"own, a third one", signedIn{used: "x", next: "x"}, true, false, false},
		{"own, the portal is away", signedIn{err: errors.New("away")}, true, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := Gate{Client: &tt.client, Own: tt.own}.Ask(t.Context(), rotate.Quiet{
				Live: rotate.KeyFacts{Fingerprint: "new"}, Previous: rotate.KeyFacts{Fingerprint: "old"}})
			if a.Quiet != tt.quiet || (err != nil) != tt.fails || err == nil && a.Detail == "" {
				t.Errorf("got %+v, %v; want quiet %v", a, err, tt.quiet)
			}
		})
	}
}

// records is a journal that only lists.
type records struct {
	rotate.Journal
	list []rotate.Record
	err  error
}

func (r records) List(context.Context) ([]rotate.Record, error) { return r.list, r.err }

func TestLast(t *testing.T) {
	others := map[rotate.Name]bool{"map": true}
	for _, tt := range []struct {
		name  string
		other rotate.Record
		err   error
		veto  bool
	}{
		{"nothing to do", rotate.Record{Name: "map", Phase: rotate.PhaseIdle, Blocked: rotate.ReasonNotDue}, nil, false},
		{"between claim and promotion", rotate.Record{Name: "map", Phase: rotate.PhaseProving}, nil, true},
		{"due", rotate.Record{Name: "map", Phase: rotate.PhaseIdle, Due: rotate.ReasonExpiring}, nil, true},
		{"due, tries again soon", rotate.Record{Name: "map", Phase: rotate.PhaseIdle, Due: rotate.ReasonExpiring, Blocked: rotate.ReasonBackoff}, nil, true},
		{"due, waits for a person", rotate.Record{Name: "map", Phase: rotate.PhaseIdle, Due: rotate.ReasonExpiring, Blocked: rotate.ReasonQuarantined}, nil, false},
		{"in overlap", rotate.Record{Name: "map", Phase: rotate.PhaseOverlap}, nil, false},
		{"of another portal, or not in the config", rotate.Record{Name: "gone", Phase: rotate.PhaseMinting}, nil, false},
		{"the journal fails", rotate.Record{}, errors.New("disk"), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			self := rotate.Record{Name: "own", Phase: rotate.PhaseClaiming, Due: rotate.ReasonExpiring}
			err := Last{Journal: records{list: []rotate.Record{self, tt.other}, err: tt.err}, Others: others}.Call(t.Context(), rotate.HookCall{})
			if (err != nil) != tt.veto {
				t.Errorf("got %v, want a veto: %v", err, tt.veto)
			}
		})
	}
	if got := (Last{}).Points(); len(got) != 1 || got[0] != rotate.BeforeClaiming {
		t.Errorf("called at %v", got)
	}
}
