package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// An own key goes to its identity store first, and nowhere else unless it says so.
func TestOwnKeyLivesInItsStore(t *testing.T) {
	const password = "      username: bot\n      password: file:/etc/rotatord/secrets/main\n"
	c := minimal(t, password, "      own_key: alpha\n")
	cr := c.Credentials[0]
	if got := cr.Targets(); cr.OwnKeyOf() != "main" || len(got) != 1 || got[0].Sink != StoreSink || got[0].Path != "/var/lib/rotatord/identities/main.json" ||
		got[0].File == nil || got[0].File.Mode != 0o600 || got[0].File.KeepPrevious < 1 {
		t.Errorf("own key of %q, targets %+v", cr.OwnKeyOf(), got)
	}
	c = minimal(t, password, "      own_key: alpha\n    identity_store: {vault: {mount: kv, path: rotatord/main}}\n",
		"  - name: alpha\n", "  - name: alpha\n    sinks: [kv]\n")
	got := c.Credentials[0].Targets()
	if len(got) != 2 || got[0].Vault == nil || got[0].Path != "rotatord/main" || got[1].Sink != "kv" || got[1].Path != "keys/alpha" {
		t.Errorf("with a sink of its own: %+v", got)
	}
	if c := minimal(t); c.Credentials[0].OwnKeyOf() != "" || len(c.Credentials[0].Targets()) != 1 {
		t.Errorf("an ordinary credential has %+v", c.Credentials[0].Targets())
	}
}

// A key that is rotated through another portal is no cycle while that one signs in by itself.
func TestAnOwnKeyMayBeRotatedElsewhere(t *testing.T) {
	c := minimal(t, "      username: bot\n      password: file:/etc/rotatord/secrets/main\n", "      own_key: alpha\n"+
		"  backup:\n    url: https://www.arcgis.com\n    product: location-platform\n    identity: {username: b, password: file:/x}\n",
		"  - name: alpha\n", "  - name: alpha\n    portal: backup\n")
	if cr := c.Credentials[0]; cr.OwnKeyOf() != "main" || cr.Portal != "backup" || !slices.ContainsFunc(cr.Targets(), func(t Target) bool { return t.Path == "/var/lib/rotatord/identities/main.json" }) {
		t.Errorf("%+v", cr)
	}
}

func TestIdentityDefaults(t *testing.T) {
	c := minimal(t, "      username: bot\n      password: file:/etc/rotatord/secrets/main\n", "      oauth: {client_id: x}\n",
		"    token_file: /run/vault/token\n", "    approle: {role_id: r, role: rotatord, rotate: {max_age: 90d}}\n")
	if s := c.Portals["main"].Identity.OAuth.RenewBefore; s == nil || s.Share != 0.5 {
		t.Errorf("a refresh token is renewed at %+v", s)
	}
	r := c.Vault.Auth.AppRole.Rotate
	if r == nil || r.RenewBefore == nil || r.RenewBefore.Share != 0.5 || r.MaxAge.Std() != 90*24*time.Hour || r.IdentityStore.File != "/var/lib/rotatord/vault-secret-id.json" {
		t.Errorf("the secret id is renewed at %+v", r)
	}
}

// A store that nobody has filled is a warning with the command that fills it.
func TestEmptyStoresAreTold(t *testing.T) {
	dir := t.TempDir()
	c := minimal(t, "      username: bot\n      password: file:/etc/rotatord/secrets/main\n", "      own_key: alpha\n",
		"    token_file: /run/vault/token\n", "    approle: {role_id: r, role: rotatord, rotate: {}}\nstate: {dir: "+dir+"}\n")
	var cures []string
	for _, p := range c.CheckFiles() {
		if p.Warning {
			cures = append(cures, p.Cure)
		}
	}
	if want := []string{"rotatord login main", "rotatord login --vault"}; !slices.Equal(cures, want) {
		t.Errorf("the cures are %q, want %q", cures, want)
	}
	for _, file := range []string{"identities/main.json", "vault-secret-id.json"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "identities"), 0o700), os.WriteFile(filepath.Join(dir, file), []byte("{}"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if left := c.CheckFiles(); len(left) > 0 {
		t.Errorf("with both filled: %v", left)
	}
}
