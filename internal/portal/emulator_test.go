package portal

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

func TestOneRotationOnEveryProduct(t *testing.T) {
	for _, product := range []portaltest.Product{portaltest.LocationPlatform, portaltest.Online, portaltest.Enterprise114} {
		for _, identity := range []string{"password", "api key"} {
			t.Run(fmt.Sprintf("%s by %s", product, identity), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { rotateOnce(t, product, identity) })
			})
		}
	}
}

func rotateOnce(t *testing.T, product portaltest.Product, identity string) {
	e := strictEmulator(t, portaltest.Options{Product: product})
	cred := e.AddCredential(portaltest.CredentialSeed{Title: "web map", Folder: "keys", Referrers: []string{"https://app.example.com"},
		Expires: [2]time.Time{inDays(20)}, Minted: true})
	o := Options{}
	if identity == "api key" {
		admin := e.AddCredential(portaltest.CredentialSeed{Title: "admin key", Expires: [2]time.Time{inDays(90)}, Minted: true,
			Privileges: []string{privViewAll, privEditAll}})
		o.Identity = Identity{APIKey: &APIKeyIdentity{Key: fixed(admin.Keys[0])}}
	}
	c := newTestClient(t, e, o)
	ctx, id := rotate.WithPurpose(t.Context(), rotate.PurposeProtocol), credentialID(cred)
	app, err := c.App(ctx, id, cred.Owner)
	if err != nil || app.ClientID != cred.ClientID || !app.Active[1] || app.Active[2] || len(app.Referrers) != 1 {
		t.Fatalf("read app: got %+v, %v", app, err)
	}
	date := time.Now().AddDate(0, 0, 90).UTC().Truncate(24 * time.Hour).Add(24*time.Hour - time.Second)
	if err := c.SetExpiry(ctx, id, cred.Owner, rotate.Slot2, date); err != nil {
		t.Fatalf("set expiry: %v", err)
	}
	minted, err := c.Mint(ctx, id, app, rotate.Slot2)
	if err != nil {
		t.Fatalf("mint: %v", err)
	}
	if diff := minted.Expires.Sub(date); diff.Abs() > 2*time.Second {
		t.Errorf("minted until %s, want %s", minted.Expires, date)
	}
	proof, err := c.Prove(ctx, minted.Key, app.Referrers[0])
	if err != nil || !proof.Valid || proof.Item != id.Item || proof.ClientID != app.ClientID || !proof.Expires.Equal(date) {
		t.Errorf("prove: got %+v, %v", proof, err)
	}
	if err := c.Revoke(ctx, id, app, rotate.Slot1); err != nil {
		t.Errorf("revoke: %v", err)
	}
	old, err := c.Prove(ctx, rotate.NewSecret(cred.Keys[0]), app.Referrers[0])
	if err != nil || old.Valid || old.Date.IsZero() {
		t.Errorf("prove the old key: got %+v, %v; want it dead", old, err)
	}
	item, err := c.Item(ctx, id)
	if err != nil || item.Owner != cred.Owner || item.Folder == "" || !item.Expires[2].Equal(date) || item.Date.IsZero() {
		t.Errorf("read item: got %+v, %v", item, err)
	}
	if err := c.Control(ctx); err != nil {
		t.Errorf("control: %v", err)
	}
	protocol := 0
	for k, n := range c.Counts() {
		if k.Purpose == rotate.PurposeProtocol {
			protocol += n
		}
	}
	if protocol != 8 {
		t.Errorf("%d requests under the protocol's purpose, want 8: %v", protocol, c.Counts())
	}
	if offset, _, ok := c.Clock(); !ok || offset.Abs() > time.Second {
		t.Errorf("clock: got %s, %t", offset, ok)
	}
}

func TestOwnerIsReadWhereItIsNotKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Switches: map[string]string{portaltest.SwitchOwnerInPath: "enforced"}})
		cred := e.AddCredential(portaltest.CredentialSeed{Owner: portaltest.CreatorUser, Title: "x"})
		c := newTestClient(t, e, Options{})
		if _, err := c.App(t.Context(), credentialID(cred), ""); err != nil {
			t.Errorf("read app: %v", err)
		}
		if err := c.SetExpiry(t.Context(), credentialID(cred), "", rotate.Slot1, inDays(5)); err != nil {
			t.Errorf("set expiry: %v", err)
		}
		if got := e.Counts()[portaltest.OpItem]; got != 2 {
			t.Errorf("read the item %d times, want 2", got)
		}
	})
}

func TestFaultsOfThePortalAreClassified(t *testing.T) {
	for _, row := range []struct {
		fault      portaltest.Fault
		mint, read rotate.Kind // "" is success
		repeats    int         // of the read
	}{
		{portaltest.Fault{Kind: portaltest.FailBefore}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.FailAfter}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.LoseRequest}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.LoseReply}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.Delay, Delay: time.Minute}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.DelayReply, Delay: time.Minute}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.SlowBody, Delay: time.Minute}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.SlowBody, Delay: time.Second}, "", "", 0},
		{portaltest.Fault{Kind: portaltest.RateLimited, RetryAfter: 2 * time.Second}, limited, "", 1},
		{portaltest.Fault{Kind: portaltest.RateLimited, RetryAfter: time.Hour}, limited, limited, 0},
		{portaltest.Fault{Kind: portaltest.RateLimitedBody}, limited, "", 1},
		{portaltest.Fault{Kind: portaltest.ServerError}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.ServerErrorHTML}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.HTMLPage}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.CutBody}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.TruncatedJSON}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.WrongJSON}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.LateEffect, LateFor: time.Minute}, unknown, "", 1},
		{portaltest.Fault{Kind: portaltest.InvalidToken}, auth, "", 1},
		{portaltest.Fault{Kind: portaltest.Forbidden}, permanent, permanent, 0},
		{portaltest.Fault{Kind: portaltest.ServerError, Count: -1}, unknown, transient, 2},
		{portaltest.Fault{Kind: portaltest.InvalidToken, Count: -1}, auth, auth, 1},
	} {
		t.Run(fmt.Sprintf("%s x%d after %s", row.fault.Kind, row.fault.Count, row.fault.RetryAfter), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := strictEmulator(t, portaltest.Options{})
				cred := e.AddCredential(portaltest.CredentialSeed{Expires: [2]time.Time{inDays(20), inDays(40)}})
				c := newTestClient(t, e, Options{})
				app, err := c.App(t.Context(), credentialID(cred), cred.Owner)
				if err != nil {
					t.Fatalf("read app: %v", err)
				}
				inject(t, e, portaltest.OpMint, row.fault)
				_, err = c.Mint(t.Context(), credentialID(cred), app, rotate.Slot1)
				if got := rotate.KindOf(err); got != row.mint {
					t.Errorf("mint: got %v, want %q", err, row.mint)
				}
				if got := e.Counts()[portaltest.OpMint]; got != 1 {
					t.Errorf("mint was sent %d times", got)
				}
				time.Sleep(time.Until(c.Standing().PausedUntil)) // fake time
				inject(t, e, portaltest.OpItem, row.fault)
				_, err = c.Item(t.Context(), credentialID(cred))
				if got := rotate.KindOf(err); got != row.read {
					t.Errorf("item: got %v, want %q", err, row.read)
				}
				if got := e.Counts()[portaltest.OpItem]; got != 1+row.repeats {
					t.Errorf("item was asked for %d times, want %d", got, 1+row.repeats)
				}
			})
		})
	}
}

func inject(t *testing.T, e *portaltest.Emulator, op portaltest.Op, f portaltest.Fault) {
	t.Helper()
	f.Op = op
	if _, err := e.Inject(f); err != nil {
		t.Fatalf("inject: %v", err)
	}
}

// TestEverySwitchLeavesAClassifiedAnswer: whatever the portal turns out to do, each call
// succeeds or says in the closed classification why not, and sends nothing careless.
func TestEverySwitchLeavesAClassifiedAnswer(t *testing.T) {
	for _, sw := range portaltest.New(portaltest.Options{}).Switches() {
		if sw.Name == portaltest.SwitchManner {
			continue
		}
		for _, value := range sw.Values {
			for _, product := range portaltest.Products() {
				t.Run(fmt.Sprintf("%s=%s on %s", sw.Name, value, product), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { everyCall(t, product, sw.Name, value) })
				})
			}
		}
	}
}

