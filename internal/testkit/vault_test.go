package testkit

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"testing"
	"time"
)

func (v *VaultServer) put(path, value string) {
	v.t.Helper()
	v.try(http.MethodPut, path, map[string]any{"data": map[string]any{"value": value}}).want(v.t, http.StatusOK)
}

func (v *VaultServer) get(path string) (string, int) {
	v.t.Helper()
	a := v.try(http.MethodGet, path, nil)
	value, _ := object(a.Data(), "data")["value"].(string)
	return value, a.Status
}

func TestVaultInMemory(t *testing.T) {
	t.Parallel()
	v := Vault(t)
	v.put("secret/data/app", "one")
	if got, _ := v.get("secret/data/app"); got != "one" {
		t.Errorf("read back %q, want one", got)
	}
	status, reply := v.Do(http.MethodPut, "secret/data/app", map[string]any{
		"data": map[string]any{"value": "two"}, "options": map[string]any{"cas": 7},
	})
	if status != http.StatusBadRequest || reply["errors"] == nil {
		t.Errorf("wrong cas answered %d %v, want 400 with errors", status, reply)
	}
	if status, _ := v.Do(http.MethodPatch, "secret/data/app", map[string]any{
		"data": map[string]any{"other": "x"},
	}); status != http.StatusOK {
		t.Errorf("patch answered %d, want 200", status)
	}

	v.Seal()
	if _, status := v.get("secret/data/app"); status != http.StatusServiceUnavailable {
		t.Errorf("sealed server answered %d, want 503", status)
	}
	v.Unseal()
	if got, _ := v.get("secret/data/app"); got != "one" {
		t.Errorf("after unseal %q, want one", got)
	}

	v.Restart()
	if _, status := v.get("secret/data/app"); status != http.StatusNotFound {
		t.Errorf("restarted in-memory server answered %d, want 404", status)
	}
	v.Seal()
	v.Unseal()
}

func TestVaultMounts(t *testing.T) {
	t.Parallel()
	v := Vault(t)
	v.MountKV("one", 1)
	v.MountKV("two", 2)
	if status, _ := v.Do(http.MethodPut, "one/app", map[string]any{"value": "x"}); status != http.StatusNoContent {
		t.Errorf("write to kv version 1 answered %d, want 204", status)
	}
	v.put("two/data/app", "x")
}

func TestVaultKeepsItsDataOverACrash(t *testing.T) {
	t.Parallel()
	v := Vault(t, WithRaft())
	v.MountKV("kv", 2)
	v.put("kv/data/app", "one")
	addr, token := v.Addr, v.Token

	for _, end := range []struct {
		name string
		do   func()
	}{{"kill", v.Kill}, {"stop", v.Stop}} {
		end.do()
		if _, err := v.Try(t.Context(), v.Token, http.MethodGet, "sys/health", nil); err == nil {
			t.Errorf("%s: the server still answers", end.name)
		}
		v.Start()
		if _, status := v.get("kv/data/app"); status != http.StatusServiceUnavailable {
			t.Errorf("%s: before unseal %d, want 503", end.name, status)
		}
		v.Unseal()
		if got, _ := v.get("kv/data/app"); got != "one" {
			t.Errorf("%s: read back %q, want one", end.name, got)
		}
	}
	if v.Addr != addr || v.Token != token {
		t.Errorf("address or token changed over restarts")
	}
}

func TestVaultRestoreForgetsWhatCameAfter(t *testing.T) {
	t.Parallel()
	v := Vault(t, WithRaft())
	v.MountKV("kv", 2)
	v.put("kv/data/app", "old")
	snapshot := v.Snapshot()
	v.put("kv/data/app", "new")
	v.Restore(snapshot)
	if got, status := v.get("kv/data/app"); got != "old" {
		t.Errorf("after restore %q (status %d), want old", got, status)
	}
	v.put("kv/data/app", "newer")
}

func TestVaultUninitialised(t *testing.T) {
	t.Parallel()
	v := Vault(t, WithUninitialised())
	if status, _ := v.Do(http.MethodGet, "sys/health", nil); status != http.StatusNotImplemented {
		t.Errorf("health is %d, want 501", status)
	}
	v.Init()
	v.Unseal()
	v.MountKV("kv", 2)
}

