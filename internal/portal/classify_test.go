package portal

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/rotate"
)

// Shorthand for the table of answers.
const (
	transient = rotate.KindTransient
	permanent = rotate.KindPermanent
	unknown   = rotate.KindUnknownOutcome
	limited   = rotate.KindRateLimited
	auth      = rotate.KindAuth
	conflict  = rotate.KindConflict
)

// want is a kind and cause for a read, for SetExpiry and for Mint and Revoke.
type want struct {
	kind  rotate.Kind
	cause rotate.Cause
}

type answerCase struct {
	name               string
	canned             canned
	read, settle, mint want
	wait               time.Duration
}

func same(kind rotate.Kind, cause rotate.Cause) [3]want {
	w := want{kind, cause}
	return [3]want{w, w, w}
}

func lost(cause rotate.Cause) [3]want {
	return [3]want{{transient, cause}, {transient, cause}, {unknown, cause}}
}

func answer(name string, c canned, w [3]want) answerCase {
	return answerCase{name: name, canned: c, read: w[0], settle: w[1], mint: w[2]}
}

func waiting(c answerCase, d time.Duration) answerCase {
	c.wait = d
	return c
}

const (
	htmlBody = "<html><body>Service Unavailable</body></html>"
	jsonType = "application/json"
)

func answers() []answerCase {
	after := func(v string) http.Header {
		return http.Header{"Retry-After": {v}, "Date": {"Sun, 22 Nov 2026 06:00:00 GMT"}}
	}
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	return []answerCase{
		// The portal's own word.
		answer("no such item", canned{status: 200, body: `{"error":{"code":400,"messageCode":"CONT_0001","message":"Item does not exist or is inaccessible.","details":[]}}`}, same(permanent, rotate.CauseNotFound)),
		answer("forbidden", canned{status: 200, body: `{"error":{"code":403,"messageCode":"GWM_0003","message":"no"}}`}, same(permanent, rotate.CauseForbidden)),
		answer("forbidden by code alone", canned{status: 200, body: `{"error":{"code":403,"message":"no"}}`}, same(permanent, rotate.CauseForbidden)),
		answer("forbidden by status", canned{status: 403, body: `{"error":{"message":"no"}}`}, same(permanent, rotate.CauseForbidden)),
		answer("code as a string", canned{status: 200, body: `{"error":{"code":"403","message":"no","details":null}}`}, same(permanent, rotate.CauseForbidden)),
		answer("not found by status", canned{status: 404, body: `{"error":{"code":404,"message":"no"}}`}, same(permanent, rotate.CauseNotFound)),
		answer("malformed request", canned{status: 200, body: `{"error":{"code":400,"messageCode":"GWM_0007","message":"Invalid request"}}`}, same(permanent, rotate.CauseNone)),
		answer("backend failure with a code", canned{status: 200, body: `{"code":400,"message":"no","status":"failure"}`}, same(permanent, rotate.CauseNone)),
		answer("invalid token", canned{status: 200, body: `{"error":{"code":498,"message":"Invalid token.","details":[]}}`}, same(auth, rotate.CauseNone)),
		answer("token required", canned{status: 200, body: `{"error":{"code":499,"messageCode":"GWM_0003","message":"Token Required"}}`}, same(auth, rotate.CauseNone)),
		answer("unauthorised by status", canned{status: 401, body: `{"error":{"message":"no"}}`}, same(auth, rotate.CauseNone)),
		answer("status 498 without json", canned{status: 498, body: htmlBody}, same(auth, rotate.CauseNone)),
		// Rate limits: nothing happened.
		waiting(answer("429 with seconds", canned{status: 429, header: after("7"), body: htmlBody}, same(limited, rotate.CauseNone)), 7*time.Second),
		waiting(answer("429 with a date", canned{status: 429, header: after("Sun, 22 Nov 2026 06:00:09 GMT"), body: `{}`}, same(limited, rotate.CauseNone)), 9*time.Second),
		answer("429 bare", canned{status: 429, body: ``}, same(limited, rotate.CauseNone)),
		answer("429 with nonsense", canned{status: 429, header: after("soon"), body: ``}, same(limited, rotate.CauseNone)),
		waiting(answer("code 429 in a 200", canned{status: 200, header: after("3"), body: `{"error":{"code":429,"message":"Too many requests."}}`}, same(limited, rotate.CauseNone)), 3*time.Second),
		// Servers in trouble.
		answer("code 500", canned{status: 200, body: `{"error":{"code":500,"message":"Internal error"}}`}, lost(rotate.CauseNone)),
		waiting(answer("status 503 with json", canned{status: 503, header: after("4"), body: `{"error":{"code":503,"message":"no"}}`}, lost(rotate.CauseNone)), 4*time.Second),
		waiting(answer("status 503 with html", canned{status: 503, header: after("5"), body: htmlBody}, lost(rotate.CauseNone)), 5*time.Second),
		answer("status 502 empty", canned{status: 502}, lost(rotate.CauseNone)),
		answer("no code at all", canned{status: 200, body: `{"error":{"message":"hm"}}`}, lost(rotate.CauseNone)),
		answer("error is a word", canned{status: 200, body: `{"error":"server_error","error_description":"hm"}`}, lost(rotate.CauseNone)),
		answer("error is a number", canned{status: 200, body: `{"error":7}`}, lost(rotate.CauseNone)),
		answer("error is a word, by status", canned{status: 400, body: `{"error":"invalid_scope"}`}, same(permanent, rotate.CauseNone)),
		answer("success false", canned{status: 200, body: `{"success":false}`}, lost(rotate.CauseNone)),
		answer("status failed", canned{status: 200, body: `{"status":"failed"}`}, lost(rotate.CauseNone)),
		// No portal, or not all of its answer.
		answer("html in a 200", canned{status: 200, body: htmlBody}, lost(rotate.CauseNotAPortal)),
		answer("html in a 404", canned{status: 404, body: htmlBody}, lost(rotate.CauseNotAPortal)),
		answer("html in a 403", canned{status: 403, body: htmlBody}, lost(rotate.CauseNotAPortal)),
		answer("empty 200", canned{status: 200}, lost(rotate.CauseNotAPortal)),
		answer("truncated json", canned{status: 200, body: `{"access_token":"AAPT`}, lost(rotate.CauseNotAPortal)),
		answer("json of another shape", canned{status: 200, body: `["unexpected",1]`}, lost(rotate.CauseNotAPortal)),
		answer("json null", canned{status: 200, body: `null`}, lost(rotate.CauseNotAPortal)),
		answer("object without what matters", canned{status: 200, body: `{}`}, lost(rotate.CauseNotAPortal)),
		answer("too large", canned{status: 200, body: `{"x":"` + strings.Repeat("x", 3000) + `"}`}, lost(rotate.CauseNone)),
		answer("redirect to another host", canned{status: 302, header: http.Header{"Location": {"https://login.test/?x=1"}}}, same(permanent, rotate.CauseNotAPortal)),
		// Connections.
		answer("body cut", canned{status: 200, body: `{"success":`, cut: true}, lost(rotate.CauseUnreachable)),
		answer("reset", canned{err: syscall.ECONNRESET}, lost(rotate.CauseUnreachable)),
		answer("no reply", canned{err: errors.New("EOF")}, lost(rotate.CauseUnreachable)),
		answer("refused", canned{err: dial}, same(transient, rotate.CauseUnreachable)),
		answer("no such host", canned{err: &net.DNSError{Err: "no such host", Name: "portal.test"}}, same(transient, rotate.CauseUnreachable)),
		answer("unknown authority", canned{err: x509.UnknownAuthorityError{}}, same(transient, rotate.CauseUnreachable)),
	}
}

