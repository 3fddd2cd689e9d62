package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"rotatord/internal/rotate"
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

// SettingsState holds what is known of the credentials' settings at their portals.
func (db *DB) SettingsState() State {
	return State{db: db, table: "settings_state", all: "SELECT key, value, updated FROM settings_state ORDER BY key"}
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

// Ack is what a consumer last said about the key that it runs.
type Ack struct {
	Name        rotate.Name
	Consumer    string
	Fingerprint rotate.Fingerprint
	Generation  int64
	At          time.Time
	By          string // who said so: a person, or the consumer itself
}

// Acks is the latest word of each consumer of each credential.
type Acks struct{ db *DB }

// Acks of this journal.
func (db *DB) Acks() Acks { return Acks{db} }

// Put replaces what the consumer said before, durably.
func (a Acks) Put(ctx context.Context, ack Ack) error {
	if ack.Name == "" || ack.Consumer == "" || (ack.Fingerprint == "" && ack.Generation == 0) {
		return errors.New("put acknowledgement: a credential, a consumer and a key are needed")
	}
	err := a.db.update(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO acks (name, consumer, fingerprint, generation, at, by) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (name, consumer) DO UPDATE SET fingerprint = excluded.fingerprint, generation = excluded.generation, at = excluded.at, by = excluded.by`,
			string(ack.Name), ack.Consumer, string(ack.Fingerprint), ack.Generation, ack.At.UnixNano(), ack.By)
		return err
	})
	if err != nil {
		return a.db.explain(fmt.Errorf("put acknowledgement of %s by %s: %w", ack.Name, ack.Consumer, err))
	}
	return nil
}

// List returns the acknowledgements of one credential, by consumer.
func (a Acks) List(ctx context.Context, name rotate.Name) ([]Ack, error) {
	out, err := a.list(ctx, name)
	if err != nil {
		return nil, a.db.explain(fmt.Errorf("list acknowledgements of %s: %w", name, err))
	}
	return out, nil
}

func (a Acks) list(ctx context.Context, name rotate.Name) (out []Ack, err error) {
	rows, err := a.db.read.QueryContext(ctx, "SELECT consumer, fingerprint, generation, at, by FROM acks WHERE name = ? ORDER BY consumer", string(name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		ack := Ack{Name: name}
		var fingerprint string
		var at int64
		if err := rows.Scan(&ack.Consumer, &fingerprint, &ack.Generation, &at, &ack.By); err != nil {
			return nil, err
		}
		ack.Fingerprint, ack.At = rotate.Fingerprint(fingerprint), time.Unix(0, at).UTC()
		out = append(out, ack)
	}
	return out, rows.Err()
}
