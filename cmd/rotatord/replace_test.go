package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rotatord/internal/daemon"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// withRights is a world whose credential is made, and is to have other rights.
func withRights(t *testing.T) (w *applyWorld, item, key string) {
	t.Helper()
	w = newApplyWorld(t)
	w.edit(t, "overlap: 1m", "overlap: 1s")
	if r := runCLI(t, "--config", w.config, "apply", "--yes"); r.code != exitOK {
		t.Fatalf("code %d\n%s%s", r.code, r.out, r.err)
	}
	w.edit(t, "privileges: [premium:user:basemaps]", "privileges: [premium:user:basemaps, premium:user:geocode]")
	return w, w.item(t), w.served(t)
}

// replaced waits for the end of the item before, and checks that all is as configured.
func (w *applyWorld) replaced(t *testing.T, item, key string) {
	t.Helper()
	if valid, why := w.emulator.KeyValid(w.served(t)); !valid {
		t.Fatalf("the served key is %s", why)
	}
	await := &world{log: filepath.Join(w.dir, "none")}
	await.await(t, "the item before is gone", func(context.Context) bool {
		runCLI(t, "--config", w.config, "once")
		return !slices.ContainsFunc(w.emulator.Snapshot().Credentials, func(c portaltest.CredentialState) bool { return c.ItemID == item })
	})
	if w.item(t) == item || w.served(t) == key {
		t.Errorf("item %s, key as before: %t", w.item(t), w.served(t) == key)
	}
	if valid, _ := w.emulator.KeyValid(key); valid {
		t.Error("the key before still works")
	}
	w.made(t)
}

// Rights are edited without an outage: another item takes over.
func TestApplyReplaces(t *testing.T) {
	w, item, key := withRights(t)
	if r := runCLI(t, "--config", w.config, "apply", "--yes"); r.code != exitAttention || !strings.Contains(r.out, "apply trail-map --replace") {
		t.Errorf("without the word: code %d\n%s%s", r.code, r.out, r.err)
	}
	if r := runCLI(t, "--config", w.config, "apply", "trail-map", "--replace", "--dry-run"); r.code != exitOK || !strings.Contains(r.out, "it takes over from item "+item) {
		t.Errorf("dry run: code %d\n%s%s", r.code, r.out, r.err)
	}
	if w.served(t) != key || w.item(t) != item {
		t.Fatal("something was replaced already")
	}
	r := runCLI(t, "--config", w.config, "apply", "trail-map", "--replace", "--yes")
	if r.code != exitOK || !strings.Contains(r.out, "takes over from "+item) {
		t.Fatalf("code %d\n%s%s", r.code, r.out, r.err)
	}
	w.replaced(t, item, key)
	if r := runCLI(t, "--config", w.config, "apply", "trail-map", "--replace", "--yes"); r.code != exitOK || !strings.Contains(r.err, "nothing to replace") {
		t.Errorf("again: code %d\n%s%s", r.code, r.out, r.err)
	}
	h := runCLI(t, "--config", w.config, "history", "trail-map")
	for _, want := range []string{"handed_over", "replaced", "remove: ok"} {
		if !strings.Contains(h.out, want) {
			t.Errorf("the history lacks %q:\n%s", want, h.out)
		}
	}
}

