package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"rotatord/internal/rotate/rotatetest"
)

func TestSecondHolderIsToldWho(t *testing.T) {
	path := tempPath(t)
	first, err := Open(t.Context(), Options{Path: path, Holder: &Holder{Command: "run", Instance: "aaaa", PID: 4242, Host: "db1", Since: day(1)}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Options{Path: path, Holder: &Holder{Command: "once"}})
	wantSays(t, err, path, "in use by rotatord run, pid 4242 on db1 since 2026-03-01T12:00:00Z (instance aaaa)", "systemctl stop rotatord", "kill -TERM 4242")
	if h, ok := HeldBy(err); !ok || h.PID != 4242 || h.Command != "run" {
		t.Errorf("HeldBy = %+v, %v", h, ok)
	}

	// A reader needs no lock.
	r, err := Open(t.Context(), Options{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), Options{Path: path, Holder: &Holder{Command: "once"}})
	if err != nil {
		t.Fatalf("after the first holder closed: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestHolderIsFilledIn(t *testing.T) {
	path := tempPath(t)
	l, err := AcquireLock(path, Holder{Command: "run"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	_, err = AcquireLock(path, Holder{Command: "run"})
	host, _ := os.Hostname()
	if h, ok := HeldBy(err); !ok || h.PID != os.Getpid() || h.Host != host || h.Since.IsZero() {
		t.Errorf("HeldBy = %+v, %v", h, ok)
	}
}

func TestUnreadableHolder(t *testing.T) {
	path := tempPath(t)
	l, err := AcquireLock(path, Holder{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	write(t, lockPath(path), []byte(`{"pid": 12`), 0o600)
	_, err = AcquireLock(path, Holder{})
	wantSays(t, err, "in use by another process", "fuser")
	if h, ok := HeldBy(err); !ok || h.PID != 0 {
		t.Errorf("HeldBy = %+v, %v", h, ok)
	}
}

// TestStaleLockFile: what a killed holder left behind stops nobody.
func TestStaleLockFile(t *testing.T) {
	path := tempPath(t)
	write(t, lockPath(path), []byte(`{"pid":1,"host":"gone","command":"a name that is longer than the next holder's own"}`), 0o600)
	l, err := AcquireLock(path, Holder{Command: "run", PID: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	_, err = AcquireLock(path, Holder{})
	if h, _ := HeldBy(err); h.PID != 7 {
		t.Errorf("holder = %+v, want pid 7", h)
	}
}

func TestLockIsNoLink(t *testing.T) {
	path := tempPath(t)
	victim := filepath.Join(t.TempDir(), "victim")
	write(t, victim, []byte("precious"), 0o600)
	if err := os.Symlink(victim, lockPath(path)); err != nil {
		t.Fatal(err)
	}
	if _, err := AcquireLock(path, Holder{}); err == nil {
		t.Error("a lock file that is a symbolic link was followed")
	}
	if body, _ := os.ReadFile(victim); string(body) != "precious" {
		t.Errorf("the link's target became %q", body)
	}
}

func TestInstance(t *testing.T) {
	dir := t.TempDir()
	first, err := Instance(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !instanceForm.MatchString(first) {
		t.Errorf("instance %q is not 32 hex digits", first)
	}
	if again, err := Instance(dir); again != first || err != nil {
		t.Errorf("a second call gave %q, %v; want %q", again, err, first)
	}
	if other, err := Instance(t.TempDir()); other == first || err != nil {
		t.Errorf("another directory gave %q, %v", other, err)
	}
	info, err := os.Stat(filepath.Join(dir, instanceFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	write(t, filepath.Join(dir, instanceFile), []byte("scribble"), 0o600)
	_, err = Instance(dir)
	wantSays(t, err, "32 hex digits", "restore it")
	if _, err := Instance(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing directory gave %v", err)
	}
}

func TestBackup(t *testing.T) {
	db := open(t, tempPath(t))
	r := rotatetest.FullRecord("maps")
	r = save(t, db, r, rotatetest.FullEvent("maps"))
	copyPath := filepath.Join(t.TempDir(), "copy.db")
	if err := db.Backup(t.Context(), copyPath); err != nil {
		t.Fatal(err)
	}
	save(t, db, r, rotatetest.FullEvent("maps")) // the original stays in use
	if info, err := os.Stat(copyPath); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy has mode %v, %v", info.Mode(), err)
	}
	err := db.Backup(t.Context(), copyPath)
	wantSays(t, err, "not overwritten", copyPath)
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v is not ErrExist", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(copyPath), "*")); err != nil || len(left) != 1 {
		t.Errorf("beside the copy: %v, %v", left, err)
	}
	if err := db.Backup(t.Context(), filepath.Join(t.TempDir(), "missing", "copy.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing directory gave %v", err)
	}
}
