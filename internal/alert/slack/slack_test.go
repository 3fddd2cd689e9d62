package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/alert"
	"rotatord/internal/rotate"
)

var updateGolden = flag.Bool("update", false, "rewrite the golden files")

// path of the test's webhook; its last two parts are what must not leak.
const path = "/services/T0CANARY01/B0CANARY02/CaNaRyCaNaRyCaNaRyCaNaRy"

// workspace is a webhook that refuses what Slack documents to refuse.
type workspace struct {
	mu      sync.Mutex
	bodies  [][]byte
	refused []string
	// answer, if set, is given instead of taking the message.
	answer http.HandlerFunc
	server *httptest.Server
}

func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	w := &workspace{}
	w.server = httptest.NewServer(w)
	t.Cleanup(w.server.Close)
	return w
}

func (w *workspace) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answer != nil {
		w.answer(rw, r)
		return
	}
	status, code := check(r, body)
	if status != http.StatusOK {
		w.refused = append(w.refused, code)
		rw.WriteHeader(status)
	} else {
		w.bodies = append(w.bodies, body)
	}
	_, _ = io.WriteString(rw, strings.SplitN(code, ":", 2)[0])
}

// got returns the messages taken, and fails for those refused.
func (w *workspace) got(t *testing.T) [][]byte {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.refused {
		t.Errorf("Slack would refuse: %s", r)
	}
	return w.bodies
}