func TestEveryAnswerHasItsKind(t *testing.T) {
	for _, row := range answers() {
		t.Run(row.name, func(t *testing.T) {
			ask := func(do func(*Client) error) (calls int64, err error) {
				transport := counting{canned: row.canned}
				c := keyClientCapped(t, &transport)
				err = do(c)
				return transport.calls.Load(), err
			}
			ctx := t.Context()
			ops := []struct {
				name string
				want want
				most int64
				do   func(*Client) error
			}{
				{"item", row.read, 2, func(c *Client) error { _, err := c.Item(ctx, testID); return err }},
				{"control", row.read, 2, func(c *Client) error { return c.Control(ctx) }},
				{"set expiry", row.settle, 2, func(c *Client) error { return c.SetExpiry(ctx, testID, "ops", rotate.Slot1, inDays(9)) }},
				{"mint", row.mint, 1, func(c *Client) error { _, err := c.Mint(ctx, testID, testApp, rotate.Slot2); return err }},
				{"revoke", row.mint, 1, func(c *Client) error { return c.Revoke(ctx, testID, testApp, rotate.Slot2) }},
			}
			for _, op := range ops {
				calls, err := ask(op.do)
				t.Run(op.name, func(t *testing.T) {
					wantKind(t, err, op.want.kind, op.want.cause)
					if got := rotate.WaitOf(err); got != row.wait {
						t.Errorf("got wait %s, want %s", got, row.wait)
					}
					if calls > op.most {
						t.Errorf("sent %d times, want at most %d", calls, op.most)
					}
				})
			}
		})
	}
}

