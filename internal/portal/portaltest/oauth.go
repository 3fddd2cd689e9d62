package portaltest

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// oauthToken is oauth2/token in all its grants; with apiToken it mints a key.
func (e *Emulator) oauthToken(c *call) (any, error) {
	if c.op == OpMint {
		return e.mint(c)
	}
	switch c.form.Get("grant_type") {
	case "client_credentials":
		it, err := e.clientItem(c)
		if err != nil {
			return nil, err
		}
		return e.grantClient(c, it)
	case "refresh_token", "exchange_refresh_token":
		return e.grantRefresh(c)
	case "authorization_code":
		return e.grantCode(c)
	}
	return nil, oauthError(400, "unsupported_grant_type", textBadGrant)
}

// grantClient gives an app token; expires_in is in seconds although expiration is in minutes.
func (e *Emulator) grantClient(c *call, it *item) (any, error) {
	minutes := c.intParam("expiration", defaultAppTokenMinutes)
	if minutes <= 0 {
		minutes = defaultAppTokenMinutes
	}
	life := time.Duration(min(minutes, maxTokenMinutes)) * time.Minute
	text := e.newToken(&token{kind: tokenApp, username: it.Owner, clientID: it.app.clientID, expires: c.now.Add(life)})
	return obj{"access_token": text, "expires_in": int64(life / time.Second)}, nil
}

func (e *Emulator) grantRefresh(c *call) (any, error) {
	old := c.form.Get("refresh_token")
	t := e.tokens[old]
	if e.clients[c.form.Get("client_id")] == "" {
		return nil, oauthError(400, "invalid_request", "Invalid client_id")
	}
	if t == nil || t.kind != tokenRefresh || t.clientID != c.form.Get("client_id") {
		return nil, oauthError(400, "invalid_request", "Invalid refresh_token")
	}
	u := e.users[t.username]
	if !c.now.Before(t.expires) || u == nil || u.passwordGeneration != t.passwordGeneration {
		return nil, oauthError(498, "invalid_request", "refresh_token expired")
	}
	answer := e.accessToken(c, u, t.clientID)
	if c.form.Get("grant_type") == "exchange_refresh_token" {
		if t.redirectURI != c.form.Get("redirect_uri") {
			return nil, oauthError(400, "invalid_request", textBadRedirect)
		}
		e.addRefresh(c, answer, t, t.refreshFor)
		if e.is(SwitchExchangeRefresh, "ends_old") {
			delete(e.tokens, old)
		}
	}
	return answer, nil
}

func (e *Emulator) accessToken(c *call, u *account, clientID string) obj {
	text := e.newToken(&token{kind: tokenOAuth, username: u.Username, passwordGeneration: u.passwordGeneration,
		clientID: clientID, expires: c.now.Add(accessTokenLifetime)})
	e.record(Event{Kind: EventSignedIn, Op: c.op, User: u.Username, ClientID: clientID})
	return obj{"access_token": text, "expires_in": int64(accessTokenLifetime / time.Second), "username": u.Username, "ssl": true}
}

// addRefresh puts a refresh token made after the pattern of from into the answer.
func (e *Emulator) addRefresh(c *call, answer obj, from *token, life time.Duration) {
	t := *from
	t.kind, t.refreshFor, t.expires = tokenRefresh, life, c.now.Add(life)
	answer["refresh_token"] = e.newToken(&t)
	answer["refresh_token_expires_in"] = int64(life / time.Second)
}

func (e *Emulator) grantCode(c *call) (any, error) {
	text := c.form.Get("code")
	t := e.tokens[text]
	if t == nil || t.kind != tokenCode || !c.now.Before(t.expires) || t.clientID != c.form.Get("client_id") {
		return nil, oauthError(400, "invalid_request", textBadCode)
	}
	delete(e.tokens, text) // single use, whatever comes of it
	if t.redirectURI != c.form.Get("redirect_uri") {
		return nil, oauthError(400, "invalid_request", textBadRedirect)
	}
	if t.challenge != "" && t.challenge != challengeOf(t.method, c.form.Get("code_verifier")) {
		return nil, oauthError(400, "invalid_request", "Invalid code_verifier")
	}
	u := e.users[t.username]
	if u == nil {
		return nil, oauthError(400, "invalid_request", textBadCode)
	}
	answer := e.accessToken(c, u, t.clientID)
	e.addRefresh(c, answer, t, t.refreshFor)
	return answer, nil
}

