package email

import (
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"log/slog"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/alert"
	"rotatord/internal/alert/notifytest"
	"rotatord/internal/alert/wire"
	"rotatord/internal/rotate"
)

var update = flag.Bool("update", false, "write golden files")

func options(s *server) Options {
	return Options{Smarthost: s.addr, Security: SecuritySTARTTLS, TLS: wire.TLS{CAFile: s.caFile}, From: "rotatord <rotatord@acme.example>",
		To: []string{"keys@acme.example", "Ada Löve <ada@acme.example>"}, Username: username, Auth: AuthAny, Timeout: 20 * time.Second,
		Password: func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(password), nil }}
}

func started(t *testing.T, o Options) *Notifier {
	t.Helper()
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func rig(t *testing.T, s *server, limit time.Duration, change func(*Options)) notifytest.Rig {
	t.Helper()
	var logged bytes.Buffer
	var read []string
	o := options(s)
	o.Log = slog.New(slog.NewTextHandler(&logged, nil))
	o.Timeout = limit
	change(&o)
	return notifytest.Rig{Notifier: started(t, o), Answer: s.set, Log: logged.String, Loud: true, Cannot: []notifytest.Answer{notifytest.Limits},
		Told: func() []string {
			for _, m := range s.arrived()[len(read):] {
				read = append(read, m.read(t).text(t))
			}
			return slices.Clone(read)
		},
		Secrets: []string{password, base64.StdEncoding.EncodeToString([]byte(password)), base64.StdEncoding.EncodeToString([]byte("\x00" + username + "\x00" + password))},
		Tells:   func(k alert.NoticeKind, _ alert.State) bool { return k != alert.NoticeRoutine }}
}

func TestContract(t *testing.T) {
	for name, tc := range map[string]struct {
		fromStart bool
		mechs     []string
		change    func(*Options)
	}{
		"STARTTLS and PLAIN": {false, []string{"PLAIN"}, func(*Options) {}},
		"TLS and LOGIN":      {true, []string{"LOGIN"}, func(o *Options) { o.Security = SecurityTLS }},
	} {
		t.Run(name, func(t *testing.T) {
			notifytest.RunLimited(t, func(t *testing.T, limit time.Duration) notifytest.Rig {
				return rig(t, newServer(t, tc.fromStart, tc.mechs...), limit, tc.change)
			})
		})
	}
}

// TestPages holds every kind of mail as a person reads it.
func TestPages(t *testing.T) {
	s := newServer(t, false, "PLAIN")
	n := started(t, options(s))
	at := time.Date(2026, 3, 29, 9, 58, 0, 0, time.UTC)
	story := []alert.StoryLine{{At: at, Text: "opened"}, {At: at.Add(6 * time.Minute), Text: "acknowledged", By: "ada"}}
	links := []alert.Link{{Text: "Item", URL: "https://acme.maps.arcgis.com/home/item.html?id=4f1c9e0b7a6d4e0f8b2a6c1d3e5f7a9b"}, {Text: "Dashboard", URL: "https://grafana.acme.example/d/rotatord"}}
	open := alert.Message{Condition: alert.ConditionExpiring, Severity: alert.SeverityCritical, Title: "store-locator: key expires in 23 hours and no rotation is on its way",
		Credential: "store-locator", Owner: "maps", Environment: "production", Portal: "acme", Breaks: "Breaks at 2026-03-30T09:00:00Z (in 23 hours): shop.acme.example, mobile app",
		Phase: "publishing", Reason: "expiring", LastError: "publish store-locator to vault: transient: connection refused", NextAttempt: "2026-03-29T10:02:00Z (in 3 min)",
		Command: "rotatord plan store-locator", RotationID: "01JABCDEF0123456789ABCDEFG", Runbook: "https://wiki.acme.example/arcgis-keys#rotatordkeyexpiresunrotated", Since: at, At: at.Add(time.Minute), Links: links}
	resolved := open
	resolved.Severity, resolved.Resolved, resolved.Title, resolved.Breaks, resolved.LastError, resolved.NextAttempt, resolved.Command = alert.SeverityInfo, true,
		"store-locator: resolved, no longer expiring", "", "", "", ""
	several := alert.Message{Condition: alert.ConditionUnreachable, Severity: alert.SeverityWarning, Title: "2 credentials: rotation keeps failing", Others: []string{"store-locator", "field-maps"}, Since: at}
	digest := alert.Message{Condition: alert.ConditionDigest, Severity: alert.SeverityInfo, Title: "rotatord: 7 rotated, 2 due this week, 1 wants a person", At: at,
		Sections: []alert.Section{{Title: "Wants a person", Lines: []string{"old-viewer: held, and its rotation is due"}}, {Title: "Rotated", Lines: []string{"store-locator", "field-maps"}}}}
	for name, notice := range map[string]alert.Notice{
		"critical": {Key: "expiring/store-locator", Kind: alert.NoticeAlert, State: alert.StateOpen, Message: open, Loud: true, Story: story[:1]},
		"snoozed":  {Key: "expiring/store-locator", Kind: alert.NoticeAlert, State: alert.StateSnoozed, By: "ada", Until: at.Add(time.Hour), Message: open, Loud: true},
		"resolved": {Key: "expiring/store-locator", Kind: alert.NoticeAlert, State: alert.StateResolved, Message: resolved, Loud: true, Story: story},
		"several":  {Key: "group/failing", Kind: alert.NoticeAlert, State: alert.StateOpen, Message: several, Loud: true},
		"digest":   {Key: "digest", Kind: alert.NoticeDigest, State: alert.StateResolved, Message: digest, Loud: true},
		"test":     {Key: "sample", Kind: alert.NoticeSample, State: alert.StateOpen, Message: open},
	} {
		before := len(s.arrived())
		if _, err := n.Tell(t.Context(), notice); err != nil {
			t.Fatal(err)
		}
		m := s.arrived()[before].read(t)
		subject := m.header.Get("Subject")
		golden(t, name+".txt", "Subject: "+subject+"\nImportance: "+m.header.Get("Importance")+"\n\n"+m.plain)
		golden(t, name+".html", m.html)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got), run with -update if it is meant:\n%s", path, diff)
	}
}

