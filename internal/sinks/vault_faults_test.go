package sinks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

func wantError(t *testing.T, what string, err error, kind rotate.Kind, cause rotate.Cause) {
	t.Helper()
	if rotate.KindOf(err) != kind || rotate.CauseOf(err) != cause {
		t.Errorf("%s: got %v, want kind %q, cause %q", what, err, kind, cause)
	}
	if err != nil && (strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "hvs.")) {
		t.Errorf("%s: the error shows a secret", what)
	}
}

// bothFail reads and writes and wants the same error of both.
func bothFail(t *testing.T, s rotate.Sink, cas rotate.Version, kind rotate.Kind, cause rotate.Cause) {
	t.Helper()
	_, err := s.Read(t.Context())
	wantError(t, "read", err, kind, cause)
	_, err = s.Write(t.Context(), testEntry(9), cas)
	wantError(t, "write", err, kind, cause)
	_, err = s.Earlier(t.Context())
	wantError(t, "earlier", err, kind, cause)
}

func TestVaultServerTrouble(t *testing.T) {
	srv := testkit.Vault(t, testkit.WithRaft())
	srv.MountKV("secret", 2)
	opt := rootOptions(t, srv)
	s := appSink(t, opt)
	v := mustWrite(t, s, testEntry(1), "")
	opt.Timeout = 2 * time.Second
	hasty := appSink(t, opt)
	mustRead(t, hasty)

	srv.Seal()
	bothFail(t, s, v, rotate.KindTransient, rotate.CauseSealed)
	bothFail(t, appSink(t, rootOptions(t, srv)), v, rotate.KindTransient, rotate.CauseSealed) // sign-in too
	srv.Unseal()
	v = mustWrite(t, s, testEntry(2), v)

	srv.Restart()
	if got := mustRead(t, s); got.Version != v || !sameEntry(got, testEntry(2)) {
		t.Errorf("got version %q after the restart, want %q", got.Version, v)
	}
	v = mustWrite(t, s, testEntry(3), v)

	srv.Kill()
	bothFail(t, s, v, rotate.KindTransient, rotate.CauseUnreachable)
	srv.Start()
	bothFail(t, s, v, rotate.KindTransient, rotate.CauseSealed)
	srv.Unseal()
	if got := mustRead(t, s); got.Version != v || !sameEntry(got, testEntry(3)) {
		t.Errorf("got version %q after the kill, want %q", got.Version, v)
	}
	mustWrite(t, s, testEntry(4), v)

	srv.Pause()
	_, err := hasty.Read(t.Context())
	wantError(t, "read from a hung server", err, rotate.KindTransient, rotate.CauseUnreachable)
	err = hasty.put(t.Context(), "write secret secret/app", fields{}, 4)
	wantError(t, "write to a hung server", err, rotate.KindUnknownOutcome, rotate.CauseUnreachable)
	srv.Resume()
	// The write that was given up may still have happened: the next ones are fenced
	// by whatever version there is now.
	got, err := s.Read(t.Context())
	for n := 0; n < 50 && err != nil; n++ { // a server that slept elects itself again
		<-time.After(100 * time.Millisecond)
		got, err = s.Read(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, s, testEntry(5), got.Version)

	snapshot := srv.Snapshot()
	e := mustRead(t, s)
	mustWrite(t, s, testEntry(6), e.Version)
	srv.Restore(snapshot)
	if got := mustRead(t, s); got.Version != e.Version || !sameEntry(got, testEntry(5)) {
		t.Errorf("got version %q after the restore, want %q", got.Version, e.Version)
	}
}

func TestVaultBrokenAudit(t *testing.T) {
	srv := testkit.Vault(t)
	s := appSink(t, rootOptions(t, srv))
	mustWrite(t, s, testEntry(1), "")
	srv.BreakAudit()
	_, err := s.Read(t.Context())
	wantError(t, "read", err, rotate.KindTransient, rotate.CauseNone)
	err = s.put(t.Context(), "write secret secret/app", fields{}, 1)
	wantError(t, "write", err, rotate.KindUnknownOutcome, rotate.CauseNone)
}

func TestVaultQuota(t *testing.T) {
	for _, headers := range []bool{false, true} {
		t.Run(fmt.Sprintf("headers %v", headers), func(t *testing.T) {
			srv := testkit.Vault(t)
			s := appSink(t, rootOptions(t, srv))
			v := mustWrite(t, s, testEntry(1), "")
			srv.Quota("tight", "secret/", 1, time.Minute, headers)
			_, _ = s.Read(t.Context()) // spends the quota
			bothFail(t, s, v, rotate.KindRateLimited, rotate.CauseNone)
			_, err := s.Read(t.Context())
			if wait := rotate.WaitOf(err); (wait > 0) != headers || wait > time.Minute {
				t.Errorf("got the wait %v", wait)
			}
			srv.DropQuota("tight")
			mustWrite(t, s, testEntry(2), v)
		})
	}
}

// The answer to a write is lost: the secret has it, once, and whoever asks learns it.
func TestVaultLostAnswer(t *testing.T) {
	srv := testkit.Vault(t)
	d := newDropper(t, srv.Addr)
	opt := rootOptions(t, srv)
	opt.Address = d.URL
	s := appSink(t, opt)
	first := mustWrite(t, s, testEntry(1), "")
	d.drop.Store(1)
	d.seen.Store(0)
	_, err := s.Write(t.Context(), testEntry(2), first)
	wantError(t, "write", err, rotate.KindUnknownOutcome, rotate.CauseUnreachable)
	if got := d.seen.Load(); got != 1 {
		t.Errorf("the write was sent %d times, want once", got)
	}
	if v := mustWrite(t, s, testEntry(2), first); v != "2" {
		t.Errorf("got version %q for the same write again, want 2", v)
	}
	other := testEntry(2)
	other.Meta.RotationID = "another"
	_, err = s.Write(t.Context(), other, first)
	wantError(t, "another rotation's write", err, rotate.KindConflict, rotate.CauseNone)
	if got := d.seen.Load(); got != 1 {
		t.Errorf("the write was sent %d times, want once", got)
	}
}

// Between our read and our write somebody is faster; and it may have been ourselves.
func TestVaultOvertaken(t *testing.T) {
	srv := testkit.Vault(t)
	v := mustVault(t, rootOptions(t, srv))
	for _, tt := range []struct {
		name  string
		other rotate.Entry
		want  rotate.Kind
	}{
		{"by somebody", testEntry(7), rotate.KindConflict},
		{"by ourselves", testEntry(2), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mustSink(t, v, SinkSpec{Name: "v", Mount: "secret", Path: strings.ReplaceAll(tt.name, " ", "-")})
			mustWrite(t, s, tt.other, mustWrite(t, s, testEntry(1), ""))
			want, err := s.merge(nil, testEntry(2))
			if err != nil {
				t.Fatal(err)
			}
			err = s.put(t.Context(), "write", want, 1)
			if got := rotate.KindOf(err); got != tt.want {
				t.Errorf("got %v, want kind %q", err, tt.want)
			}
		})
	}
}

