package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite" // the driver "sqlite"

	"rotatord/internal/rotate"
)

// Options of Open.
type Options struct {
	Path string
	// ReadOnly opens an existing journal for queries beside a running daemon. Every
	// write fails.
	ReadOnly bool
	// Holder, if not nil, takes the writer lock for this process first, and Close
	// gives it back. Whoever advances credentials must have it.
	Holder *Holder
	Log    *slog.Logger // nil: none
}

// DB is an open journal. It is safe for use by many goroutines.
type DB struct {
	path     string
	readOnly bool
	log      *slog.Logger
	lock     *Lock
	write    *sql.DB // one connection; nil if read-only
	read     *sql.DB
	created  bool
	copiedAt time.Time
	queue    queue
}

var _ rotate.Journal = (*DB)(nil)

const (
	// busyTimeout is how long to wait for another process's commit, a milliseconds'
	// affair; a backup reads and blocks no writer.
	busyTimeout = 10 * time.Second
	readConns   = 2
)

// Open opens the journal, and makes a new one where no file is. A copy made by
// Backup is put into service: every adopted credential in it is marked as rebuilt,
// so that it is observed before anything occupied is minted into or revoked.
func Open(ctx context.Context, o Options) (*DB, error) {
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", o.Path, err)
	}
	db := &DB{path: path, readOnly: o.ReadOnly, log: o.Log}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if err := db.open(ctx, o.Holder); err != nil {
		return nil, errors.Join(db.explain(err), db.Close())
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, holder *Holder) error {
	if err := checkDir(filepath.Dir(db.path)); err != nil {
		return err
	}
	if holder != nil {
		lock, err := AcquireLock(db.path, *holder)
		if err != nil {
			return err
		}
		db.lock = lock
	}
	switch found, err := inspect(db.path); {
	case err != nil:
		return err
	case !found && db.readOnly:
		return fmt.Errorf("open journal %s: %w; start the daemon once, or name the right state directory", db.path, os.ErrNotExist)
	case !found:
		if err := db.create(ctx); err != nil {
			return err
		}
	}
	if !db.readOnly {
		if err := db.openWriter(ctx); err != nil {
			return err
		}
	}
	db.read = connect(db.path, true, readConns)
	version, err := schemaVersion(ctx, db.read)
	if err != nil {
		return fmt.Errorf("open journal %s: %w", db.path, err)
	}
	return checkVersion(db.path, version, db.readOnly)
}

// openWriter checks the file before the first write to it.
func (db *DB) openWriter(ctx context.Context) error {
	if err := db.setStrayAside(); err != nil {
		return err
	}
	db.write = connect(db.path, false, 1)
	if err := checkContent(ctx, db.write, db.path); err != nil {
		return err
	}
	if err := migrate(ctx, db.write, db.path); err != nil {
		return err
	}
	if err := db.putIntoService(ctx); err != nil {
		return err
	}
	return useWAL(ctx, db.write)
}

// connect prepares a pool; the first statement opens the file.
func connect(path string, readOnly bool, conns int) *sql.DB {
	q := url.Values{}
	q.Set("_busy_timeout", fmt.Sprint(busyTimeout.Milliseconds()))
	q.Set("_foreign_keys", "on")
	q.Set("_synchronous", "FULL")
	q.Set("_defensive", "1")
	q.Set("_error_rc", "1")
	q.Set("_txlock", "immediate")
	q.Set("mode", "rw")
	if readOnly {
		q.Set("mode", "ro")
		q.Set("_txlock", "deferred")
	}
	db := sql.OpenDB(connector{dsn: "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()})
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db
}

func useWAL(ctx context.Context, db *sql.DB) error {
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return fmt.Errorf("switch to the write-ahead log: %w", err)
	}
	if mode != "wal" {
		return fmt.Errorf("switch to the write-ahead log: the file system of the state directory does not allow it (mode %q); use a local one", mode)
	}
	return nil
}

// Path of the file.
func (db *DB) Path() string { return db.path }

// Created tells whether Open made a new journal: no earlier record exists.
func (db *DB) Created() bool { return db.created }

// RestoredFrom is when the copy that Open put into service was made; zero if it
// opened no copy.
func (db *DB) RestoredFrom() time.Time { return db.copiedAt }

// Close waits for what runs, closes the file and gives back the writer lock.
func (db *DB) Close() error {
	var errs []error
	if db.read != nil {
		errs = append(errs, db.read.Close())
	}
	if db.write != nil {
		errs = append(errs, db.write.Close())
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Release())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close journal %s: %w", db.path, err)
	}
	return nil
}

// Ping proves that the journal can be read.
func (db *DB) Ping(ctx context.Context) error {
	if _, err := schemaVersion(ctx, db.read); err != nil {
		return db.explain(fmt.Errorf("read journal %s: %w", db.path, err))
	}
	return nil
}

var errReadOnly = errors.New("the journal was opened for reading only")

// Primary result codes of SQLite.
const (
	codeCorrupt = 11
	codeFull    = 13
	codeNotADB  = 26
)

// explain adds the cure to what SQLite says about the file.
func (db *DB) explain(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() & 0xff {
	case codeCorrupt, codeNotADB:
		return fmt.Errorf("%w; %w", err, damaged(db.path))
	case codeFull:
		return fmt.Errorf("%w; free space in %s", err, filepath.Dir(db.path))
	}
	return err
}
