package sinks

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

func TestNewFileRefuses(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "target"), "")
	for _, link := range []string{"link", "dangling"} {
		if err := os.Symlink(strings.Replace(link, "link", "target", 1), filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	good := FileOptions{Path: filepath.Join(dir, "key"), Format: FormatDotenv}
	for _, tt := range []struct {
		name   string
		change func(o *FileOptions)
	}{
		{"relative path", func(o *FileOptions) { o.Path = "key" }},
		{"path with a climb", func(o *FileOptions) { o.Path = dir + "/x/../key" }},
		{"root", func(o *FileOptions) { o.Path = "/" }},
		{"no folder", func(o *FileOptions) { o.Path = filepath.Join(dir, "none", "key") }},
		{"folder is a file", func(o *FileOptions) { o.Path = filepath.Join(dir, "target", "key") }},
		{"world-writable folder", func(o *FileOptions) { o.Path = filepath.Join(open, "key") }},
		{"a link", func(o *FileOptions) { o.Path = filepath.Join(dir, "link") }},
		{"a dangling link", func(o *FileOptions) { o.Path = filepath.Join(dir, "dangling") }},
		{"a folder", func(o *FileOptions) { o.Path = open }},
		{"world-readable", func(o *FileOptions) { o.Mode = 0o644 }},
		{"group-writable", func(o *FileOptions) { o.Mode = 0o660 }},
		{"not readable by the owner", func(o *FileOptions) { o.Mode = 0o240 }},
		{"setuid", func(o *FileOptions) { o.Mode, o.AllowWide = 0o600|os.ModeSetuid, true }},
		{"unknown format", func(o *FileOptions) { o.Format = "ini" }},
		{"no variable's name", func(o *FileOptions) { o.Field = "A B" }},
		{"field of a bare key", func(o *FileOptions) { o.Format, o.Field = FormatBare, "x" }},
		{"unknown owner", func(o *FileOptions) { o.Owner = "nobody-by-that-name" }},
		{"unknown group", func(o *FileOptions) { o.Group = "nobody-by-that-name" }},
		{"too many earlier keys", func(o *FileOptions) { o.KeepPrevious = 11 }},
		{"negative earlier keys", func(o *FileOptions) { o.KeepPrevious = -1 }},
		{"command and unit", func(o *FileOptions) {
			o.AfterWrite = AfterWrite{Command: []string{"/bin/true"}, ReloadUnit: "a.service"}
		}},
		{"relative command", func(o *FileOptions) { o.AfterWrite.Command = []string{"true"} }},
		{"a flag for a unit", func(o *FileOptions) { o.AfterWrite.ReloadUnit = "--all.service" }},
		{"no unit's name", func(o *FileOptions) { o.AfterWrite.ReloadUnit = "nginx" }},
		{"negative attempts", func(o *FileOptions) { o.AfterWrite.Attempts = -1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opt := good
			tt.change(&opt)
			if _, err := NewFile(opt); err == nil {
				t.Error("got no error")
			}
		})
	}
	for _, mode := range []os.FileMode{0, 0o600, 0o640} {
		good.Mode = mode
		if _, err := NewFile(good); err != nil {
			t.Errorf("mode %#o: %v", mode, err)
		}
	}
	good.Mode, good.AllowWide = 0o644, true
	if _, err := NewFile(good); err != nil {
		t.Errorf("mode 0644, allowed: %v", err)
	}
}

func TestFileErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, path string)
		kind  rotate.Kind
		cause rotate.Cause
	}{
		{"folder opened to everybody", func(t *testing.T, path string) { chmod(t, filepath.Dir(path), 0o777) }, rotate.KindPermanent, rotate.CauseForbidden},
		{"folder gone", func(t *testing.T, path string) { remove(t, filepath.Dir(path)) }, rotate.KindPermanent, rotate.CauseNotFound},
		{"file became a link", func(t *testing.T, path string) {
			remove(t, path)
			if err := os.Symlink("/etc/passwd", path); err != nil {
				t.Fatal(err)
			}
		}, rotate.KindPermanent, rotate.CauseMalformed},
		{"file became a folder", func(t *testing.T, path string) {
			remove(t, path)
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, rotate.KindPermanent, rotate.CauseMalformed},
		{"file is huge", func(t *testing.T, path string) { put(t, path, strings.Repeat("#\n", maxContent)) }, rotate.KindPermanent, rotate.CauseMalformed},
		{"sidecar is damaged", func(t *testing.T, path string) { put(t, path+sidecarSuffix, "{") }, rotate.KindPermanent, rotate.CauseMalformed},
		{"sidecar is somebody else's", func(t *testing.T, path string) { put(t, path+sidecarSuffix, `{"format":1}`) }, rotate.KindPermanent, rotate.CauseMalformed},
		{"sidecar is of a later rotatord", func(t *testing.T, path string) {
			put(t, path+sidecarSuffix, `{"format":2,"file_sink":{"counter":1,"sha256":""}}`)
		}, rotate.KindPermanent, rotate.CauseMalformed},
		{"variable twice", func(t *testing.T, path string) { put(t, path, "ARCGIS_API_KEY=a\nARCGIS_API_KEY=b\n") }, rotate.KindPermanent, rotate.CauseMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "sub")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			f := mustFile(t, FileOptions{Path: filepath.Join(dir, "key"), Format: FormatDotenv})
			v := mustWrite(t, f, testEntry(1), "")
			tt.spoil(t, f.opt.Path)
			_, readErr := f.Read(t.Context())
			_, writeErr := f.Write(t.Context(), testEntry(2), v)
			for _, err := range []error{readErr, writeErr} {
				if rotate.KindOf(err) != tt.kind || rotate.CauseOf(err) != tt.cause {
					t.Errorf("got %v (%s, %s), want %s, %s", err, rotate.KindOf(err), rotate.CauseOf(err), tt.kind, tt.cause)
				}
				if err != nil && strings.Contains(err.Error(), canary) {
					t.Error("the error shows a key")
				}
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func TestClassifyFS(t *testing.T) {
	for _, tt := range []struct {
		err   error
		kind  rotate.Kind
		cause rotate.Cause
	}{
		{syscall.EROFS, rotate.KindPermanent, rotate.CauseReadOnly},
		{syscall.EACCES, rotate.KindPermanent, rotate.CauseForbidden},
		{syscall.EPERM, rotate.KindPermanent, rotate.CauseForbidden},
		{syscall.ENOENT, rotate.KindPermanent, rotate.CauseNotFound},
		{syscall.ENOSPC, rotate.KindTransient, rotate.CauseNone},
		{syscall.EIO, rotate.KindTransient, rotate.CauseNone},
		{context.Canceled, rotate.KindTransient, rotate.CauseNone},
	} {
		if kind, cause := classifyFS(&os.PathError{Op: "open", Path: "x", Err: tt.err}); kind != tt.kind || cause != tt.cause {
			t.Errorf("%v: got %s, %s, want %s, %s", tt.err, kind, cause, tt.kind, tt.cause)
		}
	}
}

// A writer that waits for the lock gives up with its caller, and one that gets it finds
// the version gone.
func TestFileLock(t *testing.T) {
	f := mustFile(t, FileOptions{Path: filepath.Join(t.TempDir(), "key"), Format: FormatBare})
	v := mustWrite(t, f, testEntry(1), "")
	d, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	unlock, err := f.lock(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = f.Write(ctx, testEntry(2), v)
	if rotate.KindOf(err) != rotate.KindTransient || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a transient deadline", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, testEntry(2), v)
}

// Readers take no lock and see whole states only while keys change under them.
func TestFileReadersDuringWrites(t *testing.T) {
	opt := FileOptions{Path: filepath.Join(t.TempDir(), "key"), Format: FormatDotenv}
	f := mustFile(t, opt)
	v := mustWrite(t, f, testEntry(1), "")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		reader := mustFile(t, opt)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				e, err := reader.Read(t.Context())
				if err != nil || e.Meta == nil || e.Key.Fingerprint() != e.Meta.Key.Fingerprint {
					t.Errorf("got %s with metadata %+v and %v", e.Key.Fingerprint(), e.Meta, err)
					return
				}
			}
		})
	}
	for n := 2; n < 30; n++ {
		v = mustWrite(t, f, testEntry(n), v)
	}
	close(stop)
	wg.Wait()
}

