package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rotatord/internal/daemon"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

const vaultConfig = `portals:
  online:
    url: %[1]s
    product: online
    identity: {username: %[2]s, password: 'file:%[3]s/password'}
    limits: {per_second: 1000}
vault:
  address: %[4]s
  auth: {token_file: '%[3]s/vault-token'}
sinks:
  kv:
    vault: {mount: secret, path: 'apps/{{.Name}}'}
defaults:
  portal: online
  sinks: [kv]
  mode: rotate
  adopt: auto
  policy: {renew_before: 10s, overlap: 2s, critical_before: 2s, lifetime: 20s, min_interval: 1s, min_gain: 2s, probe_every: 1s,
    effect_horizon: 2s, retry_base: 1s, retry_max: 2s, dead_after: 2s, expiry_precision: second}
http: {listen: '127.0.0.1:%[5]d'}
admin: {socket: '%[3]s/admin.sock', group: '%[6]s'}
state: {dir: '%[3]s/state'}
schedules: {tick: '@every 1s'}
credentials:
  - {name: app, item: %[7]s}
`

// world of one end-to-end test: an emulated portal over loopback HTTP, a real Vault, a folder.
type world struct {
	dir      string
	emulator *portaltest.Emulator
	item     string
	clientID string
	vault    *testkit.VaultServer
	token    string // the daemon's at Vault
	config   string
	log      string
	env      []string // of the daemon, beside the test's own
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), vault: testkit.Vault(t)}
	em, server := newEmulator()
	t.Cleanup(server.Close)
	w.emulator = em
	cred := em.AddCredential(portaltest.CredentialSeed{Title: "App"})
	w.item, w.clientID = cred.ItemID, cred.ClientID
	group, err := ownGroup()
	if err != nil {
		t.Fatal(err)
	}
	w.config, w.log = filepath.Join(w.dir, "config.yaml"), filepath.Join(w.dir, "daemon.log")
	text := fmt.Sprintf(vaultConfig, server.URL, portaltest.AdminUser, w.dir, w.vault.Addr, testkit.FreePorts(t, 1), group, w.item)
	err = errors.Join(os.Mkdir(filepath.Join(w.dir, "state"), 0o700),
		os.WriteFile(filepath.Join(w.dir, "password"), []byte(portaltest.StandardPassword), 0o600),
		os.WriteFile(w.config, []byte(text), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	w.leastPrivilege(t)
	return w
}

// leastPrivilege gives the daemon a token that may do what vault-policy prints, and nothing else.
func (w *world) leastPrivilege(t *testing.T) {
	t.Helper()
	r := runCLI(t, "--config", w.config, "vault-policy")
	if r.code != exitOK {
		t.Fatalf("vault-policy: %s", r.err)
	}
	w.vault.Policy("rotatord", r.out)
	w.token = w.vault.NewToken(map[string]any{"policies": []string{"rotatord"}, "ttl": "1h"})
	if err := os.WriteFile(filepath.Join(w.dir, "vault-token"), []byte(w.token), 0o600); err != nil {
		t.Fatal(err)
	}
}

// started is a running daemon process.
type started struct {
	*exec.Cmd
	client *daemon.Client
}

func (w *world) start(t *testing.T) *started {
	t.Helper()
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(buildBinary(t), "--config", w.config, "--log-level", "debug", "run")
	cmd.Stderr, cmd.Env = log, append(os.Environ(), w.env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &started{Cmd: cmd, client: daemon.NewClient(filepath.Join(w.dir, "admin.sock"))}
	t.Cleanup(func() {
		p.client.Close()
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill() // a test that ended early
			_ = cmd.Wait()
		}
	})
	w.await(t, "the daemon answers", func(ctx context.Context) bool {
		_, err := p.client.Health(ctx)
		return err == nil
	})
	return p
}

// await a condition; a broken program is what uses the patience up.
func (w *world) await(t *testing.T, what string, ok func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(w.log) // best effort for the failure's sake
			t.Fatalf("%s: not within %s; the daemon's log:\n%s", what, patience, log)
		}
	}
}

// status of the only credential; the zero Status while it cannot be had.
func (p *started) status(ctx context.Context) daemon.Status {
	all, err := p.client.Status(ctx)
	if err != nil || len(all) != 1 {
		return daemon.Status{}
	}
	return all[0]
}

