package sinks

import (
	"bytes"

	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"

	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
	"rotatord/internal/testkit"
)

// notices collects what a sink tells.
type notices struct {
	mu  sync.Mutex
	all []Notice
}

func (n *notices) add(x Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, x)
}

func (n *notices) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.all)
}

// tokenAt writes a token file.
func tokenAt(t testing.TB, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, token+"\n")
	return path
}

func mustVault(t testing.TB, opt VaultOptions) *Vault {
	t.Helper()
	v, err := NewVault(opt)
	if err != nil {
		t.Fatalf("new vault: %v", err)
	}
	return v
}

func mustSink(t testing.TB, v *Vault, spec SinkSpec) *VaultSink {
	t.Helper()
	s, err := v.Sink(spec)
	if err != nil {
		t.Fatalf("new vault sink: %v", err)
	}
	return s
}

// rootOptions connect to a test server as root.
func rootOptions(t testing.TB, srv *testkit.VaultServer) VaultOptions {
	t.Helper()
	return VaultOptions{
		Address: srv.Addr, CAFile: srv.CAFile, Timeout: 10 * time.Second,
		Auth: VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, srv.Token)},
	}
}

// dropper is a proxy that can let a request happen and cut the connection instead of
// answering.
type dropper struct {
	*httptest.Server
	drop atomic.Int32 // answers to drop, of requests that change something
	seen atomic.Int32 // requests that change a secret
}

func newDropper(t *testing.T, backend string) *dropper {
	t.Helper()
	d := &dropper{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		req, err := http.NewRequestWithContext(r.Context(), r.Method, backend+r.URL.RequestURI(), bytes.NewReader(body))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		req.Header = r.Header.Clone()
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		changes := r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/data/")
		if changes {
			d.seen.Add(1)
		}
		if err != nil || changes && d.drop.Add(-1) >= 0 {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(answer)
	}))
	d.Config.ErrorLog = nil
	t.Cleanup(d.Close)
	return d
}

// vaultFixture is a secret of its own on a shared server. Clients have no more rights
// than the printed policy grants.
func vaultFixture(t *testing.T, srv *testkit.VaultServer, n int64, token string) rotatetest.SinkFixture {
	t.Helper()
	spec := SinkSpec{Name: "vault", Mount: "secret", Path: fmt.Sprintf("app/%d/key", n)}
	opt := rootOptions(t, srv)
	opt.Auth.TokenFile = tokenAt(t, token)
	opt.OnNotice = func(n Notice) { t.Errorf("got the notice %q: %v", n.Text, n.Err) }
	hand := func(t *testing.T, method, path string, body any) testkit.Answer {
		t.Helper()
		a, err := srv.Try(t.Context(), srv.Token, method, path, body)
		if err != nil {
			t.Errorf("%s %s: %v", method, path, err)
		}
		return a
	}
	edit := func(t *testing.T, field string, value any) {
		t.Helper()
		old, _ := hand(t, http.MethodGet, "secret/data/"+spec.Path, nil).Data()["data"].(map[string]any)
		data := maps.Clone(old)
		if data == nil {
			data = map[string]any{}
		}
		data[field] = value
		if a := hand(t, http.MethodPut, "secret/data/"+spec.Path, map[string]any{"data": data}); a.Status != http.StatusOK {
			t.Errorf("edit by hand answered %d", a.Status)
		}
	}
	v := mustVault(t, opt)
	return rotatetest.SinkFixture{
		Open:       func() rotate.Sink { return mustSink(t, v, spec) },
		SetForeign: func(t *testing.T, value string) { edit(t, "theirs", value) },
		Foreign: func(t *testing.T) string {
			data, _ := hand(t, http.MethodGet, "secret/data/"+spec.Path, nil).Data()["data"].(map[string]any)
			text, _ := data["theirs"].(string)
			return text
		},
		EditKey:  func(t *testing.T, key string) { edit(t, DefaultKeyField, key) },
		BreakKey: func(t *testing.T) { edit(t, DefaultKeyField, map[string]any{"a": 1}) },
		Delete: func(t *testing.T) {
			if a := hand(t, http.MethodDelete, "secret/data/"+spec.Path, nil); a.Status != http.StatusNoContent {
				t.Errorf("delete by hand answered %d", a.Status)
			}
		},
		LoseReply: func(t *testing.T) rotate.Sink {
			d := newDropper(t, srv.Addr)
			d.drop.Store(1)
			o := opt
			o.Address = d.URL
			return mustSink(t, mustVault(t, o), spec)
		},
	}
}