// keyClientCapped has a small body cap, so that the table's large answer is too large.
func keyClientCapped(t *testing.T, rt http.RoundTripper) *Client {
	t.Helper()
	c, err := New(Options{URL: testURL, Transport: rt, MaxBody: 2048, Limits: Limits{Retries: -1},
		Identity: Identity{APIKey: &APIKeyIdentity{Key: fixed("AAPT-identity-of-the-test")}}})
	if err != nil {
		t.Fatalf("make client: %v", err)
	}
	return c
}

func TestMintAndAppHaveFaultsOfTheirOwn(t *testing.T) {
	mint := func(c *Client) error {
		_, err := c.Mint(t.Context(), testID, testApp, rotate.Slot2)
		return err
	}
	app := func(c *Client) error { _, err := c.App(t.Context(), testID, "ops"); return err }
	revoke := func(c *Client) error { return c.Revoke(t.Context(), testID, testApp, rotate.Slot1) }
	for _, row := range []struct {
		name string
		body string
		do   func(*Client) error
		want want
	}{
		{"secret was reset", `{"error":{"code":400,"error":"invalid_request","error_description":"Invalid client_secret","message":"Invalid client_secret","details":[]}}`, mint, want{conflict, ""}},
		{"app is another", `{"error":{"code":400,"message":"Invalid client_id"}}`, mint, want{conflict, ""}},
		{"secret was reset, revoking", `{"error":{"code":400,"message":"Invalid client_secret"}}`, revoke, want{conflict, ""}},
		{"date refused", `{"error":{"code":400,"message":"Invalid expiration date","details":[]}}`, mint, want{permanent, rotate.CauseBadDate}},
		{"date refused in details", `{"error":{"code":400,"message":"Invalid request","details":["'apiToken1ExpirationDate' is in the past"]}}`, mint, want{permanent, rotate.CauseBadDate}},
		{"an app token", `{"access_token":"x1y2z3-an-ordinary-token","expires_in":7200}`, mint, want{permanent, rotate.CauseTooOld}},
		{"a key of the other slot", `{"access_token":"` + testKey(rotate.Slot1) + `","expires_in":7200}`, mint, want{unknown, ""}},
		{"a key of another credential", `{"access_token":"AAPT` + strings.Repeat("x", 40) + `.AT2_AAAAAAAA"}`, mint, want{unknown, ""}},
		{"app without slots", `{"itemId":"x","client_id":"a","client_secret":"b","appType":"multiple"}`, app, want{permanent, rotate.CauseTooOld}},
		{"legacy app", `{"itemId":"x","client_id":"a","client_secret":"b","appType":"apikey","apiKey":"AAPK"}`, app, want{permanent, rotate.CauseNotCredential}},
		{"no app", `{"error":{"code":400,"message":"Item is not registered"}}`, app, want{permanent, rotate.CauseNotCredential}},
		{"app without secret", `{"client_id":"a","apiToken1Active":false,"apiToken2Active":true}`, app, want{transient, rotate.CauseNotAPortal}},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := row.do(keyClient(t, &canned{status: 200, body: row.body}, Limits{}))
			wantKind(t, err, row.want.kind, row.want.cause)
		})
	}
}