// TestThread: what follows names the first mail, and the first that is sent twice is the
// same mail to whoever has it.
func TestThread(t *testing.T) {
	s := newServer(t, false, "PLAIN")
	n := started(t, options(s))
	open := notifytest.Notice()
	tell := func(notice alert.Notice) (string, mail.Header) {
		t.Helper()
		before := len(s.arrived())
		ref, err := n.Tell(t.Context(), notice)
		if err != nil {
			t.Fatal(err)
		}
		return ref, s.arrived()[before].read(t).header
	}
	ref, first := tell(open)
	if got := first.Get("Message-ID"); got != ref || first.Get("In-Reply-To") != "" || first.Get("References") != "" {
		t.Errorf("the first mail %s with ref %q answers %q", got, ref, first.Get("In-Reply-To"))
	}
	if again, second := tell(open); again != ref || second.Get("Message-ID") != ref {
		t.Errorf("the first mail again: %s, ref %s", second.Get("Message-ID"), again)
	}
	seen := []string{ref}
	open.Ref = ref
	for range 3 { // a reminder is a mail of its own
		again, next := tell(open)
		if next.Get("In-Reply-To") != ref || next.Get("References") != ref || again != ref {
			t.Errorf("the next mail answers %q, refers to %q, ref %q; want %q", next.Get("In-Reply-To"), next.Get("References"), again, ref)
		}
		if slices.Contains(seen, next.Get("Message-ID")) {
			t.Errorf("two mails are %s", next.Get("Message-ID"))
		}
		seen = append(seen, next.Get("Message-ID"))
	}
	later := notifytest.Notice()
	later.Message.Since = later.Message.Since.Add(24 * time.Hour)
	if ref2, _ := tell(later); ref2 == ref {
		t.Error("the same trouble on another day is in the old thread")
	}
	for k, want := range map[string]string{"List-Id": "rotatord <alerts.rotatord.acme.example>", "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All",
		"From": `"rotatord" <rotatord@acme.example>`, "To": "<keys@acme.example>, =?utf-8?q?Ada_L=C3=B6ve?= <ada@acme.example>"} {
		if got := first.Get(k); got != want {
			t.Errorf("%s: %s, want %s", k, got, want)
		}
	}
}