func challengeOf(method, verifier string) string {
	if method == "S256" {
		sum := sha256.Sum256([]byte(verifier))
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return verifier
}

// authorize shows the sign-in form and, posted with a right name and password, sends the code to the redirect URI.
// SSO accounts sign in here too: the form stands for their identity provider.
func (e *Emulator) authorize(c *call) (any, error) {
	it := e.items[e.clients[c.form.Get("client_id")]]
	if it == nil || it.app == nil {
		return nil, oauthError(400, "invalid_request", "Invalid client_id")
	}
	redirect := c.form.Get("redirect_uri")
	if !redirectAllowed(it.app.redirectURIs, redirect) {
		return nil, oauthError(400, "invalid_request", textBadRedirect)
	}
	if c.form.Get("response_type") != "code" {
		return nil, oauthError(400, "unsupported_response_type", "Unsupported response_type")
	}
	if c.method != http.MethodPost {
		return e.signInForm(c, ""), nil
	}
	u := e.users[c.body.Get("username")]
	if u == nil || u.Password == "" || u.Password != c.body.Get("password") {
		return e.signInForm(c, "Invalid username or password."), nil
	}
	t := &token{kind: tokenCode, username: u.Username, passwordGeneration: u.passwordGeneration, clientID: it.app.clientID,
		redirectURI: redirect, challenge: c.form.Get("code_challenge"), method: c.form.Get("code_challenge_method"),
		expires: c.now.Add(codeLifetime), refreshFor: refreshLifetime(c)}
	code := e.newToken(t)
	if redirect == outOfBandURI {
		return page{status: http.StatusOK, contentType: "text/html;charset=utf-8",
			body: "<html><head><title>SUCCESS code=" + code + "</title></head><body><p>" + code + "</p></body></html>"}, nil
	}
	to, err := url.Parse(redirect)
	if err != nil {
		return nil, oauthError(400, "invalid_request", textBadRedirect)
	}
	q := to.Query()
	q.Set("code", code)
	if s := c.form.Get("state"); s != "" {
		q.Set("state", s)
	}
	to.RawQuery = q.Encode()
	return page{status: http.StatusFound, contentType: "text/html;charset=utf-8", location: to.String()}, nil
}

const outOfBandURI = "urn:ietf:wg:oauth:2.0:oob"

// refreshLifetime reads expiration (minutes, as the portal has it for authorize), within the documented bounds.
func refreshLifetime(c *call) time.Duration {
	minutes := c.intParam("expiration", 0)
	if minutes <= 0 {
		return defaultRefreshLifetime
	}
	return min(time.Duration(minutes)*time.Minute, maxRefreshLifetime)
}

// redirectAllowed compares a redirect URI with the registered ones; on loopback addresses any port will do.
func redirectAllowed(registered []string, got string) bool {
	return slices.ContainsFunc(registered, func(want string) bool {
		if want == got {
			return true
		}
		w, errW := url.Parse(want)
		g, errG := url.Parse(got)
		if errW != nil || errG != nil || w.Scheme != g.Scheme || w.Hostname() != g.Hostname() || w.Hostname() == "" {
			return false
		}
		loopback := w.Hostname() == "127.0.0.1" || w.Hostname() == "localhost" || w.Hostname() == "::1"
		return loopback && (w.Path == "" || w.Path == "/" || strings.TrimSuffix(w.Path, "/") == strings.TrimSuffix(g.Path, "/"))
	})
}

func (e *Emulator) signInForm(c *call, problem string) page {
	var b strings.Builder
	b.WriteString("<html><head><title>Sign in</title></head><body><h1>" + html.EscapeString(e.opts.OrgName) + "</h1>")
	if problem != "" {
		b.WriteString(`<p class="error">` + html.EscapeString(problem) + "</p>")
	}
	b.WriteString(`<form method="post" action="` + html.EscapeString(e.root) + `/oauth2/authorize">`)
	for _, name := range []string{"client_id", "redirect_uri", "response_type", "state", "expiration", "code_challenge", "code_challenge_method"} {
		if c.form.Has(name) {
			b.WriteString(`<input type="hidden" name="` + name + `" value="` + html.EscapeString(c.form.Get(name)) + `">`)
		}
	}
	b.WriteString(`<label>User <input name="username"></label> <label>Password <input name="password" type="password"></label>` +
		`<button>Sign in</button></form></body></html>`)
	return page{status: http.StatusOK, contentType: "text/html;charset=utf-8", body: b.String()}
}
