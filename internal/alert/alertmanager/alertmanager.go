// Package alertmanager tells alerts to Prometheus' Alertmanager, by its API v2
// (api/v2/openapi.yaml of prometheus/alertmanager, as in version 0.25).
//
// An alert is its labels: what has other ones is another alert. So Ref holds the labels
// that were told, and when they change (a warning becomes critical, an owner leaves) the
// alert with the old ones is ended in the same request. Alertmanager forgets what it is
// not told again: each alert is posted to stand for Keep, and RefreshEvery
// says how often to tell it anew. What ends is told to end.
//
// Alertmanager holds what is wrong, and it decides itself when to repeat. So routine
// notices and digests are not told to it, and an acknowledgement is an annotation: to
// quieten it there, silence it there.
package alertmanager

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/wire"
	"rotatord/internal/rotate"
)

// Options of New.
type Options struct {
	URLs []string // https, or http to this machine; each is told
	// Token is sent as a bearer token, or Username with Password; nil and "": neither.
	Token    wire.Source
	Username string
	Password wire.Source
	TLS      wire.TLS
	Proxy    string
	Timeout  time.Duration // of one request
	// Keep is how long an alert stands without being told again: longer than a restart.
	Keep time.Duration
	Log  *slog.Logger // nil: none; one of several Alertmanagers being away is said here
}

// Notifier posts alerts. It is safe for concurrent use.
type Notifier struct {
	servers []server
	o       Options
	client  *wire.Client

	mu   sync.Mutex
	away map[string]bool // guarded by mu: servers whose being away was said
}

// server is one Alertmanager.
type server struct {
	host string // for people
	base string
}

var (
	_ alert.Notifier  = (*Notifier)(nil)
	_ alert.Refresher = (*Notifier)(nil)
)

// minKeep is longer than a slow answer and a missed round.
const minKeep = time.Minute

