package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

const (
	shopAckToken = "shop-ack-token-0123456789abcdef"
)

// quietWorld is a world whose credential has every kind of gate and a hook at every point.
type quietWorld struct {
	*world
	pool *x509.CertPool
	ack  string // address of the listener
	seen string // folder where programs leave what they saw
	veto string // file that makes the hook veto
}

func newQuietWorld(t *testing.T) *quietWorld {
	t.Helper()
	w := &quietWorld{world: newWorld(t)}
	w.seen, w.veto = filepath.Join(w.dir, "seen"), filepath.Join(w.dir, "veto")
	w.ack = fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(t, 1))
	cert, key := filepath.Join(w.dir, "acks.pem"), filepath.Join(w.dir, "acks.key")
	w.pool = writeAckCert(t, cert, key)
	// What a program sees is kept, so that the test can look for keys in it.
	spy := `#!/bin/sh
f=$(mktemp "` + w.seen + `/$ROTATORD_ASK-$ROTATORD_POINT-XXXXXX")
{ cat; env; tr '\0' ' ' </proc/$$/cmdline; } >"$f"
[ "$ROTATORD_POINT" = before_minting ] && [ -e "` + w.veto + `" ] && { echo incident 4711 is open; exit 1; }
exit 0
`
	err := errors.Join(os.Mkdir(w.seen, 0o700), os.WriteFile(filepath.Join(w.dir, "spy"), []byte(spy), 0o700),
		os.WriteFile(filepath.Join(w.dir, "shop-token"), []byte(shopAckToken+"\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	for _, p := range rotate.HookPoints() {
		points = append(points, string(p))
	}
	w.withConfig(t, "renew_before: 10s, overlap: 2s, critical_before: 2s, lifetime: 20s", "renew_before: 10m, overlap: 2s, critical_before: 1m, lifetime: 1h")
	w.withConfig(t, "  - {name: app, item: "+w.item+"}", fmt.Sprintf(`  - name: app
    item: %s
    quiet: {acks: [shop, mobile], vault_acks: [batch], command: [%q, gate]}
    hooks: [{on: [%s], command: [%q, hook]}]
acks:
  listen: %s
  cert_file: %s
  key_file: %s
  consumers: {shop: {token: 'file:%s/shop-token'}}`, w.item, filepath.Join(w.dir, "spy"), strings.Join(points, ", "), filepath.Join(w.dir, "spy"), w.ack, cert, key, w.dir))
	w.leastPrivilege(t)
	return w
}

// writeAckCert makes a certificate for 127.0.0.1 that is its own authority.
func writeAckCert(t *testing.T, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(os.WriteFile(certFile, certPEM, 0o600), os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600)); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool
}

// post an acknowledgement as a consumer.
func (w *quietWorld) post(t *testing.T, token, body string) (int, string) {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.pool}, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+w.ack+"/v1/ack", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

// waiting for its gates, and the gates say so.
func (w *quietWorld) stillInUse(t *testing.T, p *started, says ...string) {
	t.Helper()
	w.await(t, "the old key waits for "+strings.Join(says, ", "), func(ctx context.Context) bool {
		s := p.status(ctx)
		for _, text := range says {
			if !strings.Contains(s.Detail, text) {
				return false
			}
		}
		return s.Blocked == rotate.ReasonGate
	})
}