// terminate and want a clean exit.
func (p *started) terminate(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("the daemon ended with %v, want exit code 0", err)
	}
}

func TestRotatesIntoARealVault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(t)
	w.await(t, "the first key is published", func(ctx context.Context) bool { return p.status(ctx).Live.Generation == 1 })
	first := p.status(t.Context()).Live
	served := w.served(t)
	if valid, why := w.emulator.KeyValid(served); !valid {
		t.Errorf("the key in Vault is %s", why)
	}
	if _, err := p.client.Command(t.Context(), rotate.Command{Kind: rotate.CommandRotate, Text: "by hand"}, "app"); err != nil {
		t.Fatalf("rotate: %v", err)
	}
	w.await(t, "the old key is retired", func(ctx context.Context) bool {
		s := p.status(ctx)
		return s.Live.Generation > first.Generation && s.Phase == rotate.PhaseIdle
	})
	if valid, why := w.emulator.KeyValid(served); valid {
		t.Errorf("the old key is still valid")
	} else if why == "unknown" {
		t.Errorf("the old key was never at the portal")
	}
	if valid, why := w.emulator.KeyValid(w.served(t)); !valid {
		t.Errorf("the new key in Vault is %s", why)
	}
	p.terminate(t)
	w.checkNoSecrets(t, served)
}

func TestKilledDaemonGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(t)
	w.await(t, "the first key is published", func(ctx context.Context) bool { return p.status(ctx).Live.Generation == 1 })
	if _, err := p.client.Command(t.Context(), rotate.Command{Kind: rotate.CommandRotate}, "app"); err != nil {
		t.Fatalf("rotate: %v", err)
	}
	w.await(t, "a rotation is in its overlap", func(ctx context.Context) bool { return p.status(ctx).Phase == rotate.PhaseOverlap })
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // killed: its error says so
	p = w.start(t)
	w.await(t, "the rotation is finished", func(ctx context.Context) bool { return p.status(ctx).Phase == rotate.PhaseIdle })
	if valid, why := w.emulator.KeyValid(w.served(t)); !valid {
		t.Errorf("the key in Vault is %s", why)
	}
	p.terminate(t)
}

// served is the key that an application reads from Vault.
func (w *world) served(t *testing.T) string {
	t.Helper()
	status, body := w.vault.Do(http.MethodGet, "secret/data/apps/app", nil)
	data, _ := body["data"].(map[string]any)
	fields, _ := data["data"].(map[string]any)
	key, ok := fields["api_key"].(string)
	if !ok {
		t.Fatalf("no key in Vault: status %d", status)
	}
	return key
}

// checkNoSecrets in what the daemon wrote down.
func (w *world) checkNoSecrets(t *testing.T, more ...string) {
	t.Helper()
	secrets := append([]string{portaltest.StandardPassword, w.token}, more...)
	for _, k := range w.emulator.Keys() {
		secrets = append(secrets, k.Secret)
	}
	bundle := filepath.Join(w.dir, "bundle.tar.gz")
	if r := runCLI(t, "--config", w.config, "support-bundle", bundle); r.code != exitOK {
		t.Fatalf("support-bundle: %s", r.err)
	}
	unpacked := filepath.Join(w.dir, "bundle.tar")
	unzip(t, bundle, unpacked)
	files := []string{w.log, unpacked}
	for _, f := range []string{"journal.db", "journal.db-wal"} {
		files = append(files, filepath.Join(w.dir, "state", f))
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range secrets {
			if strings.Contains(string(b), s) {
				t.Errorf("%s holds secret %d", f, i)
			}
		}
	}
}

func unzip(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(zip)
	if err != nil || len(b) == 0 {
		t.Fatalf("unzip %s: %d bytes, %v", from, len(b), err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(buildBinary(t), "demo", "--for", "13s", "--json")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "VAULT_") })
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("demo: %v\n%s", err, out)
	}
	var got demoResult
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("output is no JSON object: %v\n%s", err, out)
	}
	if got.Credentials != 9 || got.Rotations < 9 || got.Bootstraps != 6 || got.Orphans != 0 || got.ConsumerFailures != 0 || got.ConsumerRequests < 500 {
		t.Errorf("result = %+v", got)
	}
	if got.PortalRequestsPerRotation > 8 {
		t.Errorf("%.2f portal requests a rotation, want 8 at most", got.PortalRequestsPerRotation)
	}
}
