package portal

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"rotatord/internal/rotate"
)

// RefreshIdentity signs in with an OAuth refresh token, as `rotatord login` makes one.
type RefreshIdentity struct {
	ClientID string
	Store    RefreshStore
	// RenewBefore its end, or at that share of its life before its end, a refresh token
	// is renewed; after half its life if both are 0, or if it lives no longer than that.
	RenewBefore      time.Duration
	RenewBeforeShare float64
}

// RefreshToken is one refresh token. Zero times are unknown.
type RefreshToken struct {
	Token    rotate.Secret
	Obtained time.Time
	Expires  time.Time
}

// RefreshGrant is what a RefreshStore keeps. Next is a renewed token that has not yet
// been proved; Current is dropped only after that.
type RefreshGrant struct {
	Current     RefreshToken
	Next        RefreshToken
	RedirectURI string // with which the token was obtained; renewing it needs the same
}

// RefreshStore keeps a RefreshGrant. Save replaces the whole grant atomically and
// returns nil only when it is durable.
type RefreshStore interface {
	Load(ctx context.Context) (RefreshGrant, error)
	Save(ctx context.Context, g RefreshGrant) error
}

// refreshSignIn gets access tokens by refresh_token, and swaps the refresh token
// itself in time.
type refreshSignIn struct {
	RefreshIdentity
	c *Client

	grant   RefreshGrant  // as loaded by secret
	unsaved *RefreshGrant // renewed, but the store refused it: it outranks the store
	ends    atomic.Pointer[time.Time]
}

func (r *refreshSignIn) secret(ctx context.Context) (rotate.Secret, error) {
	if r.unsaved != nil {
		r.grant = *r.unsaved
		if err := r.save(ctx, r.grant); err != nil {
			r.c.opts.Log.LogAttrs(ctx, slog.LevelWarn, "refresh token still not stored", slog.Any("err", err))
		}
	} else {
		g, err := r.Store.Load(ctx)
		switch {
		case err == nil:
			r.grant = g
		case r.grant.Current.Token.IsZero():
			return rotate.Secret{}, fmt.Errorf("load refresh token: %w", err)
		default: // a store that is away does not lock us out
			r.c.opts.Log.LogAttrs(ctx, slog.LevelWarn, "refresh token cannot be read, the last one is used", slog.Any("err", err))
		}
	}
	r.ends.Store(new(r.grant.Current.Expires))
	if !r.grant.Next.Token.IsZero() {
		return r.grant.Next.Token, nil
	}
	return r.grant.Current.Token, nil
}

func (r *refreshSignIn) save(ctx context.Context, g RefreshGrant) error {
	if err := r.Store.Save(ctx, g); err != nil {
		r.unsaved = &g
		return fmt.Errorf("store refresh token: %w", err)
	}
	r.unsaved = nil
	return nil
}

func (r *refreshSignIn) signIn(ctx context.Context, secret rotate.Secret) (grant, error) {
	if !r.grant.Next.Token.IsZero() {
		g, err := r.proveNext(ctx)
		if err == nil || rotate.KindOf(err) != rotate.KindAuth {
			return g, err
		}
		secret = r.grant.Current.Token
	}
	g, err := r.refresh(ctx, secret)
	if err != nil {
		return grant{}, err
	}
	if !r.renewalDue() {
		return g, nil
	}
	// The token in hand is good whatever becomes of the renewal; the next sign-in tries again.
	renewed, err := r.exchange(ctx)
	if err != nil {
		r.c.opts.Log.LogAttrs(ctx, slog.LevelWarn, "refresh token not renewed", slog.Any("err", err))
		renewed = g
	}
	return renewed, nil
}

// proveNext signs in with the renewed token and then drops the old one; a renewed
// token that the portal refuses is dropped instead.
func (r *refreshSignIn) proveNext(ctx context.Context) (grant, error) {
	g, err := r.refresh(ctx, r.grant.Next.Token)
	switch {
	case err == nil:
		r.grant.Current = r.grant.Next
		r.ends.Store(new(r.grant.Current.Expires))
	case rotate.KindOf(err) != rotate.KindAuth || r.grant.Current.Token.IsZero():
		return grant{}, err
	}
	r.grant.Next = RefreshToken{}
	if saveErr := r.save(ctx, r.grant); saveErr != nil {
		r.c.opts.Log.LogAttrs(ctx, slog.LevelWarn, "refresh token not stored", slog.Any("err", saveErr))
	}
	return g, err
}

