package journal

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// recordFormat and eventFormat number the JSON forms of rotate.Record and
// rotate.Event. Decoding is strict: a field that this program does not know is an
// error, never dropped by the next Save. Raise the number when a form changes.
const (
	recordFormat = 1
	eventFormat  = 1
)

// Load returns the credential's record; a zero one with that name if there is none.
func (db *DB) Load(ctx context.Context, name rotate.Name) (rotate.Record, error) {
	row := db.read.QueryRowContext(ctx, "SELECT epoch, format, body FROM records WHERE name = ?", string(name))
	var r rotate.Record
	err := scanRecord(row, &r)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return rotate.Record{Name: name}, nil
	case err != nil:
		return rotate.Record{}, db.explain(fmt.Errorf("load record of %s: %w", name, err))
	}
	return r, nil
}

// List returns every record, by name.
func (db *DB) List(ctx context.Context) ([]rotate.Record, error) {
	out, err := listRecords(ctx, db.read)
	if err != nil {
		return nil, db.explain(fmt.Errorf("list records: %w", err))
	}
	return out, nil
}

// Due returns the records whose NextAt is not after now, the longest waiting first.
func (db *DB) Due(ctx context.Context, now time.Time) ([]rotate.Record, error) {
	out, err := selectRecords(ctx, db.read, 0, "WHERE next_at <= ? ORDER BY next_at, name", now.UnixNano())
	if err != nil {
		return nil, db.explain(fmt.Errorf("list due records: %w", err))
	}
	return out, nil
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func listRecords(ctx context.Context, q querier) ([]rotate.Record, error) {
	// A record is more than a kilobyte: a list of thousands that grows step by step costs
	// more than counting them first.
	var n int
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM records").Scan(&n); err != nil {
		return nil, err
	}
	return selectRecords(ctx, q, n, "ORDER BY name")
}

// selectRecords of which n are expected.
func selectRecords(ctx context.Context, q querier, n int, rest string, args ...any) (out []rotate.Record, err error) {
	rows, err := q.QueryContext(ctx, "SELECT epoch, format, body FROM records "+rest, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = slices.Grow(out, n)
	for rows.Next() {
		out = append(out, rotate.Record{})
		if err := scanRecord(rows, &out[len(out)-1]); err != nil {
			return nil, err
		}
	}
	return out, rows.Err()
}

// Save writes the record if its epoch is the current one, and appends the events.
// Both are on disk when it returns.
func (db *DB) Save(ctx context.Context, r rotate.Record, events ...rotate.Event) (rotate.Record, error) {
	op := "save record of " + string(r.Name)
	if err := checkSave(r, events); err != nil {
		return rotate.Record{}, &rotate.Error{Op: op, Kind: rotate.KindPermanent, Err: err}
	}
	saved := r
	err := db.update(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		saved, err = saveRecord(ctx, tx, r, events)
		return err
	})
	switch {
	case errors.Is(err, errLost):
		return rotate.Record{}, &rotate.Error{Op: op, Kind: rotate.KindConflict, Err: fmt.Errorf("epoch %d: %w", r.Epoch, err)}
	case err != nil:
		return rotate.Record{}, db.explain(fmt.Errorf("%s: %w", op, err))
	}
	return saved, nil
}

var errLost = errors.New("another writer saved this record since it was loaded")

func checkSave(r rotate.Record, events []rotate.Event) error {
	if r.Name == "" {
		return errors.New("the record has no name")
	}
	for i, e := range events {
		switch {
		case e.Name != r.Name:
			return fmt.Errorf("event %d belongs to %q", i, e.Name)
		case e.Kind == "":
			return fmt.Errorf("event %d has no kind", i)
		case e.At.IsZero():
			return fmt.Errorf("event %d has no time", i)
		}
	}
	return nil
}

func saveRecord(ctx context.Context, tx *sql.Tx, r rotate.Record, events []rotate.Event) (rotate.Record, error) {
	head := chain{name: r.Name, hash: genesis()}
	var epoch int64
	err := tx.QueryRowContext(ctx, "SELECT epoch, seq, head FROM records WHERE name = ?", string(r.Name)).Scan(&epoch, &head.seq, &head.hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return rotate.Record{}, err
	}
	if epoch != r.Epoch {
		return rotate.Record{}, errLost
	}
	r.Epoch++
	body, err := json.Marshal(r)
	if err != nil {
		return rotate.Record{}, fmt.Errorf("encode: %w", err)
	}
	// The row must be there before its events are.
	const upsert = `INSERT INTO records (name, portal, item, phase, next_at, epoch, seq, head, format, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET portal = excluded.portal, item = excluded.item, phase = excluded.phase, next_at = excluded.next_at,
			epoch = excluded.epoch, seq = excluded.seq, head = excluded.head, format = excluded.format, body = excluded.body`
	links, err := head.extend(events)
	if err != nil {
		return rotate.Record{}, err
	}
	_, err = tx.ExecContext(ctx, upsert, string(r.Name), string(r.ID.Portal), string(r.ID.Item), string(r.Phase), nanos(r.NextAt),
		r.Epoch, head.seq, head.hash, recordFormat, string(body))
	if err != nil {
		return rotate.Record{}, err
	}
	for _, l := range links {
		if err := l.insert(ctx, tx); err != nil {
			return rotate.Record{}, err
		}
	}
	return r, nil
}

// Deaths counts the key_dead events of a portal since a time.
func (db *DB) Deaths(ctx context.Context, portal rotate.PortalID, since time.Time) (int, error) {
	var n int
	err := db.read.QueryRowContext(ctx, "SELECT count(*) FROM events WHERE portal = ? AND kind = ? AND at >= ? AND json_extract(body, '$.actor') IS NULL",
		string(portal), string(rotate.EventKeyDead), since.UnixNano()).Scan(&n)
	if err != nil {
		return 0, db.explain(fmt.Errorf("count deaths at %s: %w", portal, err))
	}
	return n, nil
}

type scanner interface{ Scan(dest ...any) error }

func scanRecord(row scanner, into *rotate.Record) error {
	var epoch int64
	var format int
	var body []byte
	if err := row.Scan(&epoch, &format, &body); err != nil {
		return err
	}
	if err := decode("record", format, recordFormat, body, into); err != nil {
		return err
	}
	if into.Epoch != epoch {
		return fmt.Errorf("decode record of %s: its body has epoch %d and its row %d", into.Name, into.Epoch, epoch)
	}
	return nil
}

func decodeEvent(format int, body []byte) (rotate.Event, error) {
	var e rotate.Event
	if err := decode("event", format, eventFormat, body, &e); err != nil {
		return rotate.Event{}, err
	}
	return e, nil
}

// decode reads exactly one JSON value of a known form.
func decode(what string, format, known int, body []byte, into any) error {
	if format != known {
		return fmt.Errorf("decode %s: it has format %d and this rotatord knows %d; run the rotatord that wrote it", what, format, known)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("decode %s: more than one value", what)
	}
	return nil
}

// nanos is a time as stored: NULL for zero.
func nanos(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixNano(), Valid: !t.IsZero()}
}
