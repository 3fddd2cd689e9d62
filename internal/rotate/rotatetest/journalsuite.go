// Package rotatetest holds what tests of the domain and its adapters share: contract
// suites that every journal and every sink passes, and fakes that enforce them.
package rotatetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

// JournalFactory makes one empty store and returns a function that opens a handle
// on it, as another process or a restarted daemon would. It closes the handles when
// the test ends.
type JournalFactory func(t *testing.T) (open func() rotate.Journal)

// RunJournalTests holds every journal to rotate.Journal's contract.
func RunJournalTests(t *testing.T, factory JournalFactory) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, open func() rotate.Journal)
	}{
		{"unknown name is a zero record", journalUnknown},
		{"every field comes back", journalRoundTrip},
		{"epoch counts saves", journalEpochs},
		{"stale epoch loses and writes nothing", journalStale},
		{"unknown record with an epoch loses", journalPhantom},
		{"one of two first saves wins", journalFirstSave},
		{"concurrent writers lose no update", journalConcurrent},
		{"list has every record by name", journalList},
		{"deaths count by portal and time", journalDeaths},
		{"stored values are not shared with the caller", journalAliasing},
		{"cancelled save writes nothing", journalCancelled},
		{"nameless or foreign input is refused", journalRefuses},
		{"another handle sees what was saved", journalReopen},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, factory(t)) })
	}
}

// suiteTime is an arbitrary fixed time with a fraction of a second.
func suiteTime() time.Time { return time.Date(2026, 3, 29, 1, 30, 0, 123456789, time.UTC) }

// FullRecord is a record in which no field is zero. Its epoch is that of a record
// that was never saved.
func FullRecord(name rotate.Name) rotate.Record {
	var r rotate.Record
	fill(reflect.ValueOf(&r).Elem(), new(int), nil)
	r.Name = name
	r.Epoch = 0
	return r
}

// FullEvent is an event of that credential in which no field is zero.
func FullEvent(name rotate.Name) rotate.Event {
	var e rotate.Event
	fill(reflect.ValueOf(&e).Elem(), new(int), nil)
	e.Name = name
	return e
}

// fill gives every exported field a value of its own, counting n. within are the types
// that v is inside of: a pointer to one of them stays nil.
func fill(v reflect.Value, n *int, within []reflect.Type) {
	*n++
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(suiteTime().Add(time.Duration(*n) * time.Second)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%s-%d", v.Type().Name(), *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8:
		v.SetUint(uint64(1 + *n%2))
	case reflect.Float64:
		v.SetFloat(float64(*n) / 4)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		if slices.Contains(within, v.Type().Elem()) {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n, within)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n, within)
		fill(v.Index(1), n, within)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n, within)
		}
	case reflect.Struct:
		within = append(slices.Clip(within), v.Type())
		for _, field := range v.Fields() {
			fill(field, n, within)
		}
	default:
		panic("no value for a field of kind " + v.Kind().String())
	}
}

func mustSave(t *testing.T, j rotate.Journal, r rotate.Record, events ...rotate.Event) rotate.Record {
	t.Helper()
	saved, err := j.Save(t.Context(), r, events...)
	if err != nil {
		t.Fatalf("save %s at epoch %d: %v", r.Name, r.Epoch, err)
	}
	return saved
}

func mustLoad(t *testing.T, j rotate.Journal, name rotate.Name) rotate.Record {
	t.Helper()
	r, err := j.Load(t.Context(), name)
	if err != nil {
		t.Fatalf("load %s: %v", name, err)
	}
	return r
}

func wantRecord(t *testing.T, got, want rotate.Record) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func wantConflict(t *testing.T, err error) {
	t.Helper()
	if got := rotate.KindOf(err); got != rotate.KindConflict {
		t.Fatalf("save gave %v (kind %q), want kind %q", err, got, rotate.KindConflict)
	}
}

