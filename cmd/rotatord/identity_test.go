package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/identity"
	"rotatord/internal/metrics"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

// quick is a fleet whose keys live for 20 s.
const quick = `defaults:
  portal: online
  mode: rotate
  adopt: auto
  policy: {renew_before: 10s, overlap: 2s, critical_before: 2s, lifetime: 20s, min_interval: 1s, min_gain: 2s, probe_every: 1s,
    effect_horizon: 2s, retry_base: 1s, retry_max: 2s, dead_after: 2s, expiry_precision: second}
http: {off: true}
schedules: {tick: '@every 1s'}
`

// lair is a folder with a config whose identities rotatord renews itself.
type lair struct {
	*world
	bin string
	url string // of the portal
}

// newLair makes the parts that every such config has; config comes with %DIR%, %URL% and %VAULT%.
func newLair(t *testing.T, em *portaltest.Emulator, vault *testkit.VaultServer, portalURL, config string) *lair {
	t.Helper()
	dir := t.TempDir()
	l := &lair{world: &world{dir: dir, emulator: em, vault: vault, config: filepath.Join(dir, "config.yaml"), log: filepath.Join(dir, "daemon.log")},
		bin: buildBinary(t), url: portalURL}
	group, err := ownGroup()
	if err != nil {
		t.Fatal(err)
	}
	address := ""
	if vault != nil {
		address = vault.Addr
	}
	text := strings.NewReplacer("%DIR%", dir, "%URL%", portalURL, "%VAULT%", address).Replace(config + quick +
		"admin: {socket: '%DIR%/admin.sock', group: '" + group + "'}\nstate: {dir: '%DIR%/state'}\n")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "state"), 0o700), os.Mkdir(filepath.Join(dir, "keys"), 0o700),
		os.WriteFile(l.config, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return l
}

