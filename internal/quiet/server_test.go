package quiet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

// writeCert makes a certificate for 127.0.0.1 that is its own authority.
func writeCert(t *testing.T, certFile, keyFile, name string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	err = errors.Join(os.WriteFile(certFile, certPEM, 0o600), os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool
}

// lockedBuffer is a log that is written and read at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const (
	shopToken = "shop-0123456789abcdef0123456789"
	appToken  = "app-0123456789abcdef0123456789"
)

// ackServer is a running listener.
type ackServer struct {
	*Server
	ledger            *memLedger
	pool              *x509.CertPool
	certFile, keyFile string
	log               *lockedBuffer
	failing           error // of the store
}

func startServer(t *testing.T) *ackServer {
	t.Helper()
	dir := t.TempDir()
	s := &ackServer{ledger: &memLedger{}, certFile: filepath.Join(dir, "cert"), keyFile: filepath.Join(dir, "key"), log: &lockedBuffer{}}
	s.pool = writeCert(t, s.certFile, s.keyFile, "one.example")
	gate, err := NewAcks(s.ledger, []string{"shop"})
	if err != nil {
		t.Fatal(err)
	}
	consumers, err := NewConsumers(t.Context(), []Consumer{{Name: "shop", Token: tokenOf(shopToken), Credentials: []rotate.Name{"web"}},
		{Name: "app", Token: tokenOf(appToken), Credentials: []rotate.Name{"web", "tiles"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.Server, err = NewServer(ServerOptions{Listen: "127.0.0.1:0", CertFile: s.certFile, KeyFile: s.keyFile, Consumers: consumers,
		Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Store: func(ctx context.Context, a Ack) (Receipt, error) {
			if s.failing != nil {
				return Receipt{}, s.failing
			}
			return Accept(ctx, s.ledger, a, underWay(), []rotate.Gate{gate})
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run = %v", err)
		}
		for _, secret := range []string{shopToken, appToken, canary} {
			if strings.Contains(s.log.String(), secret) {
				t.Errorf("the log holds a secret:\n%s", s.log)
			}
		}
	})
	return s
}

// ask as a client with its own connection.
func (s *ackServer) ask(t *testing.T, method, path, token, body string) (status int, header http.Header, answer map[string]any) {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool}, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+s.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatalf("%s %s: the answer %d is no JSON: %v", method, path, res.StatusCode, err)
	}
	raw, err := json.Marshal(answer)
	if err != nil || strings.Contains(string(raw), canary) || strings.Contains(string(raw), shopToken) {
		t.Errorf("the answer repeats a secret: %s", raw)
	}
	return res.StatusCode, res.Header, answer
}

func TestServer(t *testing.T) {
	s := startServer(t)
	const path = "/v1/ack"
	for _, tt := range []struct {
		name, method, path, token, body string
		status                          int
		want                            string // JSON fields
	}{
		{"live", "POST", path, "Bearer " + shopToken, `{"credential":"web","generation":7,"fingerprint":"AT1_abcdefgh-00000007"}`, 200,
			`{"credential":"web","consumer":"shop","state":"live","generation":7,"fingerprint":"AT1_abcdefgh-00000007","expected":true,"detail":"shop runs the live key"}`},
		{"by number", "POST", path, "bearer " + shopToken, `{"credential":"web","generation":6}`, 200,
			`{"credential":"web","consumer":"shop","state":"previous","generation":6,"fingerprint":"AT2_abcdefgh-00000006","expected":true,"detail":"shop runs the previous key"}`},
		{"unknown is kept and flagged", "POST", path, "Bearer " + appToken, `{"credential":"web","generation":99}`, 200,
			`{"credential":"web","consumer":"app","state":"unknown","generation":99,"expected":false,"detail":"app runs a key that nobody here knows"}`},
		{"no token", "POST", path, "", `{"credential":"web","generation":7}`, 401, ""},
		{"wrong token", "POST", path, "Bearer " + shopToken + "x", `{"credential":"web","generation":7}`, 401, ""},
		{"basic", "POST", path, "Basic " + shopToken, `{"credential":"web","generation":7}`, 401, ""},
		{"token first", "POST", path, "Bearer x", "not even JSON", 401, ""},
		{"foreign credential", "POST", path, "Bearer " + shopToken, `{"credential":"tiles","generation":7}`, 403, `{"error":"it may not acknowledge this credential"}`},
		{"no such credential", "POST", path, "Bearer " + shopToken, `{"credential":"nobody","generation":7}`, 403, `{"error":"it may not acknowledge this credential"}`},
		{"as somebody else", "POST", path, "Bearer " + shopToken, `{"credential":"web","generation":7,"consumer":"app"}`, 400, ""},
		{"nothing", "POST", path, "Bearer " + shopToken, ``, 400, ""},
		{"no key", "POST", path, "Bearer " + shopToken, `{"credential":"web"}`, 400, ""},
		{"the key itself", "POST", path, "Bearer " + shopToken, `{"credential":"web","fingerprint":"` + canary + `"}`, 400, ""},
		{"a key where a number should be", "POST", path, "Bearer " + shopToken, `{"credential":"web","generation":"` + canary + `"}`, 400, ""},
		{"two values", "POST", path, "Bearer " + shopToken, `{"credential":"web","generation":7}{}`, 400, ""},
		{"too long", "POST", path, "Bearer " + shopToken, `{"credential":"` + strings.Repeat("x", maxBody) + `"}`, 413, ""},
		{"reading", "GET", path, "Bearer " + shopToken, "", 405, ""},
		{"elsewhere", "POST", "/v1/command", "Bearer " + shopToken, "{}", 404, ""},
		{"root", "GET", "/", "", "", 404, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(s.ledger.all)
			status, header, answer := s.ask(t, tt.method, tt.path, tt.token, tt.body)
			if status != tt.status || header.Get("Cache-Control") != "no-store" {
				t.Errorf("status %d, header %v, answer %v, want %d", status, header, answer, tt.status)
			}
			if (status == 401) != (header.Get("WWW-Authenticate") == "Bearer") {
				t.Errorf("WWW-Authenticate is %q", header.Get("WWW-Authenticate"))
			}
			var want map[string]any
			if tt.want != "" && json.Unmarshal([]byte(tt.want), &want) != nil {
				t.Fatal("bad row")
			}
			for k, v := range want {
				if answer[k] != v {
					t.Errorf("%s = %v, want %v", k, answer[k], v)
				}
			}
			if tt.want != "" && len(answer) != len(want) {
				t.Errorf("answer %v has other fields than %v", answer, want)
			}
			if status != 200 && (len(s.ledger.all) != before || answer["error"] == "") {
				t.Errorf("refused, but stored %+v; answer %v", s.ledger.all, answer)
			}
		})
	}
	if len(s.ledger.all) != 2 || s.ledger.all[0].Consumer != "shop" || s.ledger.all[0].By != "consumer shop at 127.0.0.1" || s.ledger.all[0].At.IsZero() {
		t.Errorf("ledger %+v", s.ledger.all)
	}
	s.failing = errors.New("disk full")
	if status, _, answer := s.ask(t, "POST", path, "Bearer "+shopToken, `{"credential":"web","generation":7}`); status != 503 || strings.Contains(answer["error"].(string), "disk") {
		t.Errorf("a store that fails: %d %v", status, answer)
	}
	if !strings.Contains(s.log.String(), "disk full") {
		t.Error("the log does not say why it was not stored")
	}
}

func TestServerLimitsEachConsumer(t *testing.T) {
	s := startServer(t)
	const body = `{"credential":"web","generation":7}`
	limited := 0
	for range requestBurst + 20 {
		status, header, _ := s.ask(t, "POST", "/v1/ack", "Bearer "+shopToken, body)
		if status == http.StatusTooManyRequests {
			if limited++; header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
	}
	if limited == 0 {
		t.Error("a consumer that asks without end is not limited")
	}
	if status, _, _ := s.ask(t, "POST", "/v1/ack", "Bearer "+appToken, body); status != 200 {
		t.Errorf("another consumer gets %d", status)
	}
	for range 3 {
		if status, _, _ := s.ask(t, "POST", "/v1/ack", "Bearer guess", body); status != 401 {
			t.Errorf("a guess gets %d", status)
		}
	}
}

func TestServerTakesNewCertificate(t *testing.T) {
	s := startServer(t)
	served := func(pool *x509.CertPool) bool {
		c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool}}).DialContext(t.Context(), "tcp", s.Addr().String())
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}
	old := s.pool
	if err := os.WriteFile(s.certFile, []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "the bad certificate is told", func() bool { return served(old) && strings.Contains(s.log.String(), "not taken") })
	s.pool = writeCert(t, s.certFile, s.keyFile, "two.example")
	await(t, "the new certificate is served", func() bool { return served(s.pool) })
	if served(old) {
		t.Error("the old certificate is still served")
	}
	if n := strings.Count(s.log.String(), "not taken"); n != 1 {
		t.Errorf("the bad certificate was told %d times", n)
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("%s: not in 10 s", what)
}

