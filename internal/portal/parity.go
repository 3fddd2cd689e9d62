package portal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// ParityOptions of a Parity.
type ParityOptions struct {
	URLs []string // asked with GET; https, or http on a loopback address
	// AllowHosts lists the hosts that may be sent keys, with their port where it is not
	// the scheme's own. Every URL's host must be in it.
	AllowHosts []string

	CAFile     string
	CAPEM      []byte
	ServerName string
	ProxyURL   string
	Timeout    time.Duration // of one request; 0 is 30 s
	MaxBody    int64         // bytes read of an answer; 0 is 8 MiB
	UserAgent  string
	Transport  http.RoundTripper
	OnRequest  func(op string, purpose rotate.Purpose, result rotate.Result, took time.Duration)
}

// Parity asks probe URLs with the old and the new key and compares what they answer. It
// is not bound to a portal: the URLs are those of location services and the like.
type Parity struct {
	opts   ParityOptions
	op     string
	urls   []*url.URL
	client *http.Client
	counts counts
}

var _ rotate.Parity = (*Parity)(nil)

// NewParity checks the URLs against the allowed hosts. It sends nothing.
func NewParity(o ParityOptions) (*Parity, error) {
	p := &Parity{opts: o, op: opParity}
	p.opts.Timeout = orElse(o.Timeout, defaultTimeout)
	p.opts.MaxBody = orElse(o.MaxBody, defaultMaxBody)
	p.opts.UserAgent = orElse(o.UserAgent, defaultUserAgent)
	for i, raw := range o.URLs {
		u, err := url.Parse(raw)
		switch {
		case err != nil || u.Host == "" || u.User != nil:
			return nil, fmt.Errorf("make parity probe: url %d cannot be used", i+1)
		case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
			return nil, fmt.Errorf("make parity probe: url of %s must be https", u.Host)
		case u.Query().Has("token"):
			return nil, fmt.Errorf("make parity probe: url of %s must not carry a token", u.Host)
		case !slices.Contains(o.AllowHosts, u.Host):
			return nil, fmt.Errorf("make parity probe: host %s is not among the allowed hosts", u.Host)
		}
		p.urls = append(p.urls, u)
	}
	shared := Options{CAFile: o.CAFile, CAPEM: o.CAPEM, ServerName: o.ServerName, ProxyURL: o.ProxyURL, Transport: o.Transport}.withDefaults()
	transport, _, err := transports(shared)
	if err != nil {
		return nil, fmt.Errorf("make parity probe: %w", err)
	}
	p.client = &http.Client{Transport: transport, CheckRedirect: noRedirect}
	return p, nil
}

// Close drops idle connections.
func (p *Parity) Close() { p.client.CloseIdleConnections() }

// Counts is the number of HTTP requests so far.
func (p *Parity) Counts() map[Counted]int { return p.counts.snapshot() }

// Compare asks each URL with both keys. Bodies differ for many reasons; what must agree
// is the HTTP status and the error code in a JSON body, where the new key's is not a good
// one. An old key that is missing asks of the new one that it works.
func (p *Parity) Compare(ctx context.Context, old, minted rotate.Secret, referrer string) error {
	for _, u := range p.urls {
		what := "compare keys at " + u.Host + u.Path
		after, _, err := p.ask(ctx, what, u, minted, referrer)
		if err != nil {
			return err
		}
		before := seen{status: http.StatusOK} // without an old key, the new one has to work
		if !old.IsZero() {
			if before, _, err = p.ask(ctx, what, u, old, referrer); err != nil {
				return err
			}
		}
		if before != after && !after.good() { // what the old key could not is no fault of the new one
			// A key that is new may not have reached every service yet.
			return &rotate.Error{Op: what, Kind: rotate.KindTransient,
				Err: fmt.Errorf("the old key gives %s, the new one %s", before, after)}
		}
	}
	return nil
}

// seen is what of an answer is compared.
type seen struct{ status, code int }

func (s seen) good() bool { return s.status/100 == 2 && s.code == 0 }

// tokenRefused: an old key that is dead already says nothing against the new one.
func (s seen) tokenRefused() bool {
	return s.code == codeInvalidToken || s.code == codeTokenRequired || s.status == codeInvalidToken || s.status == codeTokenRequired ||
		s.status == http.StatusUnauthorized
}

func (s seen) String() string {
	if s.code == 0 {
		return fmt.Sprintf("HTTP %d", s.status)
	}
	return fmt.Sprintf("HTTP %d with code %d", s.status, s.code)
}

func (p *Parity) ask(ctx context.Context, what string, u *url.URL, key rotate.Secret, referrer string) (seen, []byte, error) {
	start := time.Now()
	got, body, err := p.get(ctx, u, key, referrer)
	p.counts.add(Counted{Op: p.op, Purpose: rotate.PurposeParity})
	result := rotate.ResultOK
	if err != nil {
		err.Op = what
		result = rotate.Result(err.Kind)
	}
	if p.opts.OnRequest != nil {
		p.opts.OnRequest(p.op, rotate.PurposeParity, result, time.Since(start))
	}
	return got, body, asError(err)
}

// get asks with the key, or as nobody without one.
func (p *Parity) get(ctx context.Context, u *url.URL, key rotate.Secret, referrer string) (seen, []byte, *rotate.Error) {
	secrets := []string{key.Reveal()}
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return seen{}, nil, &rotate.Error{Kind: rotate.KindPermanent, Err: errors.New("the url cannot be used")}
	}
	if !key.IsZero() { // documented for access tokens where a proxy may consume Authorization
		req.Header.Set("X-Esri-Authorization", "Bearer "+key.Reveal())
	}
	req.Header.Set("User-Agent", p.opts.UserAgent)
	if referrer != "" {
		req.Header.Set("Referer", referrer)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return seen{}, nil, &rotate.Error{Kind: rotate.KindTransient, Cause: rotate.CauseUnreachable, Err: cleanTransport(err, secrets)}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, p.opts.MaxBody))
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return seen{}, nil, &rotate.Error{Kind: rotate.KindTransient, Cause: rotate.CauseUnreachable, Err: cleanTransport(err, secrets)}
	}
	got := seen{status: res.StatusCode}
	if f, _ := readFault(body); f != nil {
		got.code = orElse(f.Code, -1)
	}
	if got.status == http.StatusTooManyRequests || got.code == http.StatusTooManyRequests {
		date, _ := http.ParseTime(res.Header.Get("Date")) // zero without one
		return got, nil, &rotate.Error{Kind: rotate.KindRateLimited, Wait: exchange{header: res.Header, date: date, arrived: time.Now()}.wait(), Err: errors.New(got.String())}
	}
	if got.status >= 500 || got.code >= 500 {
		return got, nil, &rotate.Error{Kind: rotate.KindTransient, Err: errors.New(got.String())}
	}
	return got, body, nil
}
