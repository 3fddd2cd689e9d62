package sinks

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

// brief is a finding without its long sentence; the sentence's part that matters stays.
type brief struct {
	Severity Severity
	Sink     string
	Cause    rotate.Cause
	Says     string
}

func wantFindings(t *testing.T, found []Finding, want ...brief) {
	t.Helper()
	var got []brief
	for i, f := range found {
		b := brief{f.Severity, f.Sink, f.Cause, f.Sentence}
		if i < len(want) && strings.Contains(f.Sentence, want[i].Says) {
			b.Says = want[i].Says
		}
		if f.Cure == "" || f.Sentence == "" || strings.Contains(f.Sentence, canary) {
			t.Errorf("finding %+v has no cure or sentence, or shows a secret", f)
		}
		got = append(got, b)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestVaultCheck(t *testing.T) {
	srv := testkit.Vault(t)
	srv.MountKV("old", 1)
	spec := SinkSpec{Name: "v", Mount: "secret", Path: "app"}
	mount := `path "sys/internal/ui/mounts/secret" { capabilities = ["read"] }` + "\n"
	data := func(caps string) string { return `path "secret/data/app" { capabilities = [` + caps + "] }\n" }
	meta := func(caps string) string { return `path "secret/metadata/app" { capabilities = [` + caps + "] }\n" }
	for _, tt := range []struct {
		name   string
		policy string // "" is root
		change func(o *VaultOptions, s *SinkSpec)
		want   []brief
	}{
		{"root", "", nil, nil},
		{"least rights", Policy([]SinkSpec{spec}), nil, nil},
		{"read only", mount + data(`"read"`) + meta(`"read", "patch"`), nil,
			[]brief{{SeverityError, "v", rotate.CauseReadOnly, "may only read secret/data/app"}}},
		{"no update", mount + data(`"read", "create"`) + meta(`"read", "patch"`), nil,
			[]brief{{SeverityError, "v", rotate.CauseForbidden, "lacks the right to update secret/data/app"}}},
		{"no create", mount + data(`"read", "update"`) + meta(`"read", "patch"`), nil,
			[]brief{{SeverityError, "v", rotate.CauseForbidden, "lacks the right to create secret/data/app"}}},
		{"no read", mount + data(`"create", "update"`) + meta(`"read", "patch"`), nil,
			[]brief{{SeverityError, "v", rotate.CauseForbidden, "lacks the right to read secret/data/app"}}},
		{"no metadata", mount + data(`"create", "update", "read"`), nil, []brief{
			{SeverityError, "v", rotate.CauseForbidden, "lacks the right to read secret/metadata/app"},
			{SeverityWarning, "v", rotate.CauseForbidden, "lacks the right to patch secret/metadata/app"},
		}},
		{"nothing", `path "x" { capabilities = ["read"] }`, nil,
			[]brief{{SeverityError, "v", rotate.CauseNoMount, "no key-value mount secret"}}},
		{"missing mount", "", func(_ *VaultOptions, s *SinkSpec) { s.Mount = "none" },
			[]brief{{SeverityError, "v", rotate.CauseNoMount, "no key-value mount none"}}},
		{"version 1", "", func(_ *VaultOptions, s *SinkSpec) { s.Mount = "old" },
			[]brief{{SeverityError, "v", rotate.CauseKVv1, "mount old is KV version 1"}}},
		{"wrong token", "", func(o *VaultOptions, _ *SinkSpec) { o.Auth.TokenFile = tokenAt(t, canary) },
			[]brief{{SeverityError, "", "", "the sign-in to Vault is refused"}}},
		{"namespace ignored", "", func(o *VaultOptions, _ *SinkSpec) { o.Namespace = "team" },
			[]brief{{SeverityError, "", rotate.CauseNamespace, "the server ignores namespaces"}}},
		{"nobody there", "", func(o *VaultOptions, _ *SinkSpec) { o.Address = "http://127.0.0.1:1" },
			[]brief{{SeverityError, "", rotate.CauseUnreachable, "Vault cannot be reached"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opt, s := rootOptions(t, srv), spec
			if tt.policy != "" {
				srv.Policy("check", tt.policy)
				opt.Auth.TokenFile = tokenAt(t, srv.NewToken(map[string]any{"policies": []string{"check"}}))
			}
			if tt.change != nil {
				tt.change(&opt, &s)
			}
			wantFindings(t, mustVault(t, opt).Check(t.Context(), []SinkSpec{s}), tt.want...)
		})
	}
	if status, _ := srv.Do(http.MethodGet, "secret/metadata/app", nil); status != http.StatusNotFound {
		t.Errorf("a check left something at the secret: %d", status)
	}
}

func TestVaultCheckSealed(t *testing.T) {
	srv := testkit.Vault(t, testkit.WithUninitialised())
	check := func(want brief) {
		t.Helper()
		opt := rootOptions(t, srv)
		wantFindings(t, mustVault(t, opt).Check(t.Context(), nil), want)
	}
	check(brief{SeverityError, "", rotate.CauseSealed, "Vault was never initialised"})
	srv.Init()
	check(brief{SeverityError, "", rotate.CauseSealed, "Vault is sealed"})
}

func TestVaultCheckOthers(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>" + canary))
	}))
	defer srv.Close()
	auth := VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, "x")}
	v := mustVault(t, VaultOptions{Address: srv.URL, Auth: auth})
	wantFindings(t, v.Check(t.Context(), nil), brief{SeverityError, "", rotate.CauseMalformed, "is not Vault"})
	v = mustVault(t, VaultOptions{Address: "http://vault.invalid:8200", Timeout: time.Second, Auth: auth})
	wantFindings(t, v.Check(t.Context(), nil),
		brief{SeverityWarning, "", "", "unencrypted"},
		brief{SeverityError, "", rotate.CauseUnreachable, "Vault cannot be reached"})
}