// New checks the options. It sends nothing.
func New(o Options) (*Notifier, error) {
	switch {
	case len(o.URLs) == 0:
		return nil, errors.New("configure Alertmanager: an address is needed")
	case o.Keep < minKeep:
		return nil, fmt.Errorf("configure Alertmanager: keep must be at least %s", minKeep)
	case o.Token != nil && o.Username != "":
		return nil, errors.New("configure Alertmanager: give a token, or user name and password")
	case (o.Username == "") != (o.Password == nil):
		return nil, errors.New("configure Alertmanager: user name and password go together")
	}
	client, err := wire.New(wire.Options{TLS: o.TLS, Proxy: o.Proxy, Timeout: o.Timeout})
	if err != nil {
		return nil, fmt.Errorf("configure Alertmanager: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := &Notifier{o: o, client: client, away: map[string]bool{}}
	for i, raw := range o.URLs {
		u, err := wire.Address(raw)
		if err != nil {
			return nil, fmt.Errorf("configure Alertmanager: address %d: %w", i+1, err)
		}
		u.RawQuery, u.Fragment = "", ""
		n.servers = append(n.servers, server{host: u.Host, base: strings.TrimRight(u.String(), "/")})
	}
	return n, nil
}

// Name is the route's word.
func (*Notifier) Name() string { return "alertmanager" }

// refreshes in the time that an alert stands: some may fail.
const refreshes = 4

// RefreshEvery is how often what is not resolved is to be told again.
func (a *Notifier) RefreshEvery() time.Duration { return a.o.Keep / refreshes }

// Tell posts the alert to every Alertmanager, and is content with one that took it: they
// tell one another what they have told, not what they were told. The ref is its labels.
func (a *Notifier) Tell(ctx context.Context, n alert.Notice) (string, error) {
	switch n.Kind {
	case alert.NoticeAlert, alert.NoticeSample:
	case alert.NoticeRoutine, alert.NoticeDigest:
		return n.Ref, nil
	}
	post, ref := a.alerts(wire.Clean(n), time.Now().UTC())
	if len(post) == 0 {
		return n.Ref, nil
	}
	body, err := json.Marshal(post)
	if err != nil {
		return n.Ref, &rotate.Error{Op: "tell Alertmanager", Kind: rotate.KindPermanent, Err: errors.New("the alert cannot be written as JSON")}
	}
	errs := a.all(func(s server) error {
		answer, err := a.ask(ctx, s, http.MethodPost, "/api/v2/alerts", body)
		if err != nil {
			return err
		}
		return answer.Err("tell Alertmanager " + s.host)
	})
	a.note(ctx, errs)
	if err := worst(errs); err != nil {
		return n.Ref, err
	}
	return ref, nil
}

// Check asks every Alertmanager for its status. That one of several does not answer is an
// error here, and none to Tell.
func (a *Notifier) Check(ctx context.Context) error {
	return errors.Join(a.all(func(s server) error {
		op := "ask Alertmanager " + s.host
		answer, err := a.ask(ctx, s, http.MethodGet, "/api/v2/status", nil)
		if err == nil {
			err = answer.Err(op)
		}
		if err != nil {
			return err
		}
		var status struct {
			Version struct {
				Version string `json:"version"`
			} `json:"versionInfo"`
		}
		if json.Unmarshal(answer.Body, &status) != nil || status.Version.Version == "" {
			return &rotate.Error{Op: op, Kind: rotate.KindAuth, Err: errors.New("what answers there is no Alertmanager with API v2")}
		}
		return nil
	})...)
}

func (a *Notifier) ask(ctx context.Context, s server, method, path string, body []byte) (wire.Answer, error) {
	h := http.Header{}
	h.Set("Accept", "application/json")
	if body != nil {
		h.Set("Content-Type", "application/json")
	}
	op := "tell Alertmanager " + s.host
	if err := a.signIn(ctx, h); err != nil {
		return wire.Answer{}, &rotate.Error{Op: op, Kind: rotate.KindAuth, Err: err}
	}
	return a.client.Do(ctx, wire.Request{Op: op, Method: method, URL: rotate.NewSecret(s.base + path), Header: h, Body: body})
}

func (a *Notifier) signIn(ctx context.Context, h http.Header) error {
	switch {
	case a.o.Token != nil:
		token, err := a.o.Token(ctx)
		if err != nil {
			return err
		}
		h.Set("Authorization", "Bearer "+token.Reveal())
	case a.o.Password != nil:
		password, err := a.o.Password(ctx)
		if err != nil {
			return err
		}
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(a.o.Username+":"+password.Reveal())))
	}
	return nil
}

// all asks every server at the same time and returns their errors in their order.
func (a *Notifier) all(f func(server) error) []error {
	errs := make([]error, len(a.servers))
	var wg sync.WaitGroup
	for i, s := range a.servers {
		wg.Go(func() { errs[i] = f(s) })
	}
	wg.Wait()
	return errs
}

// note says once that one of several does not take alerts, and once that it does again.
func (a *Notifier) note(ctx context.Context, errs []error) {
	if len(errs) == 1 || ctx.Err() != nil {
		return // the engine says it
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, err := range errs {
		host := a.servers[i].host
		switch {
		case err != nil && !a.away[host]:
			a.o.Log.WarnContext(ctx, "one of several Alertmanagers does not take alerts", slog.String("host", host), slog.Any("err", err))
		case err == nil && a.away[host]:
			a.o.Log.InfoContext(ctx, "Alertmanager takes alerts again", slog.String("host", host))
		}
		a.away[host] = err != nil
	}
}

// worst is nil if one took it; else one error that speaks for all, and is about the
// notice only if each of them is.
func worst(errs []error) error {
	var out *rotate.Error
	for _, err := range errs {
		if err == nil {
			return nil
		}
		e, ok := errors.AsType[*rotate.Error](err)
		if !ok {
			e = &rotate.Error{Op: "tell Alertmanager", Kind: rotate.KindTransient, Err: err}
		}
		if out == nil || (out.Kind == rotate.KindPermanent && e.Kind != rotate.KindPermanent) {
			out = e
		}
	}
	if len(errs) == 1 {
		return out
	}
	return &rotate.Error{Op: "tell Alertmanager", Kind: out.Kind, Cause: out.Cause, Wait: out.Wait,
		Err: fmt.Errorf("none of %d took it: %w", len(errs), errors.Join(errs...))}
}