func everyCall(t *testing.T, product portaltest.Product, name, value string) {
	e := strictEmulator(t, portaltest.Options{Product: product, Switches: map[string]string{name: value}})
	cred := e.AddCredential(portaltest.CredentialSeed{Expires: [2]time.Time{inDays(20)}})
	c := newTestClient(t, e, Options{})
	ctx, id := t.Context(), credentialID(cred)
	failed := map[string]error{"control": c.Control(ctx)}
	app, err := c.App(ctx, id, cred.Owner)
	failed["app"] = err
	failed["set expiry"] = c.SetExpiry(ctx, id, cred.Owner, rotate.Slot2, inDays(30))
	if err != nil { // as a careful caller could still know them
		app = rotate.App{ClientID: cred.ClientID, ClientSecret: rotate.NewSecret(cred.ClientSecret)}
	}
	minted, err := c.Mint(ctx, id, app, rotate.Slot2)
	failed["mint"] = err
	if err == nil {
		_, failed["prove"] = c.Prove(ctx, minted.Key, "")
		failed["revoke"] = c.Revoke(ctx, id, app, rotate.Slot2)
	}
	for _, err := range c.Discover(ctx) {
		failed["discover"] = err
	}
	everyAdminCall(t, c, product, failed)
	for what, err := range failed {
		if _, ok := errors.AsType[*rotate.Error](err); err != nil && !ok {
			t.Errorf("%s: %v is not classified", what, err)
		}
		tooOld := product == portaltest.Enterprise113 && (what == "app" || what == "mint")
		tricky := name == portaltest.SwitchAmbiguousFailure || name == portaltest.SwitchRateLimit
		if err != nil && !tooOld && !tricky {
			t.Errorf("%s: %v", what, err)
		}
	}
	if product == portaltest.Enterprise113 && rotate.CauseOf(failed["app"]) != rotate.CauseTooOld {
		t.Errorf("app: got %v, want too old", failed["app"])
	}
}

// Everything that could be a secret in the canary test, so that one search finds any.
var canaries = []string{"AAPTcanary", "canary-token", "canary+password/with=signs", "canaryclientsecret0123456789abcd", "canary-refresh-token"}

func TestNoErrorOrLogHoldsASecret(t *testing.T) {
	synctest.Test(t, noErrorOrLogHoldsASecret) // some answers ask to wait
}