func script(t *testing.T, body string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAfterWrite(t *testing.T) {
	t.Setenv("INHERITED", canary)
	out := filepath.Join(t.TempDir(), "out")
	hook := script(t, `{ env; echo "args $*"; } >>`+out+"\n")
	var notices []Notice
	f := mustFile(t, FileOptions{
		Path: filepath.Join(t.TempDir(), "key"), Format: FormatDotenv,
		AfterWrite: AfterWrite{Command: []string{hook, "one"}},
		OnNotice:   func(n Notice) { notices = append(notices, n) },
	})
	claim := testEntry(1)
	claim.Key.Forget()
	v := mustWrite(t, f, claim, "")
	if _, err := os.Stat(out); err == nil {
		t.Error("the command ran although no key changed")
	}
	v = mustWrite(t, f, testEntry(1), v)
	got := content(t, out)
	if !strings.Contains(got, "args one\n") || !strings.Contains(got, "ROTATORD_FILE="+f.opt.Path) {
		t.Errorf("the command saw %q", got)
	}
	if strings.Contains(got, canary) {
		t.Error("the command saw the key or our environment")
	}
	if mustRead(t, f).Version != v {
		t.Error("noting that nothing is owed changed the version")
	}
	if len(notices) > 0 {
		t.Errorf("got the notices %v", notices)
	}
}

func TestAfterWriteFails(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	hook := script(t, "echo x >>"+count+"\ncat "+count+" | wc -l | grep -q 4\n")
	var notices []Notice
	f := mustFile(t, FileOptions{
		Path: filepath.Join(t.TempDir(), "key"), Format: FormatBare,
		AfterWrite: AfterWrite{Command: []string{hook}, Attempts: 3, Wait: time.Millisecond},
		OnNotice:   func(n Notice) { notices = append(notices, n) },
	})
	v := mustWrite(t, f, testEntry(1), "")
	if got := strings.Count(content(t, count), "x"); got != 3 {
		t.Errorf("the command ran %d times, want 3", got)
	}
	if len(notices) != 1 || !errors.As(notices[0].Err, new(*exec.ExitError)) || strings.Contains(notices[0].Err.Error(), canary) {
		t.Errorf("got the notices %v, want one about the exit", notices)
	}
	if got := mustRead(t, f); got.Version != v || !sameEntry(got, testEntry(1)) {
		t.Error("the write was undone")
	}
	for range 2 { // the fourth run succeeds, and nothing is owed after it
		if err := f.RunOwed(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(content(t, count), "x"); got != 4 {
		t.Errorf("the command ran %d times, want 4", got)
	}
	if got := mustRead(t, f); got.Version != v {
		t.Errorf("got version %q, want %q", got.Version, v)
	}
}

// A command that hangs is ended with all that it started.
func TestAfterWriteHangs(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	hook := script(t, "sleep 600 &\necho $! >"+pidFile+"\nwait\n")
	var notices []Notice
	f := mustFile(t, FileOptions{
		Path: filepath.Join(t.TempDir(), "key"), Format: FormatBare,
		AfterWrite: AfterWrite{Command: []string{hook}, Attempts: 1, Timeout: 300 * time.Millisecond},
		OnNotice:   func(n Notice) { notices = append(notices, n) },
	})
	mustWrite(t, f, testEntry(1), "")
	if len(notices) != 1 || !errors.Is(notices[0].Err, context.DeadlineExceeded) {
		t.Fatalf("got the notices %v, want one about the time limit", notices)
	}
	stat := "/proc/" + strings.TrimSpace(content(t, pidFile)) + "/stat"
	for range 200 { // an orphan is reaped by init some time after its end
		raw, err := os.ReadFile(stat)
		if err != nil || strings.Contains(string(raw), ") Z ") {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Error("the command's child lives on")
}

func TestReloadUnitCommand(t *testing.T) {
	got := strings.Join(AfterWrite{ReloadUnit: "app@1.service"}.argv(), " ")
	if want := "systemctl reload -- app@1.service"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
