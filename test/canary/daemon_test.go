package canary

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is the running daemon, under watch through /proc.
type process struct {
	w    *world
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// start the daemon where a core file would be written if it let one be.
func (w *world) start() *process {
	w.t.Helper()
	log, err := os.OpenFile(filepath.Join(w.dir, "out", "daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	w.must(err)
	cmd := exec.Command("/bin/sh", "-c", `ulimit -c "$(ulimit -H -c)"; exec "$@"`, "sh", w.binary, "--config", w.config, "run")
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.Dir = log, log, w.env(), filepath.Join(w.dir, "run")
	w.must(cmd.Start())
	p := &process{w: w, cmd: cmd, done: make(chan struct{})}
	var watch sync.WaitGroup
	watch.Go(p.watch)
	go func() {
		p.err = cmd.Wait()
		close(p.done)
		watch.Wait()
		_ = log.Close()
	}()
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.done
	})
	w.await("the daemon answers", func(ctx context.Context) bool {
		_, err := w.client.Health(ctx)
		return err == nil
	})
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
	w.must(err)
	for line := range strings.Lines(string(limits)) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "Max core file size") && (fields[4] != "0" || fields[5] != "0") {
			w.t.Errorf("the daemon may leave a core file, with every key in it: %s", line)
		}
	}
	return p
}

// watch what anybody on the machine can see of the daemon and its children.
func (p *process) watch() {
	seen := map[string]bool{}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		pid := strconv.Itoa(p.cmd.Process.Pid)
		pids := []string{pid}
		children, _ := filepath.Glob("/proc/" + pid + "/task/*/children")
		for _, c := range children {
			text, _ := os.ReadFile(c)
			pids = append(pids, strings.Fields(string(text))...)
		}
		for _, id := range pids {
			for _, file := range []string{"cmdline", "environ", "comm"} {
				text, _ := os.ReadFile("/proc/" + id + "/" + file)
				if !seen[string(text)] {
					seen[string(text)] = true
					p.w.seen("the process list", text)
				}
			}
		}
		select {
		case <-tick.C:
		case <-p.done:
			return
		}
	}
}

// end by a signal, and say how it ended.
func (p *process) end(s syscall.Signal) error {
	p.w.must(p.cmd.Process.Signal(s))
	<-p.done
	return p.err
}
