// Package wire is what notifiers share when they speak to another machine: an HTTP
// client that posts and never follows, the TLS settings, the meaning of an answer, what
// broke said without an address, and the texts of a notice without what looks like a key.
//
// Contract: an address, a header and an answer's body are in no error; each of them may
// hold or repeat a secret. What is told twice does no harm, so a request whose outcome
// nobody knows is merely transient.
package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// Source reads a secret at each use, so that a file that changed is taken up.
type Source func(context.Context) (rotate.Secret, error)

// Options of New.
type Options struct {
	TLS     TLS
	Proxy   string        // of the form http://host:port; "" is none, the environment's are not used
	Timeout time.Duration // of one request, from name look-up to the answer
}

// Client posts. It is safe for concurrent use.
type Client struct {
	http    *http.Client
	timeout time.Duration
}

// New reads the files of TLS and starts nothing.
func New(o Options) (*Client, error) {
	if o.Timeout <= 0 {
		return nil, errors.New("timeout must be above zero")
	}
	conf, err := o.TLS.Config()
	if err != nil {
		return nil, err
	}
	var proxy func(*http.Request) (*url.URL, error)
	if o.Proxy != "" {
		u, err := url.Parse(o.Proxy)
		if err != nil || u.Host == "" {
			return nil, errors.New("proxy is no address of the form http://host:port")
		}
		proxy = http.ProxyURL(u)
	}
	const maxHeader = 64 << 10
	return &Client{timeout: o.Timeout, http: &http.Client{
		// Messages are rare: a connection that is kept would be closed by somebody in between.
		Transport: &http.Transport{TLSClientConfig: conf, Proxy: proxy, ForceAttemptHTTP2: true, DisableKeepAlives: true,
			MaxResponseHeaderBytes: maxHeader},
		// A redirect would hand the message, its signature and the address elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Request to a server.
type Request struct {
	Op     string // for errors: what is attempted, without an address that may be secret
	Method string
	URL    rotate.Secret
	Header http.Header
	Body   []byte
}

// Answer of a server.
type Answer struct {
	Status int
	Body   []byte // what fits into 64 KiB; it may repeat a secret
	header http.Header
}

// Do sends the request within the time limit. Its error is a *rotate.Error, without the
// address. An answer of any status is none.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	if _, err := Address(r.URL.Reveal()); err != nil {
		return Answer{}, &rotate.Error{Op: r.Op, Kind: rotate.KindAuth, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL.Reveal(), bytes.NewReader(r.Body))
	if err != nil { // its text quotes the address
		return Answer{}, &rotate.Error{Op: r.Op, Kind: rotate.KindAuth, Err: errors.New("the address cannot be used")}
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	req.Header.Set("User-Agent", "rotatord")
	res, err := c.http.Do(req)
	if err != nil {
		return Answer{}, &rotate.Error{Op: r.Op, Kind: rotate.KindTransient, Cause: rotate.CauseUnreachable, Err: Broke(err)}
	}
	defer res.Body.Close()
	const maxBody = 64 << 10
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return Answer{}, &rotate.Error{Op: r.Op, Kind: rotate.KindTransient, Cause: rotate.CauseUnreachable, Err: Broke(err)}
	}
	return Answer{Status: res.StatusCode, Body: body, header: res.Header}, nil
}

// Err says what an answer means for a notice; nil is told.
func (a Answer) Err(op string) error {
	out := &rotate.Error{Op: op, Kind: rotate.KindTransient, Err: fmt.Errorf("HTTP %d %s", a.Status, http.StatusText(a.Status))}
	switch s := a.Status; {
	case s >= 200 && s < 300:
		return nil
	case s >= 300 && s < 400:
		out.Err = fmt.Errorf("HTTP %d: a redirect, which is not followed; give the address that it leads to", s)
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
		out.Kind, out.Wait = rotate.KindRateLimited, retryAfter(a.header)
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusProxyAuthRequired:
		out.Kind, out.Cause = rotate.KindAuth, rotate.CauseForbidden
	case s == http.StatusNotFound, s == http.StatusMethodNotAllowed, s == http.StatusGone:
		// About the address, not about this notice.
		out.Kind, out.Cause = rotate.KindAuth, rotate.CauseNotFound
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly:
	case s >= 400 && s < 500:
		out.Kind = rotate.KindPermanent
	}
	return out
}

// maxWait bounds what a server may ask for: an alert a day late is no alert.
const maxWait = time.Hour

// retryAfter in its two forms (RFC 9110, 10.2.3); 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxWait)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now := time.Now()
	if sent, err := http.ParseTime(h.Get("Date")); err == nil {
		now = sent // by the server's own clock
	}
	return min(max(at.Sub(now), 0), maxWait)
}

// Address that secrets and alerts may go to: https, or http to this machine. Its error
// does not repeat it.
func Address(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return nil, errors.New("the address is not of the form https://host/path")
	case u.Scheme == "http" && !Loopback(u.Hostname()):
		return nil, errors.New("the address is plain http to another machine; give one with https")
	}
	return u, nil
}

// Loopback tells whether a host is this machine.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}