func deaths(t *testing.T, j rotate.Journal, portal rotate.PortalID, since time.Time) int {
	t.Helper()
	n, err := j.Deaths(t.Context(), portal, since)
	if err != nil {
		t.Fatalf("deaths at %s: %v", portal, err)
	}
	return n
}

func death(name rotate.Name, portal rotate.PortalID, at time.Time) rotate.Event {
	return rotate.Event{At: at, Name: name, Portal: portal, Kind: rotate.EventKeyDead}
}

func journalUnknown(t *testing.T, open func() rotate.Journal) {
	wantRecord(t, mustLoad(t, open(), "maps"), rotate.Record{Name: "maps"})
}

func journalRoundTrip(t *testing.T, open func() rotate.Journal) {
	j := open()
	full := FullRecord("maps")
	saved := mustSave(t, j, full, FullEvent("maps"))
	full.Epoch = 1
	wantRecord(t, saved, full)
	wantRecord(t, mustLoad(t, j, "maps"), full)

	// A field that is cleared does not come back.
	empty := rotate.Record{Name: "maps", Epoch: 1}
	mustSave(t, j, empty)
	empty.Epoch = 2
	wantRecord(t, mustLoad(t, j, "maps"), empty)
}

func journalEpochs(t *testing.T, open func() rotate.Journal) {
	j := open()
	r := rotate.Record{Name: "maps"}
	for want := int64(1); want <= 5; want++ {
		if r = mustSave(t, j, r); r.Epoch != want {
			t.Fatalf("save %d gave epoch %d", want, r.Epoch)
		}
	}
}

func journalStale(t *testing.T, open func() rotate.Journal) {
	j := open()
	first := mustSave(t, j, rotate.Record{Name: "maps", Owner: "first"})
	second := first
	second.Owner = "second"
	mustSave(t, j, second)

	stale := first
	stale.Owner = "stale"
	_, err := j.Save(t.Context(), stale, death("maps", "esri", suiteTime()))
	wantConflict(t, err)
	if got := mustLoad(t, j, "maps").Owner; got != "second" {
		t.Errorf("after a lost save the owner is %q, want %q", got, "second")
	}
	if n := deaths(t, j, "esri", time.Unix(0, 0)); n != 0 {
		t.Errorf("a lost save left %d events", n)
	}
}

func journalPhantom(t *testing.T, open func() rotate.Journal) {
	j := open()
	_, err := j.Save(t.Context(), rotate.Record{Name: "maps", Epoch: 3})
	wantConflict(t, err)
	wantRecord(t, mustLoad(t, j, "maps"), rotate.Record{Name: "maps"})
}

func journalFirstSave(t *testing.T, open func() rotate.Journal) {
	a, b := open(), open()
	mustSave(t, a, rotate.Record{Name: "maps", Owner: "a"})
	_, err := b.Save(t.Context(), rotate.Record{Name: "maps", Owner: "b"})
	wantConflict(t, err)
}