func TestVaultMounts(t *testing.T) {
	srv := testkit.Vault(t)
	srv.MountKV("old", 1)
	srv.MountKV("deep/mount", 2)
	srv.Do(http.MethodPost, "sys/mounts/transit", map[string]any{"type": "transit"})
	srv.Do(http.MethodPut, "old/data/app", map[string]any{"theirs": "x"})
	limited := rootOptions(t, srv)
	srv.Policy("limited", allSecrets)
	limited.Auth.TokenFile = tokenAt(t, srv.NewToken(map[string]any{"policies": []string{"limited"}}))
	for _, tt := range []struct {
		name  string
		opt   VaultOptions
		spec  SinkSpec
		cause rotate.Cause
	}{
		{"version 1", rootOptions(t, srv), SinkSpec{Mount: "old", Path: "app"}, rotate.CauseKVv1},
		{"missing, as root", rootOptions(t, srv), SinkSpec{Mount: "none", Path: "app"}, rotate.CauseNoMount},
		{"missing, with few rights", limited, SinkSpec{Mount: "none", Path: "app"}, rotate.CauseNoMount},
		{"another engine", rootOptions(t, srv), SinkSpec{Mount: "transit", Path: "app"}, rotate.CauseNoMount},
		{"below a mount", rootOptions(t, srv), SinkSpec{Mount: "secret/x", Path: "app"}, rotate.CauseNoMount},
		{"above a mount", rootOptions(t, srv), SinkSpec{Mount: "deep", Path: "mount/app"}, rotate.CauseNoMount},
		{"forbidden path", limited, SinkSpec{Mount: "secret", Path: "app"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mustSink(t, mustVault(t, tt.opt), tt.spec)
			if tt.cause == "" {
				mustWrite(t, s, testEntry(1), "")
				return
			}
			bothFail(t, s, "", rotate.KindPermanent, tt.cause)
		})
	}
	if _, reply := srv.Do(http.MethodGet, "old/data/app", nil); strings.Contains(fmt.Sprint(reply), canary) {
		t.Error("a key was written to the version 1 mount")
	}
	s := mustSink(t, mustVault(t, rootOptions(t, srv)), SinkSpec{Mount: "deep/mount", Path: "a/b"})
	mustWrite(t, s, testEntry(1), "")
}

