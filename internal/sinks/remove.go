package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"rotatord/internal/rotate"
)

// ErrShared: others keep something in the same secret or file, which stays; only what is
// rotatord's is taken out.
var ErrShared = errors.New("others keep something in it: only the key and rotatord's facts were taken out")

// Remove deletes the current version of the secret; earlier ones stay readable, and it can
// be undeleted. Where others have fields in it, those are kept and it is ErrShared. What is
// not there is removed. The right to delete is none that a rotation needs.
func (s *VaultSink) Remove(ctx context.Context) error {
	op := "delete secret " + s.what()
	if err := s.v.ready(ctx, s.spec.Mount); err != nil {
		return err
	}
	now, err := s.current(ctx)
	if err != nil || len(now.fields) == 0 {
		return err
	}
	if _, err := s.entry(now); err != nil {
		return err
	}
	rest, err := s.merge(now.fields, rotate.Entry{})
	if err != nil {
		return malformed(op, err)
	}
	if len(rest) > 0 {
		if len(rest) < len(now.fields) {
			if err := s.put(ctx, op, rest, now.version); err != nil {
				return err
			}
		}
		return fmt.Errorf("%s: %w", op, ErrShared)
	}
	c := call{op: op, path: s.dataPath(), remove: true, effect: true}
	rep, err := s.v.do(ctx, c)
	if err != nil {
		return err
	}
	if rep.status != http.StatusNoContent && rep.status != http.StatusOK {
		return judge(c, rep)
	}
	return nil
}

// Remove deletes the key file with its sidecar, earlier keys and lock. Where others have
// something in the file, only the key is taken out and it is ErrShared. What is not there is
// removed. No after-write command runs for a file that is gone.
func (f *File) Remove(ctx context.Context) error {
	op := "remove file " + f.opt.Path
	d, err := f.open()
	if err != nil {
		return fileError(op, err)
	}
	defer d.close()
	unlock, err := f.lock(ctx, d)
	if err != nil {
		return fileError(op, err)
	}
	shared, err := f.removeLocked(d)
	if err == nil {
		err = errors.Join(f.removeBeside(d), d.sync())
	}
	if err := errors.Join(err, unlock()); err != nil {
		return fileError(op, err)
	}
	if shared {
		return fmt.Errorf("%s: %w", op, ErrShared)
	}
	return nil
}

// removeLocked takes the key away, and the file where it held nothing else.
func (f *File) removeLocked(d folder) (shared bool, err error) {
	content, err := d.readRegular(f.base)
	if err != nil || content == nil {
		return false, err
	}
	emptied, err := f.format.with(content, "")
	if err != nil {
		return false, err
	}
	if f.alone(emptied) {
		return false, d.remove(f.base)
	}
	_, err = f.replace(d, target{name: f.base, mode: f.opt.Mode, uid: f.uid, gid: f.gid}, emptied, "removed")
	return true, err
}

// alone tells of a content without its key whether nothing is left.
func (f *File) alone(emptied []byte) bool {
	switch f.opt.Format {
	case FormatBare:
		return true
	case FormatDotenv:
		return len(bytes.TrimSpace(emptied)) == 0
	case FormatJSON:
		var object map[string]json.RawMessage
		return json.Unmarshal(emptied, &object) == nil && len(object) == 0
	}
	return false
}

// removeBeside the key file: facts, earlier keys, the lock.
func (f *File) removeBeside(d folder) error {
	numbers, err := f.previous(d)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if err := d.remove(f.previousName(n)); err != nil {
			return err
		}
	}
	return errors.Join(d.remove(f.base+sidecarSuffix), d.remove(f.base+lockSuffix))
}
