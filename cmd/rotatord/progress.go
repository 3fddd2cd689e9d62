package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"rotatord/internal/config"
)

// progressFile is what a creation or a retirement keeps between its steps: a file of the state
// directory and not the journal, which a running daemon has locked. It is gone when all is done.
type progressFile string

func progressOf(cfg *config.Config, dir string, name config.Name) progressFile {
	return progressFile(filepath.Join(string(cfg.State.Dir), dir, string(name)+".json"))
}

// read it; begun tells whether there is any.
func (f progressFile) read(into any) (begun bool, err error) {
	b, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return true, fmt.Errorf("read progress %s: %w", f, err)
	}
	return true, nil
}

// write is on disk when it returns.
func (f progressFile) write(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(string(f)), 0o700)
	}
	if err == nil {
		err = writeConfig(string(f), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write progress: %w", err)
	}
	return nil
}

func (f progressFile) remove() error {
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove progress: %w", err)
	}
	return nil
}

// lock it against a second process that does the same.
func (f progressFile) lock(what string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(string(f)), 0o700); err != nil {
		return nil, fmt.Errorf("lock progress: %w", err)
	}
	file, err := os.OpenFile(string(f)+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock progress: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another %s is at work (%s)", what, file.Name()), file.Close())
	}
	return func() { _ = file.Close() }, nil // the lock goes with the descriptor
}
