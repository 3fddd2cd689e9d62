package portal

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

const testURL = "https://portal.test"

func fixed(s string) SecretReader {
	return func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(s), nil }
}

func adminByPassword() Identity {
	return Identity{Password: &PasswordIdentity{Username: portaltest.AdminUser, Password: fixed(portaltest.StandardPassword)}}
}

// newTestClient is a client of the emulator, signed in as the admin unless o says otherwise.
func newTestClient(t testing.TB, e *portaltest.Emulator, o Options) *Client {
	t.Helper()
	if o.URL == "" {
		o.URL = testURL
	}
	if o.Transport == nil {
		o.Transport = e.Transport()
	}
	if o.Identity == (Identity{}) {
		o.Identity = adminByPassword()
	}
	c, err := New(o)
	if err != nil {
		t.Fatalf("make client: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// strictEmulator refuses whatever a careful client would not send; the test fails if it ever had to.
func strictEmulator(t testing.TB, o portaltest.Options) *portaltest.Emulator {
	t.Helper()
	switches := map[string]string{portaltest.SwitchManner: "strict"}
	maps.Copy(switches, o.Switches)
	o.Switches = switches
	if o.Seed == 0 {
		o.Seed = 1
	}
	e := portaltest.New(o)
	t.Cleanup(func() {
		for _, v := range e.Violations() {
			t.Errorf("emulator: %s %s: %s", v.Op, v.Path, v.Text)
		}
	})
	return e
}

func credentialID(c portaltest.Credential) rotate.ID {
	return rotate.ID{Portal: "test", Item: rotate.ItemID(c.ItemID)}
}

// canned is a transport that always gives the same answer or error.
type canned struct {
	status int
	header http.Header
	body   string
	err    error
	cut    bool // the body ends with an error
}

// counting is a canned transport that counts.
type counting struct {
	canned
	calls atomic.Int64
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.calls.Add(1)
	return c.canned.RoundTrip(r)
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, fmt.Errorf("read request: %w", err)
		}
		_ = r.Body.Close()
	}
	if c.err != nil {
		return nil, c.err
	}
	header := c.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	var body io.Reader = strings.NewReader(c.body)
	if c.cut {
		body = io.MultiReader(body, failing{})
	}
	return &http.Response{StatusCode: c.status, Header: header, Body: io.NopCloser(body), Request: r}, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// roundTripFunc is a transport made of a function.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func keyClient(t testing.TB, rt http.RoundTripper, limits Limits) *Client {
	t.Helper()
	if limits.Retries == 0 {
		limits.Retries = -1
	}
	c, err := New(Options{URL: testURL, Transport: rt, Limits: limits, Identity: Identity{APIKey: &APIKeyIdentity{Key: fixed("AAPT-identity-of-the-test")}}})
	if err != nil {
		t.Fatalf("make client: %v", err)
	}
	return c
}

var (
	testID  = rotate.ID{Portal: "test", Item: "0123456789abcdef0123456789abcdef"}
	testApp = rotate.App{ClientID: "lgalmA3rH4JC97kO", ClientSecret: rotate.NewSecret("0f1e2d3c4b5a69788796a5b4c3d2e1f0")}
)

func testKey(slot rotate.Slot) string {
	return "AAPT" + strings.Repeat("k3Y", 30) + ".AT" + slot.String() + "_H4JC97kO"
}

func wantKind(t *testing.T, err error, kind rotate.Kind, cause rotate.Cause) {
	t.Helper()
	if rotate.KindOf(err) != kind || rotate.CauseOf(err) != cause {
		t.Errorf("got %q (%s): %v; want %q (%s)", rotate.KindOf(err), rotate.CauseOf(err), err, kind, cause)
	}
}

func inDays(n int) time.Time { return time.Now().AddDate(0, 0, n).UTC() }
