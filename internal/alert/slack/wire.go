package slack

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	slackgo "github.com/slack-go/slack"

	"rotatord/internal/rotate"
)

// wire is how Slack is reached.
type wire struct {
	client  *http.Client
	secrets []string // what no error may show
}

func newWire(o Options) *wire {
	transport := o.Transport
	if transport == nil {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: o.Timeout, ResponseHeaderTimeout: o.Timeout}
	}
	w := &wire{client: &http.Client{
		Transport: capped{transport}, Timeout: o.Timeout,
		// A redirect would hand the message, and the address as referrer, elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, s := range []rotate.Secret{o.BotToken, o.AppToken} {
		w.keepSecret(s.Reveal())
	}
	if u, err := url.Parse(o.Webhook.Reveal()); err == nil {
		for _, part := range strings.FieldsFunc(u.RequestURI()+"/"+u.User.String(), func(r rune) bool { return strings.ContainsRune("/?&=:", r) }) {
			if part != "services" {
				w.keepSecret(part)
			}
		}
	}
	return w
}

// keepSecret notes a text that no error may show.
func (w *wire) keepSecret(s string) {
	const shortest = 6 // "T0" alone gives nothing away
	if len(s) >= shortest {
		w.secrets = append(w.secrets, s)
	}
}

// api calls Slack's methods with one token.
func (w *wire) api(o Options, more ...slackgo.Option) *slackgo.Client {
	options := append([]slackgo.Option{slackgo.OptionHTTPClient(w.client)}, more...)
	if o.API != "" {
		options = append(options, slackgo.OptionAPIURL(o.API))
	}
	return slackgo.New(o.BotToken.Reveal(), options...)
}

// capped bounds what is read of an answer.
type capped struct{ next http.RoundTripper }

// answerMost: a page of history is the longest, some hundred kilobytes.
const answerMost = 8 << 20

func (c capped) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err == nil {
		resp.Body = &cappedBody{Reader: io.LimitReader(resp.Body, answerMost), Closer: resp.Body}
	}
	return resp, err
}

type cappedBody struct {
	io.Reader
	io.Closer
}

// codeReader keeps a webhook's one-word answer: ok, or why not.
type codeReader struct {
	next http.RoundTripper
	code string
}

func (c *codeReader) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	const most = 128
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if text := strings.TrimSpace(string(body)); err == nil && codeForm.MatchString(text) {
		c.code = text
	}
	return resp, nil
}

// hook refuses an address that is no incoming webhook, without showing it.
func hook(webhook rotate.Secret) error {
	u, err := url.Parse(webhook.Reveal())
	switch {
	case err != nil: // its text would show the address
		return errors.New("configure Slack: the webhook is no URL")
	case u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "127.0.0.1"):
		return errors.New("configure Slack: the webhook is no https URL")
	case strings.Trim(u.Path, "/") == "":
		return errors.New("configure Slack: the webhook's URL has no path; copy it whole from the app's page")
	}
	return nil
}
