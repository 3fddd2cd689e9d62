package portal

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// browser signs in on the page and follows the redirect, as a person's browser does.
func browser(t *testing.T, e *portaltest.Emulator, address string, change func(url.Values)) {
	u, err := url.Parse(address)
	if err != nil {
		t.Errorf("address: %v", err)
		return
	}
	form := u.Query()
	state := form.Get("state")
	code := authorize(t, e, form)
	back, err := url.Parse(form.Get("redirect_uri"))
	if err != nil {
		t.Errorf("redirect: %v", err)
		return
	}
	q := url.Values{"code": {code}, "state": {state}}
	if change != nil {
		change(q)
	}
	back.RawQuery = q.Encode()
	res, err := http.Get(back.String())
	if err != nil {
		t.Errorf("return to rotatord: %v", err)
		return
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || strings.Contains(string(body), code) {
		t.Errorf("page: %v, %s", err, body)
	}
}

func TestLogin(t *testing.T) {
	e := strictEmulator(t, portaltest.Options{})
	app := e.AddOAuthApp(portaltest.AdminUser, "rotatord", "http://127.0.0.1/")
	var shown string
	got, err := Login(t.Context(), LoginOptions{Portal: Options{URL: testURL, Transport: e.Transport()}, ClientID: app.ClientID, Lifetime: 90 * 24 * time.Hour,
		OpenURL: func(address string) {
			shown = address
			go func() {
				browser(t, e, address, func(q url.Values) { q.Set("state", "another's") }) // changes nothing
				browser(t, e, address, nil)
			}()
		}})
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	for _, part := range []string{"code_challenge_method=S256", "response_type=code", "expiration=129600", "/sharing/rest/oauth2/authorize?"} {
		if !strings.Contains(shown, part) {
			t.Errorf("%s is not in %s", part, shown)
		}
	}
	if life := got.Grant.Current.Expires.Sub(got.Grant.Current.Obtained); got.User != portaltest.SSOUser || life != 90*24*time.Hour {
		t.Errorf("got %s and a token for %s", got.User, life)
	}
	c := newTestClient(t, e, Options{Identity: Identity{Refresh: &RefreshIdentity{ClientID: app.ClientID, Store: &memoryStore{grant: got.Grant}}}})
	if self, err := c.Whoami(t.Context()); err != nil || self.User != portaltest.SSOUser {
		t.Errorf("whoami: %+v, %v", self, err)
	}
}

func TestLoginThatFails(t *testing.T) {
	e := strictEmulator(t, portaltest.Options{})
	app := e.AddOAuthApp(portaltest.AdminUser, "rotatord", "http://127.0.0.1/")
	login := func(ctx context.Context, o LoginOptions) error {
		o.Portal, o.ClientID = Options{URL: testURL, Transport: e.Transport()}, app.ClientID
		_, err := Login(ctx, o)
		return err
	}
	t.Run("denied", func(t *testing.T) {
		err := login(t.Context(), LoginOptions{OpenURL: func(address string) {
			go browser(t, e, address, func(q url.Values) { q.Del("code"); q.Set("error_description", "The user denied") })
		}})
		if err == nil || !strings.Contains(err.Error(), "The user denied") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("foreign code", func(t *testing.T) {
		err := login(t.Context(), LoginOptions{OpenURL: func(address string) {
			go browser(t, e, address, func(q url.Values) { q.Set("code", "stolen-code") })
		}})
		wantKind(t, err, auth, "")
		if strings.Contains(err.Error(), "stolen-code") {
			t.Errorf("the error shows the code: %v", err)
		}
	})
	t.Run("given up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := login(ctx, LoginOptions{OpenURL: func(string) { cancel() }})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("open to the network", func(t *testing.T) {
		err := login(t.Context(), LoginOptions{ListenAddr: "0.0.0.0:0", OpenURL: func(string) { t.Error("went on") }})
		if err == nil {
			t.Error("got no error")
		}
	})
}

func TestParity(t *testing.T) {
	const (
		refused = `{"error":{"code":498,"message":"Invalid token."}}`
		lacking = `{"error":{"code":403,"message":"no"}}`
	)
	for _, row := range []struct {
		name     string
		old, new canned
		kind     rotate.Kind
	}{
		{"both work", canned{status: 200, body: `{"x":1}`}, canned{status: 200, body: `{"x":2}`}, ""},
		{"both lack the right", canned{status: 200, body: lacking}, canned{status: 200, body: lacking}, ""},
		{"both are no json", canned{status: 200, body: htmlBody}, canned{status: 200, body: htmlBody}, ""},
		{"the new one lacks a right", canned{status: 200, body: `{}`}, canned{status: 200, body: lacking}, transient},
		{"the new one has not arrived", canned{status: 200, body: `{}`}, canned{status: 200, body: refused}, transient},
		{"by status", canned{status: 200}, canned{status: 403}, transient},
		{"the old one is dead", canned{status: 401, body: refused}, canned{status: 200, body: `{}`}, ""},
		{"both dead", canned{status: 200, body: refused}, canned{status: 200, body: refused}, ""},
		{"rate limit", canned{status: 200}, canned{status: 429, header: http.Header{"Retry-After": {"3"}}}, limited},
		{"server error", canned{status: 500}, canned{status: 500}, transient},
		{"redirects agree and are not followed", canned{status: 302, header: http.Header{"Location": {"https://evil.test"}}}, canned{status: 302}, ""},
		{"cut", canned{status: 200, cut: true}, canned{status: 200}, transient},
	} {
		t.Run(row.name, func(t *testing.T) {
			old, minted := rotate.NewSecret("AAPTold"), rotate.NewSecret("AAPTnew")
			rt := roundTripFunc(func(r *http.Request) (*http.Response, error) {
				if r.URL.RawQuery != "" || r.Header.Get("Referer") != "https://app.example.com" || r.Method != http.MethodGet || r.URL.Host != "svc.test" {
					t.Errorf("sent %s %s by %s", r.Method, r.URL, r.Header.Get("Referer"))
				}
				if r.Header.Get("X-Esri-Authorization") == "Bearer AAPTold" {
					return row.old.RoundTrip(r)
				}
				return row.new.RoundTrip(r)
			})
			p, err := NewParity(ParityOptions{URLs: []string{"https://svc.test/a"}, AllowHosts: []string{"svc.test"}, Transport: rt})
			if err != nil {
				t.Fatalf("make parity: %v", err)
			}
			err = p.Compare(t.Context(), old, minted, "https://app.example.com")
			if got := rotate.KindOf(err); got != row.kind {
				t.Errorf("got %v, want %q", err, row.kind)
			}
		})
	}
}

func TestParityOfTheFirstKey(t *testing.T) {
	e := portaltest.New(portaltest.Options{})
	cred := e.AddCredential(portaltest.CredentialSeed{Expires: [2]time.Time{inDays(9)}, Minted: true, Privileges: []string{"premium:user:geocode"}})
	for path, want := range map[string]rotate.Kind{"premium:user:geocode": "", "premium:user:basemaps": transient} {
		p, err := NewParity(ParityOptions{URLs: []string{"https://svc.test/arcgis/rest/services/" + path}, AllowHosts: []string{"svc.test"}, Transport: e.Transport()})
		if err != nil {
			t.Fatalf("make parity: %v", err)
		}
		err = p.Compare(t.Context(), rotate.Secret{}, rotate.NewSecret(cred.Keys[0]), "")
		if got := rotate.KindOf(err); got != want {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestParityGoesToAllowedHostsOnly(t *testing.T) {
	for name, o := range map[string]ParityOptions{
		"not allowed":     {URLs: []string{"https://svc.test/a"}, AllowHosts: []string{"other.test"}},
		"another port":    {URLs: []string{"https://svc.test:8443/a"}, AllowHosts: []string{"svc.test"}},
		"no tls":          {URLs: []string{"http://svc.test/a"}, AllowHosts: []string{"svc.test"}},
		"password in it":  {URLs: []string{"https://u:hunter2@svc.test/a"}, AllowHosts: []string{"svc.test"}},
		"token in it":     {URLs: []string{"https://svc.test/a?token=hunter2"}, AllowHosts: []string{"svc.test"}},
		"no url":          {URLs: []string{"%zz"}, AllowHosts: []string{"svc.test"}},
		"unreadable ca":   {CAFile: "/nonexistent/ca.pem"},
		"unusable proxy":  {ProxyURL: "gopher://proxy"},
		"secret in proxy": {ProxyURL: "hunter2@"},
	} {
		if _, err := NewParity(o); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	p, err := NewParity(ParityOptions{URLs: []string{server.URL}, AllowHosts: []string{host}, ProxyURL: "direct"})
	if err != nil {
		t.Fatalf("make parity: %v", err)
	}
	t.Cleanup(p.Close)
	if err := p.Compare(t.Context(), rotate.NewSecret("AAPTold"), rotate.NewSecret("AAPTnew"), ""); err != nil {
		t.Errorf("compare: %v", err)
	}
	if elsewhere.Load() != 0 {
		t.Error("a key followed a redirect")
	}
}
