package portal

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// readForm gives the values that a request carries, one after the other, unescaped.
func readForm(r *http.Request) (string, error) {
	var raw []byte
	if r.Body != nil {
		var err error
		if raw, err = io.ReadAll(r.Body); err != nil {
			return "", err
		}
		r.Body = io.NopCloser(strings.NewReader(string(raw)))
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return "", err
	}
	all := []string{r.Header.Get("X-Esri-Authorization")}
	for _, values := range form {
		all = append(all, values...)
	}
	return strings.Join(all, " "), nil
}

// memoryStore is a RefreshStore that may fail and remembers each state.
type memoryStore struct {
	mu    sync.Mutex
	grant RefreshGrant
	fail  error
	saved []RefreshGrant
}

func (m *memoryStore) Load(context.Context) (RefreshGrant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.grant, nil
}

func (m *memoryStore) Save(_ context.Context, g RefreshGrant) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.grant = g
	m.saved = append(m.saved, g)
	return nil
}

func TestTokenIsRenewedBeforeItsEnd(t *testing.T) {
	for _, row := range []struct {
		name    string
		minutes int
		still   time.Duration // the first token is still used then
		renewed time.Duration // and no longer then
	}{
		{"five minutes early", 60, 54*time.Minute + 50*time.Second, 55*time.Minute + 10*time.Second},
		{"after two thirds of a short life", 12, 7*time.Minute + 50*time.Second, 8*time.Minute + 10*time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := strictEmulator(t, portaltest.Options{})
				c := newTestClient(t, e, Options{Identity: Identity{Password: &PasswordIdentity{Username: portaltest.AdminUser,
					Password: fixed(portaltest.StandardPassword), Minutes: row.minutes}}})
				start := time.Now()
				for _, step := range []struct {
					at   time.Duration
					want int
				}{{0, 1}, {row.still, 1}, {row.renewed, 2}} {
					time.Sleep(step.at - time.Since(start)) // fake time
					if err := c.Control(t.Context()); err != nil {
						t.Fatalf("control: %v", err)
					}
					if got := e.Counts()[portaltest.OpSignIn]; got != step.want {
						t.Errorf("after %s: signed in %d times, want %d", step.at, got, step.want)
					}
				}
			})
		})
	}
}

func TestSignInIsSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Latency: time.Second})
		c := newTestClient(t, e, Options{Limits: Limits{AtOnce: 50}})
		controls(t, c, 40)
		if got := e.Counts()[portaltest.OpSignIn]; got != 1 {
			t.Errorf("signed in %d times, want 1", got)
		}
		e.SetPassword(portaltest.AdminUser, portaltest.StandardPassword) // kills the token
		controls(t, c, 40)
		if got := e.Counts()[portaltest.OpSignIn]; got != 2 {
			t.Errorf("signed in %d times, want 2", got)
		}
	})
}

func controls(t *testing.T, c *Client, n int) {
	t.Helper()
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			if err := c.Control(t.Context()); err != nil {
				t.Errorf("control: %v", err)
			}
		})
	}
	group.Wait()
}

func TestALeaderThatGivesUpDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Latency: 10 * time.Second})
		c := newTestClient(t, e, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var first, second error
		var group sync.WaitGroup
		group.Go(func() { first = c.Control(ctx) })
		synctest.Wait()
		group.Go(func() { second = c.Control(t.Context()) })
		group.Wait()
		if !errors.Is(first, context.DeadlineExceeded) || second != nil {
			t.Errorf("got %v and %v, want a deadline and success", first, second)
		}
	})
}

func TestARefusedPasswordIsNotTriedInALoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		password := "wrong"
		c := newTestClient(t, e, Options{Identity: Identity{Password: &PasswordIdentity{Username: portaltest.AdminUser,
			Password: func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(password), nil }}}})
		start := time.Now()
		var tried []time.Duration
		for time.Since(start) < 20*time.Minute {
			before := e.Counts()[portaltest.OpSignIn]
			err := c.Control(t.Context())
			wantKind(t, err, auth, "")
			if e.Counts()[portaltest.OpSignIn] > before {
				tried = append(tried, time.Since(start).Round(time.Minute))
			} else if rotate.WaitOf(err) <= 0 {
				t.Errorf("the error does not say how long to wait: %v", err)
			}
			time.Sleep(5 * time.Second) // fake time
		}
		if want := []time.Duration{0, time.Minute, 3 * time.Minute, 7 * time.Minute, 15 * time.Minute}; !equal(tried, want) {
			t.Errorf("tried after %v, want %v", tried, want)
		}
		password = portaltest.StandardPassword // a changed file is seen at once
		if err := c.Control(t.Context()); err != nil {
			t.Errorf("control with the right password: %v", err)
		}
	})
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestALivingTokenOutlastsAFailedRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		c := newTestClient(t, e, Options{})
		if err := c.Control(t.Context()); err != nil {
			t.Fatalf("control: %v", err)
		}
		inject(t, e, portaltest.OpSignIn, portaltest.Fault{Kind: portaltest.ServerError, Count: -1})
		time.Sleep(116 * time.Minute) // fake time; the token ends after 120
		if err := c.Control(t.Context()); err != nil {
			t.Errorf("control with the old token: %v", err)
		}
		time.Sleep(5 * time.Minute)
		wantKind(t, c.Control(t.Context()), transient, "")
	})
}

func TestASecretThatCannotBeReadIsOurIdentity(t *testing.T) {
	broken := errors.New("permission denied")
	c := newTestClient(t, strictEmulator(t, portaltest.Options{}), Options{Identity: Identity{APIKey: &APIKeyIdentity{
		Key: func(context.Context) (rotate.Secret, error) { return rotate.Secret{}, broken }}}})
	err := c.Control(t.Context())
	wantKind(t, err, auth, "")
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the cause in it", err)
	}
}

func TestAKeyIdentityIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		admin := e.AddCredential(portaltest.CredentialSeed{Expires: [2]time.Time{inDays(9), inDays(9)}, Minted: true, Privileges: []string{privViewAll, privEditAll}})
		at := 0
		c := newTestClient(t, e, Options{Identity: Identity{APIKey: &APIKeyIdentity{
			Key: func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(admin.Keys[at]), nil }}}})
		if err := c.Control(t.Context()); err != nil {
			t.Fatalf("control: %v", err)
		}
		if err := e.RevokeOutOfBand(admin.ItemID, 1); err != nil {
			t.Fatalf("revoke: %v", err)
		}
		wantKind(t, c.Control(t.Context()), auth, "")
		at = 1
		if err := c.Control(t.Context()); err != nil {
			t.Errorf("control with the other key: %v", err)
		}
	})
}

// refreshed is an emulator with a refresh token for the SSO user.
func refreshed(t *testing.T, switches map[string]string) (*portaltest.Emulator, string, *memoryStore) {
	t.Helper()
	e := strictEmulator(t, portaltest.Options{Switches: switches})
	app := e.AddOAuthApp(portaltest.AdminUser, "rotatord", "http://127.0.0.1/")
	code := authorize(t, e, url.Values{"client_id": {app.ClientID}, "redirect_uri": {"http://127.0.0.1:1/"}, "response_type": {"code"}})
	c, err := newClient(Options{URL: testURL, Transport: e.Transport()})
	if err != nil {
		t.Fatalf("make client: %v", err)
	}
	got, err := c.oauthToken(t.Context(), "log in", settling, url.Values{"grant_type": {"authorization_code"}, "client_id": {app.ClientID},
		"code": {code}, "redirect_uri": {"http://127.0.0.1:1/"}})
	if err != nil {
		t.Fatalf("exchange code: %v", err)
	}
	return e, app.ClientID, &memoryStore{grant: RefreshGrant{Current: got.refresh, RedirectURI: "http://127.0.0.1:1/"}}
}

