package daemon

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

// The service manager is told when the daemon is ready, that it lives, that it reloads, and that it stops.
func TestServiceManagerIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "40000") // 40 ms
	until := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%s was not told: %v", want, err)
			}
			if strings.Contains(string(buf[:n]), want) {
				return
			}
		}
	}
	d := startDaemon(t, newFakeEngine(t), Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 1}),
		Load: func(context.Context) (*Fleet, error) { return fleetOf(map[rotate.PortalID]int{"a": 2}), nil }})
	until("READY=1\nSTATUS=1 credentials")
	until("WATCHDOG=1")
	reloaded := make(chan error, 1)
	go func() {
		_, err := d.Reload(t.Context())
		reloaded <- err
	}()
	until("RELOADING=1\nMONOTONIC_USEC=")
	until("READY=1\nSTATUS=2 credentials")
	if err := <-reloaded; err != nil {
		t.Errorf("reload: %v", err)
	}
	d.stop()
	until("STOPPING=1")
	if err := <-d.result; err != nil {
		t.Errorf("run = %v", err)
	}
}