// TestHeadersAreOurs: no text of a notice becomes a header, a recipient or a command.
func TestHeadersAreOurs(t *testing.T) {
	s := newServer(t, false, "PLAIN")
	n := started(t, options(s))
	want := []string{}
	for i, text := range append([]string{"plain"}, notifytest.Hostile()...) {
		notice := notifytest.Notice()
		notice.Key += text
		notice.Message.Title, notice.Message.Condition, notice.Message.Severity = text, alert.Condition(text), alert.Severity(text)
		notice.State, notice.By, notice.Ref = alert.StateAcknowledged, text, "<rotatord.0@x>"+text
		if _, err := n.Tell(t.Context(), notice); err != nil {
			t.Fatal(err)
		}
		all := s.arrived()
		if len(all) != i+1 {
			t.Fatalf("%d mails after %d notices", len(all), i+1)
		}
		m := all[i]
		if !slices.Equal(m.to, []string{"keys@acme.example", "ada@acme.example"}) {
			t.Errorf("%q: sent to %v", text, m.to)
		}
		var keys []string
		header := m.read(t).header
		for k, values := range header {
			if k == "Importance" || k == "Priority" || k == "X-Priority" || k == "X-Msmail-Priority" {
				continue
			}
			keys = append(keys, fmt.Sprint(k, len(values)))
		}
		slices.Sort(keys)
		if i == 0 {
			want = keys
		} else if !slices.Equal(keys, want) {
			t.Errorf("%q: headers %v, want %v", text, keys, want)
		}
		for line := range strings.SplitSeq(m.raw, "\r\n") {
			if len(line) > 998 {
				t.Errorf("%q: a line of %d characters", text, len(line))
			}
		}
	}
}

// TestRecipients: one who is refused does not silence the others.
func TestRecipients(t *testing.T) {
	s := newServer(t, false, "PLAIN")
	r := rig(t, s, 20*time.Second, func(*Options) {})
	s.say("keys@acme.example", 550, "keys@acme.example has left")
	if _, err := r.Notifier.Tell(t.Context(), notifytest.Notice()); err != nil {
		t.Fatal(err)
	}
	if got := s.arrived()[0].to; !slices.Equal(got, []string{"ada@acme.example"}) {
		t.Errorf("sent to %v", got)
	}
	if !strings.Contains(r.Log(), "send mail to keys@acme.example") || !strings.Contains(r.Log(), "SMTP 550") {
		t.Errorf("the log does not say who was refused: %s", r.Log())
	}
	if err := r.Notifier.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "keys@acme.example") {
		t.Errorf("check: %v", err)
	}
	s.say("ada@acme.example", 450, "try again")
	if _, err := r.Notifier.Tell(t.Context(), notifytest.Notice()); rotate.KindOf(err) != rotate.KindTransient {
		t.Errorf("one gone, one greylisted: %v", err)
	}
	s.say("ada@acme.example", 550, "gone too")
	if _, err := r.Notifier.Tell(t.Context(), notifytest.Notice()); rotate.KindOf(err) != rotate.KindAuth {
		t.Errorf("all gone: %v", err)
	}
}

