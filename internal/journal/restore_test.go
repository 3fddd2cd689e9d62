package journal

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

// backedUp is a journal with an adopted and a watched credential and a copy of it.
func backedUp(t *testing.T) (path, copyPath string) {
	t.Helper()
	path = tempPath(t)
	copyPath = filepath.Join(t.TempDir(), "copy.db")
	db, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	adopted := rotatetest.FullRecord("maps")
	adopted.RebuiltAt = time.Time{}
	save(t, db, adopted, rotatetest.FullEvent("maps"))
	save(t, db, rotate.Record{Name: "watched"})
	if err := db.AlertState().Put(t.Context(), "k", []byte(`"said"`)); err != nil {
		t.Fatal(err)
	}
	if err := db.Backup(t.Context(), copyPath); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path, copyPath
}

func restore(t *testing.T, from, to string) {
	t.Helper()
	body, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, body, 0o600)
}

// TestRestoredCopyObservesFirst: rule 10 binds what a restored journal knows.
func TestRestoredCopyObservesFirst(t *testing.T) {
	_, copyPath := backedUp(t)
	path := tempPath(t)
	restore(t, copyPath, path)
	before := time.Now()
	db := open(t, path)
	if age := before.Sub(db.RestoredFrom()); db.RestoredFrom().IsZero() || age < 0 || age > time.Hour {
		t.Errorf("RestoredFrom = %s", db.RestoredFrom())
	}
	got, err := db.Load(t.Context(), "maps")
	if err != nil {
		t.Fatal(err)
	}
	if got.RebuiltAt.Before(before) || got.NextAt.Before(before) {
		t.Errorf("rebuilt at %s, next at %s; want both from %s on", got.RebuiltAt, got.NextAt, before)
	}
	want := rotatetest.FullRecord("maps")
	want.Epoch, want.RebuiltAt, want.NextAt = 2, got.RebuiltAt, got.NextAt
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("restored record (-want +got):\n%s", diff)
	}
	if w, err := db.Load(t.Context(), "watched"); err != nil || !w.RebuiltAt.IsZero() || w.Epoch != 1 {
		t.Errorf("the credential that was never adopted became %+v, %v", w, err)
	}
	entries, err := db.History(t.Context(), "maps", Filter{Kinds: []rotate.EventKind{rotate.EventRebuilt}})
	if err != nil || len(entries) != 1 {
		t.Errorf("history has %d rebuilt events, %v", len(entries), err)
	}
	if n, err := db.Verify(t.Context(), "maps"); n != 2 || err != nil {
		t.Errorf("Verify = %d, %v", n, err)
	}
	if _, found, err := db.AlertState().Get(t.Context(), "k"); !found || err != nil {
		t.Errorf("the alert state is lost: %v, %v", found, err)
	}

	// Once: the second start is an ordinary one.
	second := open(t, path)
	if !second.RestoredFrom().IsZero() || second.Created() {
		t.Error("the second start is told of the restore again")
	}
	if again, err := second.Load(t.Context(), "maps"); err != nil || again.Epoch != got.Epoch {
		t.Errorf("the second start changed the record: epoch %d, %v", again.Epoch, err)
	}
}

// TestStrayLogIsNotReplayed: a copy put over a journal whose process was killed finds
// that journal's write-ahead log, and SQLite alone would replay it over the copy.
func TestStrayLogIsNotReplayed(t *testing.T) {
	live := tempPath(t)
	db := open(t, live)
	for i := range 30 {
		save(t, db, rotate.Record{Name: rotate.Name("later" + string(rune('a'+i)))})
	}
	wal, err := os.ReadFile(live + "-wal") // as a kill would leave it
	if err != nil || len(wal) == 0 {
		t.Fatalf("no log to leave behind: %v", err)
	}
	for _, tt := range []struct {
		name string
		with func(t *testing.T, path string)
		want int
	}{
		{"restored copy", func(t *testing.T, path string) { _, c := backedUp(t); restore(t, c, path) }, 2},
		{"deleted journal", func(*testing.T, string) {}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tempPath(t)
			tt.with(t, path)
			write(t, path+"-wal", wal, 0o600)
			got, err := open(t, path).List(t.Context())
			if err != nil || len(got) != tt.want {
				t.Errorf("the journal has %d records, %v; want %d", len(got), err, tt.want)
			}
			if kept, err := filepath.Glob(path + "-wal.stray-*"); err != nil || len(kept) != 1 {
				t.Errorf("the stray log is not kept: %v, %v", kept, err)
			}
		})
	}
}

func TestReadOnlyCopy(t *testing.T) {
	_, copyPath := backedUp(t)
	r, err := Open(t.Context(), Options{Path: copyPath, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := r.List(t.Context())
	if err != nil || len(got) != 2 {
		t.Errorf("the copy has %d records, %v", len(got), err)
	}
}
