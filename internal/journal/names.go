package journal

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// Rename is one credential that has another name from now on.
type Rename struct {
	From, To rotate.Name
	By       string // the person; "" where the config had it so
}

// ErrNameTaken: the journal knows another credential of that name.
var ErrNameTaken = errors.New("the journal has another credential of that name")

// Rename moves records, and what belongs to them, to new names: all or none, in one
// transaction. Events keep the name that was hashed with them: the former history ends
// with an event that says where it goes on, and the new one begins with one that says
// where it comes from and with which hash that ended, so that both can still be verified.
// The former name is free afterwards. A writer that still has the former record loses.
func (db *DB) Rename(ctx context.Context, list ...Rename) ([]rotate.Record, error) {
	var out []rotate.Record
	err := db.update(ctx, func(ctx context.Context, tx *sql.Tx) error {
		out = out[:0]
		for _, n := range list {
			r, err := rename(ctx, tx, n, time.Now().UTC().Round(0))
			if err != nil {
				return fmt.Errorf("rename %s to %s in the journal: %w", n.From, n.To, err)
			}
			out = append(out, r)
		}
		return nil
	})
	if err != nil {
		return nil, db.explain(err)
	}
	return out, nil
}

func rename(ctx context.Context, tx *sql.Tx, n Rename, now time.Time) (rotate.Record, error) {
	was, err := recordIn(ctx, tx, n.From)
	if err != nil {
		return was, err
	}
	taken, err := recordIn(ctx, tx, n.To)
	switch {
	case err != nil:
		return was, err
	case was.Epoch == 0 || was.ID == (rotate.ID{}):
		return was, fmt.Errorf("the journal has no credential %s", n.From)
	case taken.ID != (rotate.ID{}):
		return was, fmt.Errorf("%w: item %s", ErrNameTaken, taken.ID)
	}
	ev := rotate.Event{At: now, Kind: rotate.EventRenamed, Portal: was.ID.Portal, Item: was.ID.Item, Phase: was.Phase, Actor: n.By}
	last := ev
	last.Name, last.Detail = n.From, "its name is "+string(n.To)+" now: the history goes on there"
	if _, err := saveRecord(ctx, tx, rotate.Record{Name: n.From, Epoch: was.Epoch}, []rotate.Event{last}); err != nil {
		return was, err
	}
	var seq int64
	var head []byte
	if err := tx.QueryRowContext(ctx, "SELECT seq, head FROM records WHERE name = ?", string(n.From)).Scan(&seq, &head); err != nil {
		return was, err
	}
	first := ev
	first.Name = n.To
	first.Detail = fmt.Sprintf("its name was %s: the history before is there, up to event %d with hash %s", n.From, seq, hex.EncodeToString(head))
	was.Name, was.Epoch = n.To, taken.Epoch
	was, err = saveRecord(ctx, tx, was, []rotate.Event{first})
	if err != nil {
		return was, err
	}
	return was, moveRows(ctx, tx, n, seq, now)
}

