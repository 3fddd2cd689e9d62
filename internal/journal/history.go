package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// Entry is one event as the journal keeps it.
type Entry struct {
	Seq int64 `json:"seq"` // of the credential, from 1 without gaps
	rotate.Event
}

// Filter chooses events; its zero value takes all.
type Filter struct {
	Since      time.Time // counts itself
	Until      time.Time // does not
	Kinds      []rotate.EventKind
	RotationID string
	Limit      int // the newest so many
}

// History returns events of a credential, or of all for the empty name, oldest first.
// What a credential did under a name that it had before is part of its history.
func (db *DB) History(ctx context.Context, name rotate.Name, f Filter) ([]Entry, error) {
	out, err := queryHistory(ctx, db.read, former{name: name}, f)
	if err == nil && name != "" {
		out, err = withFormer(ctx, db.read, name, f, out)
	}
	if err != nil {
		return nil, db.explain(fmt.Errorf("read history: %w", err))
	}
	slices.Reverse(out)
	return out, nil
}

// withFormer adds what happened under former names; out has the newest first.
func withFormer(ctx context.Context, q querier, name rotate.Name, f Filter, out []Entry) ([]Entry, error) {
	names, err := formerNames(ctx, q, name)
	if err != nil {
		return nil, err
	}
	limit := f.Limit
	for _, n := range names {
		if limit > 0 && len(out) >= limit {
			break
		}
		if limit > 0 {
			f.Limit = limit - len(out)
		}
		more, err := queryHistory(ctx, q, n, f)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

func queryHistory(ctx context.Context, q querier, of former, f Filter) (out []Entry, err error) {
	query, args := f.query(of)
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e Entry
		var format int
		var body []byte
		if err := rows.Scan(&e.Seq, &format, &body); err != nil {
			return nil, err
		}
		if e.Event, err = decodeEvent(format, body); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

func (f Filter) query(of former) (string, []any) {
	where := []string{"TRUE"}
	var args []any
	add := func(cond string, vals ...any) {
		where = append(where, cond)
		args = append(args, vals...)
	}
	order := "at DESC, name DESC, seq DESC"
	if of.name != "" {
		add("name = ?", string(of.name))
		order = "seq DESC" // the order in which they were saved, whatever the clock did
	}
	if of.upTo > 0 {
		add("seq <= ?", of.upTo)
	}
	if !f.Since.IsZero() {
		add("at >= ?", f.Since.UnixNano())
	}
	if !f.Until.IsZero() {
		add("at < ?", f.Until.UnixNano())
	}
	if f.RotationID != "" {
		add("rotation_id = ?", f.RotationID)
	}
	if len(f.Kinds) > 0 {
		kinds := make([]any, len(f.Kinds))
		for i, k := range f.Kinds {
			kinds[i] = string(k)
		}
		add("kind IN (?"+strings.Repeat(", ?", len(kinds)-1)+")", kinds...)
	}
	query := "SELECT seq, format, body FROM events WHERE " + strings.Join(where, " AND ") + " ORDER BY " + order
	if f.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, f.Limit)
	}
	return query, args
}

// chain is the end of a credential's history while events are added to it.
type chain struct {
	name rotate.Name
	seq  int64
	hash []byte
}

// link is one event to insert.
type link struct {
	event rotate.Event
	seq   int64
	body  []byte
	hash  []byte
}

func genesis() []byte { return make([]byte, sha256.Size) }

func next(prev, body []byte) []byte {
	h := sha256.New()
	h.Write(prev)
	h.Write(body)
	return h.Sum(nil)
}

func (c *chain) extend(events []rotate.Event) ([]link, error) {
	links := make([]link, 0, len(events))
	for _, e := range events {
		body, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encode event: %w", err)
		}
		c.seq++
		c.hash = next(c.hash, body)
		links = append(links, link{event: e, seq: c.seq, body: body, hash: c.hash})
	}
	return links, nil
}

func (l link) insert(ctx context.Context, tx *sql.Tx) error {
	e := l.event
	_, err := tx.ExecContext(ctx, "INSERT INTO events (name, seq, at, kind, portal, rotation_id, format, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		string(e.Name), l.seq, e.At.UnixNano(), string(e.Kind), string(e.Portal), e.RotationID, eventFormat, string(l.body), l.hash)
	if err != nil {
		return fmt.Errorf("append event: %w", err)
	}
	return nil
}

// Verify walks the credential's hash chain and returns how many events it has. An
// error says which event was changed, added or removed behind rotatord's back. Who
// can write the whole file can also rewrite the whole chain: it shows accidents and
// careless edits, and a copy of the head kept elsewhere shows the rest.
func (db *DB) Verify(ctx context.Context, name rotate.Name) (int64, error) {
	var n int64
	err := inTx(ctx, db.read, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		n, err = verify(ctx, tx, name)
		return err
	})
	if err != nil {
		return n, db.explain(fmt.Errorf("verify history of %s: %w", name, err))
	}
	return n, nil
}

func verify(ctx context.Context, tx *sql.Tx, name rotate.Name) (n int64, err error) {
	var last int64
	head := genesis()
	err = tx.QueryRowContext(ctx, "SELECT seq, head FROM records WHERE name = ?", string(name)).Scan(&last, &head)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	rows, err := tx.QueryContext(ctx, "SELECT seq, body, hash FROM events WHERE name = ? ORDER BY seq", string(name))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	want := genesis()
	for rows.Next() {
		var seq int64
		var body, hash []byte
		if err := rows.Scan(&seq, &body, &hash); err != nil {
			return n, err
		}
		if seq != n+1 {
			return n, fmt.Errorf("event %d is missing", n+1)
		}
		if want = next(want, body); !bytes.Equal(want, hash) {
			return n, fmt.Errorf("event %d was changed after it was written", seq)
		}
		n++
	}
	if err := rows.Err(); err != nil {
		return n, err
	}
	if n != last || !bytes.Equal(want, head) {
		return n, fmt.Errorf("the history ends at event %d and the record knows %d", n, last)
	}
	return n, nil
}