// Plain HTTP and an old TLS get nothing.
func TestServerWantsTLS(t *testing.T) {
	s := startServer(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr().String()+"/v1/ack", strings.NewReader(`{"credential":"web","generation":7}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+shopToken)
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		if res.StatusCode == http.StatusOK {
			t.Error("plain HTTP is served")
		}
		_ = res.Body.Close()
	}
	_, err = (&tls.Dialer{Config: &tls.Config{RootCAs: s.pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}}).DialContext(t.Context(), "tcp", s.Addr().String())
	if err == nil {
		t.Error("TLS 1.1 is served")
	}
	if len(s.ledger.all) > 0 {
		t.Errorf("stored %+v", s.ledger.all)
	}
}

func TestConsumers(t *testing.T) {
	for name, all := range map[string][]Consumer{
		"short token":   {{Name: "shop", Token: tokenOf("short")}},
		"no token":      {{Name: "shop"}},
		"odd name":      {{Name: "Shop", Token: tokenOf(shopToken)}},
		"twice":         {{Name: "shop", Token: tokenOf(shopToken)}, {Name: "shop", Token: tokenOf(appToken)}},
		"the same":      {{Name: "shop", Token: tokenOf(shopToken)}, {Name: "app", Token: tokenOf(shopToken)}},
		"unreadable":    {{Name: "shop", Token: func(context.Context) (rotate.Secret, error) { return rotate.Secret{}, errors.New("gone") }}},
		"nothing there": {{Name: "shop", Token: tokenOf("")}},
	} {
		_, err := NewConsumers(t.Context(), all)
		if err == nil || strings.Contains(err.Error(), shopToken) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// A token that changes is taken within seconds, and one that goes lets nobody in.
func TestConsumersReadTokensAgain(t *testing.T) {
	token, gone := shopToken, error(nil)
	c, err := NewConsumers(t.Context(), []Consumer{{Name: "shop", Token: func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(token), gone }}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	is := func(what, with string, want bool) {
		t.Helper()
		who, _, err := c.whose(t.Context(), with, now)
		if err != nil || (who != nil) != want {
			t.Errorf("%s: %v, %v, want %v", what, who, err, want)
		}
	}
	is("at first", shopToken, true)
	token = appToken
	is("before it is looked at again", shopToken, true)
	now = now.Add(tokenLook)
	is("the old one", shopToken, false)
	is("the new one", appToken, true)
	gone = errors.New("gone")
	now = now.Add(tokenLook)
	is("unreadable", appToken, false)
	is("nothing", "", false)
	if _, troubles, _ := c.whose(t.Context(), "", now.Add(tokenLook)); troubles == nil {
		t.Error("a token that cannot be read is told to nobody")
	}
	gone = nil
	now = now.Add(2 * tokenLook)
	is("back again", appToken, true)
}

func TestNewServerRefuses(t *testing.T) {
	s := startServer(t)
	o := s.o
	o.Listen = s.Addr().String()
	if _, err := NewServer(o); err == nil {
		t.Error("a taken address was taken")
	}
	o.Listen, o.CertFile = "127.0.0.1:0", filepath.Join(t.TempDir(), "none")
	if _, err := NewServer(o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a certificate: %v", err)
	}
	o.Consumers = nil
	if _, err := NewServer(o); err == nil {
		t.Error("no consumers were taken")
	}
}