func TestVaultContract(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []testkit.VaultOption
	}{
		{"in memory", nil},
		{"raft", []testkit.VaultOption{testkit.WithRaft()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := testkit.Vault(t, tt.opts...)
			if len(tt.opts) > 0 {
				srv.MountKV("secret", 2)
			}
			var specs []SinkSpec
			for n := range 50 {
				specs = append(specs, SinkSpec{Mount: "secret", Path: fmt.Sprintf("app/%d/key", n)})
			}
			srv.Policy("least", Policy(specs))
			token := srv.NewToken(map[string]any{"policies": []string{"least"}, "no_default_policy": true})
			var next atomic.Int64
			rotatetest.RunSinkTests(t, func(t *testing.T) rotatetest.SinkFixture {
				return vaultFixture(t, srv, next.Add(1), token)
			})
		})
	}
}

// Foreign fields survive as they are, whatever they hold; other people's custom
// metadata too.
func TestVaultKeepsWhatIsNotOurs(t *testing.T) {
	srv := testkit.Vault(t)
	theirs := map[string]any{
		"nested": map[string]any{"list": []any{"a", json.Number("1"), nil, true}, "html": "<&>"},
		"big":    json.Number("9007199254740991"), "rate": json.Number("0.25"), "empty": "", "nothing": nil,
	}
	srv.Do(http.MethodPut, "secret/data/app", map[string]any{"data": theirs})
	srv.Do(http.MethodPatch, "secret/metadata/app", map[string]any{"custom_metadata": map[string]any{"team": "maps"}})
	s := mustSink(t, mustVault(t, rootOptions(t, srv)), SinkSpec{Name: "v", Mount: "secret", Path: "app"})
	mustWrite(t, s, testEntry(2), mustWrite(t, s, testEntry(1), "1"))

	got := rawSecret(t, srv, "secret/data/app")
	delete(got, DefaultKeyField)
	delete(got, DefaultMetaField)
	if diff := cmp.Diff(theirs, got); diff != "" {
		t.Errorf("foreign fields (-want +got):\n%s", diff)
	}
	_, reply := srv.Do(http.MethodGet, "secret/metadata/app", nil)
	custom, _ := reply["data"].(map[string]any)["custom_metadata"].(map[string]any)
	want := map[string]any{
		"team": "maps", "rotatord_generation": "2", "rotatord_slot": "2", "rotatord_item": string(testEntry(2).Meta.Item),
		"rotatord_fingerprint": string(testKey(2).Fingerprint()), "rotatord_expires": "2027-01-02T23:59:59Z", "rotatord_rotation_id": "01J2",
	}
	if diff := cmp.Diff(want, custom); diff != "" {
		t.Errorf("custom metadata (-want +got):\n%s", diff)
	}
}

// rawSecret decodes numbers as they are written.
func rawSecret(t *testing.T, srv *testkit.VaultServer, path string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.Addr+"/v1/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", srv.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct {
		Data struct {
			Data map[string]any `json:"data"`
		} `json:"data"`
	}
	dec := json.NewDecoder(resp.Body)
	dec.UseNumber()
	if err := dec.Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body.Data.Data
}

