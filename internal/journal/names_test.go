package journal

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

func named(name rotate.Name, kind rotate.EventKind, at int) rotate.Event {
	return rotate.Event{At: day(at), Name: name, Kind: kind}
}

func kindsOf(entries []Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, string(e.Name)+" "+string(e.Kind))
	}
	return out
}

// The record goes to the new name with everything that belongs to it, both histories stay
// whole, and the credential's history is one.
func TestRename(t *testing.T) {
	db := open(t, tempPath(t))
	id := rotate.ID{Portal: "here", Item: "4f"}
	stale := save(t, db, rotate.Record{Name: "maps", ID: id, AdoptedAt: day(1), TopGeneration: 7}, named("maps", rotate.EventAdopted, 1))
	ack := Ack{Name: "maps", Consumer: "shop", Generation: 1, At: day(1), By: "shop"}
	if err := errors.Join(db.Acks().Put(t.Context(), ack),
		db.ChangeUsage(t.Context(), UsageChange{Name: "maps", From: 1, Until: 1, Make: func([]UsageRow) []UsageRow { return []UsageRow{{Day: 1, Requests: 5}} }})); err != nil {
		t.Fatal(err)
	}
	if err := db.UsageState().Put(t.Context(), "client/maps", []byte(`"x"`)); err != nil {
		t.Fatal(err)
	}
	list, err := db.Rename(t.Context(), Rename{From: "maps", To: "trails", By: "ann"})
	if err != nil || len(list) != 1 || list[0].Name != "trails" || list[0].ID != id || list[0].TopGeneration != 7 {
		t.Fatalf("renamed: %+v, %v", list, err)
	}
	r := list[0]
	if _, ok, err := db.UsageState().Get(t.Context(), "client/trails"); err != nil || !ok {
		t.Errorf("the note of its usage did not come along: %v", err)
	}
	if got, err := db.Load(t.Context(), "trails"); err != nil || got.ID != id || !got.AdoptedAt.Equal(day(1)) {
		t.Errorf("the record is %+v, %v", got, err)
	}
	if got, err := db.Load(t.Context(), "maps"); err != nil || got.ID != (rotate.ID{}) || !got.AdoptedAt.IsZero() {
		t.Errorf("the former name still has %+v, %v", got, err)
	}
	if _, err := db.Save(t.Context(), stale); rotate.KindOf(err) != rotate.KindConflict {
		t.Errorf("a writer of the former record: %v, want a conflict", err)
	}
	save(t, db, r, named("trails", rotate.EventStarted, 3))
	history, err := db.History(t.Context(), "trails", Filter{})
	want := []string{"maps adopted", "maps renamed", "trails renamed", "trails rotation_started"}
	if got := kindsOf(history); err != nil || !slices.Equal(got, want) {
		t.Errorf("history %v, %v, want %v", got, err, want)
	}
	if history[1].Actor != "ann" || !strings.Contains(history[2].Detail, "maps: the history before is there, up to event 2 with hash ") {
		t.Errorf("the events say %+v and %q", history[1], history[2].Detail)
	}
	if got, err := db.History(t.Context(), "trails", Filter{Limit: 3}); err != nil || !slices.Equal(kindsOf(got), want[1:]) {
		t.Errorf("the newest three: %v, %v", kindsOf(got), err)
	}
	acks, err := db.Acks().List(t.Context(), "trails")
	rows, errUsage := db.Usage(t.Context(), "trails", 0)
	if err := errors.Join(err, errUsage); err != nil || len(acks) != 1 || len(rows) != 1 {
		t.Errorf("%d acknowledgements and %d days of usage came along: %v", len(acks), len(rows), err)
	}
	wantWhole(t, db, map[rotate.Name]int64{"maps": 2, "trails": 2})
}

func wantWhole(t *testing.T, db *DB, events map[rotate.Name]int64) {
	t.Helper()
	for name, want := range events {
		if n, err := db.Verify(t.Context(), name); err != nil || n != want {
			t.Errorf("history of %s: %d whole events, %v, want %d", name, n, err, want)
		}
	}
	var b bytes.Buffer
	if err := db.Export(t.Context(), &b, "", Filter{}); err != nil {
		t.Fatal(err)
	}
	if got, err := VerifyExport(&b); err != nil || len(got.Credentials) != len(events) {
		t.Errorf("the export is not whole: %+v, %v", got, err)
	}
}

// A name that is free again is somebody else's, whose history is not mixed with the former one's.
func TestRenameLeavesTheNameFree(t *testing.T) {
	db := open(t, tempPath(t))
	save(t, db, rotate.Record{Name: "maps", ID: rotate.ID{Portal: "here", Item: "4f"}}, named("maps", rotate.EventAdopted, 1))
	if _, err := db.Rename(t.Context(), Rename{From: "maps", To: "trails"}); err != nil {
		t.Fatal(err)
	}
	r, err := db.Load(t.Context(), "maps")
	if err != nil {
		t.Fatal(err)
	}
	r.ID = rotate.ID{Portal: "here", Item: "99"}
	save(t, db, r, named("maps", rotate.EventHeld, 2))
	history, err := db.History(t.Context(), "trails", Filter{})
	if got := kindsOf(history); err != nil || slices.Contains(got, "maps held") || len(got) != 3 {
		t.Errorf("history %v, %v", got, err)
	}
	if _, err := db.Rename(t.Context(), Rename{From: "trails", To: "maps"}); !errors.Is(err, ErrNameTaken) {
		t.Errorf("onto a name in use: %v", err)
	}
	if _, err := db.Rename(t.Context(), Rename{From: "trails", To: "paths"}, Rename{From: "nobody", To: "any"}); err == nil {
		t.Error("nobody was renamed, and no error")
	}
	wantWhole(t, db, map[rotate.Name]int64{"maps": 3, "trails": 1})
}

// What is retired is remembered by its item, its name is free, and a stale writer loses.
func TestRetire(t *testing.T) {
	db := open(t, tempPath(t))
	id := rotate.ID{Portal: "here", Item: "4f"}
	stale := save(t, db, rotate.Record{Name: "maps", ID: id, AdoptedAt: day(1), Live: rotate.KeyFacts{Slot: 1, Fingerprint: "AT1_x", Generation: 3}})
	end := Retired{Name: "maps", ID: id, By: "ann"}
	if err := db.Retire(t.Context(), end, "both keys are dead"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Save(t.Context(), stale); rotate.KindOf(err) != rotate.KindConflict {
		t.Errorf("a writer of the former record: %v, want a conflict", err)
	}
	list, err := db.Retired(t.Context())
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].By != "ann" || time.Since(list[0].At) > time.Minute {
		t.Errorf("retired: %+v, %v", list, err)
	}
	history, err := db.History(t.Context(), "maps", Filter{})
	if err != nil || len(history) != 1 || history[0].Fingerprint != "AT1_x" || history[0].Detail != "both keys are dead" {
		t.Errorf("history: %+v, %v", history, err)
	}
	if err := db.Retire(t.Context(), end, "again"); err != nil {
		t.Errorf("after a crash it is done again: %v", err)
	}
	if err := db.Retire(t.Context(), Retired{Name: "trails", ID: rotate.ID{Portal: "here", Item: "99"}}, ""); err != nil {
		t.Errorf("one that the journal never met: %v", err)
	}
	if err := errors.Join(db.Unretire(t.Context(), end), db.Unretire(t.Context(), list[0])); err == nil || !strings.Contains(err.Error(), "is not retired") {
		t.Errorf("taken back twice: %v", err)
	}
	if list, err := db.Retired(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("left: %+v, %v", list, err)
	}
}
