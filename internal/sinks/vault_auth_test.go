package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

const allSecrets = `path "secret/*" { capabilities = ["create", "read", "update", "patch"] }
path "sys/internal/ui/mounts/secret" { capabilities = ["read"] }`

// authServer is a server with a policy for everything below secret/.
func authServer(t *testing.T, opts ...testkit.VaultOption) *testkit.VaultServer {
	t.Helper()
	srv := testkit.Vault(t, opts...)
	srv.Policy("rotatord", allSecrets)
	return srv
}

func appSink(t *testing.T, opt VaultOptions) *VaultSink {
	t.Helper()
	return mustSink(t, mustVault(t, opt), SinkSpec{Name: "v", Mount: "secret", Path: "app"})
}

func TestVaultSignIn(t *testing.T) {
	srv := authServer(t, testkit.WithTLS())
	policies := []string{"rotatord"}
	role := srv.AppRole("r", map[string]any{"token_policies": policies})
	secretID := filepath.Join(t.TempDir(), "secret-id")
	put(t, secretID, srv.SecretID("r")+"\n")
	wrapped := filepath.Join(t.TempDir(), "wrapped")
	put(t, wrapped, srv.WrappedSecretID("r", time.Minute)+"\n")
	certFile, keyFile := srv.CertAuth("rotatord", policies...)
	for _, tt := range []struct {
		name string
		auth VaultAuth
	}{
		{"token file", VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, srv.NewToken(map[string]any{"policies": policies}))}},
		{"batch token", VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, srv.NewToken(map[string]any{"policies": policies, "type": "batch"}))}},
		{"token that may not look itself up", VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, srv.NewToken(map[string]any{"policies": policies, "no_default_policy": true}))}},
		{"approle", VaultAuth{Method: AuthAppRole, RoleID: role, SecretIDFile: secretID}},
		{"approle, wrapped", VaultAuth{Method: AuthAppRole, RoleID: role, SecretIDFile: wrapped, Wrapped: true, RoleName: "r"}},
		{"cert", VaultAuth{Method: AuthCert}},
		{"cert with a role", VaultAuth{Method: AuthCert, RoleName: "rotatord"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opt := rootOptions(t, srv)
			opt.Auth, opt.ClientCertFile, opt.ClientKeyFile = tt.auth, certFile, keyFile
			s := appSink(t, opt)
			e := mustRead(t, s)
			mustWrite(t, s, testEntry(1), e.Version)
			expiry := s.v.TokenExpiry()
			if unknown := strings.Contains(tt.name, "may not"); expiry.IsZero() != unknown || !unknown && time.Until(expiry) < time.Minute {
				t.Errorf("the token is said to end at %v", expiry)
			}
		})
	}
}

func TestVaultSignInRefused(t *testing.T) {
	srv := authServer(t)
	role := srv.AppRole("r", map[string]any{"token_policies": []string{"rotatord"}})
	other := filepath.Join(t.TempDir(), "other")
	put(t, other, canary)
	empty := filepath.Join(t.TempDir(), "empty")
	put(t, empty, " \n")
	foreign := filepath.Join(t.TempDir(), "foreign")
	srv.AppRole("evil", map[string]any{"token_policies": []string{"default"}})
	put(t, foreign, srv.WrappedSecretID("evil", time.Minute))
	stolen := filepath.Join(t.TempDir(), "stolen")
	token := srv.WrappedSecretID("r", time.Minute)
	put(t, stolen, token)
	if a, err := srv.Try(t.Context(), token, http.MethodPut, "sys/wrapping/unwrap", nil); err != nil || a.Status != http.StatusOK {
		t.Fatalf("unwrap by the thief answered %d, %v", a.Status, err)
	}
	for _, tt := range []struct {
		name string
		auth VaultAuth
		want error
	}{
		{"unknown token", VaultAuth{Method: AuthTokenFile, TokenFile: other}, nil},
		{"no token file", VaultAuth{Method: AuthTokenFile, TokenFile: "/does/not/exist"}, nil},
		{"empty token file", VaultAuth{Method: AuthTokenFile, TokenFile: empty}, nil},
		{"wrong role id", VaultAuth{Method: AuthAppRole, RoleID: "x", SecretIDFile: other}, nil},
		{"wrong secret id", VaultAuth{Method: AuthAppRole, RoleID: role, SecretIDFile: other}, nil},
		{"no secret id file", VaultAuth{Method: AuthAppRole, RoleID: role, SecretIDFile: "/does/not/exist", Wrapped: true}, nil},
		{"wrong auth mount", VaultAuth{Method: AuthAppRole, Mount: "elsewhere", RoleID: role, SecretIDFile: other}, nil},
		{"no wrapping token", VaultAuth{Method: AuthAppRole, RoleID: role, SecretIDFile: other, Wrapped: true}, errUsedWrap},
		{"wrapping token stolen", VaultAuth{Method: AuthAppRole, RoleID: role, SecretIDFile: stolen, Wrapped: true}, errUsedWrap},
		{"wrapping token of another role", VaultAuth{Method: AuthAppRole, RoleID: role, SecretIDFile: foreign, Wrapped: true, RoleName: "r"}, errForeign},
		{"wrapping token of another mount", VaultAuth{Method: AuthAppRole, Mount: "approle2", RoleID: role, SecretIDFile: foreign, Wrapped: true}, errForeign},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opt := rootOptions(t, srv)
			opt.Auth = tt.auth
			s := appSink(t, opt)
			_, readErr := s.Read(t.Context())
			_, writeErr := s.Write(t.Context(), testEntry(1), "")
			for _, err := range []error{readErr, writeErr} {
				if rotate.KindOf(err) != rotate.KindAuth || tt.want != nil && !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %s and %v", err, rotate.KindAuth, tt.want)
				}
				if err != nil && strings.Contains(err.Error(), canary) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		})
	}
	// The foreign wrapping token was looked at and not spent.
	if a, err := srv.Try(t.Context(), strings.TrimSpace(content(t, foreign)), http.MethodPut, "sys/wrapping/unwrap", nil); err != nil || a.Status != http.StatusOK {
		t.Errorf("the foreign wrapping token was spent: %d, %v", a.Status, err)
	}
}

