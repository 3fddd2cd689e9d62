package portal

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// SecretReader reads a secret from where it is kept. It is called at each sign-in, so
// that a changed file is seen without a restart.
type SecretReader func(ctx context.Context) (rotate.Secret, error)

// Identity is who the client is at the portal. Exactly one member is set.
type Identity struct {
	Password *PasswordIdentity
	APIKey   *APIKeyIdentity
	OwnKey   *OwnKeyIdentity
	Refresh  *RefreshIdentity
}

// PasswordIdentity signs a built-in account in by generateToken (contract 2.1).
type PasswordIdentity struct {
	Username string
	Password SecretReader
	Minutes  int // lifetime to ask for; 0 is 120. The portal caps it silently
}

// APIKeyIdentity manages credentials with an API key that carries
// portal:admin:viewItems and portal:admin:updateItems, or grants of the items.
type APIKeyIdentity struct {
	Key      SecretReader
	Referrer string // sent with every call if the key is bound to one; Options.Referer if empty
}

// Options of a Client.
type Options struct {
	// URL of the portal: https://host, https://host/portal, …/sharing or …/sharing/rest.
	// http is accepted for a loopback address only.
	URL      string
	Identity Identity
	// Referer is sent with every call and bound into tokens; the portal's own origin if empty.
	Referer string

	CAFile     string // PEM file of further roots, read once
	CAPEM      []byte // the same, in memory
	ServerName string // expected in the certificate, where it is not the URL's host
	ProxyURL   string // "" follows HTTPS_PROXY and NO_PROXY; "direct" uses none

	Timeout   time.Duration // of one request with its answer; 0 is 30 s
	UserAgent string
	Limits    Limits
	MaxBody   int64 // bytes read of an answer; 0 is 8 MiB

	// Transport replaces sockets, TLS and proxy altogether; for tests and the demo.
	Transport http.RoundTripper
	// OnRequest is told about each HTTP request after it ended. It must not block.
	OnRequest func(op string, purpose rotate.Purpose, result rotate.Result, took time.Duration)
	// OnPause is told until when the portal wants to be left alone, once a pause, for
	// Client.Pause after a restart. It must not block.
	OnPause func(until time.Time)
	Log     *slog.Logger   // nil: nothing is logged
	Jitter  func() float64 // [0,1) for back-off; nil takes math/rand
}

// Limits bound what one portal is asked to bear. Zero values take the defaults.
type Limits struct {
	AtOnce       int           // requests under way at the same time; 8
	PerSecond    float64       // 0: no limit
	Retries      int           // repeats of a read after a transient failure; 2, negative: none
	RetryWait    time.Duration // longest wait before such a repeat, Retry-After included; 10 s
	BreakerAfter int           // consecutive transport failures that open the breaker; 10, negative: never
	BreakerDelay time.Duration // how long it stays open before one request is let through; 30 s
}

const (
	defaultTimeout    = 30 * time.Second
	defaultMaxBody    = 8 << 20
	defaultUserAgent  = "rotatord"
	defaultMinutes    = 120
	defaultAtOnce     = 8
	defaultRetries    = 2
	defaultRetryWait  = 10 * time.Second
	defaultBreaker    = 10
	defaultBreakDelay = 30 * time.Second
	dialTimeout       = 10 * time.Second
	idleTimeout       = 50 * time.Second // below the 60 s after which common load balancers drop a connection
)

func (o Options) withDefaults() Options {
	o.Timeout = orElse(o.Timeout, defaultTimeout)
	o.MaxBody = orElse(o.MaxBody, defaultMaxBody)
	o.UserAgent = orElse(o.UserAgent, defaultUserAgent)
	o.Limits.AtOnce = orElse(o.Limits.AtOnce, defaultAtOnce)
	o.Limits.Retries = max(0, orElse(o.Limits.Retries, defaultRetries))
	o.Limits.RetryWait = orElse(o.Limits.RetryWait, defaultRetryWait)
	o.Limits.BreakerAfter = max(0, orElse(o.Limits.BreakerAfter, defaultBreaker))
	o.Limits.BreakerDelay = orElse(o.Limits.BreakerDelay, defaultBreakDelay)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	return o
}

