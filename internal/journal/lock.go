package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Holder says who holds the writer lock. It is the lock file's content, as JSON.
type Holder struct {
	PID      int       `json:"pid"`
	Host     string    `json:"host"`
	Instance string    `json:"instance"`
	Command  string    `json:"command"` // of rotatord: "run", "once", …
	Since    time.Time `json:"since"`
}

// Lock is the right to write to a journal. The kernel takes it back when the
// process ends, however it ends.
type Lock struct{ f *os.File }

// lockedError is a lock that somebody else holds.
type lockedError struct {
	path   string
	holder Holder
}

func (e *lockedError) Error() string {
	if e.holder.PID == 0 {
		return fmt.Sprintf("journal %s is in use by another process; find it: fuser %s", e.path, lockPath(e.path))
	}
	return fmt.Sprintf("journal %s is in use by rotatord %s, pid %d on %s since %s (instance %s); "+
		"use that one through its socket, or stop it first: systemctl stop rotatord, or kill -TERM %d",
		e.path, e.holder.Command, e.holder.PID, e.holder.Host, e.holder.Since.UTC().Format(time.RFC3339), e.holder.Instance, e.holder.PID)
}

// HeldBy tells whether an error of Open or AcquireLock means that another process
// has the writer lock, and which. Its PID is 0 if that process did not say yet.
func HeldBy(err error) (Holder, bool) {
	e, ok := errors.AsType[*lockedError](err)
	if !ok {
		return Holder{}, false
	}
	return e.holder, true
}

func lockPath(journal string) string { return journal + ".lock" }

// AcquireLock takes the writer lock of the journal at path, or says who has it. It
// does not wait. The lock file lies beside the journal and is never removed.
func AcquireLock(path string, h Holder) (*Lock, error) {
	name := lockPath(path)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return nil, fmt.Errorf("open the journal's lock: %w", err)
	}
	if err := giveToOwnerOf(filepath.Dir(name), f); err != nil {
		return nil, errors.Join(fmt.Errorf("open the journal's lock: %w", err), f.Close())
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, errors.Join(&lockedError{path: path, holder: readHolder(f)}, f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	l := &Lock{f: f}
	if err := l.write(h); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", name, err), f.Close())
	}
	return l, nil
}

func (l *Lock) write(h Holder) error {
	if h.PID == 0 {
		h.PID = os.Getpid()
	}
	if h.Host == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		h.Host = host
	}
	if h.Since.IsZero() {
		h.Since = time.Now().UTC()
	}
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err = l.f.WriteAt(append(body, '\n'), 0)
	return err
}

// maxHolder caps what is read of a lock file.
const maxHolder = 4 << 10

// readHolder returns the zero Holder where the content is not, or not yet, whole.
func readHolder(f *os.File) Holder {
	var h Holder
	body, err := io.ReadAll(io.NewSectionReader(f, 0, maxHolder))
	if err != nil || json.Unmarshal(body, &h) != nil {
		return Holder{}
	}
	return h
}

// Release gives the lock back.
func (l *Lock) Release() error {
	return errors.Join(l.f.Truncate(0), l.f.Close())
}
