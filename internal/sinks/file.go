package sinks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"rotatord/internal/rotate"
)

// FileFormat is how the key stands in its file.
type FileFormat string

// The formats.
const (
	FormatDotenv FileFormat = "dotenv" // NAME=value among other lines
	FormatJSON   FileFormat = "json"   // one string field of an object
	FormatBare   FileFormat = "bare"   // the key alone, without a line end
)

// DefaultVariable is the dotenv variable of a key.
const DefaultVariable = "ARCGIS_API_KEY"

// FileOptions describe one credential's key file.
type FileOptions struct {
	Name   string // the sink's, for errors and metrics
	Path   string // absolute; its folder exists
	Format FileFormat
	Field  string // variable or JSON field; "" is DefaultVariable or DefaultKeyField

	Owner, Group string      // name or number; "" is our own
	Mode         os.FileMode // 0 is 0600
	// AllowWide permits a mode beyond 0640.
	AllowWide    bool
	KeepPrevious int // earlier keys kept beside the file

	AfterWrite AfterWrite
	OnNotice   func(Notice) // nil: nobody
}

const (
	defaultMode   fs.FileMode = 0o600
	widestMode    fs.FileMode = 0o640
	worldWritable fs.FileMode = 0o002
	maxKeep                   = maxEarlier
)

// File is the sink of one credential in one file. The file's metadata is in PATH.meta.json
// (see sidecar), earlier keys in PATH.previous.N.json, the lock of writers in PATH.lock.
type File struct {
	opt      FileOptions
	dir      string // as resolved at the start
	base     string
	format   format
	uid, gid int // -1: leave as it is
	// crash ends a write at a named point, as the process's death would; tests only.
	crash func(point string) error
}

var _ rotate.Sink = (*File)(nil)

// NewFile checks the options and the folder. It writes nothing.
func NewFile(opt FileOptions) (*File, error) {
	f := &File{opt: opt, uid: -1, gid: -1, crash: func(string) error { return nil }}
	wrap := func(err error) error { return fmt.Errorf("set up file sink %s: %w", opt.Name, err) }
	if f.opt.OnNotice == nil {
		f.opt.OnNotice = func(Notice) {}
	}
	if f.opt.Mode == 0 {
		f.opt.Mode = defaultMode
	}
	if f.opt.Mode&^fs.ModePerm != 0 || f.opt.Mode&0o600 != 0o600 {
		return nil, wrap(fmt.Errorf("mode %#o: it must let the owner read and write, and have no other bits", f.opt.Mode))
	}
	if f.opt.Mode&^widestMode != 0 && !opt.AllowWide {
		return nil, wrap(fmt.Errorf("mode %#o is wider than %#o, and that was not allowed", f.opt.Mode, widestMode))
	}
	if opt.KeepPrevious < 0 || opt.KeepPrevious > maxKeep {
		return nil, wrap(fmt.Errorf("keep_previous %d is not between 0 and %d", opt.KeepPrevious, maxKeep))
	}
	var err error
	if f.format, err = newFormat(opt.Format, opt.Field); err != nil {
		return nil, wrap(err)
	}
	if f.uid, f.gid, err = lookupOwner(opt.Owner, opt.Group); err != nil {
		return nil, wrap(err)
	}
	if err := opt.AfterWrite.check(); err != nil {
		return nil, wrap(err)
	}
	if err := f.resolve(); err != nil {
		return nil, wrap(err)
	}
	return f, nil
}

// resolve the folder once: a symbolic link above it that is turned later does not
// move the key.
func (f *File) resolve() error {
	if !filepath.IsAbs(f.opt.Path) || filepath.Clean(f.opt.Path) != f.opt.Path {
		return fmt.Errorf("path %q is not absolute and plain", f.opt.Path)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(f.opt.Path))
	if err != nil {
		return fmt.Errorf("look up folder: %w", err)
	}
	f.dir, f.base = dir, filepath.Base(f.opt.Path)
	if f.base == "/" || f.base == "." {
		return fmt.Errorf("path %q names no file", f.opt.Path)
	}
	d, err := f.open()
	if err != nil {
		return err
	}
	defer d.close()
	_, err = d.readRegular(f.base)
	return err
}

func lookupOwner(owner, group string) (uid, gid int, err error) {
	uid, gid = -1, -1
	if owner != "" {
		if uid, err = strconv.Atoi(owner); err != nil {
			u, lookErr := user.Lookup(owner)
			if lookErr != nil {
				return 0, 0, fmt.Errorf("look up owner: %w", lookErr)
			}
			if uid, err = strconv.Atoi(u.Uid); err != nil {
				return 0, 0, fmt.Errorf("look up owner: %w", err)
			}
		}
	}
	if group != "" {
		if gid, err = strconv.Atoi(group); err != nil {
			g, lookErr := user.LookupGroup(group)
			if lookErr != nil {
				return 0, 0, fmt.Errorf("look up group: %w", lookErr)
			}
			if gid, err = strconv.Atoi(g.Gid); err != nil {
				return 0, 0, fmt.Errorf("look up group: %w", err)
			}
		}
	}
	return uid, gid, nil
}

// Name of the sink.
func (f *File) Name() string { return f.opt.Name }

