package portal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// ownKeys is an identity store in memory.
type ownKeys struct {
	keys []string // newest first
	err  error
	asks int // for earlier ones
}

func (o *ownKeys) identity() Identity {
	return Identity{OwnKey: &OwnKeyIdentity{
		Key: func(context.Context) (rotate.Secret, error) {
			if len(o.keys) == 0 {
				return rotate.Secret{}, o.err
			}
			return rotate.NewSecret(o.keys[0]), o.err
		},
		Earlier: func(context.Context) ([]rotate.Secret, error) {
			o.asks++
			var out []rotate.Secret
			for _, k := range o.keys[1:] {
				out = append(out, rotate.NewSecret(k))
			}
			return out, nil
		}}}
}

func ownCredential(e *portaltest.Emulator) portaltest.Credential {
	return e.AddCredential(portaltest.CredentialSeed{Expires: [2]time.Time{inDays(90), inDays(90)}, Minted: true,
		Privileges: []string{privViewAll, privEditAll}})
}

func signsInWith(t *testing.T, c *Client, want string) {
	t.Helper()
	got, err := c.IdentityKey(t.Context())
	if err != nil || got != rotate.NewSecret(want).Fingerprint() {
		t.Errorf("signs in with %s, %v; want %s", got, err, rotate.NewSecret(want).Fingerprint())
	}
}

func TestOwnKeyIsTakenAtOnce(t *testing.T) {
	e := strictEmulator(t, portaltest.Options{})
	cred := ownCredential(e)
	store := &ownKeys{keys: []string{cred.Keys[0]}}
	c := newTestClient(t, e, Options{Identity: store.identity()})
	signsInWith(t, c, cred.Keys[0])
	if left := time.Until(c.IdentityExpires()); left < 89*24*time.Hour {
		t.Errorf("the key is said to end in %s", left)
	}
	store.keys = []string{cred.Keys[1], cred.Keys[0]}
	signsInWith(t, c, cred.Keys[0]) // nobody told the client
	c.SignInAnew()
	signsInWith(t, c, cred.Keys[1])
	if store.asks != 0 {
		t.Error("earlier keys were read though the current one works")
	}
}

func TestARefusedOwnKeyFallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		cred := ownCredential(e)
		bad := testKey(rotate.Slot2)
		store := &ownKeys{keys: []string{bad, cred.Keys[0]}}
		c := newTestClient(t, e, Options{Identity: store.identity()})
		if err := c.Control(t.Context()); err != nil {
			t.Fatalf("control: %v", err)
		}
		signsInWith(t, c, cred.Keys[0])
		store.keys[0] = cred.Keys[1]
		time.Sleep(fallbackLife) // fake time
		signsInWith(t, c, cred.Keys[1])
		// The key in use dies: the same call goes on with the other one.
		if err := e.RevokeOutOfBand(cred.ItemID, 2); err != nil {
			t.Fatal(err)
		}
		if err := c.Control(t.Context()); err != nil {
			t.Errorf("control after the key's death: %v", err)
		}
		signsInWith(t, c, cred.Keys[0])
	})
}

func TestAnOwnKeyThatIsNoUse(t *testing.T) {
	e := strictEmulator(t, portaltest.Options{})
	for _, tt := range []struct {
		name string
		keys []string
		err  error
		text string
	}{
		{"none", nil, nil, "rotatord login PORTAL"},
		{"all refused", []string{testKey(rotate.Slot1), testKey(rotate.Slot2)}, nil, "rotatord login PORTAL"},
		{"unreadable", nil, errors.New("permission denied"), "permission denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newTestClient(t, e, Options{Identity: (&ownKeys{keys: tt.keys, err: tt.err}).identity()})
			_, err := c.IdentityKey(t.Context())
			wantKind(t, err, auth, "")
			if err == nil || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "AAPT") {
				t.Errorf("got %v, want %q in it and no key", err, tt.text)
			}
		})
	}
}

// A store that is away for hours does not lock a running client out; a new one has nothing to go by.
func TestAStoreThatIsAwayLocksNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, clientID, memory := refreshed(t, nil)
		cred := ownCredential(e)
		keys := &ownKeys{keys: []string{cred.Keys[0]}}
		away := &mortal{store: memory, dieAt: -1}
		refresh := Identity{Refresh: &RefreshIdentity{ClientID: clientID, Store: away}}
		byKey, byToken := newTestClient(t, e, Options{Identity: keys.identity()}), newTestClient(t, e, Options{Identity: refresh})
		for range 3 {
			for _, c := range []*Client{byKey, byToken} {
				if err := c.Control(t.Context()); err != nil {
					t.Errorf("control: %v", err)
				}
			}
			keys.err, away.lost = errors.New("vault is sealed"), errors.New("vault is sealed")
			time.Sleep(2 * time.Hour) // fake time
		}
		for _, id := range []Identity{keys.identity(), refresh} {
			wantKind(t, newTestClient(t, e, Options{Identity: id}).Control(t.Context()), auth, "")
		}
	})
}

