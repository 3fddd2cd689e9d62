package metrics

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// start runs a server and returns its base URL and a function that stops it and
// gives Run's error.
func start(t *testing.T, o ServerOptions) (string, func() error) {
	t.Helper()
	s := newServer(t, o)
	return "http://" + s.Addr().String(), run(t, s)
}

func newServer(t *testing.T, o ServerOptions) *Server {
	t.Helper()
	o.Listen = "127.0.0.1:0"
	if o.Metrics == nil {
		o.Metrics = New(Options{Version: "1.2.3"}).Handler()
	}
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t *testing.T, s *Server) func() error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return stop
}

func get(t *testing.T, c *http.Client, req *http.Request) (int, string) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func request(t *testing.T, method, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestPaths(t *testing.T) {
	ready := errors.New("no pass was made yet")
	base, stop := start(t, ServerOptions{Healthy: func() error { return nil }, Ready: func() error { return ready }, Version: "1.2.3"})
	for _, tt := range []struct {
		method, path string
		code         int
		says         string
	}{
		{"GET", "/metrics", 200, "rotatord_build_info"},
		{"GET", "/healthz", 200, "ok"},
		{"GET", "/readyz", 503, "no pass was made yet"},
		{"GET", "/", 200, `href="/metrics"`},
		{"GET", "/elsewhere", 404, ""},
		{"GET", "/debug/pprof/", 404, ""},
		{"POST", "/metrics", 405, ""},
	} {
		if code, body := get(t, http.DefaultClient, request(t, tt.method, base+tt.path)); code != tt.code || !strings.Contains(body, tt.says) {
			t.Errorf("%s %s = %d %q, want %d and %q", tt.method, tt.path, code, body, tt.code, tt.says)
		}
	}
	ready = nil
	if code, _ := get(t, http.DefaultClient, request(t, "GET", base+"/readyz")); code != 200 {
		t.Errorf("/readyz = %d once ready", code)
	}
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestOwnRoot(t *testing.T) {
	root := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "status page") })
	base, _ := start(t, ServerOptions{Root: root})
	if code, body := get(t, http.DefaultClient, request(t, "GET", base+"/")); code != 200 || body != "status page" {
		t.Errorf("/ = %d %q", code, body)
	}
}

func TestMoreHandlers(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "page "+r.PathValue("name")) })
	base, _ := start(t, ServerOptions{More: map[string]http.Handler{"GET /credentials/{name}": page}})
	if code, body := get(t, http.DefaultClient, request(t, "GET", base+"/credentials/maps")); code != 200 || body != "page maps" {
		t.Errorf("/credentials/maps = %d %q", code, body)
	}
	for _, pattern := range []string{"GET /metrics", "nonsense", "GET /{"} {
		_, err := NewServer(ServerOptions{Listen: "127.0.0.1:0", Metrics: page, More: map[string]http.Handler{pattern: page}})
		if err == nil || !strings.Contains(err.Error(), pattern) {
			t.Errorf("pattern %q gave %v", pattern, err)
		}
	}
}

// TestSystemdSocket hands a socket over as systemd does: as the third file of a new
// process, which it names in the environment.
func TestSystemdSocket(t *testing.T) {
	if os.Getenv("LISTEN_FDS") != "" { // we are that process
		s, err := NewServer(ServerOptions{Listen: ListenSystemd, Metrics: http.NotFoundHandler()})
		if err != nil {
			t.Fatal(err)
		}
		run(t, s)
		_, _ = io.Copy(io.Discard, os.Stdin) // until the other one has seen enough
		return
	}
	if _, err := NewServer(ServerOptions{Listen: ListenSystemd, Metrics: http.NotFoundHandler()}); err == nil || !strings.Contains(err.Error(), "socket unit") {
		t.Errorf("without a socket from systemd: %v", err)
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String() + "/healthz"
	if err := l.Close(); err != nil { // the copy in file stays open
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestSystemdSocket$'`, os.Args[0])
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{file}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The socket is open already: this waits in its queue until the process serves it.
	if code, body := get(t, http.DefaultClient, request(t, "GET", url)); code != 200 {
		t.Errorf("GET /healthz = %d %q", code, body)
	}
	if err := errors.Join(stdin.Close(), cmd.Wait(), file.Close()); err != nil {
		t.Errorf("the process with the socket: %v", err)
	}
}

func TestTakenAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := NewServer(ServerOptions{Listen: l.Addr().String(), Metrics: http.NotFoundHandler()}); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("a taken address gave %v", err)
	}
}

func TestBadWebConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(file, []byte("tls_server_confg: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := NewServer(ServerOptions{Listen: "127.0.0.1:0", Metrics: http.NotFoundHandler(), WebConfigFile: file})
	if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "tls_server_confg") {
		t.Errorf("a bad web config gave %v", err)
	}
}

// TestStopWaitsForRequests: a scrape that has begun is answered.
func TestStopWaitsForRequests(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "whole")
	})
	s := newServer(t, ServerOptions{Metrics: slow})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	answer := make(chan string, 1)
	req := request(t, "GET", "http://"+s.Addr().String()+"/metrics")
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-entered
	cancel()
	untilRefused(s.Addr())
	select {
	case err := <-done:
		t.Fatalf("Run returned %v while a request was in flight", err)
	default:
	}
	close(release)
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	if got := <-answer; got != "whole" {
		t.Errorf("the request in flight got %q", got)
	}
}

// untilRefused returns once the server has begun to stop.
func untilRefused(addr net.Addr) {
	for {
		c, err := net.Dial(addr.Network(), addr.String())
		if err != nil {
			return
		}
		_ = c.Close()
	}
}

// TestStopIsBounded: a request that never ends does not hold up the daemon's stop.
func TestStopIsBounded(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	stuck := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-release })
	defer close(release)
	s := newServer(t, ServerOptions{Metrics: stuck})
	s.drain = 10 * time.Millisecond
	stop := run(t, s)
	req := request(t, "GET", "http://"+s.Addr().String()+"/metrics")
	cut := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		cut <- err
	}()
	<-entered
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if err := <-cut; err == nil {
		t.Error("the endless request was answered")
	}
}

func TestTLSAndBasicAuth(t *testing.T) {
	dir := t.TempDir()
	pool := selfSigned(t, dir)
	hash, err := bcrypt.GenerateFromPassword([]byte("letmein"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "web.yml")
	config := "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\nbasic_auth_users:\n  prometheus: " + string(hash) + "\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, ServerOptions{WebConfigFile: file})
	run(t, s)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	url := "https://" + s.Addr().String()
	for _, path := range []string{"/metrics", "/healthz"} {
		req := request(t, "GET", url+path)
		if code, _ := get(t, client, req); code != http.StatusUnauthorized {
			t.Errorf("%s without a password = %d", path, code)
		}
		req.SetBasicAuth("prometheus", "letmein")
		if code, _ := get(t, client, req); code != http.StatusOK {
			t.Errorf("%s with the password = %d", path, code)
		}
	}
}

func selfSigned(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, body := range map[string][]byte{"cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}
