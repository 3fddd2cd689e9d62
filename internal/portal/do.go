package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go"

	"rotatord/internal/rotate"
)

// call is one operation at the portal: what is sent, and what its answer means.
type call struct {
	op      string // closed set, for metrics
	what    string // for people: "mint slot 2 of item 4f…"
	path    string // below the REST root, escaped
	form    url.Values
	nature  nature
	anon    bool          // no token of ours goes along
	token   rotate.Secret // goes along instead of ours
	referer string        // instead of ours
	secrets []string      // values in form that no error may show
	purpose rotate.Purpose
	// refine may narrow the classification of the portal's own fault.
	refine func(*fault, *rotate.Error)
}

// reply is a good answer.
type reply struct {
	date    time.Time // HTTP Date; zero without one
	arrived time.Time
	fault   *fault // for callers that read a fault as an answer
}

// portalTime is when the reply was made, by the portal's clock where it told.
func (r reply) portalTime() time.Time {
	if r.date.IsZero() {
		return r.arrived
	}
	return r.date
}

// do runs a call to its end: reads are repeated within the limits, everything else is
// one request, or two around a renewed sign-in.
func (c *Client) do(ctx context.Context, k call, out any) (reply, error) {
	if k.purpose == "" {
		k.purpose = rotate.PurposeOf(ctx)
	}
	if k.nature != reading || c.retry == nil {
		r, err := c.signedIn(ctx, k, out, false)
		return r, asError(err)
	}
	var (
		r      reply
		failed *rotate.Error
		repeat bool
	)
	// Only what the closure kept counts: once ctx has ended, the policy returns an error
	// of its own even where the last try went well.
	_ = failsafe.With(c.retry).WithContext(ctx).Run(func() error {
		r, failed = c.signedIn(ctx, k, out, repeat)
		repeat = true
		return asError(failed)
	})
	return r, asError(failed)
}

// asError keeps a nil *rotate.Error from becoming an error that is not nil.
func asError(err *rotate.Error) error {
	if err == nil {
		return nil
	}
	return err
}

// signedIn sends the call with our token. A token that the portal no longer accepts is
// renewed once and the call repeated once: a refused token means that nothing
// happened, also to what is sent at most once. Mint and revoke carry no token and never
// come here with one.
func (c *Client) signedIn(ctx context.Context, k call, out any, repeat bool) (reply, *rotate.Error) {
	if k.anon || !k.token.IsZero() {
		return c.send(ctx, k, k.token, out, repeat)
	}
	if c.session == nil {
		return reply{}, &rotate.Error{Op: k.what, Kind: rotate.KindAuth, Err: errors.New("no identity")}
	}
	token, generation, err := c.session.current(ctx)
	if err != nil {
		return reply{}, within(k.what, err)
	}
	r, failed := c.send(ctx, k, token, out, repeat)
	if failed == nil || failed.Kind != rotate.KindAuth {
		return r, failed
	}
	c.session.drop(generation)
	if token, _, err = c.session.current(ctx); err != nil {
		return reply{}, within(k.what, err)
	}
	return c.send(ctx, k, token, out, true)
}

// within puts a sign-in's error under the call that needed it.
func within(what string, err error) *rotate.Error {
	return &rotate.Error{Op: what, Kind: rotate.KindOf(err), Cause: rotate.CauseOf(err), Wait: rotate.WaitOf(err), Err: err}
}

// send makes one HTTP request under the portal's limits.
func (c *Client) send(ctx context.Context, k call, token rotate.Secret, out any, repeat bool) (reply, *rotate.Error) {
	urgency := rotate.UrgencyOf(ctx)
	if k.purpose == rotate.PurposeSignIn {
		urgency = rotate.UrgencyOrder // whoever asked for it, everybody else waits for it too
	}
	leave, refused := c.limits.enter(ctx, urgency, k.nature)
	if refused != nil {
		refused.Op = k.what
		return reply{}, refused
	}
	start := time.Now()
	x := c.exchange(ctx, k, token)
	c.limits.heed(x) // before leave lets the next one go
	leave(verdictOf(ctx, x))
	err := c.judge(k, x, out)
	took := time.Since(start)
	c.counts.add(Counted{Op: k.op, Purpose: k.purpose, Repeat: repeat})
	result := rotate.ResultOK
	if err != nil {
		result = rotate.Result(err.Kind)
	}
	if c.opts.OnRequest != nil {
		c.opts.OnRequest(k.op, k.purpose, result, took)
	}
	c.opts.Log.LogAttrs(ctx, slog.LevelDebug, "portal request", slog.String("op", k.op), slog.String("purpose", string(k.purpose)),
		slog.String("result", string(result)), slog.Int("http_status", x.status), slog.Duration("took", took), slog.Bool("repeat", repeat))
	return reply{date: x.date, arrived: x.arrived, fault: x.fault}, err
}

