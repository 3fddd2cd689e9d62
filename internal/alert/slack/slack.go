// Package slack sends alerts to Slack by an incoming webhook.
//
// Contract: the webhook's address is a secret and is in no error and no log; a message
// stays inside Block Kit's documented limits whatever is in it; what comes from
// elsewhere is escaped and mentions nobody; a 429's Retry-After is handed on.
package slack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	slackgo "github.com/slack-go/slack"

	"rotatord/internal/alert"
	"rotatord/internal/rotate"
)

// Options of New.
type Options struct {
	Webhook rotate.Secret // https, or http to this machine
	// Mention is whom to mention in what is critical, as in <!subteam^S012AB3CD>.
	Mention   string
	Timeout   time.Duration
	Transport http.RoundTripper // nil: a proxy-aware one of its own
}

// Sender posts messages. It is safe for concurrent use.
type Sender struct {
	webhook rotate.Secret
	mention string
	client  *http.Client
}

var _ alert.Sender = (*Sender)(nil)

var mentionForm = regexp.MustCompile(`^(<(@[A-Z0-9]+|!subteam\^[A-Z0-9]+|!here|!channel|!everyone)> ?)*$`)

// New checks the options. It sends nothing.
func New(o Options) (*Sender, error) {
	u, err := url.Parse(o.Webhook.Reveal())
	switch {
	case err != nil: // its text would show the address
		return nil, errors.New("configure Slack: the webhook is no URL")
	case u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "127.0.0.1"):
		return nil, errors.New("configure Slack: the webhook is no https URL")
	case strings.Trim(u.Path, "/") == "":
		return nil, errors.New("configure Slack: the webhook's URL has no path; copy it whole from the app's page")
	case !mentionForm.MatchString(o.Mention):
		return nil, fmt.Errorf("configure Slack: mention %q is not of the form <@U012AB3CD>, <!subteam^S012AB3CD>, <!here> or <!channel>", o.Mention)
	case o.Timeout <= 0:
		return nil, errors.New("configure Slack: timeout must be above zero")
	}
	transport := o.Transport
	if transport == nil {
		own := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: o.Timeout, ResponseHeaderTimeout: o.Timeout}
		transport = own
	}
	return &Sender{webhook: o.Webhook, mention: o.Mention, client: &http.Client{
		Transport: transport, Timeout: o.Timeout,
		// A redirect would hand the message, and the address as referrer, elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Send posts the message. If Slack refuses its blocks, it is sent once more as plain
// text: better plain than unsaid.
func (s *Sender) Send(ctx context.Context, m alert.Message) error {
	msg := render(m, s.mention)
	err := s.post(ctx, msg)
	if rotate.KindOf(err) == rotate.KindPermanent {
		msg.Blocks = nil
		err = s.post(ctx, msg)
	}
	return err
}

func (s *Sender) post(ctx context.Context, msg *slackgo.WebhookMessage) error {
	seen := &codeReader{next: s.client.Transport}
	client := *s.client
	client.Transport = seen
	err := slackgo.PostWebhookCustomHTTPContext(ctx, s.webhook.Reveal(), &client, msg)
	if err == nil {
		return nil
	}
	return s.classify(err, seen.code)
}

// classify turns what went wrong into an error without the address.
func (s *Sender) classify(err error, code string) error {
	out := &rotate.Error{Op: "post to Slack", Kind: rotate.KindTransient}
	if limited, ok := errors.AsType[*slackgo.RateLimitedError](err); ok {
		out.Kind, out.Wait = rotate.KindRateLimited, limited.RetryAfter
		return out
	}
	if _, ok := errors.AsType[*strconv.NumError](err); ok { // a Retry-After that is no number of seconds
		out.Kind = rotate.KindRateLimited
		return out
	}
	if status, ok := errors.AsType[slackgo.StatusCodeError](err); ok {
		out.Kind = kindOf(status.Code, code)
		out.Err = fmt.Errorf("HTTP %d %s", status.Code, code)
		return out
	}
	if u, ok := errors.AsType[*url.Error](err); ok { // its text is the address and the cause's
		err = u.Err
	}
	out.Err = s.scrub(err)
	return out
}

// kindOf an answer: whether it is about this message or about the channel.
func kindOf(status int, code string) rotate.Kind {
	switch {
	case status == http.StatusTooManyRequests:
		return rotate.KindRateLimited
	case status == http.StatusBadRequest && code != "no_service" && code != "no_team" && code != "user_not_found":
		return rotate.KindPermanent
	case status >= http.StatusInternalServerError:
		return rotate.KindTransient
	}
	return rotate.KindAuth // the webhook was revoked, its channel is gone or closed to it
}

// scrub keeps an error only if its text shows nothing of the address beyond the host.
func (s *Sender) scrub(err error) error {
	text := err.Error()
	u, parseErr := url.Parse(s.webhook.Reveal())
	if parseErr != nil {
		return errors.New("the cause is withheld")
	}
	const shortest = 6 // "T0" or "services" alone give nothing away
	for _, part := range strings.FieldsFunc(u.RequestURI()+"/"+u.User.String(), func(r rune) bool { return strings.ContainsRune("/?&=:", r) }) {
		if len(part) >= shortest && part != "services" && strings.Contains(text, part) {
			return errors.New("the cause is withheld, its text has the webhook's address in it")
		}
	}
	return err
}

// codeReader keeps Slack's one-word answer to a refused message.
type codeReader struct {
	next http.RoundTripper
	code string
}

var codeForm = regexp.MustCompile(`^[a-z_]{1,64}$`)

func (c *codeReader) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err != nil || resp.StatusCode < http.StatusBadRequest {
		return resp, err
	}
	const most = 128
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if text := strings.TrimSpace(string(body)); err == nil && codeForm.MatchString(text) {
		c.code = text
	}
	return resp, nil
}