// cli runs the built program with something on its standard input.
func (l *lair) cli(t *testing.T, in string, args ...string) cliResult {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), l.bin, append([]string{"--config", l.config}, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &errOut
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return cliResult{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

func (l *lair) must(t *testing.T, in string, args ...string) cliResult {
	t.Helper()
	r := l.cli(t, in, args...)
	if r.code != exitOK {
		t.Fatalf("rotatord %s ended with %d:\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r
}

// refused wants a failure whose message holds a text and no secret.
func (l *lair) refused(t *testing.T, in, text string, args ...string) {
	t.Helper()
	r := l.cli(t, in, args...)
	if r.code == exitOK || !strings.Contains(r.err, text) || in != "" && strings.Contains(r.err+r.out, in) {
		t.Errorf("rotatord %s ended with %d, want a refusal with %q and without what was typed:\n%s", strings.Join(args, " "), r.code, text, r.err)
	}
}

func ownSeed(em *portaltest.Emulator, life time.Duration) portaltest.Credential {
	return em.AddCredential(portaltest.CredentialSeed{Title: "rotatord", Minted: true, Expires: [2]time.Time{time.Now().Add(life)},
		Privileges: []string{"portal:admin:viewItems", "portal:admin:updateItems"}})
}

const ownPortal = `portals:
  online:
    url: %%URL%%
    product: online
    identity: {own_key: rotatord}
    limits: {per_second: 1000}
%s
sinks:
  files: {file: {path: '%%DIR%%/keys/{{.Name}}.key'}}
credentials:
  - {name: rotatord, item: %s}
  - {name: app, item: %s, sinks: [files]}
`

// A daemon that is killed again and again rotates the very key that it lives on, and
// nobody ever has to let it in again.
func TestTheDaemonRotatesItsOwnKey(t *testing.T) {
	t.Parallel()
	em, server := newEmulator()
	t.Cleanup(server.Close)
	buildBinary(t) // now, and not in the key's short life
	own := ownSeed(em, 15*time.Second)
	item := em.AddCredential(portaltest.CredentialSeed{Title: "App"}).ItemID
	l := newLair(t, em, nil, server.URL, fmt.Sprintf(ownPortal, "", own.ItemID, item))
	l.refused(t, "", "rotatord login PORTAL", "check-config", "--online")
	other := em.AddCredential(portaltest.CredentialSeed{Title: "Other", Minted: true, Expires: [2]time.Time{time.Now().Add(time.Hour)}})
	l.refused(t, other.Keys[0], "is of item "+other.ItemID, "login", "online")
	l.refused(t, "AAPTnonsense", "refuses the key", "login", "online")
	l.refused(t, "", "nothing came on standard input", "login", "online")
	l.must(t, own.Keys[0]+"\n", "login", "online")
	l.must(t, own.Keys[0]+"\n", "login", "online") // the same again harms nothing
	l.must(t, "", "check-config", "--online")
	generation := func(p *started, name rotate.Name) func(context.Context) int64 {
		return func(ctx context.Context) int64 {
			all, err := p.client.Status(ctx, name)
			if err != nil || len(all) != 1 {
				return 0
			}
			return all[0].Live.Generation
		}
	}
	served := own.Keys[0]
	for round := range int64(3) {
		p := l.start(t)
		l.await(t, fmt.Sprintf("own key of generation %d", round+2), func(ctx context.Context) bool {
			return generation(p, "rotatord")(ctx) >= round+2 && generation(p, "app")(ctx) >= 1
		})
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.Wait() // killed
	}
	if valid, _ := em.KeyValid(served); valid {
		t.Error("the first own key still works")
	}
	l.must(t, "", "check-config", "--online")
	for name, mode := range map[string]os.FileMode{"online.json": 0o600, "online.json.meta.json": 0o600} {
		if info, err := os.Stat(filepath.Join(l.dir, "state", "identities", name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	// While a key works, no other is put over it.
	fresh, err := em.MintOutOfBand(own.ItemID, 1, time.Now().Add(time.Hour))
	if err == nil {
		var stored map[string]string
		b, readErr := os.ReadFile(filepath.Join(l.dir, "state", "identities", "online.json"))
		if err := errors.Join(readErr, json.Unmarshal(b, &stored)); err != nil {
			t.Fatal(err)
		}
		if valid, _ := em.KeyValid(stored["api_key"]); valid {
			l.refused(t, fresh, "already holds a key that works", "login", "online")
		}
	}
	log, err := os.ReadFile(l.log)
	if err != nil || regexp.MustCompile(`AAPT[A-Za-z0-9]{8}`).Match(log) || strings.Contains(string(log), "panic") {
		t.Errorf("the daemon's log shows a key, or worse: %v", err)
	}
}

// The own key in a Vault whose secret id rotatord renews too: everything that it lives
// on changes under it.
func TestEverythingItLivesOnIsRenewed(t *testing.T) {
	t.Parallel()
	em, server := newEmulator()
	t.Cleanup(server.Close)
	vault := testkit.Vault(t)
	buildBinary(t) // now, and not in the key's short life
	own := ownSeed(em, 15*time.Second)
	item := em.AddCredential(portaltest.CredentialSeed{Title: "App"}).ItemID
	roleID := vault.AppRole("rotatord", map[string]any{"token_policies": []string{"rotatord"}, "secret_id_ttl": "14s", "token_ttl": "1h"})
	l := newLair(t, em, vault, server.URL, fmt.Sprintf(ownPortal, "    identity_store: {vault: {mount: secret, path: rotatord/online}}\nvault:\n  address: %VAULT%\n"+
		"  auth: {approle: {role_id: "+roleID+", role: rotatord, rotate: {renew_before: 60%}}}", own.ItemID, item))
	policy := l.must(t, "", "vault-policy").out
	vault.Policy("rotatord", policy)
	l.refused(t, "", "rotatord login --vault", "check-config", "--online")
	l.refused(t, "nonsense", "auth", "login", "--vault")
	l.refused(t, "", "name one portal", "login")
	l.must(t, vault.SecretID("rotatord"), "login", "--vault")
	l.must(t, own.Keys[0], "login", "online")
	l.must(t, "", "check-config", "--online")

	secretIDs := func() (s storedSecretIDs) {
		b, err := os.ReadFile(filepath.Join(l.dir, "state", "vault-secret-id.json"))
		if err := errors.Join(err, json.Unmarshal(b, &s)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := secretIDs().Current
	p := l.start(t)
	status := func(ctx context.Context) daemon.Status {
		all, err := p.client.Status(ctx, "rotatord")
		if err != nil || len(all) != 1 {
			return daemon.Status{}
		}
		return all[0]
	}
	seen := map[string]bool{}
	l.await(t, "three secret ids and a second own key", func(ctx context.Context) bool {
		seen[secretIDs().Current.ID] = true
		return len(seen) >= 3 && status(ctx).Live.Generation >= 2
	})
	var shown strings.Builder
	if err := p.client.Metrics(t.Context(), &shown); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"rotatord_vault_token_expiration_timestamp_seconds 1", "rotatord_vault_secret_id_expiration_timestamp_seconds 1",
		"rotatord_vault_secret_id_renewal_due_timestamp_seconds 1"} {
		if !strings.Contains(shown.String(), "\n"+want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	p.terminate(t)
	if s, _ := vault.Do(http.MethodPut, "auth/approle/login", map[string]any{"role_id": roleID, "secret_id": first.ID}); s == http.StatusOK {
		t.Error("the first secret id still signs in")
	}
	l.must(t, "", "check-config", "--online")
	log, err := os.ReadFile(l.log)
	if err != nil {
		t.Fatal(err)
	}
	for id := range seen {
		if strings.Contains(string(log), id) {
			t.Error("the daemon's log shows a secret id")
		}
	}
	if regexp.MustCompile(`AAPT[A-Za-z0-9]{8}`).Match(log) {
		t.Error("the daemon's log shows a key")
	}
}

// A key that is only read is not rotated from under us: the check says so, and the gate
// keeps the old key alive where nobody checked.
func TestAKeyThatIsOnlyReadIsNotRetired(t *testing.T) {
	t.Parallel()
	em, server := newEmulator()
	t.Cleanup(server.Close)
	buildBinary(t) // now, and not in the key's short life
	own := ownSeed(em, 15*time.Second)
	l := newLair(t, em, nil, server.URL, strings.Replace(fmt.Sprintf(ownPortal, "", own.ItemID, em.AddCredential(portaltest.CredentialSeed{Title: "App"}).ItemID),
		"own_key: rotatord", "api_key: 'file:%DIR%/admin-key'", 1)+"")
	text, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("{name: rotatord, item: "+own.ItemID+"}"), []byte("{name: rotatord, item: "+own.ItemID+", sinks: [files]}"), 1)
	if err := errors.Join(os.WriteFile(l.config, text, 0o600), os.WriteFile(filepath.Join(l.dir, "admin-key"), []byte(own.Keys[0]), 0o600),
		os.WriteFile(filepath.Join(l.dir, "keys", "rotatord.key"), []byte(own.Keys[0]), 0o600)); err != nil {
		t.Fatal(err)
	}
	l.refused(t, "", "only reads", "check-config", "--online")
	l.refused(t, "x", "needs no login", "login", "online")
	p := l.start(t)
	l.await(t, "the gate names us", func(ctx context.Context) bool {
		all, err := p.client.Status(ctx, "rotatord")
		return err == nil && len(all) == 1 && all[0].Blocked == rotate.ReasonGate
	})
	if valid, why := em.KeyValid(own.Keys[0]); !valid {
		t.Errorf("the key that the daemon signs in with is %s", why)
	}
	p.terminate(t)
}

// Both keys are gone, as after an edit of the credential's privileges: a new one by hand
// lets the running daemon in again, and adopting it makes everything as before.
func TestTheWayBackFromALockOut(t *testing.T) {
	t.Parallel()
	em, server := newEmulator()
	t.Cleanup(server.Close)
	own := ownSeed(em, time.Hour)
	l := newLair(t, em, nil, server.URL, fmt.Sprintf(ownPortal, "", own.ItemID, em.AddCredential(portaltest.CredentialSeed{Title: "App"}).ItemID))
	l.must(t, own.Keys[0], "login", "online")
	p := l.start(t)
	status := func(ctx context.Context) daemon.Status {
		all, err := p.client.Status(ctx, "rotatord")
		if err != nil || len(all) != 1 {
			return daemon.Status{}
		}
		return all[0]
	}
	l.await(t, "the own key is adopted", func(ctx context.Context) bool { return status(ctx).Live.Generation == 1 })
	if err := em.EditAppOutOfBand(own.ItemID, nil, []string{"portal:admin:viewItems", "portal:admin:updateItems"}); err != nil {
		t.Fatal(err)
	}
	l.refused(t, "", "rotatord login PORTAL", "check-config", "--online")
	fresh, err := em.MintOutOfBand(own.ItemID, 2, time.Now().Add(15*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	l.must(t, fresh, "login", "online")
	l.must(t, "", "check-config", "--online")
	l.must(t, "", "adopt", "rotatord")
	l.await(t, "the key made by hand is rotated in its turn", func(ctx context.Context) bool {
		s := status(ctx)
		return s.Live.Slot == rotate.Slot1 && s.Live.Generation > 1
	})
	p.terminate(t)
	l.must(t, "", "check-config", "--online")
}

// Who waits for whom: an own key goes after what it is needed for and after what is
// rotated beside it, and of two own keys the one that rotates the other goes last.
func TestOwnKeysGoLast(t *testing.T) {
	t.Parallel()
	em, server := newEmulator()
	t.Cleanup(server.Close)
	id := func(title string) string { return em.AddCredential(portaltest.CredentialSeed{Title: title}).ItemID }
	l := newLair(t, em, nil, server.URL, fmt.Sprintf(`portals:
  online: {url: '%%URL%%', product: online, identity: {own_key: online-key}}
  helped: {url: '%%URL%%', product: online, identity: {own_key: helped-key}}
  reader: {url: '%%URL%%', product: online, identity: {api_key: 'file:%%DIR%%/x'}}
sinks:
  files: {file: {path: '%%DIR%%/keys/{{.Name}}.key'}}
credentials:
  - {name: online-key, item: %s}
  - {name: helped-key, item: %s}
  - {name: app, item: %s, sinks: [files]}
  - {name: other, item: %s, sinks: [files], portal: helped}
  - {name: third, item: %s, sinks: [files], portal: reader}
`, id("1"), id("2"), id("3"), id("4"), id("5")))
	cfg, err := config.Load(l.config)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAdapters(cfg, slog.New(slog.DiscardHandler), metrics.New(metrics.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	a.join(nil, noJournal{})
	got := map[rotate.Name]string{}
	for _, m := range a.fleet.Credentials {
		for _, h := range m.Hooks {
			last, ok := h.(identity.Last)
			if !ok {
				t.Fatalf("%s has the hook %T", m.Name, h)
			}
			got[m.Name] = fmt.Sprint(slices.Sorted(maps.Keys(last.Others)))
		}
		wantGates := map[rotate.Name]int{"online-key": 1, "helped-key": 1, "third": 1}[m.Name]
		if len(m.Gates) != wantGates {
			t.Errorf("%s has %d gates, want %d", m.Name, len(m.Gates), wantGates)
		}
	}
	want := map[rotate.Name]string{"online-key": "[app helped-key]", "helped-key": "[app other]"}
	if !maps.Equal(got, want) {
		t.Errorf("the own keys wait for %v, want %v", got, want)
	}
}
