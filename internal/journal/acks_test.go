package journal

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

// The last word of each consumer counts, and it outlives the process.
func TestAcks(t *testing.T) {
	path := tempPath(t)
	db, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	first := Ack{Name: "maps", Consumer: "shop", Fingerprint: "AT1_aaaaaaaa-00000001", Generation: 1, At: day(1), By: "shop"}
	second := Ack{Name: "maps", Consumer: "shop", Fingerprint: "AT2_aaaaaaaa-00000002", Generation: 2, At: day(2), By: "root (uid 0)"}
	other := Ack{Name: "maps", Consumer: "app", Generation: 9, At: day(3), By: "app"}
	elsewhere := Ack{Name: "tiles", Consumer: "shop", Fingerprint: "x", At: day(3), By: "shop"}
	for _, a := range []Ack{first, other, elsewhere, second} {
		if err := db.Acks().Put(t.Context(), a); err != nil {
			t.Fatalf("put: %v", err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	got, err := again.Acks().List(t.Context(), "maps")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Ack{other, second}, got); diff != "" {
		t.Errorf("acknowledgements (-want +got):\n%s", diff)
	}
	if none, err := again.Acks().List(t.Context(), "nobody"); err != nil || len(none) != 0 {
		t.Errorf("of an unknown credential: %v, %v", none, err)
	}
}

func TestAcksRefuse(t *testing.T) {
	path := tempPath(t)
	db := open(t, path)
	for name, a := range map[string]Ack{
		"no name":     {Consumer: "shop", Generation: 1},
		"no consumer": {Name: "maps", Generation: 1},
		"no key":      {Name: "maps", Consumer: "shop"},
	} {
		wantSays(t, db.Acks().Put(t.Context(), a), "are needed")
		if got, err := db.Acks().List(t.Context(), "maps"); err != nil || len(got) != 0 {
			t.Errorf("%s: stored %v, %v", name, got, err)
		}
	}
	reader, err := Open(t.Context(), Options{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	wantSays(t, reader.Acks().Put(t.Context(), Ack{Name: "maps", Consumer: "shop", Generation: 1, At: day(1)}), "reading only")
}

// A journal from before acknowledgements gets their table at its start, and a reader
// that comes first says what is needed.
func TestAcksMigrate(t *testing.T) {
	path := tempPath(t)
	db, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	saved := save(t, db, rotate.Record{Name: "maps"})
	for _, stmt := range []string{"DROP TABLE acks", "DROP TABLE usage", "DROP TABLE usage_state", "DROP TABLE settings_state", "DROP TABLE renames", "DROP TABLE retired", "DELETE FROM schema_version WHERE version > 1"} {
		if _, err := db.write.ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Options{Path: path, ReadOnly: true})
	wantSays(t, err, "it has schema 1", "start the daemon once")
	again := open(t, path)
	if err := again.Acks().Put(t.Context(), Ack{Name: "maps", Consumer: "shop", Generation: 1, At: day(1)}); err != nil {
		t.Errorf("put after the migration: %v", err)
	}
	if r, err := again.Load(t.Context(), "maps"); err != nil || r.Epoch != saved.Epoch {
		t.Errorf("the record is at epoch %d, %v, want %d", r.Epoch, err, saved.Epoch)
	}
}
