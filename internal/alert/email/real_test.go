package email

import (
	"context"
	"net/mail"
	"strings"
	"testing"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/notifytest"
	"rotatord/internal/alert/wire"
	"rotatord/internal/rotate"
)

func realOptions(e *notifytest.Exim) Options {
	return Options{Smarthost: e.STARTTLS, Security: SecuritySTARTTLS, TLS: wire.TLS{CAFile: e.CAFile}, From: "rotatord <rotatord@acme.example>",
		To: []string{"keys@acme.example", "Ada Löve <ada@acme.example>"}, Username: notifytest.EximUser, Auth: AuthAny, Timeout: 20 * time.Second,
		Password: func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(notifytest.EximPassword), nil }}
}

// TestRealServer: Debian's own mail server takes what we send by either way to secure a
// connection and to sign in, delivers it unchanged to each recipient, and keeps an alert's
// mails in one thread.
func TestRealServer(t *testing.T) {
	e := notifytest.StartExim(t)
	opened := notifytest.Notice()
	for i, way := range []struct {
		name   string
		change func(*Options)
		log    string // what the server notes of it
	}{
		{"STARTTLS and PLAIN", func(*Options) {}, "A=plain:" + notifytest.EximUser},
		{"TLS and LOGIN", func(o *Options) { o.Smarthost, o.Security, o.Auth = e.TLS, SecurityTLS, AuthLogin }, "A=login:" + notifytest.EximUser},
	} {
		t.Run(way.name, func(t *testing.T) {
			o := realOptions(e)
			way.change(&o)
			n := started(t, o)
			if err := n.Check(t.Context()); err != nil {
				t.Fatalf("Check: %v", err)
			}
			ref, err := n.Tell(t.Context(), opened)
			if err != nil {
				t.Fatal(err)
			}
			over := opened
			over.Ref, over.State, over.Message.Resolved, over.Message.Severity = ref, alert.StateResolved, true, alert.SeverityInfo
			over.Message.Title = "Löve's key: resolved"
			if _, err := n.Tell(t.Context(), over); err != nil {
				t.Fatal(err)
			}
			const each = 4 // two mails, two recipients
			mails := e.Mails(t, each*(i+1))[each*i:]
			if len(mails) != each {
				t.Fatalf("%d mails were delivered, want %d", len(mails), each)
			}
			threads := map[string]int{}
			for _, raw := range mails {
				threads[threadOf(t, raw)]++
			}
			if threads[ref] != each || len(threads) != 1 {
				t.Errorf("threads %v, want all in %s", threads, ref)
			}
			if log := e.Log(t); strings.Count(log, way.log) != 2 || !strings.Contains(log, "P=esmtpsa X=TLS1.3") {
				t.Errorf("the server does not note %q twice, with TLS:\n%s", way.log, log)
			}
		})
	}
}

// threadOf a delivered mail, whose parts read as they were written.
func threadOf(t *testing.T, raw string) string {
	t.Helper()
	i := strings.Index(raw, "\nFrom: ") + 1 // before it stands what the server added
	if !strings.Contains(raw[:i], "by mail.acme.example with esmtpsa") {
		t.Errorf("no word of the server in %q", raw[:i])
	}
	p := mailbox{raw: raw[i:]}.read(t)
	if !strings.Contains(p.plain, "store-locator") || !strings.Contains(p.html, "store-locator") {
		t.Errorf("parts %q and %q", p.plain, p.html)
	}
	msg, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if thread := msg.Header.Get("In-Reply-To"); thread != "" {
		if !strings.Contains(p.text(t), "Löve's key: resolved") {
			t.Errorf("the subject does not say that it is over: %s", msg.Header.Get("Subject"))
		}
		return thread
	}
	return msg.Header.Get("Message-Id")
}

// TestRealRefusals: what Debian's server refuses has its sentence, and who is refused
// silences nobody else.
func TestRealRefusals(t *testing.T) {
	e := notifytest.StartExim(t)
	for name, tc := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"wrong password": {func(o *Options) {
			o.Password = func(context.Context) (rotate.Secret, error) { return rotate.NewSecret("yesterday's"), nil }
		}, "sign in to the mail server: auth (forbidden): SMTP 535: user name or password refused"},
		"nobody signs in":      {func(o *Options) { o.Username, o.Password = "", nil }, "send mail to keys@acme.example: auth (forbidden): SMTP 550"},
		"an unknown authority": {func(o *Options) { o.TLS = wire.TLS{} }, "its certificate is of an unknown authority"},
		"the other port":       {func(o *Options) { o.Security = SecurityTLS }, "it does not speak TLS there"},
		"nobody is there":      {func(o *Options) { o.To = []string{notifytest.EximGone + "@acme.example"} }, "SMTP 550"},
	} {
		t.Run(name, func(t *testing.T) {
			o := realOptions(e)
			tc.change(&o)
			n := started(t, o)
			for _, err := range []error{n.Check(t.Context()), tellErr(t, n)} {
				if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), notifytest.EximPassword) {
					t.Errorf("%v, want %q", err, tc.want)
				}
			}
		})
	}
	// A password that is changed counts from the next mail on.
	password := "yesterday's"
	o := realOptions(e)
	o.Password = func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(password), nil }
	changed := started(t, o)
	if err := changed.Check(t.Context()); err == nil {
		t.Error("the old password is still good")
	}
	password = notifytest.EximPassword
	if err := changed.Check(t.Context()); err != nil {
		t.Errorf("with the new password: %v", err)
	}
	o = realOptions(e)
	o.To = []string{notifytest.EximGone + "@acme.example", "keys@acme.example"}
	if err := tellErr(t, started(t, o)); err != nil {
		t.Errorf("one recipient of two is gone: %v", err)
	}
	if n := len(e.Mails(t, 1)); n != 1 {
		t.Errorf("%d mails were delivered, want that of the other", n)
	}
}

func tellErr(t *testing.T, n *Notifier) error {
	t.Helper()
	_, err := n.Tell(t.Context(), notifytest.Notice())
	return err
}