func TestVaultPausedHangs(t *testing.T) {
	t.Parallel()
	v := Vault(t)
	v.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := v.Try(ctx, v.Token, http.MethodGet, "sys/health", nil); err == nil {
		t.Error("a paused server answered")
	}
	v.Resume()
	if status, _ := v.Do(http.MethodGet, "sys/health", nil); status != http.StatusOK {
		t.Errorf("after resume %d, want 200", status)
	}
	v.Pause()
	v.Stop() // a paused server can be stopped, too
}

func TestVaultSignIns(t *testing.T) {
	t.Parallel()
	v := Vault(t, WithTLS())
	v.Policy("app", `path "secret/data/app" { capabilities = ["read"] }`)
	role := v.AppRole("r", map[string]any{"token_policies": "app", "token_ttl": "1h"})
	v.Userpass("ann", "pw", "app")
	certFile, keyFile := v.CertAuth("c", "app")

	wrapping := v.WrappedSecretID("r", time.Minute)
	unwrapped, err := v.Try(t.Context(), wrapping, http.MethodPost, "sys/wrapping/unwrap", nil)
	if err != nil {
		t.Fatal(err)
	}
	secretID, _ := unwrapped.Data()["secret_id"].(string)

	for name, login := range map[string]func() Answer{
		"approle": func() Answer {
			return v.try(http.MethodPost, "auth/approle/login", map[string]any{"role_id": role, "secret_id": v.SecretID("r")})
		},
		"wrapped": func() Answer {
			return v.try(http.MethodPost, "auth/approle/login", map[string]any{"role_id": role, "secret_id": secretID})
		},
		"userpass": func() Answer {
			return v.try(http.MethodPost, "auth/userpass/login/ann", map[string]any{"password": "pw"})
		},
		"cert": func() Answer { return certLogin(t, v, certFile, keyFile) },
	} {
		a := login()
		token, _ := object(a.Body, "auth")["client_token"].(string)
		if a.Status != http.StatusOK || token == "" {
			t.Errorf("%s: sign-in answered %d %v", name, a.Status, a.Body["errors"])
			continue
		}
		// 404 and not 403: the policy allows to read what nobody wrote yet.
		if a, err := v.Try(t.Context(), token, http.MethodGet, "secret/data/app", nil); err != nil || a.Status != http.StatusNotFound {
			t.Errorf("%s: allowed read answered %d, %v; want 404", name, a.Status, err)
		}
		if a, err := v.Try(t.Context(), token, http.MethodGet, "secret/data/else", nil); err != nil || a.Status != http.StatusForbidden {
			t.Errorf("%s: forbidden read answered %d, %v; want 403", name, a.Status, err)
		}
	}
	if token := v.NewToken(map[string]any{"policies": []string{"app"}, "ttl": "1m"}); token == v.Token {
		t.Error("a new token is the root token")
	}
}

func certLogin(t *testing.T, v *VaultServer, certFile, keyFile string) Answer {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	client, err := v.httpClient()
	if err != nil {
		t.Fatal(err)
	}
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		t.Fatal("the client has another transport")
	}
	transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, v.Addr+"/v1/auth/cert/login", bytes.NewBufferString("{}"))
	if err != nil {
		t.Fatal(err)
	}
	status, raw, err := roundTrip(client, req)
	if err != nil {
		t.Fatal(err)
	}
	a, err := decodeAnswer(status, raw)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestVaultFaults(t *testing.T) {
	t.Parallel()
	v := Vault(t)
	v.Quota("few", "secret/", 1, 10*time.Minute, true)
	v.put("secret/data/app", "x")
	if _, status := v.get("secret/data/app"); status != http.StatusTooManyRequests {
		t.Errorf("over the quota %d, want 429", status)
	}
	v.DropQuota("few")
	v.put("secret/data/app", "y")

	v.BreakAudit()
	if _, status := v.get("secret/data/app"); status != http.StatusInternalServerError {
		t.Errorf("with a broken audit device %d, want 500", status)
	}
	v.Kill()
	v.Start()
	v.put("secret/data/app", "z")
}

func TestVaultLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	var dir, addr string
	t.Run("one server", func(t *testing.T) {
		v := Vault(t)
		dir, addr = v.dir, v.Addr
	})
	if dir == "" {
		t.Skip("no server ran")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("scratch folder is still there: %v", err)
	}
	v := &VaultServer{Addr: addr, t: t}
	if _, err := v.Try(t.Context(), "", http.MethodGet, "sys/health", nil); err == nil {
		t.Error("the server still answers")
	}
}
