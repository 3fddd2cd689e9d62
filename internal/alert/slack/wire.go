package slack

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	slackgo "github.com/slack-go/slack"

	said "rotatord/internal/alert/wire"
	"rotatord/internal/rotate"
)

// wire is how Slack is reached.
type wire struct {
	client *http.Client

	mu      sync.Mutex
	secrets []string // guarded by mu: what no error may show
}

func newWire(o Options) *wire {
	transport := o.Transport
	if transport == nil {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: o.Timeout, ResponseHeaderTimeout: o.Timeout}
	}
	return &wire{client: &http.Client{
		Transport: capped{transport}, Timeout: o.Timeout,
		// A redirect would hand the message, and the address as referrer, elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// read a token.
func (w *wire) read(ctx context.Context, what string, from said.Source) (string, error) {
	s, err := from(ctx)
	switch {
	case err != nil:
		return "", &rotate.Error{Op: "read the " + what + " for Slack", Kind: rotate.KindAuth, Err: err}
	case s.IsZero():
		return "", &rotate.Error{Op: "read the " + what + " for Slack", Kind: rotate.KindAuth, Err: errors.New("it is empty")}
	}
	w.keepSecret(s.Reveal())
	return s.Reveal(), nil
}

// hook reads the webhook's address.
func (n *Notifier) hook(ctx context.Context) (rotate.Secret, error) {
	text, err := n.wire.read(ctx, "webhook's address", n.options.Webhook)
	if err != nil {
		return rotate.Secret{}, err
	}
	u, err := parseHook(text)
	if err != nil {
		return rotate.Secret{}, &rotate.Error{Op: "post to the webhook at Slack", Kind: rotate.KindAuth, Err: err}
	}
	for _, part := range strings.FieldsFunc(u.RequestURI()+"/"+u.User.String(), func(r rune) bool { return strings.ContainsRune("/?&=:", r) }) {
		if part != "services" {
			n.wire.keepSecret(part)
		}
	}
	return rotate.NewSecret(text), nil
}

// keepSecret notes a text that no error may show.
func (w *wire) keepSecret(s string) {
	const shortest = 6 // "T0" alone gives nothing away
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(s) >= shortest && !slices.Contains(w.secrets, s) {
		w.secrets = append(w.secrets, s)
	}
}

// shows tells whether a text holds one of the secrets.
func (w *wire) shows(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.secrets, func(s string) bool { return strings.Contains(text, s) })
}

// api calls Slack's methods with one token.
func (w *wire) api(o Options, token string, more ...slackgo.Option) *slackgo.Client {
	options := append([]slackgo.Option{slackgo.OptionHTTPClient(w.client)}, more...)
	if o.API != "" {
		options = append(options, slackgo.OptionAPIURL(o.API))
	}
	return slackgo.New(token, options...)
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

// parseHook refuses an address that is no incoming webhook, without showing it.
func parseHook(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil: // its text would show the address
		return nil, errors.New("the webhook is no URL")
	case u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "127.0.0.1"):
		return nil, errors.New("the webhook is no https URL")
	case strings.Trim(u.Path, "/") == "":
		return nil, errors.New("the webhook's URL has no path; copy it whole from the app's page")
	}
	return u, nil
}
