package notifytest

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// serverPatience: only a broken server uses it up.
const serverPatience = 30 * time.Second

// StartServer starts a server that ends by SIGTERM with the test, and waits until it
// listens. Somebody else may have taken its port meanwhile: then it is made anew.
func StartServer(t *testing.T, fresh func() (cmd *exec.Cmd, address string)) {
	t.Helper()
	const tries = 3
	var err error
	for range tries {
		cmd, address := fresh()
		if err = startServer(t, cmd, address); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func startServer(t *testing.T, cmd *exec.Cmd, address string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(file)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.NewTimer(serverPatience)
		defer late.Stop()
		select {
		case <-ended:
		case <-late.C:
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), serverPatience)
	defer cancel()
	if err := listens(ctx, address, ended); err != nil {
		text, _ := os.ReadFile(file)
		return errors.New(filepath.Base(cmd.Path) + " " + err.Error() + ": " + string(text))
	}
	return nil
}

// listens waits until somebody does on the address, and holds it to be the one that has
// not ended a moment later: one that finds its port taken ends at once.
func listens(ctx context.Context, address string, ended <-chan struct{}) error {
	const every, moment = 50 * time.Millisecond, 300 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address); err == nil {
			_ = conn.Close()
			break
		}
		select {
		case <-tick.C:
		case <-ended:
			return errors.New("ended")
		case <-ctx.Done():
			return errors.New("does not listen on " + address)
		}
	}
	settled := time.NewTimer(moment)
	defer settled.Stop()
	select {
	case <-ended:
		return errors.New("ended")
	case <-settled.C:
		return nil
	}
}