func TestAKeyIsDeadOnlyByThePortalsWord(t *testing.T) {
	for _, row := range []struct {
		name   string
		canned canned
		valid  bool
		kind   rotate.Kind
	}{
		{"valid", canned{status: 200, body: `{"id":"o","appInfo":{"appId":"c","itemId":"i","expirationDate":1798761599000,"privileges":["p"]}}`}, true, ""},
		{"498", canned{status: 200, body: `{"error":{"code":498,"message":"Invalid token."}}`}, false, ""},
		{"499", canned{status: 200, body: `{"error":{"code":499,"message":"Token Required"}}`}, false, ""},
		{"status 498", canned{status: 498, body: htmlBody}, false, ""},
		{"answered as to nobody", canned{status: 200, body: `{"id":"o","name":"Org"}`}, false, transient},
		{"401 from who knows", canned{status: 401, body: htmlBody}, false, transient},
		{"401 with json", canned{status: 401, body: `{"error":{"message":"no"}}`}, false, auth},
		{"forbidden", canned{status: 200, body: `{"error":{"code":403,"message":"no"}}`}, false, permanent},
		{"html", canned{status: 200, body: htmlBody}, false, transient},
		{"server error", canned{status: 200, body: `{"error":{"code":500,"message":"no"}}`}, false, transient},
		{"rate limit", canned{status: 429}, false, limited},
		{"cut", canned{status: 200, body: `{"error":{"code":498`, cut: true}, false, transient},
	} {
		t.Run(row.name, func(t *testing.T) {
			proof, err := keyClient(t, row.canned, Limits{}).Prove(t.Context(), rotate.NewSecret(testKey(rotate.Slot1)), "")
			if proof.Valid != row.valid || rotate.KindOf(err) != row.kind {
				t.Errorf("got valid %t, error %v; want valid %t, kind %q", proof.Valid, err, row.valid, row.kind)
			}
		})
	}
}

func TestATimeoutOfAWriteHasNoKnownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		c := keyClient(t, hang, Limits{})
		start := time.Now()
		_, err := c.Mint(t.Context(), testID, testApp, rotate.Slot1)
		wantKind(t, err, unknown, rotate.CauseUnreachable)
		if got := time.Since(start); got != defaultTimeout {
			t.Errorf("gave up after %s, want %s", got, defaultTimeout)
		}
		_, err = c.Item(t.Context(), testID)
		wantKind(t, err, transient, rotate.CauseUnreachable)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = c.Mint(ended, testID, testApp, rotate.Slot1)
		wantKind(t, err, transient, rotate.CauseNone)
	})
}

func TestRootOfWhatPeoplePaste(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"https://www.arcgis.com", "https://www.arcgis.com/sharing/rest"},
		{"https://www.arcgis.com/", "https://www.arcgis.com/sharing/rest"},
		{"https://www.arcgis.com/home/", "https://www.arcgis.com/sharing/rest"},
		{"https://www.arcgis.com/sharing/rest/", "https://www.arcgis.com/sharing/rest"},
		{" https://gis.example.com/portal", "https://gis.example.com/portal/sharing/rest"},
		{"https://gis.example.com/portal/sharing", "https://gis.example.com/portal/sharing/rest"},
		{"https://gis.example.com/portal/home/index.html", "https://gis.example.com/portal/sharing/rest"},
		{"http://127.0.0.1:8900", "http://127.0.0.1:8900/sharing/rest"},
		{"http://[::1]:8900/x", "http://[::1]:8900/x/sharing/rest"},
		{"http://gis.example.com/portal", ""},
		{"gis.example.com/portal", ""},
		{"https://", ""},
		{"https://user:hunter2@gis.example.com", ""},
		{"https://gis.example.com/portal?token=hunter2", ""},
		{"https://gis.example.com/%zzhunter2", ""},
		{"ftp://gis.example.com", ""},
	} {
		got, err := Root(row.in)
		switch {
		case row.want == "" && err == nil:
			t.Errorf("%q: got %s, want an error", row.in, got)
		case row.want == "" && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%q: the error shows what may be a password: %v", row.in, err)
		case row.want != "" && (err != nil || got.String() != row.want):
			t.Errorf("%q: got %s, %v; want %s", row.in, got, err, row.want)
		}
	}
}

func TestIdentityIsExactlyOne(t *testing.T) {
	for name, id := range map[string]Identity{
		"none":         {},
		"two":          {Password: &PasswordIdentity{Username: "u", Password: fixed("p")}, APIKey: &APIKeyIdentity{Key: fixed("k")}},
		"no password":  {Password: &PasswordIdentity{Username: "u"}},
		"no key":       {APIKey: &APIKeyIdentity{}},
		"no store":     {Refresh: &RefreshIdentity{ClientID: "c"}},
		"bad lifetime": {Password: &PasswordIdentity{Username: "u", Password: fixed("p"), Minutes: -1}},
	} {
		if _, err := New(Options{URL: testURL, Identity: id}); err == nil {
			t.Errorf("%s: got a client, want an error", name)
		}
	}
}