// What is absent: never there, only metadata, deleted, destroyed, deleted by its age,
// wiped out.
func TestVaultAbsence(t *testing.T) {
	srv := testkit.Vault(t)
	v := mustVault(t, rootOptions(t, srv))
	write := func(s *VaultSink) {
		mustWrite(t, s, testEntry(2), mustWrite(t, s, testEntry(1), ""))
	}
	for _, tt := range []struct {
		name    string
		prepare func(s *VaultSink, path string)
		version rotate.Version
		ever    bool
		earlier []int
	}{
		{"never there", func(*VaultSink, string) {}, "", false, nil},
		{"metadata only", func(_ *VaultSink, p string) {
			srv.Do(http.MethodPut, "secret/metadata/"+p, map[string]any{"max_versions": 5})
		}, "", false, nil},
		{"latest deleted", func(s *VaultSink, p string) {
			write(s)
			srv.Do(http.MethodDelete, "secret/data/"+p, nil)
		}, "2", true, []int{1}},
		{"latest destroyed", func(s *VaultSink, p string) {
			write(s)
			srv.Do(http.MethodPut, "secret/destroy/"+p, map[string]any{"versions": []int{2}})
		}, "2", true, []int{1}},
		{"all destroyed", func(s *VaultSink, p string) {
			write(s)
			srv.Do(http.MethodPut, "secret/destroy/"+p, map[string]any{"versions": []int{1, 2}})
		}, "2", true, nil},
		{"earlier deleted, latest destroyed", func(s *VaultSink, p string) {
			write(s)
			srv.Do(http.MethodPut, "secret/delete/"+p, map[string]any{"versions": []int{1}})
			srv.Do(http.MethodPut, "secret/destroy/"+p, map[string]any{"versions": []int{2}})
		}, "2", true, nil},
		{"null written over it", func(s *VaultSink, p string) {
			write(s)
			srv.Do(http.MethodPut, "secret/data/"+p, map[string]any{"data": nil})
		}, "3", true, []int{2, 1}},
		{"wiped out", func(s *VaultSink, p string) {
			write(s)
			srv.Do(http.MethodDelete, "secret/metadata/"+p, nil)
		}, "", false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := strings.ReplaceAll(tt.name, " ", "-")
			path = strings.ReplaceAll(path, ",", "")
			s := mustSink(t, v, SinkSpec{Name: "v", Mount: "secret", Path: path})
			tt.prepare(s, path)
			got := mustRead(t, s)
			if got.Version != tt.version || got.Ever != tt.ever || !got.Key.IsZero() || got.Meta != nil {
				t.Errorf("got version %q, ever %v, want %q, %v and no key", got.Version, got.Ever, tt.version, tt.ever)
			}
			earlier, err := s.Earlier(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var keys []rotate.Fingerprint
			for _, e := range earlier {
				keys = append(keys, e.Key.Fingerprint())
			}
			var want []rotate.Fingerprint
			for _, n := range tt.earlier {
				want = append(want, testKey(n).Fingerprint())
			}
			if !slices.Equal(keys, want) {
				t.Errorf("got the earlier keys %v, want %v", keys, want)
			}
			mustWrite(t, s, testEntry(3), got.Version)
			if got := mustRead(t, s); !sameEntry(got, testEntry(3)) {
				t.Errorf("got %s after writing on it", got.Key.Fingerprint())
			}
		})
	}
}

// Versions that delete_version_after will delete have a deletion time from the start.
func TestVaultFutureDeletion(t *testing.T) {
	srv := testkit.Vault(t)
	srv.Do(http.MethodPut, "secret/metadata/app", map[string]any{"delete_version_after": "1h"})
	s := mustSink(t, mustVault(t, rootOptions(t, srv)), SinkSpec{Name: "v", Mount: "secret", Path: "app"})
	mustWrite(t, s, testEntry(2), mustWrite(t, s, testEntry(1), ""))
	earlier, err := s.Earlier(t.Context())
	if err != nil || len(earlier) != 1 || !sameEntry(earlier[0], testEntry(1)) {
		t.Errorf("got %d earlier versions and %v, want the first", len(earlier), err)
	}
	if got := mustRead(t, s); !sameEntry(got, testEntry(2)) {
		t.Errorf("got %s, want the second", got.Key.Fingerprint())
	}
}

func TestVaultEarlierIsBounded(t *testing.T) {
	srv := testkit.Vault(t)
	srv.Do(http.MethodPut, "secret/metadata/app", map[string]any{"max_versions": 30})
	s := mustSink(t, mustVault(t, rootOptions(t, srv)), SinkSpec{Name: "v", Mount: "secret", Path: "app"})
	var v rotate.Version
	for n := 1; n <= 15; n++ {
		v = mustWrite(t, s, testEntry(n), v)
	}
	earlier, err := s.Earlier(t.Context())
	if err != nil || len(earlier) != maxEarlier || !sameEntry(earlier[0], testEntry(14)) || earlier[0].Version != "14" {
		t.Errorf("got %d earlier versions and %v, want %d from version 14 on", len(earlier), err, maxEarlier)
	}
}

// The metadata field holds what this rotatord cannot read: it is not written over.
func TestVaultMalformedMetadata(t *testing.T) {
	srv := testkit.Vault(t)
	v := mustVault(t, rootOptions(t, srv))
	for name, value := range map[string]any{
		"number": 5, "text": "hello", "object": map[string]any{"format": 1}, "later": `{"format":2}`, "no-format": `{}`, "null": nil,
	} {
		t.Run(name, func(t *testing.T) {
			srv.Do(http.MethodPut, "secret/data/"+name, map[string]any{"data": map[string]any{DefaultMetaField: value}})
			s := mustSink(t, v, SinkSpec{Name: "v", Mount: "secret", Path: name})
			_, readErr := s.Read(t.Context())
			_, writeErr := s.Write(t.Context(), testEntry(1), "1")
			for _, err := range []error{readErr, writeErr} {
				if rotate.CauseOf(err) != rotate.CauseMalformed || rotate.KindOf(err) != rotate.KindPermanent {
					t.Errorf("got %v, want a permanent %s", err, rotate.CauseMalformed)
				}
			}
		})
	}
}
