package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

// programEnv names a built program, so that one build does for all benchmarks.
const programEnv = "ROTATORD_BENCH_PROGRAM"

// program is the path of rotatord, built as it ships.
func program(tb testing.TB) string {
	tb.Helper()
	if bin := os.Getenv(programEnv); bin != "" {
		return bin
	}
	bin := filepath.Join(tb.TempDir(), "rotatord")
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "./cmd/rotatord")
	cmd.Dir = testkit.Root(tb)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build rotatord: %v\n%s", err, out)
	}
	return bin
}

// process is a started program; ended is closed when it has.
type process struct {
	pid   int
	ended chan struct{}
}

// launch runs the program until the test ends.
func launch(tb testing.TB, bin string, stdout, stderr io.Writer, args ...string) process {
	tb.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), bin, args...)
	cmd.Env = []string{"HOME=" + tb.TempDir(), "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	p := process{pid: cmd.Process.Pid, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is for who waits to say
		close(p.ended)
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // one that has ended already needs none
		<-p.ended
	})
	return p
}

// emulator is an emulated portal in a process of its own: its CPU time is not ours.
type emulator struct {
	URL string `json:"url"`
}

func startEmulator(tb testing.TB, bin string, args ...string) *emulator {
	tb.Helper()
	r, w := io.Pipe()
	launch(tb, bin, w, os.Stderr, append([]string{"emulator", "--json", "--credentials", "0", "--listen", "127.0.0.1:0"}, args...)...)
	e := &emulator{}
	if err := json.NewDecoder(r).Decode(e); err != nil {
		tb.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }() // ends with the process
	return e
}

// made is a credential as the emulator tells of it.
type made struct {
	Item string    `json:"item_id"`
	Keys [2]string `json:"keys"`
}

// add n credentials with keys that end at the given times; a zero time is no key.
func (e *emulator) add(tb testing.TB, n int, expires [2]time.Time) []made {
	tb.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	list := make([]made, n)
	for i := range list {
		body, err := json.Marshal(map[string]any{"Title": fmt.Sprintf("credential %05d", i), "Minted": true, "Expires": expires})
		if err != nil {
			tb.Fatal(err)
		}
		res, err := client.Post(e.URL+"/emulator/credentials", "application/json", bytes.NewReader(body))
		if err != nil {
			tb.Fatal(err)
		}
		err = json.NewDecoder(res.Body).Decode(&list[i])
		if err = errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != http.StatusOK || list[i].Item == "" {
			tb.Fatalf("add a credential: status %d, %v", res.StatusCode, err)
		}
	}
	return list
}

// newClient of an emulated portal.
func newClient(tb testing.TB, o portal.Options) *portal.Client {
	tb.Helper()
	o.Identity.Password = &portal.PasswordIdentity{Username: portaltest.AdminUser, Password: func(context.Context) (rotate.Secret, error) {
		return rotate.NewSecret(portaltest.StandardPassword), nil
	}}
	c, err := portal.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}
