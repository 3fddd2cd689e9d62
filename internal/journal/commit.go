package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// queue lets writes that come together share one commit, and so one sync of the
// disk: whoever finds no leader leads, takes along all that wait, and hands the lead
// to the next. It needs no goroutine of its own.
type queue struct {
	mu      sync.Mutex
	waiting []*change // guarded by mu
	led     bool      // guarded by mu: somebody commits
}

// change is one write in the queue.
type change struct {
	fn  func(context.Context, *sql.Tx) error
	err error // set before the turn ends
	// turn gets one value: true to lead, false when the change is done.
	turn chan bool
}

// update runs fn in a durable transaction. Once begun it is not cancelled, so that an
// error of fn or of the commit always means: nothing was written.
func (db *DB) update(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	if db.write == nil {
		return errReadOnly
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &change{fn: fn, turn: make(chan bool, 1)}
	q := &db.queue
	q.mu.Lock()
	q.waiting = append(q.waiting, w)
	lead := !q.led
	q.led = true
	q.mu.Unlock()
	if lead || <-w.turn {
		db.lead(context.WithoutCancel(ctx), w)
	}
	return w.err
}

// lead commits everything that waits, the leader's own change among it, and names
// the next leader.
func (db *DB) lead(ctx context.Context, own *change) {
	q := &db.queue
	q.mu.Lock()
	batch := q.waiting
	q.waiting = nil
	q.mu.Unlock()

	commit(ctx, db.write, batch)
	for _, w := range batch {
		if w != own {
			w.turn <- false
		}
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	if q.led = len(q.waiting) > 0; q.led {
		q.waiting[0].turn <- true
	}
}

// commit runs the changes in one transaction. One that fails takes back itself alone;
// a commit that fails fails them all.
func commit(ctx context.Context, db *sql.DB, batch []*change) {
	err := inTx(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		for _, w := range batch {
			if err := runIn(ctx, tx, w); err != nil {
				return err
			}
		}
		return nil
	})
	for _, w := range batch {
		if w.err == nil {
			w.err = err
		}
	}
}

// runIn runs one change under a savepoint. Its own failure is noted in it; an error
// means that the transaction itself is lost.
func runIn(ctx context.Context, tx *sql.Tx, w *change) error {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT change"); err != nil {
		return fmt.Errorf("begin a change: %w", err)
	}
	end := "RELEASE change"
	if w.err = w.fn(ctx, tx); w.err != nil {
		end = "ROLLBACK TO change; RELEASE change"
	}
	if _, err := tx.ExecContext(ctx, end); err != nil {
		return errors.Join(fmt.Errorf("end a change: %w", err), w.err)
	}
	return nil
}

func inTx(ctx context.Context, db *sql.DB, fn func(context.Context, *sql.Tx) error) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // after a failed statement or commit there is nothing to save
		}
	}()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}
