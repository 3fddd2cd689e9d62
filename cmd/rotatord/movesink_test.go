package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rotatord/internal/rotate"
)

// edit the config and have the daemon take it; what reload says comes back.
func (w *world) reload(t *testing.T, old, now string) string {
	t.Helper()
	(&applyWorld{config: w.config}).edit(t, old, now)
	r := runCLI(t, "--config", w.config, "reload")
	if r.code != exitOK {
		t.Fatalf("reload: code %d\n%s%s", r.code, r.out, r.err)
	}
	return r.out + r.err
}

func (w *world) fileKey(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "keys", "app.key"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// TestMoveToAnotherSink is docs/credentials.md's "Moving to another sink", step by step: a credential goes from Vault to a
// file with both serving the same key between, and no rotation but the one that is asked for.
func TestMoveToAnotherSink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.Mkdir(filepath.Join(w.dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	edit := (&applyWorld{config: w.config}).edit
	edit(t, "renew_before: 10s, overlap: 2s, critical_before: 2s, lifetime: 20s", "renew_before: 1h, overlap: 2s, critical_before: 10m, lifetime: 3h")
	edit(t, "probe_every: 1s", "probe_every: 2h") // nothing but the reload has it looked at
	p := w.start(t)
	w.await(t, "the first key is published", func(ctx context.Context) bool {
		s := p.status(ctx)
		return s.Live.Generation == 1 && s.Phase == rotate.PhaseIdle
	})
	key := w.served(t)

	// 1. Add the new sink behind the old one.
	edit(t, "sinks:\n  kv:", "sinks:\n  files:\n    file: {path: '"+w.dir+"/keys/{{.Name}}.key'}\n  kv:")
	w.reload(t, "  sinks: [kv]", "  sinks: [kv, files]")
	w.await(t, "the new sink has the key", func(context.Context) bool { return w.fileKey(t) == key })
	same := func(what string) {
		t.Helper()
		w.await(t, what+": nothing differs any more", func(ctx context.Context) bool {
			s := p.status(ctx)
			return s.Attention == "" && s.Drift == rotate.DriftNone && s.Phase == rotate.PhaseIdle
		})
		if s := p.status(t.Context()); s.Live.Generation != 1 || s.Attention != "" || w.served(t) != key || w.fileKey(t) != key {
			t.Errorf("%s: generation %d, %s", what, s.Live.Generation, s.Attention)
		}
		if valid, why := w.emulator.KeyValid(key); !valid {
			t.Errorf("%s: the key is %s", what, why)
		}
	}
	same("with both sinks")

	// 2. Put it first: it is the commit point now.
	w.reload(t, "  sinks: [kv, files]", "  sinks: [files, kv]")
	same("with the order exchanged")

	// 3. Take the old one out once nobody reads it; what it has is named, and stays.
	said := w.reload(t, "  sinks: [files, kv]", "  sinks: [files]")
	if !strings.Contains(said, "app is not written to kv (secret/apps/app) any more") {
		t.Errorf("what stays behind is not said:\n%s", said)
	}
	same("without the old sink")

	// 4. Rotate: what the old sink has is dead then, and can be deleted.
	if _, err := p.client.Command(t.Context(), rotate.Command{Kind: rotate.CommandRotate}, "app"); err != nil {
		t.Fatal(err)
	}
	w.await(t, "the key that the old sink has is retired", func(ctx context.Context) bool {
		s := p.status(ctx)
		return s.Live.Generation == 2 && s.Phase == rotate.PhaseIdle
	})
	if valid, _ := w.emulator.KeyValid(w.served(t)); valid {
		t.Error("the key in the old sink works")
	}
	if valid, why := w.emulator.KeyValid(w.fileKey(t)); !valid {
		t.Errorf("the key in the new sink is %s", why)
	}
	if status, _ := w.vault.Do(http.MethodDelete, "secret/metadata/apps/app", nil); status/100 != 2 {
		t.Errorf("the old secret cannot be deleted: %d", status)
	}
	if out := runCLI(t, "--config", w.config, "status", "app"); out.code != exitOK {
		t.Errorf("status: %d\n%s", out.code, out.out)
	}
	p.terminate(t)
}