// TestSentences: what a person reads when it does not work.
func TestSentences(t *testing.T) {
	for _, tc := range []struct {
		name   string
		server func(*server)
		change func(*Options)
		want   string
		kind   rotate.Kind
	}{
		{"wrong password", nil, func(o *Options) {
			o.Password = func(context.Context) (rotate.Secret, error) { return rotate.NewSecret("wr0ng-passw0rd"), nil }
		}, "sign in to the mail server: auth (forbidden): SMTP 535 5.7.8: user name or password refused", rotate.KindAuth},
		{"no sign-in", nil, func(o *Options) { o.Username, o.Password = "", nil }, "it wants a sign-in", rotate.KindAuth},
		{"no such way to sign in", nil, func(o *Options) { o.Auth = AuthLogin }, "does not offer the way to sign in", rotate.KindAuth},
		{"unknown authority", nil, func(o *Options) { o.TLS.CAFile = "" }, "tls.ca_file", rotate.KindTransient},
		{"another name", nil, func(o *Options) { o.TLS.ServerName = "other.example" }, "tls.server_name", rotate.KindTransient},
		{"TLS from the start where it is not", nil, func(o *Options) { o.Security = SecurityTLS }, "does not speak TLS", rotate.KindTransient},
		{"sender refused", func(s *server) { s.say("MAIL", 553, "not yours") }, func(*Options) {}, "send mail from rotatord@acme.example: auth (forbidden): SMTP 553 5.7.1: mailbox name not allowed", rotate.KindAuth},
		{"greylisted", func(s *server) { s.say("DATA", 451, "wait") }, func(*Options) {}, "SMTP 451 4.7.1: an error of its own, or greylisted", rotate.KindTransient},
		{"too large", func(s *server) { s.say("DATA", 552, "too much") }, func(*Options) {}, "SMTP 552 5.7.1: too large", rotate.KindPermanent},
		{"no server", nil, func(o *Options) { o.Smarthost = "127.0.0.1:1" }, "connection refused", rotate.KindTransient},
	} {
		s := newServer(t, false, "PLAIN")
		if tc.server != nil {
			tc.server(s)
		}
		o := options(s)
		tc.change(&o)
		_, err := started(t, o).Tell(t.Context(), notifytest.Notice())
		if err == nil || !strings.Contains(err.Error(), tc.want) || rotate.KindOf(err) != tc.kind {
			t.Errorf("%s: %v (%s), want %q (%s)", tc.name, err, rotate.KindOf(err), tc.want, tc.kind)
		}
	}
}

// TestNeverInClear: a server that hides STARTTLS gets neither password nor mail.
func TestNeverInClear(t *testing.T) {
	s := newServer(t, false, "PLAIN")
	plain := newPlainServer(t)
	o := options(s)
	o.Smarthost = plain.addr
	_, err := started(t, o).Tell(t.Context(), notifytest.Notice())
	if err == nil || !strings.Contains(err.Error(), "does not offer STARTTLS") || rotate.KindOf(err) != rotate.KindAuth {
		t.Errorf("a server without STARTTLS: %v", err)
	}
	if heard := plain.heard(); strings.Contains(heard, "AUTH") || strings.Contains(heard, "MAIL") || !strings.Contains(heard, "EHLO") {
		t.Errorf("it heard %q", heard)
	}
	o.Security = SecurityNone
	o.Username, o.Password = "", nil
	if _, err := started(t, o).Tell(t.Context(), notifytest.Notice()); err != nil {
		t.Errorf("in clear text to this machine: %v", err)
	}
}

func TestOptions(t *testing.T) {
	good := options(&server{addr: "mail.example:587"})
	for name, change := range map[string]func(*Options){
		"no port":          func(o *Options) { o.Smarthost = "mail.example" },
		"no host":          func(o *Options) { o.Smarthost = ":25" },
		"no security":      func(o *Options) { o.Security = "" },
		"clear text":       func(o *Options) { o.Security = SecurityNone },
		"no password":      func(o *Options) { o.Password = nil },
		"no user":          func(o *Options) { o.Username = "" },
		"strange auth":     func(o *Options) { o.Auth = "cram-md5" },
		"no time limit":    func(o *Options) { o.Timeout = 0 },
		"nobody":           func(o *Options) { o.To = nil },
		"no address":       func(o *Options) { o.To = []string{"ada"} },
		"two in one":       func(o *Options) { o.To = []string{"a@x.example, b@x.example"} },
		"beyond ASCII":     func(o *Options) { o.To = []string{"ada@löve.example"} },
		"bad sender":       func(o *Options) { o.From = "rotatord" },
		"injected hello":   func(o *Options) { o.Hello = "x\r\nMAIL FROM:<y@z>" },
		"no CA file there": func(o *Options) { o.TLS.CAFile = "/nowhere/ca.pem" },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}
