package journal

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUsageRows(t *testing.T) {
	path := tempPath(t)
	db := open(t, path)
	at := time.Date(2026, 11, 22, 9, 0, 0, 5, time.UTC)
	put := func(name string, from, until int, rows ...UsageRow) {
		t.Helper()
		if err := db.ChangeUsage(t.Context(), UsageChange{"maps", from, until, func([]UsageRow) []UsageRow { return rows }}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	whole := UsageRow{Day: 100, ReadAt: at, Source: "portal"}
	geocode := UsageRow{Day: 100, Service: "geocode", Requests: 12, Credits: 0.48, ReadAt: at, Source: "portal"}
	later := UsageRow{Day: 101, Service: "geocode", Requests: 1, ReadAt: at, Source: "file"}
	put("two days", 100, 101, later, geocode, whole)
	if err := db.ChangeUsage(t.Context(), UsageChange{"tiles", 100, 100, func([]UsageRow) []UsageRow { return []UsageRow{whole} }}); err != nil {
		t.Fatal(err)
	}
	want := func(what string, from int, rows ...UsageRow) {
		t.Helper()
		got, err := db.Usage(t.Context(), "maps", from)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rows, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	want("both", 0, whole, geocode, later)
	want("the later one", 101, later)
	var seen []UsageRow
	err := db.ChangeUsage(t.Context(), UsageChange{"maps", 100, 100, func(known []UsageRow) []UsageRow {
		seen = known
		return known[1:]
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]UsageRow{whole, geocode}, seen); diff != "" {
		t.Errorf("what change is given (-want +got):\n%s", diff)
	}
	want("one is gone, the other day is as it was", 0, geocode, later)

	bad := func([]UsageRow) []UsageRow { return []UsageRow{{Day: 100, Service: "a", Requests: -1, ReadAt: at}} }
	good := func([]UsageRow) []UsageRow { return nil }
	if err := db.ChangeUsage(t.Context(), UsageChange{"maps", 101, 101, good}, UsageChange{"tiles", 100, 101, bad}); err == nil {
		t.Error("requests below zero were written")
	}
	want("a change that fails changes nothing", 0, geocode, later)

	if n, err := db.PruneUsage(t.Context(), 101); err != nil || n != 2 {
		t.Errorf("pruned %d, %v, want geocode of maps and the day of tiles", n, err)
	}
	want("what is left", 0, later)
	reader, err := Open(t.Context(), Options{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	wantSays(t, reader.ChangeUsage(t.Context(), UsageChange{"maps", 1, 2, good}), "reading only")
	_, err = reader.PruneUsage(t.Context(), 1)
	wantSays(t, err, "reading only")
}

// Two that change the same day at once lose nothing.
func TestUsageChangesTakeTurns(t *testing.T) {
	db := open(t, tempPath(t))
	var writers sync.WaitGroup
	const n = 20
	for range n {
		writers.Go(func() {
			err := db.ChangeUsage(t.Context(), UsageChange{"maps", 7, 7, func(known []UsageRow) []UsageRow {
				if len(known) == 0 {
					known = []UsageRow{{Day: 7, Service: "geocode"}}
				}
				known[0].Requests++
				return known
			}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	got, err := db.Usage(t.Context(), "maps", 0)
	if err != nil || len(got) != 1 || got[0].Requests != n {
		t.Errorf("got %+v, %v, want %d requests", got, err, n)
	}
}

func TestUsageStateIsItsOwn(t *testing.T) {
	db := open(t, tempPath(t))
	if err := db.UsageState().Put(t.Context(), "app/maps", []byte(`"a"`)); err != nil {
		t.Fatal(err)
	}
	if _, there, err := db.AlertState().Get(t.Context(), "app/maps"); err != nil || there {
		t.Errorf("it is in the alerts' state too: %v, %v", there, err)
	}
	if v, there, err := db.UsageState().Get(t.Context(), "app/maps"); err != nil || !there || string(v) != `"a"` {
		t.Errorf("got %s, %v, %v", v, there, err)
	}
}
