package testkit

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const callTimeout = 30 * time.Second

// Answer is one reply of Vault: its status and its decoded JSON body (nil for
// an empty one).
type Answer struct {
	Status int
	Body   map[string]any
}

// Data is the body's "data" object, nil where there is none.
func (a Answer) Data() map[string]any { return object(a.Body, "data") }

func object(m map[string]any, key string) map[string]any {
	o, _ := m[key].(map[string]any)
	return o
}

func (a Answer) want(t testing.TB, statuses ...int) {
	t.Helper()
	if !slices.Contains(statuses, a.Status) {
		t.Fatalf("vault answered %d, want one of %v: %v", a.Status, statuses, a.Body["errors"])
	}
}

// Do calls /v1/path with the root token. A reply of any status is the caller's
// to judge; no reply at all fails the test.
func (v *VaultServer) Do(method, path string, body any) (status int, reply map[string]any) {
	v.t.Helper()
	a := v.try(method, path, body)
	return a.Status, a.Body
}

func (v *VaultServer) try(method, path string, body any) Answer {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	a, err := v.Try(ctx, v.Token, method, path, body)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// Try calls /v1/path with the given token and may be used from any goroutine.
// A PATCH is sent as a merge patch, the only form Vault takes.
func (v *VaultServer) Try(ctx context.Context, token, method, path string, body any) (Answer, error) {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return Answer{}, fmt.Errorf("encode body: %w", err)
		}
	}
	return v.ask(ctx, request{token: token, method: method, path: path, body: raw})
}

// request is one call of the HTTP API.
type request struct {
	token, method, path string
	body                []byte
	wrap                time.Duration // X-Vault-Wrap-TTL, 0 for a plain reply
}

func (v *VaultServer) ask(ctx context.Context, r request) (Answer, error) {
	status, raw, err := v.send(ctx, r)
	if err != nil {
		return Answer{}, err
	}
	return decodeAnswer(status, raw)
}

func decodeAnswer(status int, raw []byte) (Answer, error) {
	a := Answer{Status: status}
	if len(bytes.TrimSpace(raw)) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(raw, &a.Body); err != nil {
		return Answer{}, fmt.Errorf("decode reply of status %d: %w", status, err)
	}
	return a, nil
}

func (v *VaultServer) send(ctx context.Context, r request) (int, []byte, error) {
	client, err := v.httpClient()
	if err != nil {
		return 0, nil, err
	}
	url := v.Addr + "/v1/" + strings.TrimPrefix(r.path, "/")
	req, err := http.NewRequestWithContext(ctx, r.method, url, bytes.NewReader(r.body))
	if err != nil {
		return 0, nil, fmt.Errorf("make request: %w", err)
	}
	if r.token != "" {
		req.Header.Set("X-Vault-Token", r.token)
	}
	if r.wrap > 0 {
		req.Header.Set("X-Vault-Wrap-TTL", r.wrap.String())
	}
	if r.method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	return roundTrip(client, req)
}

func roundTrip(client *http.Client, req *http.Request) (int, []byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("read reply: %w", err)
	}
	return resp.StatusCode, raw, nil
}

// httpClient makes a client of one connection a call: nothing of a killed
// server is reused by its successor. An in-memory server writes its CA file
// just before it listens, and makes a new one at each start.
func (v *VaultServer) httpClient() (*http.Client, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	if v.CAFile != "" {
		ca, err := os.ReadFile(v.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read vault's CA: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("read vault's CA: no certificate in %s", v.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, CheckRedirect: noRedirects}, nil
}

func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// clientCert writes a new self-signed client certificate and its key.
func clientCert(t testing.TB, dir, name string) (certFile, keyFile string, certPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make client key: %v", err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatalf("make client certificate: %v", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("encode client key: %v", err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for path, b := range map[string][]byte{certFile: certPEM, keyFile: keyPEM} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatalf("write client certificate: %v", err)
		}
	}
	return certFile, keyFile, certPEM
}
