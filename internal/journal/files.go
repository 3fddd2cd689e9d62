package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const fileMode = 0o600

// checkDir refuses a directory in which others could put a file in our place.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("open state directory %s: %w; make it: install -d -m 0700 -o rotatord %s", dir, fs.ErrNotExist, dir)
	case err != nil:
		return fmt.Errorf("open state directory: %w", err)
	case !info.IsDir():
		return fmt.Errorf("open state directory %s: it is no directory", dir)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("open state directory %s: others may write to it (mode %#o); run: chmod 0700 %s", dir, info.Mode().Perm(), dir)
	}
	return nil
}

// The header of an SQLite file: a magic string, and at writeVersionAt 1 for a
// rollback journal or 2 for a write-ahead log. A journal in service is always 2,
// a copy made by Backup always 1.
const (
	magic          = "SQLite format 3\x00"
	writeVersionAt = 18
	headerLen      = 100
	inRollbackMode = 1
)

// inspect tells whether there is a file, and refuses one that cannot be a journal.
func inspect(path string) (bool, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("open journal: %w", err)
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("open journal %s: it is no regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return false, fmt.Errorf("open journal %s: others have rights on it (mode %#o); run: chmod 0600 %s", path, info.Mode().Perm(), path)
	}
	head, err := header(path)
	if err != nil {
		return false, fmt.Errorf("open journal: %w", err)
	}
	if len(head) < headerLen || !bytes.HasPrefix(head, []byte(magic)) {
		return false, fmt.Errorf("open journal %s: %d bytes that are no SQLite file; %w", path, info.Size(), damaged(path))
	}
	return true, nil
}

// header returns the first bytes of the file, fewer if it is shorter.
func header(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	buf := make([]byte, headerLen)
	n, err := io.ReadFull(f, buf)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	return buf[:n], nil
}

// damagedError is a journal that cannot be read. It is never replaced silently.
type damagedError struct{ path string }

func (e *damagedError) Error() string {
	return fmt.Sprintf("the journal is damaged and was left as it is: stop rotatord, keep %[1]s, %[1]s-wal and %[1]s-shm elsewhere, "+
		"then copy a backup to %[1]s, or start without one and it is rebuilt from the sinks (docs/journal.md)", e.path)
}

func damaged(path string) error { return &damagedError{path: path} }

// IsDamaged tells whether an error means that the file's content cannot be trusted.
func IsDamaged(err error) bool {
	_, ok := errors.AsType[*damagedError](err)
	return ok
}

// setStrayAside renames a write-ahead log that cannot belong to the file: without
// a file, and beside a restored copy. SQLite would replay it over the copy.
func (db *DB) setStrayAside() error {
	head, err := header(db.path)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if len(head) > writeVersionAt && head[writeVersionAt] != inRollbackMode {
		return nil
	}
	return db.renameLog()
}

func (db *DB) renameLog() error {
	stamp := time.Now().UTC().Format("20060102T150405.000000000Z")
	for _, suffix := range []string{"-wal", "-shm"} {
		from := db.path + suffix
		to := from + ".stray-" + stamp
		switch err := os.Rename(from, to); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("set aside the log of an earlier journal: %w", err)
		default:
			db.log.Warn("set aside the log of an earlier journal", slog.String("from", from), slog.String("to", to))
		}
	}
	return nil
}

// create makes a complete journal under another name and links it into place, so
// that a crash leaves a whole file or none, and a file that appeared meanwhile is
// not overwritten.
func (db *DB) create(ctx context.Context) error {
	if err := db.renameLog(); err != nil {
		return err
	}
	err := placeFile(db.path, func(tmp string) error {
		w := connect(tmp, false, 1)
		err := errors.Join(build(ctx, w, tmp), w.Close())
		return errors.Join(err, removeIfThere(tmp+"-wal"), removeIfThere(tmp+"-shm"))
	})
	switch {
	case errors.Is(err, fs.ErrExist): // another process was faster
		return nil
	case err != nil:
		return fmt.Errorf("create journal %s: %w", db.path, err)
	}
	db.created = true
	return nil
}

// placeFile lets fill write a new file of mode 0600 and puts it at path, synced,
// where no file may be.
func placeFile(path string, fill func(tmp string) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer func() { err = errors.Join(err, os.Remove(tmp)) }()
	if err := errors.Join(giveToOwnerOf(dir, f), f.Close(), fill(tmp), syncPath(tmp)); err != nil {
		return err
	}
	if err := os.Link(tmp, path); err != nil {
		return err
	}
	return syncPath(dir)
}

// giveToOwnerOf the directory: a command run by root must not leave a file that the
// daemon's user cannot open.
func giveToOwnerOf(dir string, f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
		return f.Chown(int(st.Uid), int(st.Gid))
	}
	return nil
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
