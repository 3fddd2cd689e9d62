package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rotatord/internal/credspec"
	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

// rights has the config want other privileges.
func (s *settingsRig) rights(from, to string) {
	s.t.Helper()
	text := strings.Replace(s.text(), "privileges: ["+from+"]", "privileges: ["+to+"]", 1)
	if text == s.text() {
		s.t.Fatalf("no privileges %s", from)
	}
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if r, err := s.client.Reload(s.t.Context()); err != nil {
		s.t.Fatalf("reload: %+v, %v", r, err)
	}
	s.bytes = text
}

// works fails the test if the served key does not.
func (s *settingsRig) works() {
	s.t.Helper()
	key, err := os.ReadFile(filepath.Join(s.dir, "keys", "trail-map.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	if valid, why := s.emulator.KeyValid(strings.TrimSpace(string(key))); !valid {
		s.t.Fatalf("the served key is %s", why)
	}
}

// replacedBy waits until the name is another item, all of whose settings are as configured,
// with a working key at every look, and returns it.
func (s *settingsRig) replacedBy(before rotate.ItemID) (st daemon.Status) {
	s.t.Helper()
	s.await("another item has taken over", func(ctx context.Context) bool {
		s.works()
		st = s.status(ctx)
		return st.Item != before && st.Live.Fingerprint != "" && st.Former != nil && !st.Former.Serves
	})
	s.await("its settings are as configured", func(ctx context.Context) bool {
		s.works()
		now := s.status(ctx).Settings
		return now != nil && now.Differ == 0 && !now.CheckedAt.IsZero()
	})
	return st
}

// TestReplacementInARunningDaemon: where settings are to be corrected and differ in what
// kills keys, the daemon makes another item take over; where they are not, a person has it
// do so with apply, beside it. It survives to be killed in the middle of the overlap.
func TestReplacementInARunningDaemon(t *testing.T) {
	t.Parallel()
	s := newSettingsRig(t)
	s.awaitSettings("all is as the config says", func(st *daemon.SettingsStatus) bool { return st.Differ == 0 })
	first := s.status(t.Context()).Item
	s.edit(t, "overlap: 1m", "overlap: 4s")
	s.policy(credspec.DriftCorrect)
	s.rights("premium:user:basemaps", "premium:user:basemaps, premium:user:geocode")
	second := s.replacedBy(first)
	if r := runCLI(t, "--config", s.config, "status", "trail-map"); !strings.Contains(r.out, "replaced       item "+string(first)+" of here; its keys go ") {
		t.Errorf("status:\n%s", r.out)
	}
	if s.text() != s.bytes {
		t.Error("the daemon wrote into the config")
	}
	_ = s.Process.Kill()
	_ = s.Wait()
	s.start()
	s.await("the item before is gone", func(ctx context.Context) bool {
		s.works()
		return s.status(ctx).Former == nil
	})
	s.policy(credspec.DriftReport)
	s.rights("premium:user:basemaps, premium:user:geocode", "premium:user:geocode")
	s.awaitSettings("it is told", func(st *daemon.SettingsStatus) bool { return st.KillKeys == 1 })
	if r := runCLI(t, "--config", s.config, "apply", "trail-map", "--replace", "--yes"); r.code != exitOK {
		t.Fatalf("apply: code %d\n%s%s", r.code, r.out, r.err)
	}
	third := s.replacedBy(second.Item)
	if !strings.Contains(s.text(), string(third.Item)) {
		t.Errorf("the config does not name item %s", third.Item)
	}
	if r := runCLI(t, "--config", s.config, "check-config"); r.code != exitOK {
		t.Errorf("check-config: %s%s", r.out, r.err)
	}
	s.await("the item before is gone", func(ctx context.Context) bool {
		s.works()
		return s.status(ctx).Former == nil
	})
	s.terminate(t)
}
