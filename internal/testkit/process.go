package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const stopTimeout = 15 * time.Second

// process is one child and the goroutine that waits for it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has been reaped
	err  error         // how it ended; valid after done
}

// startProcess runs bin with nothing of our environment but PATH: a VAULT_*
// variable of the developer must not reach the server. Output goes to logPath.
func startProcess(logPath, home, bin string, args ...string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Pdeathsig fires when the *thread* that forked ends, so this goroutine
		// keeps its thread for as long as the child lives. It is what stops the
		// server when the test binary is killed and no cleanup runs.
		runtime.LockOSThread()
		defer log.Close()
		if err := cmd.Start(); err != nil {
			started <- fmt.Errorf("start %s: %w", bin, err)
			return
		}
		started <- nil
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// signal ignores a child that has ended already: that is what was wanted.
func (p *process) signal(sig os.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// pause freezes the child and returns when every thread of it has stopped: a
// thread that is still on its way to the stop would answer one more request.
func (p *process) pause() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		var info unix.Siginfo
		// WNOWAIT leaves the state for others; only WEXITED would race cmd.Wait.
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WSTOPPED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// kill ends the child at once and returns when it has been reaped.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL) // cannot fail for a live child of ours
	<-p.done
}

// stop asks the child to end and kills it when it does not in time. A stopped
// (SIGSTOP) child is woken first, or it would never see the request.
func (p *process) stop() error {
	for _, sig := range []os.Signal{syscall.SIGCONT, syscall.SIGTERM} {
		if err := p.signal(sig); err != nil {
			return fmt.Errorf("signal %v: %w", sig, err)
		}
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		p.kill()
		return fmt.Errorf("did not end within %v of SIGTERM", stopTimeout)
	}
}