func (c *Client) judge(k call, x exchange, out any) *rotate.Error {
	err := classify(k.nature, x)
	if err == nil && out != nil {
		if json.Unmarshal(x.body, out) != nil {
			err = unreadable(k.nature, x)
		}
	}
	if err == nil {
		return nil
	}
	err.Op = k.what
	if k.refine != nil && x.fault != nil && x.err == nil {
		k.refine(x.fault, err)
	}
	return err
}

// exchange sends the request and reads its answer; it knows nothing of meanings.
func (c *Client) exchange(ctx context.Context, k call, token rotate.Secret) exchange {
	secrets := append(slices.Clone(k.secrets), token.Reveal())
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	var gotConn atomic.Bool
	if c.traced {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { gotConn.Store(true) }})
	}
	req, err := c.request(ctx, k, token)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return exchange{err: cleanTransport(err, secrets), unsent: true, arrived: time.Now()}
	}
	before := time.Now()
	res, err := c.clients[k.nature].Do(req)
	if err != nil {
		return exchange{err: cleanTransport(err, secrets), unsent: neverSent(err, c.traced, gotConn.Load()), arrived: time.Now()}
	}
	x := exchange{status: res.StatusCode, header: res.Header, arrived: time.Now()}
	x.offset, _, _ = c.clock.read()
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		x.date = date
		c.clock.note(date, before, x.arrived)
	}
	x.body, err = io.ReadAll(io.LimitReader(res.Body, c.opts.MaxBody+1))
	closeErr := res.Body.Close()
	if err := errors.Join(err, closeErr); err != nil {
		x.err = fmt.Errorf("read answer: %w", cleanTransport(err, secrets))
		return x
	}
	if int64(len(x.body)) > c.opts.MaxBody {
		x.body, x.tooBig = nil, true
		return x
	}
	x.fault, x.object = readFault(x.body)
	if x.fault == nil && (x.status == codeInvalidToken || x.status == codeTokenRequired) {
		x.fault, x.object = &fault{Code: x.status}, true // no proxy answers these: the status is the portal's word
	}
	if x.fault != nil {
		x.fault.Message = scrub(x.fault.Message, secrets)
		x.fault.MessageCode = scrub(x.fault.MessageCode, secrets)
		x.fault.OAuth = scrub(x.fault.OAuth, secrets)
	}
	return x
}

// request builds a form POST. Values never stand in the URL, which logs and error
// texts repeat. Reads are POST too: rest-js sends them so, and the token then stays in
// the body on every server version.
func (c *Client) request(ctx context.Context, k call, token rotate.Secret) (*http.Request, error) {
	form := url.Values{"f": {"json"}}
	maps.Copy(form, k.form)
	if !token.IsZero() {
		form.Set("token", token.Reveal())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.root.String()+k.path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	if k.nature == happening {
		req.GetBody = nil // without it net/http cannot send the body a second time
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.opts.UserAgent)
	referer := k.referer
	if referer == "" {
		referer = c.referer
	}
	req.Header.Set("Referer", referer)
	return req, nil
}

// sameHost lets a read follow a redirect that keeps host, scheme and method (307 and
// 308); any other redirect is the answer.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > 3 || req.URL.Host != first.URL.Host || req.URL.Scheme != first.URL.Scheme || req.Method != first.Method || addsLongPart(first.URL, req.URL) {
		return http.ErrUseLastResponse
	}
	return nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
