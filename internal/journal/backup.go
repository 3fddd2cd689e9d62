package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"rotatord/internal/rotate"
)

// Backup copies the journal to a new file of mode 0600 while it is in use. The copy
// holds one consistent state and is marked as a copy: see Open.
func (db *DB) Backup(ctx context.Context, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("back up journal: %w", err)
	}
	err = placeFile(path, func(tmp string) error {
		if _, err := db.read.ExecContext(ctx, "VACUUM INTO ?", tmp); err != nil {
			return db.explain(err)
		}
		return markCopy(ctx, tmp)
	})
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("back up journal to %s: %w; it is not overwritten, name another file", path, fs.ErrExist)
	case err != nil:
		return fmt.Errorf("back up journal to %s: %w", path, err)
	}
	return nil
}

// markCopy checks the copy and notes its time. It stays out of the write-ahead log,
// which is how Open tells a copy from a journal in service.
func markCopy(ctx context.Context, path string) (err error) {
	w := connect(path, false, 1)
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := checkContent(ctx, w, path); err != nil {
		return err
	}
	var mode string
	if err := w.QueryRowContext(ctx, "PRAGMA journal_mode = DELETE").Scan(&mode); err != nil {
		return fmt.Errorf("mark the copy: %w", err)
	}
	if mode != "delete" {
		return fmt.Errorf("mark the copy: it is in mode %q", mode)
	}
	err = inTx(ctx, w, func(ctx context.Context, tx *sql.Tx) error {
		return putFact(ctx, tx, factCopied, stamp(time.Now()))
	})
	if err != nil {
		return fmt.Errorf("mark the copy: %w", err)
	}
	return nil
}

// putIntoService takes the mark off a copy. What the copy knows may be older than
// the world, so every adopted credential counts as rebuilt from now (rule 10).
func (db *DB) putIntoService(ctx context.Context) error {
	var text string
	err := db.write.QueryRowContext(ctx, "SELECT value FROM journal_facts WHERE key = ?", factCopied).Scan(&text)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("read the copy's mark: %w", err)
	}
	copied, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return fmt.Errorf("read the copy's mark: %w; %w", err, damaged(db.path))
	}
	err = inTx(ctx, db.write, func(ctx context.Context, tx *sql.Tx) error {
		if err := markRebuilt(ctx, tx, copied, time.Now().UTC()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM journal_facts WHERE key = ?", factCopied)
		return err
	})
	if err != nil {
		return fmt.Errorf("put the copy into service: %w", err)
	}
	db.copiedAt = copied
	db.log.WarnContext(ctx, "journal was restored from a copy; occupied slots wait for one overlap", slog.Time("copied_at", copied))
	return nil
}

func markRebuilt(ctx context.Context, tx *sql.Tx, copied, now time.Time) error {
	records, err := listRecords(ctx, tx)
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.AdoptedAt.IsZero() {
			continue
		}
		r.RebuiltAt = now
		r.NextAt = now
		event := rotate.Event{At: now, Name: r.Name, Portal: r.ID.Portal, Item: r.ID.Item, Kind: rotate.EventRebuilt, Phase: r.Phase,
			Detail: "journal restored from a copy made at " + copied.UTC().Format(time.RFC3339)}
		if _, err := saveRecord(ctx, tx, r, []rotate.Event{event}); err != nil {
			return err
		}
	}
	return nil
}
