package sinks

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// AfterWrite is run when the key in the file has changed: a command, or the reload of
// a systemd unit. Neither sees the key in its arguments or its environment, and what
// it prints is dropped.
type AfterWrite struct {
	Command    []string // an absolute path and its arguments; no shell
	ReloadUnit string   // "nginx.service"
	Timeout    time.Duration
	Attempts   int           // 0 is 3
	Wait       time.Duration // before the second attempt, doubled before each further one; 0 is 1 s
}

const (
	hookTimeout  = 30 * time.Second
	hookAttempts = 3
	hookKill     = 2 * time.Second
	hookPath     = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	systemctl    = "systemctl"
)

var unitForm = regexp.MustCompile(`^[A-Za-z0-9_.:@\\][A-Za-z0-9_.:@\\-]*\.[a-z]+$`)

func (a AfterWrite) configured() bool { return len(a.Command) > 0 || a.ReloadUnit != "" }

func (a AfterWrite) check() error {
	switch {
	case len(a.Command) > 0 && a.ReloadUnit != "":
		return errors.New("after_write is a command or a unit, not both")
	case len(a.Command) > 0 && !filepath.IsAbs(a.Command[0]):
		return fmt.Errorf("after_write command %q is no absolute path", a.Command[0])
	case a.ReloadUnit != "" && !unitForm.MatchString(a.ReloadUnit):
		return fmt.Errorf("after_write unit %q is no unit's name", a.ReloadUnit)
	case a.Attempts < 0 || a.Timeout < 0 || a.Wait < 0:
		return errors.New("after_write has a negative number")
	}
	return nil
}

func (a AfterWrite) argv() []string {
	if a.ReloadUnit != "" {
		return []string{systemctl, "reload", "--", a.ReloadUnit}
	}
	return a.Command
}

// afterWrite runs what is owed. The key is committed: failing here is told, undoes
// nothing, and stays owed to the next write or RunOwed.
func (f *File) afterWrite(ctx context.Context, owed fileState) {
	err := f.runHook(ctx)
	if err == nil {
		err = f.paid(ctx, owed)
	}
	if err != nil {
		f.opt.OnNotice(Notice{
			Sink: f.opt.Name, Text: "the key was written, but the after-write command did not succeed; it stays owed", Err: err,
		})
	}
}

func (f *File) runHook(ctx context.Context) error {
	a := f.opt.AfterWrite
	attempts, wait := a.Attempts, a.Wait
	if attempts == 0 {
		attempts = hookAttempts
	}
	if wait == 0 {
		wait = time.Second
	}
	var err error
	for n := range attempts {
		if n > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return fmt.Errorf("run after-write command: %w", errors.Join(err, ctx.Err()))
			}
			wait *= 2
		}
		if err = f.runOnce(ctx); err == nil {
			return nil
		}
	}
	return fmt.Errorf("run after-write command %d times: %w", attempts, err)
}

// runOnce gives the command its own process group, so that the time limit ends what
// it started as well.
func (f *File) runOnce(ctx context.Context) error {
	limit := f.opt.AfterWrite.Timeout
	if limit == 0 {
		limit = hookTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	argv := f.opt.AfterWrite.argv()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{hookPath, "ROTATORD_SINK=" + f.opt.Name, "ROTATORD_FILE=" + f.opt.Path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = hookKill
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", filepath.Base(argv[0]), ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(argv[0]), err)
	}
	return nil
}

// paid notes that nothing is owed, unless the key has changed since. It changes no
// version.
func (f *File) paid(ctx context.Context, owed fileState) error {
	d, err := f.open()
	if err != nil {
		return err
	}
	defer d.close()
	unlock, err := f.lock(ctx, d)
	if err != nil {
		return err
	}
	st, err := f.load(d)
	if err == nil && st.now.Owed && st.now.SHA256 == owed.SHA256 && contentHash(st.content) == owed.SHA256 {
		st.now.Owed = false
		_, err = f.writeSidecar(d, sidecar{state: st.now}, "paid")
	}
	return errors.Join(err, unlock())
}
