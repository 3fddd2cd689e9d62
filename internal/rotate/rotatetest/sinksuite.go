package rotatetest

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

// SinkFixture is one empty place of one credential and what a test needs to do to it
// behind the sink's back. Fields that are nil are things that this kind of sink does
// not have; their tests are left out, and say so.
type SinkFixture struct {
	// Open makes another client of the same place, as a second daemon would.
	Open func() rotate.Sink
	// SetForeign writes a field of somebody else by hand; Foreign reads it, "" if it
	// is gone.
	SetForeign func(t *testing.T, value string)
	Foreign    func(t *testing.T) string
	// EditKey is a person who replaces the key by hand and leaves the rest alone.
	EditKey func(t *testing.T, key string)
	// BreakKey makes the key's field something that is no string.
	BreakKey func(t *testing.T)
	// Delete is a person who deletes the current version.
	Delete func(t *testing.T)
	// LoseReply is a client whose next write takes effect while its reply is lost.
	LoseReply func(t *testing.T) rotate.Sink
}

// SinkFactory makes one fixture for each test.
type SinkFactory func(t *testing.T) SinkFixture

// RunSinkTests holds every sink to rotate.Sink's contract. The sink under test keeps
// at least three earlier keys.
func RunSinkTests(t *testing.T, factory SinkFactory) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, f SinkFixture)
	}{
		{"what never existed is empty", sinkNeverExisted},
		{"what was written is read, by others too", sinkReadAfterWrite},
		{"a claim needs no key", sinkClaim},
		{"a write on another version loses and changes nothing", sinkWrongVersion},
		{"one of many writers wins", sinkRace},
		{"a repeated write happens once", sinkRepeated},
		{"a lost reply is an unknown outcome", sinkLostReply},
		{"foreign fields stay", sinkForeign},
		{"an edit by hand is seen and fences", sinkEdited},
		{"a key that is no string is left alone", sinkBroken},
		{"what was deleted has been there", sinkDeleted},
		{"earlier keys come newest first", sinkEarlier},
		{"a cancelled call changes nothing", sinkCancelled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t, factory(t))
		})
	}
}

const suiteWriters = 20

// suiteKey number n has the form of a real key.
func suiteKey(n int) rotate.Secret {
	return rotate.NewSecret(fmt.Sprintf("AAPTxy8BH1VEsoebNVZXo8HurN%032d..AT%d_H4JC97kO", n, 2-n%2))
}

// suiteEntry number n, with no zero field in its metadata.
func suiteEntry(n int) rotate.Entry {
	var m rotate.Meta
	count := 100 * n
	fill(reflect.ValueOf(&m).Elem(), &count, nil)
	m.Format = rotate.MetaFormat
	e := rotate.Entry{Key: suiteKey(n), Meta: &m}
	m.Key.Fingerprint = e.Key.Fingerprint()
	return e
}

func mustRead(t *testing.T, s rotate.Sink) rotate.Entry {
	t.Helper()
	e, err := s.Read(t.Context())
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return e
}

func mustWrite(t *testing.T, s rotate.Sink, e rotate.Entry, cas rotate.Version) rotate.Version {
	t.Helper()
	v, err := s.Write(t.Context(), e, cas)
	if err != nil {
		t.Fatalf("write on version %q: %v", cas, err)
	}
	return v
}

// wantEntry compares key and metadata; no failure prints a key.
func wantEntry(t *testing.T, got, want rotate.Entry) {
	t.Helper()
	if !got.Key.Equal(want.Key) {
		t.Errorf("got the key %s, want %s", got.Key.Fingerprint(), want.Key.Fingerprint())
	}
	if diff := cmp.Diff(want.Meta, got.Meta); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
}

func wantKind(t *testing.T, err error, want rotate.Kind) {
	t.Helper()
	if got := rotate.KindOf(err); got != want {
		t.Fatalf("got the kind %q (%v), want %q", got, err, want)
	}
}

func sinkNeverExisted(t *testing.T, f SinkFixture) {
	s := f.Open()
	if s.Name() == "" {
		t.Error("the sink has no name")
	}
	e := mustRead(t, s)
	if e.Version != "" || e.Ever || !e.Key.IsZero() || e.Meta != nil {
		t.Errorf("got %+v, want a zero entry", e)
	}
	if earlier, err := s.Earlier(t.Context()); err != nil || len(earlier) > 0 {
		t.Errorf("got %d earlier versions and %v, want none", len(earlier), err)
	}
}