// A mount that is remembered as version 2 may be replaced under our feet.
func TestVaultMountReplaced(t *testing.T) {
	srv := testkit.Vault(t)
	srv.MountKV("kv", 2)
	s := mustSink(t, mustVault(t, rootOptions(t, srv)), SinkSpec{Mount: "kv", Path: "app"})
	v := mustWrite(t, s, testEntry(1), "")
	srv.Do(http.MethodDelete, "sys/mounts/kv", nil)
	bothFail(t, s, v, rotate.KindPermanent, rotate.CauseNoMount)
	srv.MountKV("kv", 1)
	bothFail(t, s, v, rotate.KindPermanent, rotate.CauseKVv1)
}

func TestVaultNamespaceIgnored(t *testing.T) {
	srv := testkit.Vault(t)
	opt := rootOptions(t, srv)
	opt.Namespace = "team/maps"
	bothFail(t, appSink(t, opt), "", rotate.KindPermanent, rotate.CauseNamespace)
	srv.Policy("rotatord", allSecrets)
	opt.Auth.TokenFile = tokenAt(t, srv.NewToken(map[string]any{"policies": []string{"rotatord"}, "no_default_policy": true}))
	bothFail(t, appSink(t, opt), "", rotate.KindPermanent, rotate.CauseNamespace)
	if status, _ := srv.Do(http.MethodGet, "secret/data/app", nil); status != http.StatusNotFound {
		t.Errorf("the root namespace answers %d, want 404", status)
	}
}

