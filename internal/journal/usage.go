package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"rotatord/internal/rotate"
)

// UsageRow is what a credential used of one service on one day, counted from 1970-01-01
// UTC. The service "" says that the whole day was read.
type UsageRow struct {
	Day      int
	Service  string
	Requests float64
	Credits  float64
	ReadAt   time.Time
	Source   string
}

// UsageState holds what the reading of usage remembers.
func (db *DB) UsageState() State {
	return State{db: db, table: "usage_state", all: "SELECT key, value, updated FROM usage_state ORDER BY key"}
}

// Usage returns a credential's rows from one day on, by day and service.
func (db *DB) Usage(ctx context.Context, name rotate.Name, from int) ([]UsageRow, error) {
	const newest = 1 << 30
	rows, err := usageRows(ctx, db.read, name, from, newest)
	if err != nil {
		return nil, db.explain(fmt.Errorf("read usage of %s: %w", name, err))
	}
	return rows, nil
}

// UsageChange replaces a credential's rows of the days from one to another, both
// included, by what Make makes of them.
type UsageChange struct {
	Name        rotate.Name
	From, Until int
	Make        func([]UsageRow) []UsageRow
}

// ChangeUsage makes all changes or none, in one transaction: nobody else writes between
// the reading and the writing.
func (db *DB) ChangeUsage(ctx context.Context, changes ...UsageChange) error {
	err := db.update(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, c := range changes {
			if err := c.write(ctx, tx); err != nil {
				return fmt.Errorf("of %s: %w", c.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return db.explain(fmt.Errorf("write usage: %w", err))
	}
	return nil
}

func (c UsageChange) write(ctx context.Context, tx *sql.Tx) error {
	known, err := usageRows(ctx, tx, c.Name, c.From, c.Until)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM usage WHERE name = ? AND day BETWEEN ? AND ?", string(c.Name), c.From, c.Until); err != nil {
		return err
	}
	for _, r := range c.Make(known) {
		_, err := tx.ExecContext(ctx, "INSERT INTO usage (name, day, service, requests, credits, read_at, source) VALUES (?, ?, ?, ?, ?, ?, ?)",
			string(c.Name), r.Day, r.Service, r.Requests, r.Credits, r.ReadAt.UnixNano(), r.Source)
		if err != nil {
			return err
		}
	}
	return nil
}

// PruneUsage deletes every credential's rows of before a day, and tells how many.
func (db *DB) PruneUsage(ctx context.Context, before int) (n int64, err error) {
	err = db.update(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM usage WHERE day < ?", before)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return 0, db.explain(fmt.Errorf("prune usage: %w", err))
	}
	return n, nil
}

func usageRows(ctx context.Context, q querier, name rotate.Name, from, until int) (out []UsageRow, err error) {
	rows, err := q.QueryContext(ctx, "SELECT day, service, requests, credits, read_at, source FROM usage WHERE name = ? AND day BETWEEN ? AND ? ORDER BY day, service",
		string(name), from, until)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r UsageRow
		var at int64
		if err := rows.Scan(&r.Day, &r.Service, &r.Requests, &r.Credits, &at, &r.Source); err != nil {
			return nil, err
		}
		r.ReadAt = time.Unix(0, at).UTC()
		out = append(out, r)
	}
	return out, rows.Err()
}