func orElse[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func (i Identity) validate() error {
	set := 0
	if p := i.Password; p != nil {
		set++
		if p.Username == "" || p.Password == nil {
			return errors.New("a password identity needs a user name and a password")
		}
		if p.Minutes < 0 {
			return errors.New("a password identity needs a token lifetime above 0 minutes")
		}
	}
	if k := i.APIKey; k != nil {
		set++
		if k.Key == nil {
			return errors.New("an api key identity needs a key")
		}
	}
	if k := i.OwnKey; k != nil {
		set++
		if k.Key == nil || k.Earlier == nil {
			return errors.New("an own key identity needs its key and the earlier ones")
		}
	}
	if r := i.Refresh; r != nil {
		set++
		if r.ClientID == "" || r.Store == nil {
			return errors.New("a refresh token identity needs a client id and a store")
		}
	}
	if set != 1 {
		return fmt.Errorf("want exactly one identity, got %d", set)
	}
	return nil
}

const restRoot = "/sharing/rest"

// Root normalises what people paste as a portal's address to its REST root.
func Root(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		return nil, errors.New("portal url cannot be parsed") // the cause quotes the text, which may hold a password
	}
	switch {
	case u.User != nil:
		return nil, errors.New("portal url must not hold a user name or password")
	case u.Host == "":
		return nil, errors.New("portal url has no host; write it as https://host/portal")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("portal url must end with its path")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, errors.New("portal url must be https (http is for loopback addresses only)")
	}
	path := strings.TrimRight(u.Path, "/")
	for _, tail := range []string{restRoot, "/sharing", "/home/index.html", "/home"} {
		if rest, ok := strings.CutSuffix(path, tail); ok {
			path = rest
			break
		}
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: path + restRoot}, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// transports gives the one for requests that may be repeated and the one for those
// that must not. The latter never reuses a connection and speaks HTTP/1.1 alone, so
// that neither net/http's replay on a dead kept-alive connection nor HTTP/2's after
// REFUSED_STREAM can send a mint twice.
func transports(o Options) (many, once http.RoundTripper, err error) {
	if o.Transport != nil {
		return o.Transport, o.Transport, nil
	}
	trust, err := tlsConfig(o)
	if err != nil {
		return nil, nil, err
	}
	proxy, err := proxyFunc(o.ProxyURL)
	if err != nil {
		return nil, nil, err
	}
	shared := socketTransport(o, trust, proxy)
	shared.ForceAttemptHTTP2 = true
	single := socketTransport(o, trust, proxy)
	single.DisableKeepAlives = true
	single.Protocols = new(http.Protocols)
	single.Protocols.SetHTTP1(true)
	return shared, single, nil
}

// socketTransport has a TLS config of its own: net/http adds the protocols it offers to
// it, and what one transport offers the other must not.
func socketTransport(o Options, trust *tls.Config, proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	return &http.Transport{
		Proxy:               proxy,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:     trust.Clone(),
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: o.Limits.AtOnce,
		IdleConnTimeout:     idleTimeout,
	}
}

func tlsConfig(o Options) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName}
	pem := o.CAPEM
	if o.CAFile != "" {
		raw, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read ca file: %w", err)
		}
		pem = append(append([]byte{}, pem...), raw...)
	}
	if len(pem) == 0 {
		return config, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without roots of its own still has the given ones
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("read ca: no certificate in it")
	}
	config.RootCAs = pool
	return config, nil
}

func proxyFunc(raw string) (func(*http.Request) (*url.URL, error), error) {
	switch raw {
	case "":
		return http.ProxyFromEnvironment, nil
	case "direct":
		return nil, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return nil, errors.New("proxy url cannot be parsed") // it may hold a password
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return http.ProxyURL(u), nil
	}
	return nil, fmt.Errorf("proxy url has scheme %q; want http, https or socks5", u.Scheme)
}
