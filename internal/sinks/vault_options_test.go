package sinks

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"rotatord/internal/testkit"
)

// VAULT_ variables must not reach the client: they belong to the person at the shell.
func TestVaultIgnoresEnvironment(t *testing.T) {
	srv := testkit.Vault(t)
	for name, value := range map[string]string{
		"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_AGENT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "wrong", "VAULT_NAMESPACE": "elsewhere",
		"VAULT_WRAP_TTL": "60s", "VAULT_HEADERS": `{"X-Odd":"1"}`, "VAULT_MAX_RETRIES": "5", "VAULT_CLIENT_TIMEOUT": "1ns",
		"VAULT_RATE_LIMIT": "0.001:1", "VAULT_HTTP_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1", "VAULT_SKIP_VERIFY": "true",
	} {
		t.Setenv(name, value)
	}
	var odd atomic.Int32
	seen := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range []string{"X-Odd", "X-Vault-Namespace", "X-Vault-Wrap-Ttl"} {
			if r.Header.Get(h) != "" {
				odd.Add(1)
			}
		}
		r2, err := http.NewRequestWithContext(r.Context(), r.Method, srv.Addr+r.URL.RequestURI(), r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r2.Header = r.Header.Clone()
		resp, err := http.DefaultTransport.(*http.Transport).RoundTrip(r2)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	defer seen.Close()
	opt := rootOptions(t, srv)
	opt.Address = seen.URL
	s := mustSink(t, mustVault(t, opt), SinkSpec{Name: "v", Mount: "secret", Path: "app"})
	mustWrite(t, s, testEntry(1), "")
	if got := mustRead(t, s); !sameEntry(got, testEntry(1)) {
		t.Errorf("got %s", got.Key.Fingerprint())
	}
	if odd.Load() > 0 {
		t.Errorf("%d requests carried something of the environment", odd.Load())
	}
}

func TestNewVaultRefuses(t *testing.T) {
	good := VaultOptions{Address: "https://vault.example.org:8200", Auth: VaultAuth{Method: AuthTokenFile, TokenFile: "/x"}}
	noCert := filepath.Join(t.TempDir(), "empty.pem")
	put(t, noCert, "")
	for _, tt := range []struct {
		name   string
		change func(o *VaultOptions)
	}{
		{"no address", func(o *VaultOptions) { o.Address = "" }},
		{"no scheme", func(o *VaultOptions) { o.Address = "vault:8200" }},
		{"other scheme", func(o *VaultOptions) { o.Address = "ftp://vault" }},
		{"password in the address", func(o *VaultOptions) { o.Address = "https://u:" + canary + "@vault" }},
		{"query in the address", func(o *VaultOptions) { o.Address = "https://vault?token=" + canary }},
		{"control character", func(o *VaultOptions) { o.Address = "https://vault\x7f" + canary }},
		{"namespace that climbs", func(o *VaultOptions) { o.Namespace = "a/../b" }},
		{"missing CA file", func(o *VaultOptions) { o.CAFile = "/does/not/exist" }},
		{"empty CA file", func(o *VaultOptions) { o.CAFile = noCert }},
		{"certificate without key", func(o *VaultOptions) { o.ClientCertFile = noCert }},
		{"unreadable certificate", func(o *VaultOptions) { o.ClientCertFile, o.ClientKeyFile = noCert, noCert }},
		{"odd proxy", func(o *VaultOptions) { o.Proxy = "://" }},
		{"unknown method", func(o *VaultOptions) { o.Auth.Method = "userpass" }},
		{"no method", func(o *VaultOptions) { o.Auth.Method = "" }},
		{"no token file", func(o *VaultOptions) { o.Auth.TokenFile = "" }},
		{"approle without role id", func(o *VaultOptions) { o.Auth = VaultAuth{Method: AuthAppRole, SecretIDFile: "/x"} }},
		{"approle without secret id", func(o *VaultOptions) { o.Auth = VaultAuth{Method: AuthAppRole, RoleID: "x"} }},
		{"kubernetes without role", func(o *VaultOptions) { o.Auth = VaultAuth{Method: AuthKubernetes} }},
		{"cert without certificate", func(o *VaultOptions) { o.Auth = VaultAuth{Method: AuthCert} }},
		{"auth mount that climbs", func(o *VaultOptions) { o.Auth = VaultAuth{Method: AuthKubernetes, RoleName: "r", Mount: "../sys"} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opt := good
			tt.change(&opt)
			_, err := NewVault(opt)
			if err == nil {
				t.Fatal("got no error")
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
	v := mustVault(t, good)
	for _, spec := range []SinkSpec{
		{Mount: "", Path: "a"}, {Mount: "kv", Path: ""}, {Mount: "kv", Path: "a/../b"}, {Mount: "kv/", Path: "a"},
		{Mount: "kv", Path: "a*"}, {Mount: "kv", Path: "a", KeyField: "x", MetaField: "x"},
	} {
		if _, err := v.Sink(spec); err == nil {
			t.Errorf("%+v: got no error", spec)
		}
	}
}

func TestCheckPath(t *testing.T) {
	for path, good := range map[string]bool{
		"arcgis/live/web": true, "plain": true, "prod/0123/j.doe@example.org": true, "a..b/...": true,
		"": false, "/a": false, "a/": false, "a//b": false, "a/../b": false, "..": false, "a/./b": false, ".": false,
		"a/b*": false, "a/b+": false, "a/b?version=1": false, "a/b%2f": false, "a/b#c": false, `a/b"c`: false, `a\b`: false,
		"a/b c": false, "a/ü": false, "a/\n": false, "a/{{.Name}}": false, strings.Repeat("x", maxPath+1): false,
	} {
		if err := checkPath(path); (err == nil) != good {
			t.Errorf("%q: got %v, want good %v", path, err, good)
		}
	}
}