// A server with namespaces knows no token of ours in one that does not exist.
func TestVaultNamespaceObeyed(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/auth/token/lookup-self" {
			t.Errorf("unexpected request for %s", r.URL.Path)
		}
		asked.Add(1)
		if r.Header.Get("X-Vault-Namespace") != "team/maps" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors":["permission denied"]}`)
			return
		}
		fmt.Fprint(w, `{"data":{"ttl":3600,"renewable":true}}`)
	}))
	defer srv.Close()
	v := mustVault(t, VaultOptions{Address: srv.URL, Namespace: "team/maps", Auth: VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, "hvs.x")}})
	for range 2 {
		if err := v.checkNamespace(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := asked.Load(); got != 3 { // sign-in, here, elsewhere; then it is known
		t.Errorf("asked %d times, want 3", got)
	}
}

// Custom metadata is no part of the write: trouble with it is told, and mended by the
// next write.
func TestVaultAnnotationFails(t *testing.T) {
	srv := testkit.Vault(t)
	policy := func(patch string) string {
		return `path "secret/data/app" { capabilities = ["create", "update", "read"] }
path "secret/metadata/app" { capabilities = ["read"` + patch + `] }
path "sys/internal/ui/mounts/secret" { capabilities = ["read"] }`
	}
	srv.Policy("p", policy(""))
	var told notices
	opt := rootOptions(t, srv)
	opt.OnNotice = told.add
	opt.Auth.TokenFile = tokenAt(t, srv.NewToken(map[string]any{"policies": []string{"p"}}))
	s := appSink(t, opt)
	v := mustWrite(t, s, testEntry(1), "")
	if told.count() != 1 || rotate.CauseOf(told.all[0].Err) != rotate.CauseForbidden || told.all[0].Sink != "v" {
		t.Fatalf("got the notices %v, want one about a missing right", told.all)
	}
	srv.Policy("p", policy(`, "patch"`))
	mustWrite(t, s, testEntry(1), v)
	_, reply := srv.Do(http.MethodGet, "secret/metadata/app", nil)
	if !strings.Contains(fmt.Sprint(reply), "rotatord_generation:1") || told.count() != 1 {
		t.Errorf("got %v and %d notices, want the annotation and no further notice", reply, told.count())
	}
}

// Answers of servers that are no healthy Vault.
func TestVaultOddAnswers(t *testing.T) {
	const sealed = `{"errors":["Vault is sealed"]}`
	for _, tt := range []struct {
		name        string
		status      int
		body        string
		read, write rotate.Kind
		cause       rotate.Cause // of the read
	}{
		{"redirect", 307, "", rotate.KindTransient, rotate.KindTransient, rotate.CauseUnreachable},
		{"moved", 301, "", rotate.KindTransient, rotate.KindTransient, rotate.CauseUnreachable},
		{"html", 200, "<html>" + canary, rotate.KindPermanent, rotate.KindUnknownOutcome, rotate.CauseMalformed},
		{"empty object", 200, "{}", rotate.KindPermanent, rotate.KindUnknownOutcome, rotate.CauseMalformed},
		{"another version", 200, `{"data":{"version":7,"metadata":{"version":0}}}`, rotate.KindPermanent, rotate.KindUnknownOutcome, rotate.CauseMalformed},
		{"bad gateway", 502, "<html>" + canary, rotate.KindTransient, rotate.KindUnknownOutcome, ""},
		{"unavailable", 503, "<html>" + canary, rotate.KindTransient, rotate.KindUnknownOutcome, ""},
		{"gateway timeout", 504, canary, rotate.KindTransient, rotate.KindUnknownOutcome, ""},
		{"internal error", 500, `{"errors":["internal error ` + canary + `"]}`, rotate.KindTransient, rotate.KindUnknownOutcome, ""},
		{"sealed", 503, sealed, rotate.KindTransient, rotate.KindTransient, rotate.CauseSealed},
		{"no leader", 500, `{"errors":["local node not active but active cluster node not found"]}`, rotate.KindTransient, rotate.KindTransient, rotate.CauseUnreachable},
		{"node lags behind", 412, "", rotate.KindTransient, rotate.KindTransient, ""},
		{"too many requests", 429, "", rotate.KindRateLimited, rotate.KindRateLimited, ""},
		{"forbidden", 403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`, rotate.KindPermanent, rotate.KindPermanent, rotate.CauseForbidden},
		{"token refused twice", 403, `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`, rotate.KindAuth, rotate.KindAuth, ""},
		{"too large", 413, "", rotate.KindPermanent, rotate.KindPermanent, ""},
		{"endless", 200, strings.Repeat(" ", maxReply+1), rotate.KindTransient, rotate.KindUnknownOutcome, rotate.CauseUnreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/v1/auth/token/") {
					fmt.Fprint(w, `{"data":{"ttl":0}}`)
					return
				}
				if tt.status/100 == 3 {
					w.Header().Set("Location", "http://127.0.0.1:1/v1/elsewhere")
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			defer srv.Close()
			s := appSink(t, VaultOptions{Address: srv.URL, Auth: VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, "hvs.x")}})
			s.v.mounts.Store("secret", true)
			_, err := s.Read(t.Context())
			wantError(t, "read", err, tt.read, tt.cause)
			err = s.put(t.Context(), "write", fields{"api_key": []byte(`"` + canary + `"`)}, 1)
			if rotate.KindOf(err) != tt.write || strings.Contains(err.Error(), canary) {
				t.Errorf("write: got %v, want %q", err, tt.write)
			}
		})
	}
}

// Nothing listens, the name does not resolve, the certificate is not trusted, the call
// was given up before it was sent: a write did not happen.
func TestVaultNotReached(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	for name, address := range map[string]string{"nobody listens": closed, "unknown CA": tls.URL, "unknown name": "https://vault.invalid:8200"} {
		t.Run(name, func(t *testing.T) {
			s := appSink(t, VaultOptions{Address: address, Timeout: 5 * time.Second, Auth: VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, "hvs.x")}})
			err := s.put(t.Context(), "write", fields{}, 1)
			wantError(t, "write", err, rotate.KindTransient, rotate.CauseUnreachable)
			_, err = s.v.send(t.Context(), s.v.client, call{op: "write", path: "secret/data/app", body: 1, effect: true})
			wantError(t, "write", err, rotate.KindTransient, rotate.CauseUnreachable)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := appSink(t, VaultOptions{Address: closed, Auth: VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, "hvs.x")}})
	if _, err := s.Write(ctx, testEntry(1), ""); rotate.KindOf(err) != rotate.KindTransient || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a transient cancellation", err)
	}
}
