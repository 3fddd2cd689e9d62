package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rotatord/internal/daemon"
)

// Beside a running daemon apply needs no lock of its journal: the daemon takes the new credential over, and makes its first key.
func TestApplyBesideADaemon(t *testing.T) {
	w := newApplyWorld(t)
	group, err := ownGroup()
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(src), "admin.sock'}", fmt.Sprintf("admin.sock', group: '%s'}\nschedules: {tick: '@every 1s'}", group), 1)
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(buildBinary(t), "--config", w.config, "run")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &started{Cmd: cmd, client: daemon.NewClient(filepath.Join(w.dir, "admin.sock"))}
	t.Cleanup(func() {
		p.client.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	await := &world{log: filepath.Join(w.dir, "none")}
	await.await(t, "the daemon answers", func(ctx context.Context) bool {
		_, err := p.client.Health(ctx)
		return err == nil
	})
	if r := runCLI(t, "--config", w.config, "apply", "--yes"); r.code != exitOK {
		t.Fatalf("code %d\n%s%s", r.code, r.out, r.err)
	}
	await.await(t, "the first key is served", func(context.Context) bool {
		b, err := os.ReadFile(filepath.Join(w.dir, "keys", "trail-map.key"))
		return err == nil && len(b) > 0
	})
	w.made(t)
}
