package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestADaemonCreates: what the config has, its portal has not, and the daemon may make, is made
// and gets its first key without apply; the config stays as it is, also over a restart.
func TestADaemonCreates(t *testing.T) {
	t.Parallel()
	s := newSettingsRig(t)
	s.edit(t, "credentials:\n", `credentials:
  - name: second-map
    create:
      use: public
      by_daemon: true
      title: Second map
      privileges: [premium:user:basemaps]
      referrers: [https://second.example.com]
`)
	before := s.text()
	if r, err := s.client.Reload(t.Context()); err != nil {
		t.Fatalf("reload: %+v, %v", r, err)
	}
	file := filepath.Join(s.dir, "keys", "second-map.key")
	served := func() bool {
		b, err := os.ReadFile(file)
		valid, _ := s.emulator.KeyValid(strings.TrimSpace(string(b)))
		return err == nil && valid
	}
	s.await("the first key is served", func(context.Context) bool { return served() })
	s.await("it is managed as any other", func(ctx context.Context) bool {
		st, err := s.client.Status(ctx, "second-map")
		return err == nil && len(st) == 1 && st[0].Live.Fingerprint != "" && !st[0].AdoptedAt.IsZero()
	})
	if s.text() != before {
		t.Error("the config was written")
	}
	s.terminate(t)
	s.start()
	s.await("a restart knows it", func(ctx context.Context) bool {
		st, err := s.client.Status(ctx, "second-map")
		return err == nil && len(st) == 1 && st[0].Live.Fingerprint != ""
	})
	titled := 0
	for _, c := range s.emulator.Snapshot().Credentials {
		if c.Title == "Second map" {
			titled++
		}
	}
	if titled != 1 || !served() {
		t.Errorf("%d items, served %t", titled, served())
	}
	s.terminate(t)
	// With the journal lost no second item is made beside the key that is served.
	for _, f := range []string{"journal.db", "journal.db-wal", "journal.db-shm"} {
		_ = os.Remove(filepath.Join(s.dir, "state", f))
	}
	s.start()
	s.await("it says why it makes none", func(context.Context) bool {
		log, err := os.ReadFile(filepath.Join(s.dir, "daemon.log"))
		return err == nil && strings.Contains(string(log), "credential not created") && strings.Contains(string(log), "has the key of item")
	})
	s.terminate(t)
}
