package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	invopop "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"rotatord/internal/alert"
	"rotatord/internal/alert/notifytest"
	"rotatord/internal/alert/wire"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

var update = flag.Bool("update", false, "write golden files")

const (
	secretPath = "/in/T0ps3cretPathOfTheHook"
	secretOne  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secretTwo  = "another-secret-of-forty-characters-0123456789"
)

func source(s string) wire.Source {
	return func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(s), nil }
}

// receive is a receiver as docs/notifiers.md wants it: it believes nothing that is not
// signed and recent.
func receive(t *testing.T, r *http.Request, body []byte, secrets ...string) error {
	t.Helper()
	id, at := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	sent, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return err
	}
	if d := time.Since(time.Unix(sent, 0)); d > Replay || d < -Replay {
		return errors.New("too old")
	}
	for _, s := range secrets {
		key := []byte(s)
		if rest, ok := strings.CutPrefix(s, "whsec_"); ok {
			if key, err = base64.StdEncoding.DecodeString(rest); err != nil {
				return err
			}
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + at + "." + string(body)))
		if slices.Contains(strings.Fields(r.Header.Get("webhook-signature")), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))) {
			return nil
		}
	}
	return errors.New("no signature fits")
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(filepath.Join(testkit.Root(t), "docs", "notice.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rig(t *testing.T, limit time.Duration) notifytest.Rig {
	t.Helper()
	sch := schema(t)
	srv := notifytest.NewServer(t, func(w http.ResponseWriter, r *http.Request, body []byte) string {
		if err := receive(t, r, body, secretOne); err != nil || r.URL.Path != secretPath || r.URL.Query().Get("code") != "an0therS3cret" {
			t.Errorf("request %s: %v", r.URL, err)
		}
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return ""
		}
		if ct := r.Header.Get("Content-Type"); r.Method != http.MethodPost || ct != "application/cloudevents+json; charset=utf-8" {
			t.Errorf("%s with content type %q", r.Method, ct)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Errorf("body is no JSON: %v", err)
			return ""
		}
		if err := sch.Validate(v); err != nil {
			t.Errorf("event is not by the schema: %v", err)
		}
		w.WriteHeader(http.StatusAccepted)
		return string(body)
	})
	n, err := New(Options{URL: source(srv.URL + secretPath + "?code=an0therS3cret"), Secrets: []wire.Source{source(secretOne), source(secretTwo)},
		Source: "keys-1/a b", TLS: wire.TLS{CAFile: srv.CAFile}, Timeout: limit})
	if err != nil {
		t.Fatal(err)
	}
	host, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return notifytest.Rig{Notifier: n, Told: srv.Told, Answer: srv.Answer, Log: func() string { return "" },
		Secrets: []string{secretPath, "an0therS3cret", secretOne, strings.TrimPrefix(secretOne, "whsec_"), secretTwo, host.Port()},
		Tells:   func(alert.NoticeKind, alert.State) bool { return true }}
}

func TestContract(t *testing.T) { notifytest.RunLimited(t, rig) }

// TestSchema holds docs/notice.schema.json to the struct that is sent.
func TestSchema(t *testing.T) {
	s := (&invopop.Reflector{DoNotReference: true, Anonymous: true, AllowAdditionalProperties: true}).Reflect(&event{})
	s.Title, s.Description = "rotatord notice", "The body that rotatord posts to a webhook: a CloudEvent 1.0 in structured mode. A reader ignores properties that it does not know: new ones may come."
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join(testkit.Root(t), "docs", "notice.schema.json")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/notice.schema.json differs (-want +got), run with -update if it is meant:\n%s", diff)
	}
}

// TestID: one state has one id, whatever the words about passing time; another has another.
func TestID(t *testing.T) {
	w := &Notifier{source: "urn:rotatord:x"}
	n := notifytest.Notice()
	first := w.event(n)
	later := n
	later.Message.At = n.Message.At.Add(time.Hour)
	later.Message.Title, later.Message.Breaks, later.Message.NextAttempt = "in 2 days", "in 2 days", "in 1 min"
	if got := w.event(later); got.ID != first.ID || got.Time.Equal(first.Time) {
		t.Errorf("an hour later: id %s at %s, want that of before at a new time", got.ID, got.Time)
	}
	for name, change := range map[string]func(*alert.Notice){
		"key": func(n *alert.Notice) { n.Key = "x" }, "state": func(n *alert.Notice) { n.State = alert.StateResolved },
		"kind": func(n *alert.Notice) { n.Kind = alert.NoticeSample }, "severity": func(n *alert.Notice) { n.Message.Severity = alert.SeverityInfo },
		"by": func(n *alert.Notice) { n.By = "bob" }, "story": func(n *alert.Notice) { n.Story = nil }, "loud": func(n *alert.Notice) { n.Loud = false },
		"since": func(n *alert.Notice) { n.Message.Since = n.Message.Since.Add(time.Second) }, "phase": func(n *alert.Notice) { n.Message.Phase = "" },
	} {
		other := n
		change(&other)
		if w.event(other).ID == first.ID {
			t.Errorf("another %s has the same id", name)
		}
	}
	if got := first.Source + " " + sourceURN("a b/ü#1"); got != "urn:rotatord:x urn:rotatord:a%20b/%C3%BC%231" {
		t.Errorf("sources %s", got)
	}
}

