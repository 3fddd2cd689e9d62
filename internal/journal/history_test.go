package journal

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

func TestHistoryFilter(t *testing.T) {
	db := open(t, tempPath(t))
	r := rotate.Record{Name: "maps"}
	for n := 1; n <= 6; n++ {
		kind := rotate.EventEffect
		if n%3 == 0 {
			kind = rotate.EventPromoted
		}
		e := event("maps", kind, day(n))
		if n > 4 {
			e.RotationID = "R2"
		}
		r = save(t, db, r, e)
	}
	save(t, db, rotate.Record{Name: "tiles"}, event("tiles", rotate.EventHeld, day(2).Add(time.Hour)))
	for _, tt := range []struct {
		name   string
		of     rotate.Name
		filter Filter
		want   []int64
	}{
		{"all of one", "maps", Filter{}, []int64{1, 2, 3, 4, 5, 6}},
		{"newest", "maps", Filter{Limit: 2}, []int64{5, 6}},
		{"since a time, which counts", "maps", Filter{Since: day(4)}, []int64{4, 5, 6}},
		{"until a time, which does not", "maps", Filter{Since: day(2), Until: day(4)}, []int64{2, 3}},
		{"kinds", "maps", Filter{Kinds: []rotate.EventKind{rotate.EventPromoted, rotate.EventHeld}}, []int64{3, 6}},
		{"a rotation", "maps", Filter{RotationID: "R2"}, []int64{5, 6}},
		{"together", "maps", Filter{RotationID: "R2", Kinds: []rotate.EventKind{rotate.EventEffect}, Since: day(1), Limit: 9}, []int64{5}},
		{"nothing", "maps", Filter{Since: day(20)}, nil},
		{"every credential, by time", "", Filter{Since: day(2), Limit: 6}, []int64{2, 1, 3, 4, 5, 6}},
		{"unknown", "roads", Filter{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entries, err := db.History(t.Context(), tt.of, tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, e := range entries {
				got = append(got, e.Seq)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHistoryIsAppendOnly(t *testing.T) {
	db := open(t, tempPath(t))
	save(t, db, rotate.Record{Name: "maps"}, event("maps", rotate.EventHeld, day(1)))
	for _, stmt := range []string{
		"UPDATE events SET body = '{}'",
		"DELETE FROM events",
		"DELETE FROM records",
		"INSERT OR REPLACE INTO events SELECT * FROM events",
	} {
		if _, err := db.write.ExecContext(t.Context(), stmt); err == nil {
			t.Errorf("%s: no error", stmt)
		}
	}
	if n, err := db.Verify(t.Context(), "maps"); n != 1 || err != nil {
		t.Errorf("Verify = %d, %v", n, err)
	}
}

func TestVerifyFindsTampering(t *testing.T) {
	const drop = "DROP TRIGGER events_no_update; DROP TRIGGER events_no_delete; DROP TRIGGER events_no_replace; "
	for _, tt := range []struct{ name, sql, says string }{
		{"untouched", "", ""},
		{"changed", drop + "UPDATE events SET body = json_set(body, '$.detail', 'nothing happened') WHERE seq = 2", "event 2 was changed"},
		{"removed inside", drop + "DELETE FROM events WHERE seq = 2", "event 2 is missing"},
		{"removed at the end", drop + "DELETE FROM events WHERE seq = 3", "ends at event 2 and the record knows 3"},
		{"all removed", drop + "DELETE FROM events", "ends at event 0"},
		{"added", "INSERT INTO events SELECT name, 4, at, kind, portal, rotation_id, format, body, hash FROM events WHERE seq = 3", "event 4 was changed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := open(t, tempPath(t))
			r := save(t, db, rotate.Record{Name: "maps"}, event("maps", rotate.EventHeld, day(1)), event("maps", rotate.EventResumed, day(2)))
			save(t, db, r, event("maps", rotate.EventDrift, day(3)))
			if _, err := db.write.ExecContext(t.Context(), tt.sql); err != nil {
				t.Fatal(err)
			}
			n, err := db.Verify(t.Context(), "maps")
			if tt.says == "" {
				if n != 3 || err != nil {
					t.Errorf("Verify = %d, %v; want 3", n, err)
				}
				return
			}
			wantSays(t, err, "verify history of maps", tt.says)
		})
	}
}

func TestVerifyOfNoHistory(t *testing.T) {
	db := open(t, tempPath(t))
	save(t, db, rotate.Record{Name: "maps"})
	for _, name := range []rotate.Name{"maps", "unknown"} {
		if n, err := db.Verify(t.Context(), name); n != 0 || err != nil {
			t.Errorf("Verify(%s) = %d, %v", name, n, err)
		}
	}
}
