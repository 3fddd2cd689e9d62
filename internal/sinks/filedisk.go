package sinks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"rotatord/internal/rotate"
)

const (
	sidecarSuffix  = ".meta.json"
	previousInfix  = ".previous."
	previousSuffix = ".json"
	lockSuffix     = ".lock"
	maxContent     = 1 << 20 // bytes of a key file
)

var (
	errNotRegular    = errors.New("is not a regular file")
	errWorldWritable = errors.New("everybody may write to the folder")
	errTooLarge      = errors.New("is too large for a key file")
	errLocked        = errors.New("another writer holds the lock")
)

// folder is the key file's folder; names in it cannot lead out of it.
type folder struct{ root *os.Root }

// names of everything in the folder, in no order. A folder may hold the files of thousands
// of credentials, and fs.ReadDir would stat each of them.
func (d folder) names() ([]string, error) {
	dir, err := d.root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list folder: %w", err)
	}
	return names, nil
}

// open the folder for one operation: it may have been mounted anew.
func (f *File) open() (folder, error) {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return folder{}, fmt.Errorf("open folder: %w", err)
	}
	d := folder{root: root}
	info, err := root.Stat(".")
	if err == nil && info.Mode().Perm()&worldWritable != 0 {
		err = fmt.Errorf("%s: %w", f.dir, errWorldWritable)
	}
	if err != nil {
		d.close()
		return folder{}, fmt.Errorf("check folder: %w", err)
	}
	return d, nil
}

func (d folder) close() { _ = d.root.Close() } // nothing was written through it

// readRegular returns nil for a missing file, and refuses links and whatever else.
func (d folder) readRegular(name string) (content []byte, err error) {
	info, err := d.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %w", name, errNotRegular)
	}
	file, err := d.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	defer file.Close()
	opened, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at file: %w", err)
	}
	if !opened.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %w", name, errNotRegular)
	}
	content, err = io.ReadAll(io.LimitReader(file, maxContent+1))
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	if len(content) > maxContent {
		return nil, fmt.Errorf("%s %w", name, errTooLarge)
	}
	return content, nil
}

func (d folder) remove(name string) error {
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove file: %w", err)
	}
	return nil
}

func (d folder) sync() error {
	dir, err := d.root.Open(".")
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	err = dir.Sync()
	return errors.Join(err, dir.Close())
}

// target of a replacement.
type target struct {
	name     string
	mode     fs.FileMode
	uid, gid int
}

// replace a file as a whole: readers see the old content or the new one, and so does
// the disk. It tells besides whether the new content is in place, which with an error
// means that a power cut may still undo it. The temporary file's name is fixed, which
// the lock allows, so that a crash leaves one at most.
func (f *File) replace(d folder, t target, content []byte, point string) (placed bool, err error) {
	temp := "." + t.name + ".tmp"
	if err := f.stage(d, temp, t, content); err != nil {
		return false, errors.Join(err, d.remove(temp))
	}
	if err := f.crash(point + "_staged"); err != nil {
		return false, err
	}
	if err := d.root.Rename(temp, t.name); err != nil {
		return false, errors.Join(fmt.Errorf("put file in place: %w", err), d.remove(temp))
	}
	if err := f.crash(point + "_renamed"); err != nil {
		return true, err
	}
	if err := d.sync(); err != nil {
		return true, fmt.Errorf("sync folder: %w", err)
	}
	return true, f.crash(point + "_synced")
}

func (f *File) stage(d folder, temp string, t target, content []byte) error {
	if err := d.remove(temp); err != nil {
		return err
	}
	file, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, defaultMode)
	if err != nil {
		return fmt.Errorf("make temporary file: %w", err)
	}
	_, err = file.Write(content)
	if err == nil && (t.uid >= 0 || t.gid >= 0) {
		err = file.Chown(t.uid, t.gid)
	}
	if err == nil {
		err = file.Chmod(t.mode) // whatever the umask; after chown, which may clear bits
	}
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write temporary file: %w", err)
	}
	return nil
}

// lock out other writers, of this process and others. The lock ends with the process.
func (f *File) lock(ctx context.Context, d folder) (unlock func() error, err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lockWait, errLocked)
	defer cancel()
	file, err := d.root.OpenFile(f.base+lockSuffix, os.O_RDWR|os.O_CREATE, defaultMode)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	for wait := lockFirst; ; wait = min(2*wait, lockMost) {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file.Close, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock: %w", err), file.Close())
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, errors.Join(fmt.Errorf("lock: %w", context.Cause(ctx)), file.Close())
		}
	}
}

// classifyFS sorts the errors of a file system.
func classifyFS(err error) (rotate.Kind, rotate.Cause) {
	switch {
	case errors.Is(err, syscall.EROFS):
		return rotate.KindPermanent, rotate.CauseReadOnly
	case errors.Is(err, fs.ErrPermission), errors.Is(err, errWorldWritable):
		return rotate.KindPermanent, rotate.CauseForbidden
	case errors.Is(err, errNotRegular), errors.Is(err, errTooLarge):
		return rotate.KindPermanent, rotate.CauseMalformed
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return rotate.KindPermanent, rotate.CauseNotFound
	}
	return rotate.KindTransient, rotate.CauseNone
}
