package quiet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	commandPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// maxOutput of a command is kept; the rest is read and dropped.
	maxOutput = 4 << 10
	// killDelay is how long to wait for output that a command's children still hold open.
	killDelay = 2 * time.Second
)

// The exit codes that are answers.
const (
	exitYes = 0
	exitNo  = 1
)

// command is asked by running it.
type command struct{ argv []string }

func (c command) ask(ctx context.Context, q question) (verdict, error) {
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = append([]string{commandPath}, q.env...)
	cmd.Stdin = bytes.NewReader(q.body)
	var out head
	cmd.Stdout = &out
	// Its own process group, so that the time limit ends what it started as well.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killDelay
	err := cmd.Run()
	_, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return verdict{}, ctx.Err()
	case err != nil && !exited && !errors.Is(err, exec.ErrWaitDelay):
		return verdict{}, err // it could not be started
	}
	detail := out.line()
	switch code := cmd.ProcessState.ExitCode(); code {
	case exitYes, exitNo:
		return verdict{code == exitYes, detail}, nil
	default:
		return verdict{}, fmt.Errorf("%s ended with %s, which is neither yes (0) nor no (1): %s", filepath.Base(c.argv[0]), cmd.ProcessState, or(detail, "it said nothing"))
	}
}

// head keeps the beginning of what is written to it.
type head struct{ kept []byte }

func (h *head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), maxOutput-len(h.kept))]...)
	return len(p), nil
}

// line is the first one that is not blank.
func (h *head) line() string {
	for line := range bytes.Lines(h.kept) {
		if text := clean(string(line)); text != "" {
			return text
		}
	}
	return ""
}