// A wrapped secret id serves every later sign-in, and a new wrapping token replaces it.
func TestVaultWrappedSecretIDAgain(t *testing.T) {
	srv := authServer(t)
	role := srv.AppRole("r", map[string]any{"token_policies": []string{"rotatord"}})
	file := filepath.Join(t.TempDir(), "wrapped")
	put(t, file, srv.WrappedSecretID("r", time.Minute))
	opt := rootOptions(t, srv)
	opt.Auth = VaultAuth{Method: AuthAppRole, RoleID: role, SecretIDFile: file, Wrapped: true, RoleName: "r"}
	s := appSink(t, opt)
	mustRead(t, s)
	revokeAll(t, srv)
	mustRead(t, s)
	remove(t, file)
	revokeAll(t, srv)
	mustRead(t, s)
	put(t, file, srv.WrappedSecretID("r", time.Minute))
	method, _ := s.v.session.method.(*appRole)
	before := method.secretID
	revokeAll(t, srv)
	mustRead(t, s)
	if method.secretID.Equal(before) {
		t.Error("the new wrapping token was not used")
	}
}

// revokeAll ends every token that approle gave out, as an operator would.
func revokeAll(t *testing.T, srv *testkit.VaultServer) {
	t.Helper()
	if status, _ := srv.Do(http.MethodPut, "sys/leases/revoke-prefix/auth/approle/login", map[string]any{"sync": true}); status != http.StatusNoContent && status != http.StatusOK {
		t.Fatalf("revoke answered %d", status)
	}
}

func TestVaultTokenEnds(t *testing.T) {
	srv := authServer(t)
	for _, tt := range []struct {
		name   string
		params map[string]any
	}{
		{"short, renewable", map[string]any{"token_ttl": "2s", "token_max_ttl": "1h"}},
		{"maximal lifetime reached", map[string]any{"token_ttl": "2s", "token_max_ttl": "3s"}},
		{"periodic", map[string]any{"token_period": "2s"}},
		{"batch", map[string]any{"token_ttl": "2s", "token_type": "batch"}},
		{"few uses", map[string]any{"token_num_uses": 3}},
	} {
		name := strings.NewReplacer(" ", "-", ",", "").Replace(tt.name)
		tt.params["token_policies"] = []string{"rotatord"}
		auth := approleOf(t, srv, name, tt.params)
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opt := rootOptions(t, srv)
			opt.OnNotice = func(n Notice) { t.Errorf("got the notice %q: %v", n.Text, n.Err) }
			opt.Auth = auth
			s := appSink(t, opt)
			end := time.Now().Add(5 * time.Second)
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for time.Now().Before(end) {
				mustRead(t, s)
				<-tick.C
			}
		})
	}
}

func approleOf(t *testing.T, srv *testkit.VaultServer, name string, params map[string]any) VaultAuth {
	t.Helper()
	role := srv.AppRole(name, params)
	file := filepath.Join(t.TempDir(), "secret-id")
	put(t, file, srv.SecretID(name))
	return VaultAuth{Method: AuthAppRole, RoleID: role, SecretIDFile: file}
}

