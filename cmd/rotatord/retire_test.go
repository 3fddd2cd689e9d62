package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/daemon"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// newMadeWorld has one credential with a key that is served.
func newMadeWorld(t *testing.T) *applyWorld {
	t.Helper()
	w := newApplyWorld(t)
	w.edit(t, "probe_every: 1s", "probe_every: 1m") // or a command without a daemon waits for the overlap's end
	w.ok(t, "apply", "--yes")
	return w
}

// edit the config.
func (w *applyWorld) edit(t *testing.T, old, now string) {
	t.Helper()
	src, err := os.ReadFile(w.config)
	if err != nil || !strings.Contains(string(src), old) {
		t.Fatalf("the config has no %q: %v", old, err)
	}
	if err := os.WriteFile(w.config, []byte(strings.Replace(string(src), old, now, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ok runs a command that is to succeed.
func (w *applyWorld) ok(t *testing.T, args ...string) string {
	t.Helper()
	r := runCLI(t, append([]string{"--config", w.config}, args...)...)
	if r.code != exitOK {
		t.Fatalf("%v: code %d\n%s%s", args, r.code, r.out, r.err)
	}
	return r.out
}

// says wants a code and words of either stream.
func (w *applyWorld) says(t *testing.T, code int, args []string, words ...string) {
	t.Helper()
	r := runCLI(t, append([]string{"--config", w.config}, args...)...)
	for _, word := range words {
		if !strings.Contains(r.out+r.err, word) {
			t.Errorf("%v does not say %q:\n%s%s", args, word, r.out, r.err)
		}
	}
	if r.code != code {
		t.Errorf("%v: code %d, want %d\n%s%s", args, r.code, code, r.out, r.err)
	}
}

func (w *applyWorld) item(t *testing.T) string {
	t.Helper()
	a, err := (&cli{configPath: w.config}).openAdapters()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	return string(a.cfg.Credentials[0].Item)
}

func (w *applyWorld) keyFile() string { return filepath.Join(w.dir, "keys", "trail-map.key") }

// ended checks what is left of a credential that was retired.
func (w *applyWorld) ended(t *testing.T, item string, deleted bool) {
	t.Helper()
	for _, k := range w.emulator.Keys() {
		if valid, _ := w.emulator.KeyValid(k.Secret); valid && k.ItemID == item {
			t.Errorf("the key of slot %d works", k.Slot)
		}
	}
	if b, err := os.ReadFile(w.keyFile()); err != nil || len(b) > 0 {
		t.Errorf("the sink serves %d bytes, %v", len(b), err)
	}
	if meta, err := os.ReadFile(w.keyFile() + ".meta.json"); err != nil || !strings.Contains(string(meta), retiredWord) {
		t.Errorf("the sink's facts do not say it: %s, %v", meta, err)
	}
	a, err := (&cli{configPath: w.config}).openAdapters()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if _, err := a.portals["here"].Details(t.Context(), rotate.ItemID(item)); (rotate.CauseOf(err) == rotate.CauseNotFound) != deleted {
		t.Errorf("the item: %v, want deleted %t", err, deleted)
	}
	if left, err := filepath.Glob(filepath.Join(w.dir, "state", "retirements", "*.json")); err != nil || len(left) > 0 {
		t.Errorf("progress is left: %v %v", left, err)
	}
}

func TestRetire(t *testing.T) {
	t.Parallel()
	w := newMadeWorld(t)
	item := w.item(t)
	w.ok(t, "rotate", "trail-map") // two keys work now
	w.says(t, exitOK, []string{"retire", "trail-map", "--dry-run", "--item", "delete"}, "both keys die at once", "1. hold it", "unregister its app")
	w.says(t, exitUsage, []string{"retire", "trail-map"}, "add --yes")
	w.says(t, exitUsage, []string{"retire", "trail-map", "--sink", "burn"}, "want keep, clear or delete")
	if valid, why := w.emulator.KeyValid(w.served(t)); !valid {
		t.Fatalf("a dry run killed the key: %s", why)
	}
	w.says(t, exitOK, []string{"retire", "trail-map", "--yes", "--item", "delete"}, "the key of slot 1 is invalidated", "the key of slot 2 is invalidated",
		"is not protected any more", "its app is unregistered", "remove it from the config")
	w.ended(t, item, true)
	w.says(t, exitOK, []string{"history", "trail-map"}, "retired", "both keys are dead")
	w.says(t, exitOK, []string{"history", "--verify"}, "none changed or removed")
	// The config still has it: nothing is made, and everybody is told.
	w.says(t, exitOK, []string{"once"}, "credential trail-map was retired on ", "remove it from "+w.config)
	w.says(t, exitFailed, []string{"retire", "trail-map", "--yes"}, "was retired on ")
	w.ended(t, item, true)
}

func (w *applyWorld) served(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(w.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// retireUntil runs one process of retire that is killed at its n-th point.
func (w *applyWorld) retireUntil(t *testing.T, n int) error {
	t.Helper()
	c := &cli{configPath: w.config, stdio: stdio{out: &strings.Builder{}, err: &strings.Builder{}}}
	a, err := c.openAdapters()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	r := newRetirer(c, a, a.cfg.Credentials[0])
	point := 0
	r.kill = func(string) error {
		if point++; point == n {
			return errKilled
		}
		return nil
	}
	return c.retireFrom(t.Context(), r, retireFlags{sink: sinkClear, item: itemDelete, yes: true})
}

// Killed between any two steps and started again, it goes on and leaves nothing.
func TestRetireKilledAnywhere(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		w := newMadeWorld(t)
		item := w.item(t)
		err := w.retireUntil(t, n)
		if err == nil {
			if n < 9 {
				t.Errorf("only %d points", n)
			}
			return
		}
		if !errors.Is(err, errKilled) {
			t.Fatalf("point %d: %v", n, err)
		}
		w.says(t, exitOK, []string{"retire", "trail-map", "--yes"}) // it knows what was chosen
		w.ended(t, item, true)
	}
}

// A key of somebody else in the other slot stops it before anything dies.
func TestRetireLeavesAForeignKey(t *testing.T) {
	t.Parallel()
	w := newMadeWorld(t)
	item := w.item(t)
	foreign, err := w.emulator.MintOutOfBand(item, 2, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	w.says(t, exitFailed, []string{"retire", "trail-map", "--yes"}, "slot 2 holds a key that rotatord did not make", "--take-slot")
	for _, key := range []string{foreign, w.served(t)} {
		if valid, why := w.emulator.KeyValid(key); !valid {
			t.Errorf("a key died: %s", why)
		}
	}
	w.says(t, exitOK, []string{"retire", "trail-map", "--yes", "--take-slot", "--item", "delete"})
	w.ended(t, item, true)
}

// Dead keys, a deleted item: no obstacle.
func TestRetireWhatIsDead(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(t *testing.T, w *applyWorld){
		"invalidated": func(t *testing.T, w *applyWorld) {
			w.ok(t, "invalidate", "trail-map", "--slot", "1", "--outage-ok", "--yes")
		},
		"item deleted": func(t *testing.T, w *applyWorld) {
			a, err := (&cli{configPath: w.config}).openAdapters()
			if err != nil {
				t.Fatal(err)
			}
			defer a.close()
			id := a.cfg.Credentials[0].Item
			if err := errors.Join(a.portals["here"].Unprotect(t.Context(), rotate.ItemID(id), portaltest.AdminUser),
				a.portals["here"].DeleteItem(t.Context(), rotate.ItemID(id), portaltest.AdminUser, true)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newMadeWorld(t)
			item := w.item(t)
			w.ok(t, "hold", "trail-map", "--reason", "test") // or the dead key is replaced at once
			kill(t, w)
			w.says(t, exitOK, []string{"retire", "trail-map", "--yes", "--item", "delete"})
			w.ended(t, item, true)
		})
	}
}

// A kept item can be adopted again by an explicit word, and gets a key again.
func TestRetireAndUndo(t *testing.T) {
	t.Parallel()
	w := newMadeWorld(t)
	item := w.item(t)
	w.ok(t, "retire", "trail-map", "--yes")
	w.ended(t, item, false)
	w.says(t, exitUsage, []string{"adopt", "trail-map"}, "no credential trail-map")
	w.says(t, exitOK, []string{"retire", "trail-map", "--undo"}, "may be adopted again")
	w.says(t, exitUsage, []string{"retire", "trail-map", "--undo"}, "is not retired")
	w.says(t, exitOK, []string{"history", "trail-map"}, "taken back")
	w.ok(t, "adopt", "trail-map")
	w.made(t)
}

// The name is made anew by an explicit word alone.
func TestApplyAgain(t *testing.T) {
	t.Parallel()
	w := newMadeWorld(t)
	item := w.item(t)
	w.ok(t, "retire", "trail-map", "--yes", "--item", "delete")
	w.says(t, exitFailed, []string{"apply", "trail-map", "--yes"}, "was retired on ")
	w.edit(t, "    item: \""+item+"\"\n", "")
	w.says(t, exitFailed, []string{"apply", "trail-map", "--yes"}, "--again makes a new one")
	w.says(t, exitOK, []string{"apply", "--yes"}, "left alone")
	w.says(t, exitOK, []string{"apply", "trail-map", "--again", "--yes"}, "trail-map is made: item ")
	w.made(t)
}

// Beside a daemon it goes through its socket; the daemon lets go of it and makes nothing.
func TestRetireBesideADaemon(t *testing.T) {
	t.Parallel()
	w := newMadeWorld(t)
	item := w.item(t)
	p := w.daemon(t)
	w.says(t, exitOK, []string{"retire", "trail-map", "--yes", "--item", "delete"}, "the key of slot 1 is invalidated", "remove it from the config")
	w.ended(t, item, true)
	if all, err := p.client.Status(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("the daemon looks after %+v, %v", all, err)
	}
	w.says(t, exitOK, []string{"reload"}, "0 credentials")
	w.says(t, exitOK, []string{"history", "trail-map"}, "retired")
	p.terminate(t)
	w.ended(t, item, true)
}

// daemon of the built program, on the world's config.
func (w *applyWorld) daemon(t *testing.T) *started {
	t.Helper()
	group, err := ownGroup()
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(src), "schedules:") {
		text := strings.Replace(string(src), "admin.sock'}", fmt.Sprintf("admin.sock', group: '%s'}\nschedules: {tick: '@every 1s'}", group), 1)
		if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(buildBinary(t), "--config", w.config, "run")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &started{Cmd: cmd, client: daemon.NewClient(filepath.Join(w.dir, "admin.sock"))}
	t.Cleanup(func() {
		p.client.Close()
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	await := &world{log: filepath.Join(w.dir, "none")}
	await.await(t, "the daemon answers", func(ctx context.Context) bool {
		_, err := p.client.Health(ctx)
		return err == nil
	})
	return p
}

// While keys of the item before are in use, nothing is retired: they would be forgotten.
func TestRetireWaitsForTheItemBefore(t *testing.T) {
	t.Parallel()
	w := newMadeWorld(t)
	w.edit(t, "privileges: [premium:user:basemaps]", "privileges: [premium:user:basemaps, premium:user:geocode]")
	w.ok(t, "apply", "trail-map", "--replace", "--yes")
	w.says(t, exitFailed, []string{"retire", "trail-map", "--yes"}, "still has keys until")
	if valid, why := w.emulator.KeyValid(w.served(t)); !valid {
		t.Errorf("the served key is %s", why)
	}
}

// Of a credential that is managed, an item that somebody unprotected by hand is seen, and protected again.
func TestUnprotectedIsSeen(t *testing.T) {
	t.Parallel()
	w := newMadeWorld(t)
	a, err := (&cli{configPath: w.config}).openAdapters()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	id := rotate.ItemID(a.cfg.Credentials[0].Item)
	client := a.portals["here"]
	if err := client.DeleteItem(t.Context(), id, portaltest.AdminUser, false); !errors.Is(err, portal.ErrProtected) {
		t.Fatalf("a managed item could be deleted by hand: %v", err)
	}
	if err := client.Unprotect(t.Context(), id, portaltest.AdminUser); err != nil {
		t.Fatal(err)
	}
	w.says(t, exitAttention, []string{"plan", "trail-map"}, "protect")
	w.says(t, exitOK, []string{"apply", "--yes"}, "protect")
	if d, err := client.Details(t.Context(), id); err != nil || !d.Protected {
		t.Errorf("it is not protected again: %v", err)
	}
}

// A second retire, or apply, of one credential keeps out while the first is at work.
func TestOneRetireAtATime(t *testing.T) {
	t.Parallel()
	w := newMadeWorld(t)
	for _, one := range []struct {
		dir  string
		args []string
	}{{"retirements", []string{"retire", "trail-map", "--yes"}}, {"creations", []string{"apply", "trail-map", "--replace", "--compromised", "--yes"}}} {
		release, err := progressFile(filepath.Join(w.dir, "state", one.dir, "trail-map.json")).lock("test")
		if err != nil {
			t.Fatal(err)
		}
		w.says(t, exitFailed, one.args, "is at work")
		release()
	}
	if valid, why := w.emulator.KeyValid(w.served(t)); !valid {
		t.Errorf("the served key is %s", why)
	}
}
