package torture

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is one run of the built program.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // how it ended; valid after done
	told bool  // it was asked to end
}

func (w *world) start(config string) *process {
	w.t.Helper()
	cmd := exec.Command(w.binary, "--config", config, "run")
	cmd.Stdout, cmd.Stderr = w.log, w.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig fires when the thread ends that forked
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	w.must(<-started)
	w.t.Cleanup(p.kill)
	return p
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop asks it to end, as systemd does.
func (p *process) stop() {
	p.told = true
	p.signal(syscall.SIGTERM)
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill the daemon and start it anew.
func (w *world) kill() {
	w.t.Helper()
	w.daemon.kill()
	w.mu.Lock()
	w.interval++
	w.mu.Unlock()
	w.full = false
	w.daemon = w.start(w.config)
}

// after waits so long. A daemon that ends meanwhile is started again, as systemd
// would; it may do that only where its disk is full.
func (w *world) after(d time.Duration) {
	w.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	if w.daemon.told {
		<-timer.C
		return
	}
	for {
		select {
		case <-timer.C:
			return
		case <-w.daemon.done:
		}
		if !w.full {
			w.t.Fatalf("the daemon ended by itself: %v\n%s", w.daemon.err, w.logTail())
		}
		w.diskEnds++
		again := time.NewTimer(300 * time.Millisecond)
		select {
		case <-timer.C:
			again.Stop()
			w.daemon = w.start(w.config)
			return
		case <-again.C:
			w.daemon = w.start(w.config)
		}
	}
}

// stopped checks the end of a daemon that was asked to end: in order, not yet, or by
// the signal itself where it came before the program was ready for it.
func (w *world) stopped() {
	w.t.Helper()
	var exit *exec.ExitError
	if w.daemon.ended() && errors.As(w.daemon.err, &exit) && exit.Exited() {
		w.t.Errorf("a daemon that was stopped with SIGTERM ended with %v\n%s", exit, w.logTail())
	}
}