// A revoked token costs one more sign-in, however many notice it at once.
func TestVaultRevokedToken(t *testing.T) {
	srv := authServer(t)
	var logins atomic.Int32
	opt := rootOptions(t, srv)
	opt.Auth = approleOf(t, srv, "r", map[string]any{"token_policies": []string{"rotatord"}})
	v := mustVault(t, opt)
	v.session.method = countSignIns{v.session.method, &logins}
	s := mustSink(t, v, SinkSpec{Name: "v", Mount: "secret", Path: "app"})
	first := mustWrite(t, s, testEntry(1), "")
	revokeAll(t, srv)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := s.Read(t.Context()); err != nil {
				t.Errorf("read: %v", err)
			}
		})
	}
	wg.Wait()
	mustWrite(t, s, testEntry(2), first)
	if got := logins.Load(); got != 2 {
		t.Errorf("signed in %d times, want 2", got)
	}
}

type countSignIns struct {
	signer
	n *atomic.Int32
}

func (c countSignIns) signIn(ctx context.Context, v *Vault) (identity, error) {
	c.n.Add(1)
	return c.signer.signIn(ctx, v)
}

func TestVaultTokenFileIsReadAgain(t *testing.T) {
	srv := authServer(t)
	token := func() string { return srv.NewToken(map[string]any{"policies": []string{"rotatord"}}) }
	opt := rootOptions(t, srv)
	file := tokenAt(t, token())
	opt.Auth.TokenFile = file
	s := appSink(t, opt)
	mustRead(t, s)
	old := s.v.session.present()

	put(t, file, token()+"\n\n") // of another length: file systems' clocks are coarse
	mustRead(t, s)
	if s.v.session.present().Equal(old) {
		t.Error("the new token was not taken")
	}
	remove(t, file) // the one in use goes on
	mustRead(t, s)
	srv.Do(http.MethodPut, "auth/token/revoke", map[string]any{"token": s.v.session.present().Reveal()})
	_, err := s.Read(t.Context())
	if rotate.KindOf(err) != rotate.KindAuth {
		t.Errorf("got %v, want %s", err, rotate.KindAuth)
	}
	put(t, file, token())
	mustRead(t, s)
}

// Run renews without any request, and ends with its context.
func TestVaultRun(t *testing.T) {
	srv := authServer(t)
	opt := rootOptions(t, srv)
	opt.Auth = approleOf(t, srv, "r", map[string]any{"token_policies": []string{"rotatord"}, "token_ttl": "3s"})
	v := mustVault(t, opt)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	var first time.Time
	for end := time.Now().Add(10 * time.Second); ; <-time.After(20 * time.Millisecond) {
		expiry := v.TokenExpiry()
		if first.IsZero() {
			first = expiry
		}
		if expiry.After(first) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the token was not renewed")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
}

// fakeKubernetes answers auth/kubernetes/login as Vault documents it, and refuses
// whatever it would refuse. The test server is built without this method.
type fakeKubernetes struct {
	t     *testing.T
	valid atomic.Pointer[string]
}

func (f *fakeKubernetes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, text string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[%q]}`, text)
	}
	if r.Method != http.MethodPut && r.Method != http.MethodPost || r.URL.Path != "/v1/auth/kubernetes/login" {
		refuse(http.StatusNotFound, "no handler for route")
		return
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	var body struct{ Role, JWT string }
	switch err := dec.Decode(&body); {
	case err != nil:
		f.t.Errorf("login body: %v", err)
		refuse(http.StatusBadRequest, "malformed")
	case r.Header.Get("X-Vault-Token") != "":
		f.t.Error("the login carries a token")
		refuse(http.StatusBadRequest, "token")
	case body.Role != "rotatord":
		refuse(http.StatusBadRequest, "invalid role name")
	case body.JWT != *f.valid.Load():
		refuse(http.StatusForbidden, "permission denied")
	default:
		fmt.Fprintf(w, `{"auth":{"client_token":"hvs.%s","renewable":true,"lease_duration":3600}}`, body.JWT)
	}
}

func TestVaultKubernetes(t *testing.T) {
	f := &fakeKubernetes{t: t}
	srv := httptest.NewServer(f)
	defer srv.Close()
	jwt := filepath.Join(t.TempDir(), "jwt")
	opt := VaultOptions{Address: srv.URL, Auth: VaultAuth{Method: AuthKubernetes, RoleName: "rotatord", JWTFile: jwt}}
	v := mustVault(t, opt)
	for _, token := range []string{"one", "two"} { // the kubelet replaces the file
		put(t, jwt, token+"\n")
		f.valid.Store(&token)
		id, err := v.signedIn(t.Context())
		if err != nil || id.token.Reveal() != "hvs."+token {
			t.Fatalf("sign in with jwt %s: %v", token, err)
		}
		v.session.refuse(id)
	}
	put(t, jwt, canary)
	if _, err := v.signedIn(t.Context()); rotate.KindOf(err) != rotate.KindAuth || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v, want %s", err, rotate.KindAuth)
	}
	opt.Auth.RoleName = "other"
	if _, err := mustVault(t, opt).signedIn(t.Context()); rotate.KindOf(err) != rotate.KindAuth {
		t.Errorf("got %v, want %s", err, rotate.KindAuth)
	}
}