// Killed between any two writes and started again, one item takes over, and nothing is left.
func TestReplaceKilledAnywhere(t *testing.T) {
	attempt := func(w *applyWorld, n int) error {
		c := &cli{configPath: w.config, stdio: stdio{out: &strings.Builder{}, err: &strings.Builder{}}}
		a, err := c.openAdapters()
		if err != nil {
			t.Fatal(err)
		}
		defer a.close()
		m := newMaker(c, a, a.cfg.Credentials[0])
		point := 0
		m.kill = func(string) error {
			if point++; point == n {
				return errKilled
			}
			return nil
		}
		begun, err := m.resume(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !begun {
			out := applied{}
			if err := m.begin(t.Context(), applyOptions{replace: true, yes: true}, &out); err != nil || out.Done {
				return err
			}
		}
		release, err := m.lock()
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if _, ps, err := m.check(t.Context()); err != nil || hasSpecError(ps) {
			t.Fatalf("%v %+v", err, ps)
		}
		if _, err = m.run(t.Context()); err != nil {
			return err
		}
		return c.retarget(t.Context(), a.cfg.Name(), a.cfg.Credentials)
	}
	points := 0
	for n := 1; ; n += 3 {
		w, item, key := withRights(t)
		err := attempt(w, n)
		if err == nil {
			w.replaced(t, item, key)
			break
		}
		points++
		if !errors.Is(err, errKilled) {
			t.Fatalf("point %d: %v", n, err)
		}
		if err := attempt(w, 0); err != nil {
			t.Fatalf("after a kill at point %d: %v", n, err)
		}
		w.replaced(t, item, key)
	}
	if points < 5 {
		t.Errorf("only %d points", points)
	}
}

// The config may say that the app in use is edited: both keys die, and a new one is made at once.
func TestApplyInPlace(t *testing.T) {
	w, item, key := withRights(t)
	w.edit(t, "      use: public\n", "      use: public\n      in_place: true\n")
	r := runCLI(t, "--config", w.config, "apply", "trail-map", "--replace", "--dry-run")
	if !strings.Contains(r.err, "Both keys die at once") || !strings.Contains(r.err, "its rotations took ") || w.served(t) != key {
		t.Errorf("dry run: code %d\n%s%s", r.code, r.out, r.err)
	}
	began := time.Now()
	if r := runCLI(t, "--config", w.config, "apply", "trail-map", "--replace", "--yes"); r.code != exitOK {
		t.Fatalf("code %d\n%s%s", r.code, r.out, r.err)
	}
	await := &world{log: filepath.Join(w.dir, "none")}
	await.await(t, "a key that works", func(context.Context) bool {
		runCLI(t, "--config", w.config, "once")
		valid, _ := w.emulator.KeyValid(w.served(t))
		return valid
	})
	t.Logf("a new key after %s", time.Since(began))
	if w.item(t) != item || w.served(t) == key {
		t.Errorf("item %s, was %s", w.item(t), item)
	}
	w.made(t)
}

// A rotation that is slower than others is what an outage may take.
func TestSlowestRotation(t *testing.T) {
	at := func(id string, k rotate.EventKind, s int) daemon.HistoryEntry {
		return daemon.HistoryEntry{Event: rotate.Event{RotationID: id, Kind: k, At: time.Unix(int64(s), 0)}}
	}
	got := slowest([]daemon.HistoryEntry{at("a", rotate.EventStarted, 0), at("b", rotate.EventPromoted, 1), at("a", rotate.EventPromoted, 4), at("c", rotate.EventStarted, 5),
		at("c", rotate.EventPromoted, 7)})
	if got != 4*time.Second {
		t.Errorf("%s", got)
	}
}

// A credential moves to another portal: a second item there takes over, and the config follows.
func TestApplyMovesToAnotherPortal(t *testing.T) {
	t.Parallel()
	w, item, key := withRights(t)
	there, server := newEmulator()
	t.Cleanup(server.Close)
	layer := there.AddCredential(portaltest.CredentialSeed{Title: "layer"}).ItemID
	w.edit(t, "sinks:\n", fmt.Sprintf("  there:\n    url: %s\n    product: online\n    identity: {username: %s, password: 'file:%s/password'}\nsinks:\n", server.URL, portaltest.AdminUser, w.dir))
	w.edit(t, "  - name: trail-map # to be made\n", "  - name: trail-map\n    portal: here\n")
	w.says(t, exitUsage, []string{"apply", "trail-map", "--replace", "--to", "nowhere", "--yes"}, "no portal nowhere")
	w.says(t, exitUsage, []string{"apply", "--replace", "--yes"}, "wants one NAME")
	w.says(t, exitUsage, []string{"apply", "trail-map", "--to", "there"}, "go with --replace")
	src, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	old := w.layer(t, string(src))
	w.edit(t, old, layer)
	w.ok(t, "apply", "trail-map", "--replace", "--to", "there", "--yes")
	if valid, why := there.KeyValid(w.served(t)); !valid {
		t.Fatalf("the served key is %s at the other portal", why)
	}
	text, err := os.ReadFile(w.config)
	if err != nil || !strings.Contains(string(text), "    portal: there\n") || strings.Contains(string(text), item) {
		t.Errorf("the config: %v\n%s", err, text)
	}
	await := &world{log: filepath.Join(w.dir, "none")}
	await.await(t, "the item before is gone", func(context.Context) bool {
		runCLI(t, "--config", w.config, "once")
		return !slices.ContainsFunc(w.emulator.Snapshot().Credentials, func(c portaltest.CredentialState) bool { return c.ItemID == item })
	})
	if valid, _ := w.emulator.KeyValid(key); valid {
		t.Error("the key before still works")
	}
}

// layer is the item that the config grants.
func (w *applyWorld) layer(t *testing.T, config string) string {
	t.Helper()
	_, rest, ok := strings.Cut(config, "items: [")
	id, _, _ := strings.Cut(rest, "]")
	if !ok {
		t.Fatal("no items")
	}
	return id
}

// Somebody knows the client secret: another item takes over though nothing differs, the old
// keys die at once, and the item may be kept.
func TestApplyReplacesWhatIsCompromised(t *testing.T) {
	t.Parallel()
	w := newApplyWorld(t)
	w.ok(t, "apply", "--yes")
	item, key := w.item(t), w.served(t)
	w.ok(t, "apply", "trail-map", "--replace", "--compromised", "--keep-item", "--yes")
	await := &world{log: filepath.Join(w.dir, "none")}
	await.await(t, "the old key is dead", func(context.Context) bool {
		runCLI(t, "--config", w.config, "once")
		valid, _ := w.emulator.KeyValid(key)
		return !valid
	})
	if valid, why := w.emulator.KeyValid(w.served(t)); !valid || w.item(t) == item {
		t.Errorf("the served key is %s, of item %s", why, w.item(t))
	}
	if !slices.ContainsFunc(w.emulator.Snapshot().Credentials, func(c portaltest.CredentialState) bool { return c.ItemID == item }) {
		t.Error("the item before is not kept")
	}
}