// TestChangeOfSecret: while both are configured, a receiver with either believes us.
func TestChangeOfSecret(t *testing.T) {
	var seen *http.Request
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		seen = r
	}))
	defer srv.Close()
	n, err := New(Options{URL: source(srv.URL), Secrets: []wire.Source{source(secretTwo), source(secretOne)}, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Tell(t.Context(), notifytest.Notice()); err != nil {
		t.Fatal(err)
	}
	for _, known := range []string{secretOne, secretTwo} {
		if err := receive(t, seen, body, known); err != nil {
			t.Errorf("a receiver that knows one of both secrets: %v", err)
		}
	}
	if receive(t, seen, body, "a-secret-that-is-neither-of-them") == nil {
		t.Error("any secret is believed")
	}
	if receive(t, seen, append(body, ' '), secretOne) == nil {
		t.Error("a changed body is believed")
	}
}

// TestStandardWebhooks: the example of the specification's own libraries, so that they
// can be used to check what we send.
func TestStandardWebhooks(t *testing.T) {
	n := &Notifier{secrets: []wire.Source{source("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}}
	got, err := n.sign(t.Context(), "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got != want {
		t.Errorf("signature %s, %v, want %s", got, err, want)
	}
}

func TestNoRedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := httptest.NewServer(http.RedirectHandler(elsewhere.URL, status))
		n, err := New(Options{URL: source(srv.URL), Secrets: []wire.Source{source(secretOne)}, Timeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.Tell(t.Context(), notifytest.Notice())
		if err == nil || !strings.Contains(err.Error(), "redirect") {
			t.Errorf("%d: %v", status, err)
		}
		if err := n.Check(t.Context()); err == nil {
			t.Errorf("check of a redirect %d: no error", status)
		}
		srv.Close()
	}
}

func TestProxy(t *testing.T) {
	var asked string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.Host
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	n, err := New(Options{URL: source("https://hook.invalid/in"), Secrets: []wire.Source{source(secretOne)}, Proxy: proxy.URL, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Tell(t.Context(), notifytest.Notice()); err == nil || asked != "CONNECT hook.invalid:443" {
		t.Errorf("the proxy was asked %q, error %v", asked, err)
	}
}

// TestSentences: what a person reads when it does not work.
func TestSentences(t *testing.T) {
	tlsServer := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsServer.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	tlsServer.StartTLS()
	defer tlsServer.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, tc := range []struct {
		name, url, secret, want string
		kind                    rotate.Kind
	}{
		{"unknown authority", tlsServer.URL, secretOne, "tls.ca_file", rotate.KindTransient},
		{"not TLS", strings.Replace(plain.URL, "http", "https", 1), secretOne, "plain HTTP", rotate.KindTransient},
		{"nobody listens", closed.URL, secretOne, "connection refused", rotate.KindTransient},
		{"no such page", plain.URL, secretOne, "HTTP 404 Not Found", rotate.KindAuth},
		{"no address", "hook.example", secretOne, "not of the form https://host/path", rotate.KindAuth},
		{"clear text", "http://hook.example/in", secretOne, "plain http to another machine", rotate.KindAuth},
		{"short secret", plain.URL, "too short", "signing secret 1: it is shorter than 24 bytes", rotate.KindAuth},
		{"bad secret", plain.URL, "whsec_***", "no base64", rotate.KindAuth},
	} {
		n, err := New(Options{URL: source(tc.url), Secrets: []wire.Source{source(tc.secret)}, Timeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.Tell(t.Context(), notifytest.Notice())
		if err == nil || !strings.Contains(err.Error(), tc.want) || rotate.KindOf(err) != tc.kind {
			t.Errorf("%s: %v (%s), want %q (%s)", tc.name, err, rotate.KindOf(err), tc.want, tc.kind)
		}
		if err := n.Check(t.Context()); err == nil {
			t.Errorf("%s: check finds nothing", tc.name)
		}
	}
}

func TestOptions(t *testing.T) {
	good := Options{URL: source("https://x.example/"), Secrets: []wire.Source{source(secretOne)}, Timeout: 20 * time.Second}
	for name, change := range map[string]func(*Options){
		"no address":      func(o *Options) { o.URL = nil },
		"no secret":       func(o *Options) { o.Secrets = nil },
		"three secrets":   func(o *Options) { o.Secrets = slices.Repeat(o.Secrets, 3) },
		"no time limit":   func(o *Options) { o.Timeout = 0 },
		"no CA file":      func(o *Options) { o.TLS.CAFile = "/nowhere/ca.pem" },
		"a strange proxy": func(o *Options) { o.Proxy = "::" },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	failing := good
	failing.URL = func(context.Context) (rotate.Secret, error) {
		return rotate.Secret{}, errors.New("read secret file:/x: it is gone")
	}
	n, err := New(failing)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Tell(t.Context(), notifytest.Notice()); err == nil || !strings.Contains(err.Error(), "it is gone") || rotate.KindOf(err) != rotate.KindAuth {
		t.Errorf("an address that cannot be read: %v", err)
	}
}