// A portal that cannot be asked says nothing about a key: no earlier one is tried.
func TestAnUnreachablePortalIsNoRefusal(t *testing.T) {
	store := &ownKeys{keys: []string{testKey(rotate.Slot1), testKey(rotate.Slot2)}}
	c, err := New(Options{URL: testURL, Transport: canned{err: errors.New("connection refused")}, Limits: Limits{Retries: -1}, Identity: store.identity()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.IdentityKey(t.Context())
	wantKind(t, err, transient, rotate.CauseUnreachable)
	if store.asks != 0 {
		t.Error("earlier keys were tried")
	}
}

func TestIdentityKeyOfOtherIdentities(t *testing.T) {
	e := strictEmulator(t, portaltest.Options{})
	cred := ownCredential(e)
	signsInWith(t, newTestClient(t, e, Options{Identity: Identity{APIKey: &APIKeyIdentity{Key: fixed(cred.Keys[0])}}}), cred.Keys[0])
	if got, err := newTestClient(t, e, Options{}).IdentityKey(t.Context()); err != nil || got != "" {
		t.Errorf("a password gave %q, %v", got, err)
	}
}

func TestWhenARefreshTokenIsRenewed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		share float64
		lead  time.Duration
		still time.Duration // of its 14 days, not renewed then
		then  time.Duration // renewed then
	}{
		{"half its life", 0, 0, 6 * 24 * time.Hour, 8 * 24 * time.Hour},
		{"a share", 0.25, 0, 10 * 24 * time.Hour, 11 * 24 * time.Hour},
		{"a duration", 0, 48 * time.Hour, 11 * 24 * time.Hour, 13 * 24 * time.Hour},
		{"a duration longer than its life", 0, 14 * 24 * time.Hour, 6 * 24 * time.Hour, 8 * 24 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, clientID, store := refreshed(t, nil)
				first, start := store.grant.Current, time.Now()
				c := newTestClient(t, e, Options{Identity: Identity{Refresh: &RefreshIdentity{ClientID: clientID, Store: store,
					RenewBefore: tt.lead, RenewBeforeShare: tt.share}}})
				if !c.IdentityExpires().IsZero() {
					t.Error("an end is known before the first sign-in")
				}
				for _, at := range []struct {
					after time.Duration
					want  bool
				}{{tt.still, false}, {tt.then, true}} {
					time.Sleep(at.after - time.Since(start)) // fake time
					if err := c.Control(t.Context()); err != nil {
						t.Fatal(err)
					}
					if got := !store.grant.Current.Token.Equal(first.Token); got != at.want {
						t.Errorf("after %s: renewed %v, want %v", at.after, got, at.want)
					}
					if !c.IdentityExpires().Equal(store.grant.Current.Expires) {
						t.Errorf("said to end %s, want %s", c.IdentityExpires(), store.grant.Current.Expires)
					}
				}
			})
		})
	}
}

var errDied = errors.New("the process dies here")

// mortal is a process that dies around one of its effects on portal and store; after
// that nothing it does reaches anybody.
type mortal struct {
	transport http.RoundTripper
	store     *memoryStore
	points    int
	dieAt     int
	after     bool
	dead      bool
	lost      error // of each Load
}

func (m *mortal) around(effect func() error) error {
	n := m.points
	m.points++
	if m.dead || n == m.dieAt && !m.after {
		m.dead = true
		return errDied
	}
	err := effect()
	if n == m.dieAt {
		m.dead = true
		return errDied
	}
	return err
}

func (m *mortal) RoundTrip(r *http.Request) (res *http.Response, err error) {
	err = m.around(func() (err error) {
		res, err = m.transport.RoundTrip(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

func (m *mortal) Load(ctx context.Context) (RefreshGrant, error) {
	if m.lost != nil {
		return RefreshGrant{}, m.lost
	}
	return m.store.Load(ctx)
}

func (m *mortal) Save(ctx context.Context, g RefreshGrant) error {
	return m.around(func() error { return m.store.Save(ctx, g) })
}

// renewal lives through one renewal in which the process may die, and tells whether it
// did and whether a new process signs in from what is stored.
func renewal(t *testing.T, manner string, dieAt int, after bool) (points int, died bool, back error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e, clientID, store := refreshed(t, map[string]string{portaltest.SwitchExchangeRefresh: manner})
		m := &mortal{transport: e.Transport(), store: store, dieAt: dieAt, after: after}
		time.Sleep(8 * 24 * time.Hour) // fake time
		c, err := New(Options{URL: testURL, Transport: m, Limits: Limits{Retries: -1, BreakerAfter: -1}, Identity: Identity{Refresh: &RefreshIdentity{ClientID: clientID, Store: m}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Control(t.Context()); err != nil && !m.dead {
			t.Fatalf("control: %v", err)
		}
		points, died = m.points, m.dead
		again := newTestClient(t, e, Options{Identity: Identity{Refresh: &RefreshIdentity{ClientID: clientID, Store: store}}})
		back = again.Control(t.Context())
		if back == nil && !store.grant.Next.Token.IsZero() {
			t.Error("a renewed token was left unproved")
		}
	})
	return points, died, back
}

// A death between any two steps of a renewal leaves a store that signs in. Where the
// portal ends the old token at once, an answer that never reaches the disk is the one
// loss that nothing on our side prevents.
func TestNoDeathInARenewalLocksOut(t *testing.T) {
	for _, manner := range []string{"keeps_old", "ends_old"} {
		points, _, err := renewal(t, manner, -1, false)
		if err != nil || points < 6 {
			t.Fatalf("%s: a whole renewal has %d points, %v", manner, points, err)
		}
		lost := 0
		for n := range points {
			for _, after := range []bool{false, true} {
				_, died, back := renewal(t, manner, n, after)
				if !died {
					t.Errorf("%s: no death at %d", manner, n)
				}
				if back != nil {
					lost++
					if manner == "keeps_old" || rotate.KindOf(back) != auth {
						t.Error(fmt.Errorf("%s: locked out by a death at %d, after %v: %w", manner, n, after, back))
					}
				}
			}
		}
		// After the exchange, and before its answer is stored.
		if want := map[string]int{"keeps_old": 0, "ends_old": 2}[manner]; lost != want {
			t.Errorf("%s: %d deaths lock out, want %d", manner, lost, want)
		}
	}
}