func journalConcurrent(t *testing.T, open func() rotate.Journal) {
	const writers, saves = 4, 20
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	for range writers {
		j := open()
		wg.Go(func() { errs <- countUp(t.Context(), j, saves) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	r := mustLoad(t, open(), "maps")
	if r.Attempts != writers*saves || r.Epoch != writers*saves {
		t.Errorf("after %d saves the record counts %d at epoch %d", writers*saves, r.Attempts, r.Epoch)
	}
}

// countUp adds one to the record's attempts so many times, trying again whenever it
// loses.
func countUp(ctx context.Context, j rotate.Journal, times int) error {
	for done := 0; done < times; {
		r, err := j.Load(ctx, "maps")
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		r.Attempts++
		_, err = j.Save(ctx, r)
		switch {
		case err == nil:
			done++
		case rotate.KindOf(err) != rotate.KindConflict:
			return fmt.Errorf("save: %w", err)
		}
	}
	return nil
}

func journalList(t *testing.T, open func() rotate.Journal) {
	j := open()
	if got, err := j.List(t.Context()); err != nil || len(got) != 0 {
		t.Fatalf("list of an empty journal = %v, %v", got, err)
	}
	for _, name := range []rotate.Name{"tiles", "geocode", "maps"} {
		mustSave(t, j, FullRecord(name))
	}
	got, err := j.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	want := []rotate.Record{mustLoad(t, j, "geocode"), mustLoad(t, j, "maps"), mustLoad(t, j, "tiles")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func journalDeaths(t *testing.T, open func() rotate.Journal) {
	j := open()
	now := suiteTime()
	mustSave(t, j, rotate.Record{Name: "maps"},
		death("maps", "esri", now.Add(-2*time.Hour)),
		death("maps", "esri", now.Add(-time.Hour)),
		rotate.Event{At: now, Name: "maps", Portal: "esri", Kind: rotate.EventKeyRevived},
	)
	ordered := death("tiles", "esri", now) // somebody's own doing tells nothing about the portal
	ordered.Actor = "ann"
	mustSave(t, j, rotate.Record{Name: "tiles"}, death("tiles", "esri", now), death("tiles", "gov", now), ordered)
	for _, tt := range []struct {
		portal rotate.PortalID
		since  time.Time
		want   int
	}{
		{"esri", now.Add(-3 * time.Hour), 3},
		{"esri", now.Add(-time.Hour), 2}, // the start counts
		{"esri", now.Add(-time.Hour + 1), 1},
		{"gov", now.Add(-time.Hour), 1},
		{"elsewhere", now.Add(-time.Hour), 0},
	} {
		if got := deaths(t, j, tt.portal, tt.since); got != tt.want {
			t.Errorf("deaths at %s since %s = %d, want %d", tt.portal, tt.since, got, tt.want)
		}
	}
}

func journalAliasing(t *testing.T, open func() rotate.Journal) {
	j := open()
	r := FullRecord("maps")
	saved := mustSave(t, j, r)
	want := mustLoad(t, j, "maps")
	for _, shared := range []rotate.Record{r, saved, mustLoad(t, j, "maps")} {
		shared.Rotation.Mints = 99
		shared.Rotation.Fingerprints[0] = "changed"
		shared.Refusals[0] = time.Time{}
		shared.Slots[1].Intent.Outcome = "changed"
		shared.Hold.Reason = "changed"
	}
	wantRecord(t, mustLoad(t, j, "maps"), want)
}

func journalCancelled(t *testing.T, open func() rotate.Journal) {
	j := open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Save(ctx, rotate.Record{Name: "maps"}); !errors.Is(err, context.Canceled) {
		t.Errorf("save with a cancelled context gave %v", err)
	}
	wantRecord(t, mustLoad(t, j, "maps"), rotate.Record{Name: "maps"})
}

func journalRefuses(t *testing.T, open func() rotate.Journal) {
	j := open()
	now := suiteTime()
	for _, tt := range []struct {
		name   string
		record rotate.Record
		event  rotate.Event
	}{
		{"record without a name", rotate.Record{}, death("", "esri", now)},
		{"event of another credential", rotate.Record{Name: "maps"}, death("tiles", "esri", now)},
		{"event without a time", rotate.Record{Name: "maps"}, death("maps", "esri", time.Time{})},
		{"event without a kind", rotate.Record{Name: "maps"}, rotate.Event{At: now, Name: "maps"}},
	} {
		if _, err := j.Save(t.Context(), tt.record, tt.event); rotate.KindOf(err) != rotate.KindPermanent {
			t.Errorf("%s: save gave %v, want kind %q", tt.name, err, rotate.KindPermanent)
		}
	}
	wantRecord(t, mustLoad(t, j, "maps"), rotate.Record{Name: "maps"})
}

func journalReopen(t *testing.T, open func() rotate.Journal) {
	saved := mustSave(t, open(), FullRecord("maps"), death("maps", "esri", suiteTime()))
	j := open()
	wantRecord(t, mustLoad(t, j, "maps"), saved)
	if n := deaths(t, j, "esri", suiteTime()); n != 1 {
		t.Errorf("another handle counts %d deaths, want 1", n)
	}
}