func sinkReadAfterWrite(t *testing.T, f SinkFixture) {
	s := f.Open()
	var v rotate.Version
	for n := range 3 {
		e := suiteEntry(n)
		v = mustWrite(t, s, e, v)
		for _, reader := range []rotate.Sink{s, f.Open()} {
			got := mustRead(t, reader)
			wantEntry(t, got, e)
			if got.Version != v || !got.Ever {
				t.Errorf("got version %q, ever %v, want %q, true", got.Version, got.Ever, v)
			}
		}
	}
}

func sinkClaim(t *testing.T, f SinkFixture) {
	s := f.Open()
	claim := suiteEntry(1)
	claim.Key.Forget()
	v := mustWrite(t, s, claim, "")
	got := mustRead(t, s)
	wantEntry(t, got, claim)
	if got.Version != v || !got.Ever {
		t.Fatalf("got version %q, ever %v, want %q, true", got.Version, got.Ever, v)
	}
	e := suiteEntry(2)
	v = mustWrite(t, s, e, v)
	e.Meta = suiteEntry(3).Meta // a claim over a key
	next := mustWrite(t, s, e, v)
	if next == v {
		t.Errorf("a claim left the version at %q", v)
	}
	wantEntry(t, mustRead(t, s), e)
}

func sinkWrongVersion(t *testing.T, f SinkFixture) {
	s := f.Open()
	first := mustWrite(t, s, suiteEntry(1), "")
	current := mustWrite(t, s, suiteEntry(2), first)
	for _, cas := range []rotate.Version{"", first} {
		_, err := s.Write(t.Context(), suiteEntry(3), cas)
		wantKind(t, err, rotate.KindConflict)
	}
	got := mustRead(t, s)
	wantEntry(t, got, suiteEntry(2))
	if got.Version != current {
		t.Errorf("got version %q, want %q", got.Version, current)
	}
}

func sinkRace(t *testing.T, f SinkFixture) {
	base := mustWrite(t, f.Open(), suiteEntry(0), "")
	var wg sync.WaitGroup
	errs := make([]error, suiteWriters)
	versions := make([]rotate.Version, suiteWriters)
	for n := range suiteWriters {
		s := f.Open()
		wg.Go(func() { versions[n], errs[n] = s.Write(t.Context(), suiteEntry(n+1), base) })
	}
	wg.Wait()
	winner := -1
	for n, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = n
		case err == nil:
			t.Errorf("writers %d and %d both won", winner, n)
		default:
			wantKind(t, err, rotate.KindConflict)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	got := mustRead(t, f.Open())
	wantEntry(t, got, suiteEntry(winner+1))
	if got.Version != versions[winner] {
		t.Errorf("got version %q, want the winner's %q", got.Version, versions[winner])
	}
}

// sinkRepeated: the same write again is a conflict, or a success that adds nothing.
func sinkRepeated(t *testing.T, f SinkFixture) {
	s := f.Open()
	first := mustWrite(t, s, suiteEntry(1), "")
	v := mustWrite(t, s, suiteEntry(2), first)
	again, err := s.Write(t.Context(), suiteEntry(2), first)
	if err == nil && again != v {
		t.Errorf("got version %q, want the first write's %q", again, v)
	}
	if err != nil {
		wantKind(t, err, rotate.KindConflict)
	}
	if got := mustRead(t, s); got.Version != v {
		t.Errorf("got version %q, want %q", got.Version, v)
	}
}

func sinkLostReply(t *testing.T, f SinkFixture) {
	if f.LoseReply == nil {
		t.Log("left out: this sink's writes have no reply to lose")
		return
	}
	first := mustWrite(t, f.Open(), suiteEntry(1), "")
	s := f.LoseReply(t)
	_, err := s.Write(t.Context(), suiteEntry(2), first)
	wantKind(t, err, rotate.KindUnknownOutcome)
	got := mustRead(t, s)
	wantEntry(t, got, suiteEntry(2))
	again, err := s.Write(t.Context(), suiteEntry(2), first)
	if err == nil && again != got.Version {
		t.Errorf("got version %q, want the lost write's %q", again, got.Version)
	}
	if err != nil {
		wantKind(t, err, rotate.KindConflict)
	}
	_, err = s.Write(t.Context(), suiteEntry(3), first)
	wantKind(t, err, rotate.KindConflict)
	if last := mustRead(t, s); last.Version != got.Version {
		t.Errorf("got version %q, want %q", last.Version, got.Version)
	}
}

