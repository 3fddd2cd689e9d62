package portal

import (
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

// Tests in this file use real sockets: what net/http itself might replay, follow or trust.

func socketClient(t *testing.T, o Options) *Client {
	t.Helper()
	o.Identity = Identity{APIKey: &APIKeyIdentity{Key: fixed("AAPT-identity-of-the-test")}}
	o.ProxyURL = orElse(o.ProxyURL, "direct")
	if o.Limits.Retries == 0 {
		o.Limits.Retries = -1
	}
	c, err := New(o)
	if err != nil {
		t.Fatalf("make client: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestMintIsNeverReplayed: the server answers one request on each connection and cuts
// the connection on the second, which is when net/http sends requests again that it
// thinks it may.
func TestMintIsNeverReplayed(t *testing.T) {
	var mints, connections atomic.Int64
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	served := map[string]int{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served[r.RemoteAddr]++ // requests come one after the other
		if strings.HasSuffix(r.URL.Path, "/oauth2/token") {
			mints.Add(1)
		}
		if served[r.RemoteAddr] > 1 || strings.HasSuffix(r.URL.Path, "/oauth2/token") {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		_, _ = io.WriteString(w, `{"id":"org","success":true}`)
	}))
	server.Listener = listener
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c := socketClient(t, Options{URL: server.URL})
	for range 3 {
		if err := c.Control(t.Context()); err != nil && rotate.KindOf(err) != transient { // fills the pool
			t.Fatalf("control: %v", err)
		}
		before := connections.Load()
		_, err := c.Mint(t.Context(), testID, testApp, rotate.Slot1)
		wantKind(t, err, unknown, rotate.CauseUnreachable)
		if got := connections.Load() - before; got != 1 {
			t.Errorf("mint opened %d connections, want one of its own", got)
		}
	}
	if got := mints.Load(); got != 3 {
		t.Errorf("3 mints reached the portal %d times", got)
	}
}

// TestAMintCannotBeReadTwice: whatever transport is underneath, it has no second copy of
// the body and no word that the request may be repeated.
func TestAMintCannotBeReadTwice(t *testing.T) {
	rt := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		write := strings.Contains(r.URL.Path, "/oauth2/")
		if write != (r.GetBody == nil) || r.Header.Get("Idempotency-Key") != "" || r.Header.Get("X-Idempotency-Key") != "" {
			t.Errorf("%s: GetBody is nil: %t", r.URL.Path, r.GetBody == nil)
		}
		return canned{status: 200, body: `{"id":"org","success":true}`}.RoundTrip(r)
	})
	c := keyClient(t, rt, Limits{})
	if err := c.Control(t.Context()); err != nil {
		t.Errorf("control: %v", err)
	}
	if err := c.Revoke(t.Context(), testID, testApp, rotate.Slot1); err != nil {
		t.Errorf("revoke: %v", err)
	}
	_, err := c.Mint(t.Context(), testID, testApp, rotate.Slot1)
	wantKind(t, err, unknown, rotate.CauseNotAPortal)
}

func TestMintSpeaksNoHTTP2(t *testing.T) {
	protocols := make(chan string, 2)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocols <- r.Proto
		_, _ = fmt.Fprintf(w, `{"id":"org","access_token":%q,"expires_in":60}`, testKey(rotate.Slot1))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	c := socketClient(t, Options{URL: server.URL, CAPEM: certificate(server)})
	if err := c.Control(t.Context()); err != nil {
		t.Fatalf("control: %v", err)
	}
	if _, err := c.Mint(t.Context(), testID, testApp, rotate.Slot1); err != nil {
		t.Fatalf("mint: %v", err)
	}
	if read, mint := <-protocols, <-protocols; read != "HTTP/2.0" || mint != "HTTP/1.1" {
		t.Errorf("read by %s and minted by %s, want HTTP/2.0 and HTTP/1.1", read, mint)
	}
}

// tlsServer does not log the handshakes that tests let fail.
func tlsServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func certificate(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestWhatWasNeverSentIsDefinite(t *testing.T) {
	secure := tlsServer(t, http.NotFoundHandler())
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, row := range []struct {
		name string
		o    Options
	}{
		{"refused connection", Options{URL: closed.URL}},
		{"unknown authority", Options{URL: secure.URL}},
		{"wrong server name", Options{URL: secure.URL, CAPEM: certificate(secure), ServerName: "portal.example.net"}},
		{"dead proxy", Options{URL: "https://portal.test", ProxyURL: closed.URL}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := socketClient(t, row.o)
			_, err := c.Mint(t.Context(), testID, testApp, rotate.Slot1)
			wantKind(t, err, transient, rotate.CauseUnreachable)
			wantKind(t, c.Revoke(t.Context(), testID, testApp, rotate.Slot1), transient, rotate.CauseUnreachable)
		})
	}
}

func TestCustomAuthorityAndServerName(t *testing.T) {
	server := tlsServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"id":"org"}`) }))
	if err := socketClient(t, Options{URL: server.URL, CAPEM: certificate(server), ServerName: "example.com"}).Control(t.Context()); err != nil {
		t.Errorf("control: %v", err)
	}
	if _, err := New(Options{URL: server.URL, Identity: adminByPassword(), CAPEM: []byte("no certificate")}); err == nil {
		t.Error("got a client without a certificate in its ca")
	}
}

func TestRequestsGoThroughTheProxy(t *testing.T) {
	asked := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	c := socketClient(t, Options{URL: "https://portal.test/gis", ProxyURL: proxy.URL})
	_, err := c.Mint(t.Context(), testID, testApp, rotate.Slot1)
	wantKind(t, err, transient, rotate.CauseUnreachable) // the proxy refused: the portal never saw it
	if got := <-asked; got != "CONNECT portal.test:443" {
		t.Errorf("the proxy was asked %q", got)
	}
}

func TestRedirectsAreFollowedByReadsToTheSameHostOnly(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	for _, row := range []struct {
		name   string
		status int
		same   bool
		read   rotate.Kind
	}{
		{"307 on the same host", 307, true, ""},
		{"308 on the same host", 308, true, ""},
		{"302 would drop the form", 302, true, permanent},
		{"307 to another host", 307, false, permanent},
	} {
		t.Run(row.name, func(t *testing.T) {
			var moved atomic.Int64
			var server *httptest.Server
			server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/new") {
					moved.Add(1)
					_, _ = io.WriteString(w, `{"id":"org","success":true}`)
					return
				}
				to := server.URL
				if !row.same {
					to = other.URL
				}
				http.Redirect(w, r, to+"/new"+r.URL.Path, row.status)
			}))
			t.Cleanup(server.Close)
			c := socketClient(t, Options{URL: server.URL})
			if err := c.Control(t.Context()); rotate.KindOf(err) != row.read {
				t.Errorf("read: got %v, want %q", err, row.read)
			}
			followed := moved.Load()
			_, err := c.Mint(t.Context(), testID, testApp, rotate.Slot1)
			wantKind(t, err, permanent, rotate.CauseNotAPortal)
			wantKind(t, c.SetExpiry(t.Context(), testID, "u", rotate.Slot1, inDays(2)), permanent, rotate.CauseNotAPortal)
			if moved.Load() != followed {
				t.Error("a write followed a redirect")
			}
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("something followed a redirect to another host")
	}
}

func TestNothingSecretStandsInAURL(t *testing.T) {
	var urls []string
	rt := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		urls = append(urls, r.Method+" "+r.URL.String())
		return (&canned{status: 200, body: `{"id":"org","token":"t0k","success":true}`}).RoundTrip(r)
	})
	c, err := New(Options{URL: testURL, Transport: rt, Identity: adminByPassword(), Limits: Limits{Retries: -1}})
	if err != nil {
		t.Fatalf("make client: %v", err)
	}
	ctx := t.Context()
	_, _ = c.Whoami(ctx)
	_, _ = c.Prove(ctx, rotate.NewSecret(testKey(rotate.Slot1)), "")
	_, _ = c.Mint(ctx, testID, testApp, rotate.Slot1)
	_ = c.Revoke(ctx, testID, testApp, rotate.Slot1)
	_ = c.SetExpiry(ctx, testID, "some one/else", rotate.Slot1, time.Unix(1798761599, 0))
	for _, u := range urls {
		if !strings.HasPrefix(u, "POST ") || strings.ContainsAny(u, "?") {
			t.Errorf("%s: want a POST with everything in its body", u)
		}
	}
	if last := urls[len(urls)-1]; !strings.Contains(last, "/content/users/some%20one%2Felse/items/") {
		t.Errorf("%s: want the owner's name as one escaped segment", last)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, row := range append(answers(), echoes()...) {
		f.Add(row.canned.status, []byte(row.canned.body))
	}
	for _, body := range []string{
		`{"error":{"code":1e400,"message":{},"details":"x"}}`, `{"error":[],"status":5,"success":"no"}`, `{"items":{},"total":"9","nextStart":null}`,
		`{"id":"o","user":[1],"appInfo":{"appId":7,"expirationDate":"1798761599000"}}`, `{"apiToken1Active":"true","apiToken2Active":0,"client_id":1}`,
		"{\"error\":{\"message\":\"\xff\xfe\"}}",
	} {
		f.Add(200, []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		transport := &counting{canned: canned{status: status, body: string(body)}}
		c := keyClient(t, transport, Limits{RetryWait: 1})
		ctx := t.Context()
		minted, err := c.Mint(ctx, testID, testApp, rotate.Slot1)
		if err == nil && minted.Key.Fingerprint().Slot() != rotate.Slot1 {
			t.Errorf("minted %s from %q", minted.Key.Fingerprint(), body)
		}
		if err := c.Revoke(ctx, testID, testApp, rotate.Slot1); err == nil && !strings.Contains(string(body), "success") {
			t.Errorf("revoked by %q", body)
		}
		if proof, err := c.Prove(ctx, rotate.NewSecret(testKey(rotate.Slot1)), ""); err == nil && proof.Valid && proof.ClientID == "" {
			t.Errorf("proved by %q", body)
		}
		if _, err := c.App(ctx, testID, "u"); err != nil && rotate.KindOf(err) == unknown {
			t.Errorf("a read of unknown outcome: %v", err)
		}
		if transport.calls.Load() > 5 {
			t.Errorf("%d requests for four calls", transport.calls.Load())
		}
		_, _ = c.Whoami(ctx)
		seen := 0
		for range c.Listings(ctx) {
			if seen++; seen > 1000 {
				break
			}
		}
	})
}