// An old key is kept until the last consumer has acknowledged the new one, whichever way it says so, and over a restart; a
// hook's veto holds a rotation; and no program ever sees a key.
func TestOldKeyIsKeptUntilTheLastAcknowledgement(t *testing.T) {
	t.Parallel()
	w := newQuietWorld(t)
	p := w.start(t)
	w.await(t, "the first key is published", func(ctx context.Context) bool { return p.status(ctx).Live.Generation == 1 })
	old, oldKey := w.served(t), p.status(t.Context()).Live
	cli := func(code int, args ...string) cliResult {
		t.Helper()
		r := runCLI(t, append([]string{"--config", w.config}, args...)...)
		if r.code != code {
			t.Fatalf("%v ends with %d, want %d: %s%s", args, r.code, code, r.out, r.err)
		}
		return r
	}
	if r := cli(exitOK, "ack", "app", "--consumer", "mobile", "--generation", "1"); !strings.Contains(r.out, "app: mobile runs the live key (generation 1, "+string(oldKey.Fingerprint)+")") {
		t.Errorf("ack says %q", r.out)
	}

	if err := os.WriteFile(w.veto, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.Command(t.Context(), rotate.Command{Kind: rotate.CommandRotate}, "app"); err != nil {
		t.Fatal(err)
	}
	w.await(t, "the hook's veto holds the rotation", func(ctx context.Context) bool {
		return strings.Contains(p.status(ctx).LastError, "incident 4711 is open")
	})
	if err := os.Remove(w.veto); err != nil {
		t.Fatal(err)
	}
	w.stillInUse(t, p, "shop has acknowledged nothing yet", "mobile said", "the previous key", "batch has acknowledged nothing yet")
	live := p.status(t.Context()).Live

	if status, answer := w.post(t, "guess-0123456789abcdefghij", `{"credential":"app","generation":2}`); status != http.StatusUnauthorized {
		t.Errorf("a stranger gets %d %s", status, answer)
	}
	status, answer := w.post(t, shopAckToken, fmt.Sprintf(`{"credential":"app","fingerprint":%q}`, live.Fingerprint))
	if status != http.StatusOK || !strings.Contains(answer, `"state":"live"`) || !strings.Contains(answer, `"expected":true`) {
		t.Errorf("shop gets %d %s", status, answer)
	}
	w.stillInUse(t, p, "mobile said", "batch has")
	w.vault.Do(http.MethodPost, "secret/data/apps/app-acks/batch", map[string]any{"data": map[string]any{"fingerprint": string(live.Fingerprint), "generation": live.Generation}})
	w.stillInUse(t, p, "acks: mobile said")

	p.terminate(t)
	if r := cli(exitAttention, "ack", "app", "--consumer", "mobil", "--generation", "99"); !strings.Contains(r.err, "did you mean mobile?") || !strings.Contains(r.out, "a key that nobody here knows") {
		t.Errorf("ack of an unknown key says %q, %q", r.out, r.err)
	}
	p = w.start(t)
	w.stillInUse(t, p, "acks: mobile said")
	if valid, why := w.emulator.KeyValid(old); !valid {
		t.Fatalf("the old key is %s while mobile uses it", why)
	}
	r := cli(exitOK, "acks", "app")
	for _, want := range []string{"gate           vault-acks: quiet: all of batch run generation 2", "gate           acks: not quiet: mobile said", "gate           command spy: asked by a rotation only"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("acks does not say %q:\n%s", want, r.out)
		}
	}
	var all daemon.Acks
	if err := json.Unmarshal([]byte(cli(exitOK, "acks", "app", "--json").out), &all); err != nil || len(all.Consumers) != 3 ||
		all.Consumers[0].State != "live" || all.Consumers[0].By != "consumer shop at 127.0.0.1" || all.Consumers[1].State != "previous" {
		t.Errorf("acks --json = %+v, %v", all, err)
	}

	cli(exitOK, "ack", "app", "--consumer", "mobile", "--generation", fmt.Sprint(live.Generation), "--fingerprint", string(live.Fingerprint))
	w.await(t, "the old key is retired", func(ctx context.Context) bool {
		s := p.status(ctx)
		return s.Phase == rotate.PhaseIdle && s.Previous.Fingerprint == ""
	})
	if valid, _ := w.emulator.KeyValid(old); valid {
		t.Error("the old key is still valid")
	}
	w.await(t, "the last hook was called", func(context.Context) bool { return len(w.saw(t, "allow-after_retiring-*")) > 0 })
	p.terminate(t)
	w.checkNoSecrets(t, old, shopAckToken)
	w.checkPrograms(t)
}

// saw are the records of programs that fit a pattern.
func (w *quietWorld) saw(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.seen, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// checkPrograms: each point was called, the gate was asked, and none of them saw a key or another secret.
func (w *quietWorld) checkPrograms(t *testing.T) {
	t.Helper()
	for _, p := range rotate.HookPoints() {
		if len(w.saw(t, "allow-"+string(p)+"-*")) == 0 {
			t.Errorf("no hook was called at %s", p)
		}
	}
	if len(w.saw(t, "quiet--*")) == 0 {
		t.Error("the gate was never asked")
	}
	secrets := []string{w.token, shopAckToken, "AAPT"}
	for _, k := range w.emulator.Keys() {
		secrets = append(secrets, k.Secret)
	}
	for _, file := range w.saw(t, "*") {
		b, err := os.ReadFile(file)
		if err != nil || len(b) == 0 {
			t.Fatalf("%s: %d bytes, %v", file, len(b), err)
		}
		for i, s := range secrets {
			if strings.Contains(string(b), s) {
				t.Errorf("%s saw secret %d", filepath.Base(file), i)
			}
		}
	}
}

// A reload teaches the listener new consumers and forgets old ones; its address wants a restart, and the reload says so.
func TestReloadChangesWhoMayAcknowledge(t *testing.T) {
	t.Parallel()
	w := newQuietWorld(t)
	p := w.start(t)
	w.await(t, "the first key is published", func(ctx context.Context) bool { return p.status(ctx).Live.Generation == 1 })
	const mobile, body = "mobile-ack-token-0123456789abcdef", `{"credential":"app","generation":1}`
	says := func(token string, want int) {
		t.Helper()
		if status, answer := w.post(t, token, body); status != want {
			t.Errorf("answer %d %s, want %d", status, answer, want)
		}
	}
	says(shopAckToken, http.StatusOK)
	says(mobile, http.StatusUnauthorized)
	if err := os.WriteFile(filepath.Join(w.dir, "mobile-token"), []byte(mobile), 0o600); err != nil {
		t.Fatal(err)
	}
	w.withConfig(t, "consumers: {shop: {token: 'file:"+w.dir+"/shop-token'}}", "consumers: {mobile: {token: 'file:"+w.dir+"/mobile-token'}}")
	res, err := p.client.Reload(t.Context())
	if err != nil || len(res.NeedRestart) > 0 {
		t.Fatalf("reload = %+v, %v", res, err)
	}
	says(shopAckToken, http.StatusUnauthorized)
	says(mobile, http.StatusOK)

	if err := os.WriteFile(filepath.Join(w.dir, "mobile-token"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "consumer mobile: its token has fewer than 20 characters") {
		t.Errorf("reload with a short token = %v, want it refused", err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "mobile-token"), []byte(mobile), 0o600); err != nil {
		t.Fatal(err)
	}
	w.withConfig(t, "listen: "+w.ack, "listen: 127.0.0.1:0")
	if res, err := p.client.Reload(t.Context()); err != nil || strings.Join(res.NeedRestart, " ") != "acks.listen" {
		t.Errorf("reload to another address = %+v, %v", res, err)
	}
	p.terminate(t)
	w.checkNoSecrets(t, shopAckToken, mobile)
}