func sinkForeign(t *testing.T, f SinkFixture) {
	if f.SetForeign == nil {
		t.Log("left out: this sink has no room for foreign fields")
		return
	}
	s := f.Open()
	f.SetForeign(t, "before")
	e := mustRead(t, s)
	if !e.Ever || !e.Key.IsZero() || e.Meta != nil {
		t.Fatalf("got %+v, want a version with neither key nor metadata", e)
	}
	v := mustWrite(t, s, suiteEntry(1), e.Version)
	if got := f.Foreign(t); got != "before" {
		t.Errorf("the foreign field is %q after the first write, want %q", got, "before")
	}
	f.SetForeign(t, "after")
	_, err := s.Write(t.Context(), suiteEntry(2), v)
	wantKind(t, err, rotate.KindConflict)
	e = mustRead(t, s)
	wantEntry(t, e, suiteEntry(1))
	mustWrite(t, s, suiteEntry(2), e.Version)
	if got := f.Foreign(t); got != "after" {
		t.Errorf("the foreign field is %q after the second write, want %q", got, "after")
	}
	wantEntry(t, mustRead(t, s), suiteEntry(2))
}

func sinkEdited(t *testing.T, f SinkFixture) {
	s := f.Open()
	v := mustWrite(t, s, suiteEntry(1), "")
	f.EditKey(t, suiteKey(7).Reveal())
	want := suiteEntry(1)
	want.Key = suiteKey(7)
	got := mustRead(t, s)
	wantEntry(t, got, want)
	_, err := s.Write(t.Context(), suiteEntry(2), v)
	wantKind(t, err, rotate.KindConflict)
	wantEntry(t, mustRead(t, s), want)
	mustWrite(t, s, suiteEntry(2), got.Version)
	wantEntry(t, mustRead(t, s), suiteEntry(2))
}

func sinkBroken(t *testing.T, f SinkFixture) {
	if f.BreakKey == nil {
		t.Log("left out: this sink holds nothing but strings")
		return
	}
	s := f.Open()
	v := mustWrite(t, s, suiteEntry(1), "")
	f.BreakKey(t)
	_, readErr := s.Read(t.Context())
	_, writeErr := s.Write(t.Context(), suiteEntry(2), v)
	for _, err := range []error{readErr, writeErr} {
		wantKind(t, err, rotate.KindPermanent)
		if got := rotate.CauseOf(err); got != rotate.CauseMalformed {
			t.Errorf("got the cause %q, want %q", got, rotate.CauseMalformed)
		}
	}
}

func sinkDeleted(t *testing.T, f SinkFixture) {
	s := f.Open()
	v := mustWrite(t, s, suiteEntry(1), "")
	v = mustWrite(t, s, suiteEntry(2), v)
	f.Delete(t)
	got := mustRead(t, s)
	if !got.Ever || got.Version == "" || !got.Key.IsZero() {
		t.Fatalf("got version %q, ever %v, key %v; want a version without a key", got.Version, got.Ever, got.Key.Fingerprint())
	}
	_, err := s.Write(t.Context(), suiteEntry(3), "")
	wantKind(t, err, rotate.KindConflict)
	earlier, err := s.Earlier(t.Context())
	if err != nil || len(earlier) != 1 {
		t.Fatalf("got %d earlier versions and %v, want one", len(earlier), err)
	}
	wantEntry(t, earlier[0], suiteEntry(1))
	next := mustWrite(t, s, suiteEntry(3), got.Version)
	if next == v || next == got.Version {
		t.Errorf("got version %q again", next)
	}
	wantEntry(t, mustRead(t, s), suiteEntry(3))
}

func sinkEarlier(t *testing.T, f SinkFixture) {
	s := f.Open()
	var v rotate.Version
	const last = 4
	for n := 1; n <= last; n++ {
		v = mustWrite(t, s, suiteEntry(n), v)
	}
	earlier, err := s.Earlier(t.Context())
	if err != nil || len(earlier) != last-1 {
		t.Fatalf("got %d earlier versions and %v, want %d", len(earlier), err, last-1)
	}
	seen := map[rotate.Version]bool{v: true, "": true}
	for i, e := range earlier {
		wantEntry(t, e, suiteEntry(last-1-i))
		if seen[e.Version] || !e.Ever {
			t.Errorf("earlier entry %d has the version %q, ever %v", i, e.Version, e.Ever)
		}
		seen[e.Version] = true
	}
}

func sinkCancelled(t *testing.T, f SinkFixture) {
	s := f.Open()
	v := mustWrite(t, s, suiteEntry(1), "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Read(ctx); err == nil {
		t.Error("a cancelled read returned no error")
	}
	if _, err := s.Earlier(ctx); err == nil {
		t.Error("a cancelled look at earlier versions returned no error")
	}
	_, err := s.Write(ctx, suiteEntry(2), v)
	wantKind(t, err, rotate.KindTransient)
	got := mustRead(t, s)
	wantEntry(t, got, suiteEntry(1))
	if got.Version != v {
		t.Errorf("got version %q, want %q", got.Version, v)
	}
}