// moveRows takes along what is kept by name beside the record.
func moveRows(ctx context.Context, tx *sql.Tx, n Rename, seq int64, now time.Time) error {
	for _, q := range []string{
		"DELETE FROM acks WHERE name = ?1", "UPDATE acks SET name = ?1 WHERE name = ?2",
		"DELETE FROM usage WHERE name = ?1", "UPDATE usage SET name = ?1 WHERE name = ?2",
		// A note's key is what it is of, a slash, and the name.
		"UPDATE OR REPLACE usage_state SET key = substr(key, 1, instr(key, '/')) || ?1 WHERE instr(key, '/') > 0 AND substr(key, instr(key, '/') + 1) = ?2",
	} {
		if _, err := tx.ExecContext(ctx, q, string(n.To), string(n.From)); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO renames (name, former, former_seq, at, by) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET former = excluded.former, former_seq = excluded.former_seq, at = excluded.at, by = excluded.by`,
		string(n.To), string(n.From), seq, now.UnixNano(), n.By)
	return err
}

// recordIn a transaction; a zero one where there is none.
func recordIn(ctx context.Context, tx *sql.Tx, name rotate.Name) (rotate.Record, error) {
	r := rotate.Record{Name: name}
	err := scanRecord(tx.QueryRowContext(ctx, "SELECT epoch, format, body FROM records WHERE name = ?", string(name)), &r)
	if errors.Is(err, sql.ErrNoRows) {
		return rotate.Record{Name: name}, nil
	}
	return r, err
}

// former is the part of another name's history that belongs to a credential.
type former struct {
	name rotate.Name
	upTo int64
}

// formerNames of a credential, the latest first.
func formerNames(ctx context.Context, q querier, name rotate.Name) ([]former, error) {
	var out []former
	for seen := []rotate.Name{name}; ; {
		var f former
		err := q.QueryRowContext(ctx, "SELECT former, former_seq FROM renames WHERE name = ?", string(name)).Scan((*string)(&f.name), &f.upTo)
		if errors.Is(err, sql.ErrNoRows) || slices.Contains(seen, f.name) { // back to a name that it had before
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out, seen, name = append(out, f), append(seen, f.name), f.name
	}
}

// Retired is a credential that a person retired for good.
type Retired struct {
	Name rotate.Name `json:"name"`
	ID   rotate.ID   `json:"id"`
	At   time.Time   `json:"at"`
	By   string      `json:"by"`
}

// Retire ends a credential in the journal: its record is emptied, its history ends with an
// event, and its item is remembered as retired. A writer that still has the record loses.
func (db *DB) Retire(ctx context.Context, r Retired, detail string) error {
	err := db.update(ctx, func(ctx context.Context, tx *sql.Tx) error {
		was, err := recordIn(ctx, tx, r.Name)
		if err != nil {
			return err
		}
		if was.Epoch > 0 && was.ID != (rotate.ID{}) && was.ID != r.ID {
			return fmt.Errorf("the journal knows item %s under that name, not %s", was.ID, r.ID)
		}
		at := time.Now().UTC().Round(0)
		ev := rotate.Event{At: at, Name: r.Name, Kind: rotate.EventRetired, Portal: r.ID.Portal, Item: r.ID.Item, Phase: was.Phase,
			Fingerprint: was.Live.Fingerprint, Generation: was.Live.Generation, Slot: was.Live.Slot, Actor: r.By, Detail: detail}
		if _, err := saveRecord(ctx, tx, rotate.Record{Name: r.Name, Epoch: was.Epoch}, []rotate.Event{ev}); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM acks WHERE name = ?", string(r.Name)); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO retired (portal, item, name, at, by) VALUES (?, ?, ?, ?, ?) ON CONFLICT (portal, item) DO NOTHING",
			string(r.ID.Portal), string(r.ID.Item), string(r.Name), at.UnixNano(), r.By)
		return err
	})
	if err != nil {
		return db.explain(fmt.Errorf("retire %s in the journal: %w", r.Name, err))
	}
	return nil
}

// Unretire takes Retire back: the item counts as one that was never adopted.
func (db *DB) Unretire(ctx context.Context, r Retired) error {
	err := db.update(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM retired WHERE portal = ? AND item = ?", string(r.ID.Portal), string(r.ID.Item))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("item %s is not retired", r.ID))
		}
		was, err := recordIn(ctx, tx, r.Name)
		if err != nil {
			return err
		}
		_, err = saveRecord(ctx, tx, was, []rotate.Event{{At: time.Now().UTC().Round(0), Name: r.Name, Kind: rotate.EventRetired, Portal: r.ID.Portal,
			Item: r.ID.Item, Phase: was.Phase, Actor: r.By, Detail: "taken back: the item may be adopted again"}})
		return err
	})
	if err != nil {
		return db.explain(fmt.Errorf("take back that %s is retired: %w", r.Name, err))
	}
	return nil
}

// Retired lists what was retired for good, by name.
func (db *DB) Retired(ctx context.Context) (out []Retired, err error) {
	rows, err := db.read.QueryContext(ctx, "SELECT portal, item, name, at, by FROM retired ORDER BY name, at")
	if err != nil {
		return nil, db.explain(fmt.Errorf("list retired credentials: %w", err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r Retired
		var at int64
		if err := rows.Scan((*string)(&r.ID.Portal), (*string)(&r.ID.Item), (*string)(&r.Name), &at, &r.By); err != nil {
			return nil, err
		}
		r.At = time.Unix(0, at).UTC()
		out = append(out, r)
	}
	return out, rows.Err()
}
