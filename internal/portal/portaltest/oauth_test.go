package portaltest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
)

const redirectBack = "http://127.0.0.1:4711/back"

// authorizeForm is what a browser posts from the sign-in form.
func authorizeForm(clientID, user, password string, more ...string) url.Values {
	form := url.Values{"client_id": {clientID}, "response_type": {"code"}, "redirect_uri": {redirectBack}, "state": {"xyz"},
		"username": {user}, "password": {password}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

func authorizeCode(t *testing.T, e *Emulator, form url.Values) string {
	t.Helper()
	c := &caller{t: t, e: e}
	_, head, err := c.raw(t.Context(), http.MethodPost, "oauth2/authorize", form)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(head.header.Get("Location"))
	if err != nil || head.status != http.StatusFound || to.Query().Get("state") != form.Get("state") {
		t.Fatalf("authorize: status %d, location %q, %v", head.status, to, err)
	}
	return to.Query().Get("code")
}

func (w *world) oauthSession() (access, refresh string) {
	w.t.Helper()
	app := w.e.AddOAuthApp(AdminUser, "sign-in", "http://127.0.0.1/back")
	code := authorizeCode(w.t, w.e, authorizeForm(app.ClientID, AdminUser, StandardPassword))
	got := w.admin.anonymous().ok("oauth2/token", "grant_type", "authorization_code", "client_id", app.ClientID, "code", code,
		"redirect_uri", redirectBack)
	w.oauthClient = app.ClientID
	return got["access_token"].(string), got["refresh_token"].(string)
}

// oldRefreshWorks exchanges a refresh token and says whether the old one still gives access.
func (w *world) oldRefreshWorks() bool {
	_, refresh := w.oauthSession()
	ask := []string{"grant_type", "exchange_refresh_token", "client_id", w.oauthClient, "refresh_token", refresh, "redirect_uri", redirectBack}
	if fresh := w.admin.anonymous().ok("oauth2/token", ask...)["refresh_token"]; fresh == refresh {
		w.t.Error("exchange gave the same refresh token")
	}
	ask[1] = "refresh_token"
	got, _, err := w.admin.anonymous().send(w.t.Context(), "oauth2/token", ask...)
	if err != nil {
		w.t.Fatal(err)
	}
	return got["error"] == nil
}

func TestAuthorizeForm(t *testing.T) {
	e := New(Options{})
	app := e.AddOAuthApp(AdminUser, "sign-in", "http://127.0.0.1/back")
	c := &caller{t: t, e: e}
	show := func(method string, form url.Values) (string, int) {
		got, head, err := c.raw(t.Context(), method, "oauth2/authorize", form)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := got["html"].(string)
		return text, head.status
	}
	form := authorizeForm(app.ClientID, "", "", "state", `"><script>`)
	text, status := show(http.MethodGet, form)
	if status != http.StatusOK || !strings.Contains(text, `<form method="post"`) || strings.Contains(text, "<script>") {
		t.Errorf("form: status %d, %s", status, text)
	}
	if text, _ = show(http.MethodPost, authorizeForm(app.ClientID, AdminUser, "wrong")); !strings.Contains(text, "Invalid username or password.") {
		t.Errorf("wrong password: %s", text)
	}
	for name, form := range map[string]url.Values{
		"unknown client": authorizeForm("nobody", AdminUser, StandardPassword, "f", "json"),
		"other redirect": authorizeForm(app.ClientID, AdminUser, StandardPassword, "f", "json", "redirect_uri", "https://evil.example/back"),
		"other path":     authorizeForm(app.ClientID, AdminUser, StandardPassword, "f", "json", "redirect_uri", "http://127.0.0.1:1/other"),
		"implicit":       authorizeForm(app.ClientID, AdminUser, StandardPassword, "f", "json", "response_type", "token"),
	} {
		got, head, err := c.raw(t.Context(), http.MethodPost, "oauth2/authorize", form)
		if err != nil || got["error"] == nil || head.header.Get("Location") != "" {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestAuthorizeOutOfBand(t *testing.T) {
	e := New(Options{})
	app := e.AddOAuthApp(AdminUser, "console", outOfBandURI)
	c := &caller{t: t, e: e}
	got, _, err := c.raw(t.Context(), http.MethodPost, "oauth2/authorize",
		authorizeForm(app.ClientID, SSOUser, StandardPassword, "redirect_uri", outOfBandURI))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(got["html"].(string), "SUCCESS code=")
	code, _, _ := strings.Cut(rest, "<")
	if user := c.ok("oauth2/token", "grant_type", "authorization_code", "client_id", app.ClientID, "code", code,
		"redirect_uri", outOfBandURI)["username"]; user != SSOUser {
		t.Errorf("signed in as %v, want %s", user, SSOUser)
	}
}

func TestOAuthCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictly(t, Online)
		app := e.AddOAuthApp(AdminUser, "sign-in", "http://127.0.0.1/back")
		c := &caller{t: t, e: e, referer: testReferer}
		exchange := func(code, verifier string) string {
			got, _, err := c.send(t.Context(), "oauth2/token", "grant_type", "authorization_code", "client_id", app.ClientID,
				"code", code, "redirect_uri", redirectBack, "code_verifier", verifier)
			if err != nil {
				t.Fatal(err)
			}
			if inner, ok := got["error"].(map[string]any); ok {
				return inner["message"].(string)
			}
			return "ok"
		}
		form := authorizeForm(app.ClientID, AdminUser, StandardPassword, "code_challenge", challengeOf("S256", "verifier"), "code_challenge_method", "S256")
		code := authorizeCode(t, e, form)
		if got := exchange(code, "verifier"); got != "ok" {
			t.Errorf("right verifier: %s", got)
		}
		if got := exchange(code, "verifier"); got != textBadCode {
			t.Errorf("second use: %s", got)
		}
		if got := exchange(authorizeCode(t, e, form), "other"); got != "Invalid code_verifier" {
			t.Errorf("wrong verifier: %s", got)
		}
		late := authorizeCode(t, e, form)
		pass(codeLifetime)
		if got := exchange(late, "verifier"); got != textBadCode {
			t.Errorf("late code: %s", got)
		}
	})
}

func TestRefreshTokenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Online)
		access, refresh := w.oauthSession()
		w.admin.as(access).ok("community/self")
		pass(accessTokenLifetime)
		w.want("access token", w.admin.as(access).refused("community/self"), "498 Invalid token.")
		ask := []string{"grant_type", "refresh_token", "client_id", w.oauthClient, "refresh_token", refresh}
		access = w.admin.anonymous().ok("oauth2/token", ask...)["access_token"].(string)
		w.admin.as(access).ok("community/self")
		w.e.SetPassword(AdminUser, "new")
		w.want("after a password change", w.admin.as(access).refused("community/self"), "498 Invalid token.")
		w.want("refresh token", w.admin.anonymous().refused("oauth2/token", ask...), "498 refresh_token expired")
	})
}