// renewalDue as RefreshIdentity says, or a week after it was obtained where its end is
// unknown: the shortest documented default is two weeks.
func (r *refreshSignIn) renewalDue() bool {
	now, t := time.Now(), r.grant.Current
	switch {
	case r.grant.RedirectURI == "":
		return false
	case t.Obtained.IsZero():
		return true
	case t.Expires.IsZero():
		return now.After(t.Obtained.Add(7 * 24 * time.Hour))
	}
	life := t.Expires.Sub(t.Obtained)
	lead := life / 2
	switch {
	case r.RenewBeforeShare > 0 && r.RenewBeforeShare < 1:
		lead = time.Duration(float64(life) * r.RenewBeforeShare)
	case r.RenewBefore > 0 && r.RenewBefore < life:
		lead = r.RenewBefore
	}
	return now.After(t.Expires.Add(-lead))
}

// exchange swaps the refresh token: prove that the store takes writes, get the new
// token, store it beside the old one, prove it, drop the old one.
func (r *refreshSignIn) exchange(ctx context.Context) (grant, error) {
	if err := r.save(ctx, r.grant); err != nil {
		return grant{}, err
	}
	next, err := r.c.oauthToken(ctx, "renew the refresh token", settling, url.Values{"grant_type": {"exchange_refresh_token"},
		"client_id": {r.ClientID}, "refresh_token": {r.grant.Current.Token.Reveal()}, "redirect_uri": {r.grant.RedirectURI}},
		r.grant.Current.Token)
	if err != nil {
		return grant{}, err
	}
	if next.refresh.Token.IsZero() {
		return grant{}, incomplete("renew the refresh token", "refresh_token")
	}
	r.grant.Next = next.refresh
	if err := r.save(ctx, r.grant); err != nil {
		return grant{}, err
	}
	return r.proveNext(ctx)
}

func (r *refreshSignIn) refresh(ctx context.Context, token rotate.Secret) (grant, error) {
	if token.IsZero() {
		return grant{}, &rotate.Error{Op: "sign in by refresh token", Kind: rotate.KindAuth, Err: errors.New("no refresh token is stored")}
	}
	t, err := r.c.oauthToken(ctx, "sign in by refresh token", reading, url.Values{"grant_type": {"refresh_token"},
		"client_id": {r.ClientID}, "refresh_token": {token.Reveal()}}, token)
	return t.grant, err
}

// oauthTokens is what an OAuth grant gave.
type oauthTokens struct {
	grant
	refresh  RefreshToken
	username string
}

func (c *Client) oauthToken(ctx context.Context, what string, n nature, form url.Values, secrets ...rotate.Secret) (oauthTokens, error) {
	k := call{op: opOAuth, what: what, path: "/oauth2/token", form: form, nature: n, anon: true,
		purpose: rotate.PurposeSignIn, refine: refusedSignIn}
	for _, s := range secrets {
		k.secrets = append(k.secrets, s.Reveal())
	}
	var w wireToken
	r, err := c.do(ctx, k, &w)
	if err != nil {
		return oauthTokens{}, err
	}
	if w.AccessToken == "" {
		return oauthTokens{}, incomplete(what, "access_token")
	}
	t := oauthTokens{grant: grant{token: rotate.NewSecret(string(w.AccessToken)), life: seconds(w.ExpiresIn)}, username: string(w.Username)}
	if w.RefreshToken != "" {
		t.refresh = RefreshToken{Token: rotate.NewSecret(string(w.RefreshToken)), Obtained: r.arrived.UTC()}
		if life := seconds(w.RefreshTokenExpiresIn); life > 0 {
			t.refresh.Expires = r.arrived.Add(life).UTC()
		}
	}
	return t, nil
}

// seconds of a lifetime; 0 for none and for what no portal would say.
func seconds(n number) time.Duration {
	const tenYears = 10 * 365 * 24 * 60 * 60
	if n.v <= 0 || n.v > tenYears {
		return 0
	}
	return time.Duration(n.v) * time.Second
}

// LoginOptions of Login.
type LoginOptions struct {
	// Portal gives URL, TLS, proxy and the like; its Identity is not used.
	Portal   Options
	ClientID string
	// ListenAddr is the loopback address for the portal's redirect; 127.0.0.1:0 takes
	// any free port. The app must have http://127.0.0.1[:port]/ as a redirect address.
	ListenAddr string
	// Lifetime to ask for; 0 leaves it to the portal. It caps at 90 days.
	Lifetime time.Duration
	// OpenURL shows the sign-in page's address to the person.
	OpenURL func(address string)
}

