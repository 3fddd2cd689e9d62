package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/testkit"
)

// loginInABrowser runs rotatord login and signs in on the page that it names.
func (l *lair) loginInABrowser(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), l.bin, "--config", l.config, "login", "online")
	var out bytes.Buffer
	cmd.Stdout = &out
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := ""
	lines := bufio.NewScanner(said)
	for address == "" && lines.Scan() {
		if text := strings.TrimSpace(lines.Text()); strings.HasPrefix(text, l.url) {
			address = text
		}
	}
	u, err := url.Parse(address)
	if err != nil || address == "" {
		t.Fatalf("no address in what login said: %v", err)
	}
	form := u.Query()
	form.Set("username", portaltest.SSOUser)
	form.Set("password", portaltest.StandardPassword)
	u.RawQuery = ""
	res, err := http.PostForm(u.String(), form) // and back to rotatord by the redirect
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || !strings.Contains(string(page), "Signed in.") {
		t.Fatalf("the browser ends on %q, %v", page, err)
	}
	for lines.Scan() { // until it ends
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

const oauthPortal = `portals:
  online:
    url: %%URL%%
    product: online
    identity: {oauth: {client_id: %s, renew_before: 40%%}}
    limits: {per_second: 1000}
%s
credentials:
  - {name: app, item: %s, sinks: [files]}
sinks:
  files: {file: {path: '%%DIR%%/keys/{{.Name}}.key'}}
`

func TestLoginThroughTheCLI(t *testing.T) {
	t.Parallel()
	em, server := newEmulator()
	t.Cleanup(server.Close)
	app := em.AddOAuthApp(portaltest.SSOUser, "rotatord", "http://127.0.0.1/")
	item := em.AddCredential(portaltest.CredentialSeed{Title: "App", Owner: portaltest.SSOUser}).ItemID
	for _, where := range []string{"file", "vault"} {
		t.Run(where, func(t *testing.T) {
			extra, stored := "", func(t *testing.T, l *lair) string {
				path := filepath.Join(l.dir, "state", "identities", "online.json")
				b, err := os.ReadFile(path)
				info, statErr := os.Stat(path)
				if err := errors.Join(err, statErr); err != nil || info.Mode().Perm() != 0o600 {
					t.Fatalf("the store: %v, %v", info, err)
				}
				return string(b)
			}
			put := func(t *testing.T, l *lair, text string) {
				if err := os.WriteFile(filepath.Join(l.dir, "state", "identities", "online.json"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var vault *testkit.VaultServer
			if where == "vault" {
				vault = testkit.Vault(t)
				extra = "    identity_store: {vault: {mount: secret, path: rotatord/online}}\nvault:\n  address: %VAULT%\n  auth: {token_file: '%DIR%/vault-token'}\n"
				stored = func(t *testing.T, l *lair) string {
					_, reply := l.vault.Do(http.MethodGet, "secret/data/rotatord/online", nil)
					data, _ := reply["data"].(map[string]any)
					inner, _ := data["data"].(map[string]any)
					text, _ := inner["refresh_grant"].(string)
					return text
				}
				put = func(t *testing.T, l *lair, text string) {
					if status, _ := l.vault.Do(http.MethodPut, "secret/data/rotatord/online", map[string]any{"data": map[string]any{"refresh_grant": text}}); status != http.StatusOK {
						t.Fatalf("write to vault: %d", status)
					}
				}
			}
			l := newLair(t, em, vault, server.URL, fmt.Sprintf(oauthPortal, app.ClientID, extra, item))
			if vault != nil {
				l.leastPrivilege(t)
			}
			l.refused(t, "", "rotatord login", "check-config", "--online")
			if out := l.loginInABrowser(t); !strings.Contains(out, "signed in to online as "+portaltest.SSOUser) {
				t.Errorf("login said %q", out)
			}
			l.must(t, "", "check-config", "--online")
			// Its life is nearly over: the next sign-in renews it, and drops the old one.
			var grant storedGrant
			if err := json.Unmarshal([]byte(stored(t, l)), &grant); err != nil {
				t.Fatal(err)
			}
			first := grant.Current.Token
			grant.Current.Obtained = grant.Current.Obtained.Add(-13 * 24 * time.Hour)
			grant.Current.Expires = grant.Current.Expires.Add(-13 * 24 * time.Hour)
			aged, err := json.Marshal(grant)
			if err != nil {
				t.Fatal(err)
			}
			put(t, l, string(aged))
			l.must(t, "", "check-config", "--online")
			grant = storedGrant{}
			if err := json.Unmarshal([]byte(stored(t, l)), &grant); err != nil || grant.Current.Token == first || grant.Next.Token != "" {
				t.Errorf("not renewed: %v", err)
			}
			l.must(t, "", "check-config", "--online")
		})
	}
}
