package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// State is a small table of JSON values that outlives a restart. The last Put wins.
type State struct {
	db    *DB
	table string // a constant of this file
	all   string // the query of List
}

// AlertState holds what was said to whom, and when.
func (db *DB) AlertState() State {
	return State{db: db, table: "alert_state", all: "SELECT key, value, updated FROM alert_state ORDER BY key"}
}

// PortalState holds what binds all credentials of a portal, as a Retry-After.
func (db *DB) PortalState() State {
	return State{db: db, table: "portal_state", all: "SELECT key, value, updated FROM portal_state ORDER BY key"}
}

// StateEntry is one row.
type StateEntry struct {
	Key     string
	Value   json.RawMessage
	Updated time.Time
}

// Put writes the value under key, durably.
func (s State) Put(ctx context.Context, key string, value []byte) error {
	if key == "" || !json.Valid(value) {
		return fmt.Errorf("put %s %q: a key and a JSON value are needed", s.table, key)
	}
	now := time.Now().UnixNano()
	query := "INSERT INTO " + s.table + " (key, value, updated) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated = excluded.updated"
	return s.exec(ctx, "put", key, query, key, string(value), now)
}

// Delete removes the key; it need not be there.
func (s State) Delete(ctx context.Context, key string) error {
	return s.exec(ctx, "delete", key, "DELETE FROM "+s.table+" WHERE key = ?", key)
}

func (s State) exec(ctx context.Context, verb, key, query string, args ...any) error {
	err := s.db.update(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil {
		return s.db.explain(fmt.Errorf("%s %s %q: %w", verb, s.table, key, err))
	}
	return nil
}

// Get returns the value under key and whether there is one.
func (s State) Get(ctx context.Context, key string) ([]byte, bool, error) {
	var value []byte
	err := s.db.read.QueryRowContext(ctx, "SELECT value FROM "+s.table+" WHERE key = ?", key).Scan(&value)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, false, nil
	case err != nil:
		return nil, false, s.db.explain(fmt.Errorf("get %s %q: %w", s.table, key, err))
	}
	return value, true, nil
}

// List returns every row, by key.
func (s State) List(ctx context.Context) ([]StateEntry, error) {
	out, err := s.list(ctx)
	if err != nil {
		return nil, s.db.explain(fmt.Errorf("list %s: %w", s.table, err))
	}
	return out, nil
}

// Values returns every value by its key.
func (s State) Values(ctx context.Context) (map[string][]byte, error) {
	rows, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(rows))
	for _, e := range rows {
		out[e.Key] = e.Value
	}
	return out, nil
}

func (s State) list(ctx context.Context) (out []StateEntry, err error) {
	rows, err := s.db.read.QueryContext(ctx, s.all)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e StateEntry
		var value []byte
		var updated int64
		if err := rows.Scan(&e.Key, &value, &updated); err != nil {
			return nil, err
		}
		e.Value, e.Updated = value, time.Unix(0, updated).UTC()
		out = append(out, e)
	}
	return out, rows.Err()
}