// Read the file and its sidecar. It takes no lock: the sidecar names every content
// that a writer may leave, so that only a changed sidecar makes it look again.
func (f *File) Read(ctx context.Context) (rotate.Entry, error) {
	op := "read file " + f.opt.Path
	if err := ctx.Err(); err != nil {
		return rotate.Entry{}, &rotate.Error{Op: op, Kind: rotate.KindTransient, Err: err}
	}
	d, err := f.open()
	if err != nil {
		return rotate.Entry{}, fileError(op, err)
	}
	defer d.close()
	st, err := f.load(d)
	if err != nil {
		return rotate.Entry{}, fileError(op, err)
	}
	return f.entry(op, st)
}

func (f *File) entry(op string, st state) (rotate.Entry, error) {
	e := rotate.Entry{Version: st.version(), Ever: st.ever, Meta: st.now.Meta}
	key, err := f.format.key(st.content)
	if err != nil {
		return rotate.Entry{}, malformed(op, err)
	}
	e.Key = rotate.NewSecret(key)
	return e, nil
}

// Earlier keys that KeepPrevious kept, newest first.
func (f *File) Earlier(ctx context.Context) ([]rotate.Entry, error) {
	op := "read earlier keys of file " + f.opt.Path
	if err := ctx.Err(); err != nil {
		return nil, &rotate.Error{Op: op, Kind: rotate.KindTransient, Err: err}
	}
	d, err := f.open()
	if err != nil {
		return nil, fileError(op, err)
	}
	defer d.close()
	st, err := f.load(d)
	if err != nil {
		return nil, fileError(op, err)
	}
	numbers, err := f.previous(d)
	if err != nil {
		return nil, fileError(op, err)
	}
	current, err := f.format.key(st.content)
	if err != nil {
		return nil, malformed(op, err)
	}
	var entries []rotate.Entry
	for _, n := range numbers {
		p, err := f.readPrevious(d, n)
		if errors.Is(err, fs.ErrNotExist) { // a writer dropped it meanwhile
			continue
		}
		if err != nil {
			return nil, fileError(op, err)
		}
		if p.Key.Equal(rotate.NewSecret(current)) { // kept by a write that then did not happen
			continue
		}
		entries = append(entries, p)
	}
	return entries, nil
}

// Write replaces the key and its metadata. See sidecar for the order of its steps and
// what a crash between them leaves.
func (f *File) Write(ctx context.Context, e rotate.Entry, cas rotate.Version) (rotate.Version, error) {
	op := "write file " + f.opt.Path
	d, err := f.open()
	if err != nil {
		return "", fileError(op, err)
	}
	defer d.close()
	unlock, err := f.lock(ctx, d)
	if err != nil {
		return "", fileError(op, err)
	}
	version, owed, err := f.writeLocked(op, d, e, cas)
	if err := unlock(); err != nil {
		f.opt.OnNotice(Notice{Sink: f.opt.Name, Text: "the lock of the key file was not given back", Err: err})
	}
	if err != nil {
		return "", err
	}
	if owed != nil {
		f.afterWrite(ctx, *owed)
	}
	return version, nil
}

// writeLocked returns besides the state for which the after-write command is owed.
func (f *File) writeLocked(op string, d folder, e rotate.Entry, cas rotate.Version) (rotate.Version, *fileState, error) {
	st, err := f.load(d)
	if err != nil {
		return "", nil, fileError(op, err)
	}
	old, err := f.entry(op, st)
	if err != nil {
		return "", nil, err
	}
	if st.version() != cas {
		return "", nil, &rotate.Error{
			Op: op, Kind: rotate.KindConflict,
			Err: fmt.Errorf("the file is at version %q, not %q", st.version(), cas),
		}
	}
	content, sameKey := st.content, old.Key.Equal(e.Key)
	if !sameKey {
		if content, err = f.format.with(content, e.Key.Reveal()); err != nil {
			return "", nil, malformed(op, err)
		}
	}
	next := fileState{
		Meta: e.Meta, Counter: st.now.Counter + 1, SHA256: contentHash(content),
		Owed: f.opt.AfterWrite.configured() && (st.now.Owed || !sameKey),
	}
	c := change{was: st, oldKey: old.Key, newKey: e.Key, next: next, content: content}
	if err := f.commit(d, c); err != nil {
		return "", nil, err
	}
	done := state{now: next, content: content, ever: true}
	if !next.Owed {
		return done.version(), nil, nil
	}
	return done.version(), &next, nil
}

// RunOwed runs the after-write command if a crash or its failure left it owed.
func (f *File) RunOwed(ctx context.Context) error {
	op := "run after-write command of file " + f.opt.Path
	d, err := f.open()
	if err != nil {
		return fileError(op, err)
	}
	st, err := f.load(d)
	d.close()
	if err != nil {
		return fileError(op, err)
	}
	if st.now.Owed {
		f.afterWrite(ctx, st.now)
	}
	return nil
}

// lockWait bounds how long a writer waits for another one.
const (
	lockWait  = 10 * time.Second
	lockFirst = time.Millisecond
	lockMost  = 50 * time.Millisecond
)

// fileError classifies what the file system said before anything changed.
func fileError(op string, err error) error {
	if e, ok := errors.AsType[*rotate.Error](err); ok {
		return e
	}
	kind, cause := classifyFS(err)
	return &rotate.Error{Op: op, Kind: kind, Cause: cause, Err: err}
}