// LoginResult is what a person's sign-in gave: enough for a RefreshIdentity.
type LoginResult struct {
	User  string
	Grant RefreshGrant
}

const loginPage = `<!doctype html><meta charset="utf-8"><title>rotatord</title><p>%s You can close this page.</p>`

// Login signs a person in by OAuth with PKCE on a loopback address and gives the
// refresh token. It returns when the browser came back or ctx ended.
func Login(ctx context.Context, o LoginOptions) (LoginResult, error) {
	c, err := newClient(o.Portal)
	if err != nil {
		return LoginResult{}, err
	}
	defer c.Close()
	if o.ClientID == "" || o.OpenURL == nil {
		return LoginResult{}, errors.New("log in: want a client id and a way to show the address")
	}
	listener, err := listenLoopback(ctx, o.ListenAddr)
	if err != nil {
		return LoginResult{}, err
	}
	flow := newFlow(c, o, "http://"+listener.Addr().String()+"/")
	server := &http.Server{Handler: flow, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	o.OpenURL(flow.address())
	var code string
	select {
	case got := <-flow.done:
		code, err = got.code, got.err
	case <-ctx.Done():
		err = fmt.Errorf("wait for the sign-in page: %w", context.Cause(ctx))
	}
	// The browser gets its page before the server goes; ctx may have ended already.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if server.Shutdown(stop) != nil {
		err = errors.Join(err, server.Close())
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if err != nil {
		return LoginResult{}, fmt.Errorf("log in: %w", err)
	}
	return flow.exchange(ctx, code)
}

func listenLoopback(ctx context.Context, addr string) (net.Listener, error) {
	addr = orElse(addr, "127.0.0.1:0")
	host, _, err := net.SplitHostPort(addr)
	if err != nil || !loopback(host) {
		return nil, fmt.Errorf("log in: %s is not a loopback address with a port", addr)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	return l, nil
}

// flow is one sign-in under way.
type flow struct {
	c        *Client
	o        LoginOptions
	redirect string
	state    string
	verifier string
	done     chan came // takes the first answer only
}

type came struct {
	code string
	err  error
}

func newFlow(c *Client, o LoginOptions, redirect string) *flow {
	return &flow{c: c, o: o, redirect: redirect, state: rand.Text(), verifier: rand.Text() + rand.Text(), done: make(chan came, 1)}
}

func (f *flow) address() string {
	sum := sha256.Sum256([]byte(f.verifier))
	q := url.Values{"client_id": {f.o.ClientID}, "response_type": {"code"}, "redirect_uri": {f.redirect}, "state": {f.state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	if f.o.Lifetime > 0 {
		q.Set("expiration", strconv.Itoa(int(f.o.Lifetime/time.Minute)))
	}
	return f.c.root.String() + "/oauth2/authorize?" + q.Encode()
}

// ServeHTTP takes the browser's way back. A request with another state is not ours and
// changes nothing.
func (f *flow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if r.URL.Path != "/" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(f.state)) != 1 {
		http.Error(w, "not the sign-in that rotatord waits for", http.StatusBadRequest)
		return
	}
	got := came{code: q.Get("code")}
	text := "Signed in."
	if got.code == "" {
		got.err = fmt.Errorf("the portal did not sign in: %s", scrub(orElse(q.Get("error_description"), orElse(q.Get("error"), "no code")), nil))
		text = "Not signed in."
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = fmt.Fprintf(w, loginPage, text) // a browser that left does not matter
	select {
	case f.done <- got:
	default:
	}
}

func (f *flow) exchange(ctx context.Context, code string) (LoginResult, error) {
	t, err := f.c.oauthToken(ctx, "log in", settling, url.Values{"grant_type": {"authorization_code"}, "client_id": {f.o.ClientID},
		"code": {code}, "redirect_uri": {f.redirect}, "code_verifier": {f.verifier}}, rotate.NewSecret(code), rotate.NewSecret(f.verifier))
	if err != nil {
		return LoginResult{}, err
	}
	if t.refresh.Token.IsZero() {
		return LoginResult{}, incomplete("log in", "refresh_token")
	}
	return LoginResult{User: t.username, Grant: RefreshGrant{Current: t.refresh, RedirectURI: f.redirect}}, nil
}