func (w *workspace) sender(t *testing.T) *Sender {
	t.Helper()
	s, err := New(Options{Webhook: rotate.NewSecret(w.server.URL + path), Mention: "<!subteam^S012AB3CD>", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func page() alert.Message {
	return alert.Message{Condition: alert.ConditionExpiring, Severity: alert.SeverityCritical,
		Title: "maps: key expires in 23 hours and no rotation is on its way", Credential: "maps", Owner: "Team Maps", Environment: "prod", Portal: "esri",
		Breaks: "Breaks at 2026-03-02T11:00:00Z (in 23 hours): tile server, web shop", Phase: "idle", Reason: "held",
		LastError:   "publish maps to vault: transient: dial tcp 10.0.0.1:8200: connection refused",
		NextAttempt: "2026-03-01T13:00:00Z (in 60 minutes)", Command: "rotatord resume maps", RotationID: "01JA0000000000000000000000",
		Runbook: "https://wiki.example/keys#rotatordkeyexpiresunrotated", Since: now().Add(-3 * time.Hour), At: now()}
}

func messages() map[string]alert.Message {
	warning := page()
	warning.Severity, warning.Condition, warning.Title = alert.SeverityWarning, alert.ConditionFailing, "maps: rotation keeps failing (4 times)"
	resolved := alert.Message{Condition: alert.ConditionDead, Severity: alert.SeverityInfo, Resolved: true, Title: "maps: resolved, no longer dead",
		Credential: "maps", Owner: "Team Maps", Environment: "prod", Portal: "esri", Since: now().Add(-3 * time.Hour), At: now()}
	done := alert.Message{Condition: alert.ConditionDone, Severity: alert.SeverityInfo, Title: "maps: rotated", Credential: "maps", Portal: "esri",
		Breaks: "Served since 2026-03-01T11:59:00Z (60 seconds ago)", Reason: "expiring", RotationID: "R1", Command: "rotatord history maps", At: now()}
	group := alert.Message{Condition: alert.ConditionDrift, Severity: alert.SeverityWarning, Title: "7 credentials: drift", Command: "rotatord status",
		Others: []string{"a (Team A)", "b", "c", "d", "e", "f", "g"}, Since: now().Add(-time.Hour), At: now()}
	return map[string]alert.Message{"critical": page(), "warning": warning, "resolved": resolved, "done": done, "group": group}
}

func TestGoldenPayloads(t *testing.T) {
	for name, m := range messages() {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			if err := w.sender(t).Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			bodies := w.got(t)
			if len(bodies) != 1 {
				t.Fatalf("%d messages arrived", len(bodies))
			}
			var got bytes.Buffer
			if err := json.Indent(&got, bodies[0], "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			file := filepath.Join("testdata", name+".golden.json")
			if *updateGolden {
				if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("payload (-want +got; regenerate with -update):\n%s", diff)
			}
		})
	}
}

// TestLimits: whatever is in a message, Slack takes it.
func TestLimits(t *testing.T) {
	for name, fill := range map[string]string{
		"long": strings.Repeat("x", 9000), "escapes": strings.Repeat("<&>", 3000), "backticks": strings.Repeat("`", 9000), "emoji": strings.Repeat("🔑", 5000),
		"lines": strings.Repeat("a\n", 4000), "mention": "<!channel> <@U123> <https://evil.example|click>", "broken UTF-8": "a\xffb",
	} {
		t.Run(name, func(t *testing.T) {
			m := page()
			for _, f := range []*string{&m.Title, &m.Credential, &m.Owner, &m.Environment, &m.Portal, &m.Breaks, &m.Phase, &m.Reason, &m.LastError,
				&m.NextAttempt, &m.Command, &m.RotationID} {
				*f = fill
			}
			m.Runbook = "https://wiki.example/" + fill
			for range 500 {
				m.Others = append(m.Others, fill)
			}
			w := newWorkspace(t)
			if err := w.sender(t).Send(t.Context(), m); err != nil {
				t.Error(err)
			}
			if n := len(w.got(t)); n != 1 {
				t.Errorf("%d messages arrived", n)
			}
		})
	}
}

func TestMentionOnlyWhatIsCritical(t *testing.T) {
	for name, m := range messages() {
		w := newWorkspace(t)
		if err := w.sender(t).Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		has := bytes.Contains(w.got(t)[0], []byte(`subteam^S012AB3CD`))
		if want := name == "critical"; has != want {
			t.Errorf("%s: mentions %v, want %v", name, has, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	reply := func(status int, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		kind   rotate.Kind
		wait   time.Duration
		says   string
	}{
		{"rate limit", reply(429, "rate_limited", "Retry-After", "30"), rotate.KindRateLimited, 30 * time.Second, ""},
		{"rate limit with a date", reply(429, "", "Retry-After", "Fri, 31 Dec 2027 23:59:59 GMT"), rotate.KindRateLimited, 0, ""},
		{"rate limit without a wait", reply(429, ""), rotate.KindRateLimited, 0, "429"},
		{"refused blocks", reply(400, "invalid_blocks"), rotate.KindPermanent, 0, "invalid_blocks"},
		{"webhook revoked", reply(404, "no_service"), rotate.KindAuth, 0, "404 no_service"},
		{"channel archived", reply(410, "channel_is_archived"), rotate.KindAuth, 0, "channel_is_archived"},
		{"forbidden", reply(403, "action_prohibited"), rotate.KindAuth, 0, "action_prohibited"},
		{"server error in HTML", reply(503, "<html>"+path+"</html>"), rotate.KindTransient, 0, "503"},
		{"redirect", reply(302, "", "Location", "https://elsewhere.example"+path), rotate.KindAuth, 0, "302"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkspace(t)
			w.answer = tt.answer
			err := w.sender(t).Send(t.Context(), page())
			if rotate.KindOf(err) != tt.kind || rotate.WaitOf(err) != tt.wait || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("Send = %v (wait %s), want kind %s, wait %s and %q", err, rotate.WaitOf(err), tt.kind, tt.wait, tt.says)
			}
			wantNoLeak(t, err)
		})
	}
}

// TestPlainTextInNeed: a message whose blocks are refused arrives without them.
func TestPlainTextInNeed(t *testing.T) {
	w := newWorkspace(t)
	var texts []string
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(rw, "invalid_blocks")
		w.answer = func(http.ResponseWriter, *http.Request) { texts = append(texts, "second") }
	}
	if err := w.sender(t).Send(t.Context(), page()); err != nil || len(texts) != 1 {
		t.Errorf("Send = %v after %d further tries, want one that is taken", err, len(texts))
	}
}

// wantNoLeak looks for the webhook's address in every form of an error.
func wantNoLeak(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Error("message was not delivered", "err", err)
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, text := range []string{e.Error(), fmt.Sprintf("%+v %#v", e, e), log.String()} {
			for _, secret := range []string{"T0CANARY01", "B0CANARY02", "CaNaRy"} {
				if strings.Contains(text, secret) {
					t.Errorf("the webhook's address is in %q", text)
				}
			}
		}
	}
}

// TestDyingRequestsLeakNothing: net/http puts the address into the errors of requests
// that fail on their way.
func TestDyingRequestsLeakNothing(t *testing.T) {
	w := newWorkspace(t)
	hang := make(chan struct{})
	defer close(hang)
	send := func(t *testing.T, o Options) error {
		t.Helper()
		s, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.client.CloseIdleConnections()
		return s.Send(t.Context(), page())
	}
	good := Options{Webhook: rotate.NewSecret(w.server.URL + path), Timeout: 5 * time.Second}
	roundTrip := func(err error) Options {
		o := good
		o.Transport = tripper(func(*http.Request) (*http.Response, error) { return nil, err })
		return o
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func(t *testing.T) error{
		"connection refused": func(t *testing.T) error {
			o := good
			o.Webhook = rotate.NewSecret("http://" + closed.Addr().String() + path)
			return send(t, o)
		},
		"cut connection": func(t *testing.T) error {
			w.mu.Lock()
			w.answer = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
			w.mu.Unlock()
			return send(t, good)
		},
		"timeout": func(t *testing.T) error {
			slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
			t.Cleanup(func() { slow.CloseClientConnections() })
			o := good
			o.Webhook, o.Timeout = rotate.NewSecret(slow.URL+path), 20*time.Millisecond
			return send(t, o)
		},
		"an error that quotes the address": func(t *testing.T) error {
			return send(t, roundTrip(fmt.Errorf("proxy refused %s%s", w.server.URL, path)))
		},
		"no TLS at the other end": func(t *testing.T) error {
			o := good
			o.Webhook = rotate.NewSecret(strings.Replace(w.server.URL, "http:", "https:", 1) + path)
			return send(t, o)
		},
		"cancelled": func(t *testing.T) error {
			s, err := New(good)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return s.Send(ctx, page())
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(t)
			wantNoLeak(t, err)
			if name == "connection refused" && !strings.Contains(fmt.Sprint(err), name) {
				t.Errorf("Send = %v does not say why", err)
			}
			if rotate.KindOf(err) != rotate.KindTransient {
				t.Errorf("Send = %v, want kind transient", err)
			}
		})
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		name, webhook, mention string
		timeout                time.Duration
		says                   string
	}{
		{"no URL", "https://hooks.slack.com" + path + "%zz", "", time.Second, "no URL"},
		{"http", "http://hooks.slack.com" + path, "", time.Second, "no https URL"},
		{"empty", "", "", time.Second, "no https URL"},
		{"no path", "https://hooks.slack.com/", "", time.Second, "no path"},
		{"mention by name", "https://hooks.slack.com" + path, "@maps-team", time.Second, "mention"},
		{"no timeout", "https://hooks.slack.com" + path, "", 0, "timeout"},
	} {
		_, err := New(Options{Webhook: rotate.NewSecret(tt.webhook), Mention: tt.mention, Timeout: tt.timeout})
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: New gave %v, want %q", tt.name, err, tt.says)
			continue
		}
		wantNoLeak(t, err)
	}
	if _, err := New(Options{Webhook: rotate.NewSecret("https://hooks.slack.com" + path), Mention: "<!here> <@U012AB3CD>", Timeout: time.Second}); err != nil {
		t.Errorf("good options gave %v", err)
	}
}

func TestClip(t *testing.T) {
	for _, tt := range []struct {
		text string
		most int
		want string
	}{
		{"abcde", 5, "abcde"},
		{"abcdef", 5, "abcd…"},
		{"a<b", 6, "a&lt;b"},
		{"a<b", 5, "a…"}, // an escape is not cut in two
		{"🔑🔑🔑", 6, "🔑🔑🔑"},
		{"🔑🔑🔑", 5, "🔑🔑…"},
		{"", 5, ""},
	} {
		if got := clip(tt.text, tt.most, escape); got != tt.want {
			t.Errorf("clip(%q, %d) = %q, want %q", tt.text, tt.most, got, tt.want)
		}
	}
}
