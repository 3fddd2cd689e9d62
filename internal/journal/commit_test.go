package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"rotatord/internal/rotate"
)

// TestSharedCommit: of changes that share a commit, one that fails takes back only
// itself.
func TestSharedCommit(t *testing.T) {
	db := open(t, tempPath(t))
	broken := errors.New("broken")
	put := func(name rotate.Name, fail error) *change {
		return &change{turn: make(chan bool, 1), fn: func(ctx context.Context, tx *sql.Tx) error {
			_, err := saveRecord(ctx, tx, rotate.Record{Name: name}, []rotate.Event{event(name, rotate.EventHeld, day(1))})
			return errors.Join(err, fail)
		}}
	}
	batch := []*change{put("a", nil), put("b", broken), put("c", nil), put("a", nil)}
	commit(t.Context(), db.write, batch)
	for i, want := range []error{nil, broken, nil, errLost} {
		if !errors.Is(batch[i].err, want) {
			t.Errorf("change %d: %v, want %v", i, batch[i].err, want)
		}
	}
	for name, want := range map[rotate.Name]int64{"a": 1, "b": 0, "c": 1} {
		if r, err := db.Load(t.Context(), name); r.Epoch != want || err != nil {
			t.Errorf("%s: epoch %d, %v; want %d", name, r.Epoch, err, want)
		}
		if n, err := db.Verify(t.Context(), name); n != want || err != nil {
			t.Errorf("%s: %d events, %v; want %d", name, n, err, want)
		}
	}
}

// TestFailedCommit: a commit that fails fails every change in it.
func TestFailedCommit(t *testing.T) {
	db := open(t, tempPath(t))
	if err := db.write.Close(); err != nil {
		t.Fatal(err)
	}
	batch := []*change{{fn: func(context.Context, *sql.Tx) error { return nil }}, {fn: func(context.Context, *sql.Tx) error { return nil }}}
	commit(t.Context(), db.write, batch)
	for i, w := range batch {
		if w.err == nil {
			t.Errorf("change %d is told that it was committed", i)
		}
	}
}

// TestManyWriters: everybody's turn comes, and each save is there when it returns.
func TestManyWriters(t *testing.T) {
	db := open(t, tempPath(t))
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			r := rotate.Record{Name: rotate.Name(fmt.Sprint("c", i))}
			for n := range int64(10) {
				saved, err := db.Save(t.Context(), r, event(r.Name, rotate.EventEffect, day(1)))
				if err != nil || saved.Epoch != n+1 {
					t.Errorf("%s: save %d gave epoch %d, %v", r.Name, n, saved.Epoch, err)
					return
				}
				if got, err := db.Load(t.Context(), r.Name); err != nil || got.Epoch != saved.Epoch {
					t.Errorf("%s: a save that returned is not there: epoch %d, %v", r.Name, got.Epoch, err)
				}
				r = saved
			}
		})
	}
	wg.Wait()
	if db.queue.led || len(db.queue.waiting) != 0 {
		t.Errorf("the queue is left with %d waiting, led %v", len(db.queue.waiting), db.queue.led)
	}
}