// authorize signs the SSO user in on the emulator's page and gives the code.
func authorize(t *testing.T, e *portaltest.Emulator, form url.Values) string {
	t.Helper()
	form.Set("username", portaltest.SSOUser)
	form.Set("password", portaltest.StandardPassword)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, testURL+e.Root()+"/oauth2/authorize", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatalf("make request: %v", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := e.Transport().RoundTrip(req)
	if err != nil {
		t.Fatalf("authorize: %v", err)
	}
	to, err := res.Location()
	if err != nil {
		t.Fatalf("authorize: %v", err)
	}
	return to.Query().Get("code")
}

func TestRefreshTokenIsSwappedInItsSecondHalf(t *testing.T) {
	for _, manner := range []string{"keeps_old", "ends_old"} {
		t.Run(manner, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, clientID, store := refreshed(t, map[string]string{portaltest.SwitchExchangeRefresh: manner})
				first := store.grant.Current.Token
				c := newTestClient(t, e, Options{Identity: Identity{Refresh: &RefreshIdentity{ClientID: clientID, Store: store}}})
				use := func() {
					t.Helper()
					if err := c.Control(t.Context()); err != nil {
						t.Fatalf("control: %v", err)
					}
				}
				use()
				if len(store.saved) != 0 || !store.grant.Current.Token.Equal(first) {
					t.Errorf("the store was written to in the token's first half")
				}
				time.Sleep(8 * 24 * time.Hour) // fake time; it lives 14 days
				use()
				if store.grant.Current.Token.Equal(first) || !store.grant.Next.Token.IsZero() {
					t.Errorf("the token was not swapped")
				}
				if n := len(store.saved); n != 3 || !store.saved[1].Current.Token.Equal(first) || store.saved[1].Next.Token.IsZero() {
					t.Errorf("got %d writes, want the old state, both tokens, and the new one alone", n)
				}
				for range 6 { // far beyond the first token's life
					time.Sleep(6 * 24 * time.Hour)
					use()
				}
			})
		})
	}
}

func TestASwapSurvivesAStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, clientID, store := refreshed(t, map[string]string{portaltest.SwitchExchangeRefresh: "ends_old"})
		c := newTestClient(t, e, Options{Identity: Identity{Refresh: &RefreshIdentity{ClientID: clientID, Store: store}}})
		time.Sleep(8 * 24 * time.Hour) // fake time
		store.fail = errors.New("disk full")
		if err := c.Control(t.Context()); err != nil {
			t.Errorf("control: %v", err)
		}
		if got := e.Counts()[portaltest.OpOAuthToken]; got != 2 { // code, refresh; no exchange
			t.Errorf("%d token requests, want 2: nothing may be exchanged while the store takes no writes", got)
		}
		store.fail = nil
		time.Sleep(time.Hour)
		if err := c.Control(t.Context()); err != nil || store.grant.Current.Obtained.Before(time.Now().Add(-time.Minute)) {
			t.Errorf("control: %v; grant obtained %s", err, store.grant.Current.Obtained)
		}
	})
}

func TestACrashBetweenSwapAndProofLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, clientID, store := refreshed(t, nil)
		good := store.grant.Current
		// The process died after storing both; the renewed one turned out bad.
		store.grant.Next = RefreshToken{Token: rotate.NewSecret("never-issued"), Obtained: time.Now()}
		c := newTestClient(t, e, Options{Identity: Identity{Refresh: &RefreshIdentity{ClientID: clientID, Store: store}}})
		if err := c.Control(t.Context()); err != nil {
			t.Fatalf("control: %v", err)
		}
		if !store.grant.Current.Token.Equal(good.Token) || !store.grant.Next.Token.IsZero() {
			t.Errorf("want the old token kept and the bad one dropped")
		}
	})
}

func TestAnExpiredRefreshTokenIsOurIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, clientID, store := refreshed(t, nil)
		c := newTestClient(t, e, Options{Identity: Identity{Refresh: &RefreshIdentity{ClientID: clientID, Store: store}}})
		time.Sleep(15 * 24 * time.Hour) // fake time
		wantKind(t, c.Control(t.Context()), auth, "")
	})
}