func noErrorOrLogHoldsASecret(t *testing.T) {
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	key := rotate.NewSecret(canaries[0] + strings.Repeat("x", 40) + ".AT1_H4JC97kO")
	app := rotate.App{ClientID: "lgalmA3rH4JC97kO", ClientSecret: rotate.NewSecret(canaries[3])}
	echo := func(r *http.Request, body string) string {
		form, _ := readForm(r)
		return strings.ReplaceAll(body, "ECHO", strings.ReplaceAll(form, `"`, ``))
	}
	var texts []string
	for _, row := range append(answers(), echoes()...) {
		transport := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			said := canned{status: row.canned.status, header: row.canned.header, cut: row.canned.cut, err: row.canned.err, body: echo(r, row.canned.body)}
			if said.err != nil && strings.Contains(said.err.Error(), "ECHO") {
				said.err = errors.New(echo(r, said.err.Error()))
			}
			return said.RoundTrip(r)
		})
		for _, identity := range []Identity{
			{APIKey: &APIKeyIdentity{Key: fixed(canaries[1])}},
			{Password: &PasswordIdentity{Username: "u", Password: fixed(canaries[2])}},
			{Refresh: &RefreshIdentity{ClientID: "c", Store: &memoryStore{grant: RefreshGrant{Current: RefreshToken{Token: rotate.NewSecret(canaries[4])}}}}},
		} {
			c, err := New(Options{URL: testURL, Transport: transport, Identity: identity, Limits: Limits{Retries: -1}, Log: log})
			if err != nil {
				t.Fatalf("make client: %v", err)
			}
			ctx := t.Context()
			_, errItem := c.Item(ctx, testID)
			_, errApp := c.App(ctx, testID, "u")
			_, errMint := c.Mint(ctx, testID, app, rotate.Slot1)
			_, errProve := c.Prove(ctx, key, "")
			_, errSelf := c.Whoami(ctx)
			_, errMade := c.CreateItem(ctx, NewItem{Owner: "u", Title: "t", Mark: "m"})
			registered, errRegister := c.RegisterApp(ctx, testID.Item, Settings{Privileges: []string{"premium:user:basemaps"}})
			_, errEdit := c.EditApp(ctx, app.ClientID, Settings{})
			_, errFolder := c.CreateFolder(ctx, "u", "keys")
			_, errFound := c.FindItems(ctx, "u", "m")
			_, errAccount := c.Account(ctx, "")
			_, errSettings := c.AppSettings(ctx, testID.Item, "u")
			texts = append(texts, fmt.Sprintf("%+v %v", registered, registered.App))
			grants, err := NewGrants(GrantsOptions{Portal: c, AllowBilled: true, Services: ParityOptions{Transport: transport}})
			if err != nil {
				t.Fatalf("make grants: %v", err)
			}
			for _, g := range grants.Ask(ctx, key, "", append(probed(), ItemGrant(testID.Item))) {
				texts = append(texts, fmt.Sprintf("%+v", g))
			}
			all := []error{errMade, errRegister, errEdit, errFolder, errFound, errAccount, errSettings, c.UnregisterApp(ctx, app.ClientID),
				c.DeleteItem(ctx, testID.Item, "u", true), c.UpdateItem(ctx, testID.Item, "u", ItemEdit{Title: new("x")}), c.MoveItem(ctx, testID.Item, "u", ""),
				errItem, errApp, errMint, errProve, errSelf, c.Revoke(ctx, testID, app, rotate.Slot1), c.SetExpiry(ctx, testID, "u", 1, inDays(3))}
			for _, f := range c.Check(ctx, CheckRequest{Items: []CheckItem{{Item: testID.Item}}, Verb: VerbRotate}) {
				texts = append(texts, fmt.Sprintf("%+v", f))
			}
			for _, err := range all {
				for ; err != nil; err = errors.Unwrap(err) {
					texts = append(texts, err.Error(), fmt.Sprintf("%+v", err))
				}
			}
		}
		p, err := NewParity(ParityOptions{URLs: []string{"https://svc.test/x"}, AllowHosts: []string{"svc.test"}, Transport: transport})
		if err != nil {
			t.Fatalf("make parity: %v", err)
		}
		if err := p.Compare(t.Context(), key, rotate.NewSecret("AAPTcanary-two"), ""); err != nil {
			texts = append(texts, err.Error())
		}
	}
	if len(texts) < 500 {
		t.Fatalf("only %d texts were looked at", len(texts))
	}
	for _, text := range append(texts, logged.String()) {
		if i := slices.IndexFunc(canaries, func(c string) bool { return strings.Contains(text, c) }); i >= 0 {
			t.Errorf("%s shows in: %.400s", canaries[i], text)
		}
	}
}

// echoes are portals and networks that repeat what they were sent.
func echoes() []answerCase {
	return []answerCase{
		{canned: canned{status: 200, body: `{"error":{"code":400,"message":"bad ECHO","details":["ECHO"]}}`}},
		{canned: canned{status: 200, body: `{"error":{"code":400,"messageCode":"ECHO","message":"x"}}`}},
		{canned: canned{status: 200, body: `{"error":"ECHO","error_description":"ECHO"}`}},
		{canned: canned{status: 200, body: `{"id":"o","type":"ECHO","owner":"u"}`}},
		{canned: canned{status: 200, body: `{"access_token":"ECHO"}`}},
		{canned: canned{err: errors.New("proxy says ECHO")}},
		{canned: canned{status: 302, header: http.Header{"Location": {"https://login.test/?token=AAPTcanary"}}}},
	}
}