// With the printed policy everything works (the contract suite runs under it), and
// nothing else is in reach.
func TestVaultPolicyIsLeast(t *testing.T) {
	srv := testkit.Vault(t)
	mine := SinkSpec{Name: "v", Mount: "secret", Path: "app/web"}
	srv.Policy("least", Policy([]SinkSpec{mine}))
	opt := rootOptions(t, srv)
	token := srv.NewToken(map[string]any{"policies": []string{"least"}, "no_default_policy": true})
	opt.Auth.TokenFile = tokenAt(t, token)
	v := mustVault(t, opt)
	s := mustSink(t, v, mine)
	mustWrite(t, s, testEntry(2), mustWrite(t, s, testEntry(1), ""))
	if earlier, err := s.Earlier(t.Context()); err != nil || len(earlier) != 1 {
		t.Errorf("got %d earlier versions and %v, want one", len(earlier), err)
	}
	wantFindings(t, v.Check(t.Context(), []SinkSpec{mine}))
	if v.TokenExpiry().IsZero() {
		t.Error("the token's end is unknown")
	}

	srv.Do(http.MethodPut, "secret/data/app/web2", map[string]any{"data": map[string]any{"api_key": canary}})
	for _, path := range []string{"app/web2", "app", "app/web/below", "other"} {
		bothFail(t, mustSink(t, v, SinkSpec{Name: "v", Mount: "secret", Path: path}), "", rotate.KindPermanent, rotate.CauseForbidden)
	}
	for _, forbidden := range []struct{ method, path string }{
		{http.MethodDelete, "secret/data/app/web"}, {http.MethodDelete, "secret/metadata/app/web"},
		{http.MethodPut, "secret/destroy/app/web"}, {http.MethodPut, "secret/delete/app/web"},
		{http.MethodPut, "secret/metadata/app/web"}, {http.MethodGet, "secret/metadata/app?list=true"},
		{http.MethodGet, "sys/mounts"}, {http.MethodGet, "sys/policies/acl/least"}, {http.MethodPut, "auth/token/create"},
	} {
		a, err := srv.Try(t.Context(), token, forbidden.method, forbidden.path, map[string]any{"versions": []int{1}})
		if err != nil || a.Status != http.StatusForbidden {
			t.Errorf("%s %s answered %d, %v, want 403", forbidden.method, forbidden.path, a.Status, err)
		}
	}
}

func TestPolicyText(t *testing.T) {
	got := Policy([]SinkSpec{{Mount: "kv", Path: "b"}, {Mount: "kv", Path: "a"}, {Mount: "kv", Path: "b"}})
	for path, times := range map[string]int{"kv/data/a": 1, "kv/data/b": 1, "kv/metadata/a": 1, "sys/internal/ui/mounts/kv": 1, "auth/token/lookup-self": 1} {
		if n := strings.Count(got, `path "`+path+`" {`); n != times {
			t.Errorf("%s stands in the policy %d times, want %d", path, n, times)
		}
	}
	if strings.Index(got, "kv/data/a") > strings.Index(got, "kv/data/b") {
		t.Error("the paths are not in order")
	}
}
