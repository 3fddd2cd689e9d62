package sinks

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"

	"rotatord/internal/rotate"
)

// What Vault says in the "errors" of a reply where its status alone is ambiguous.
// This is its wire format, not the text of a Go error; seen on 1.21.
const (
	wireInvalidToken = "invalid token" // 403: sign in again; else the policy forbids
	wireSealed       = "Vault is sealed"
	wireNoLeader     = "local node not active but active cluster node not found"
)

var (
	errRedirected = errors.New("the server redirects instead of answering: a standby without a leader, or no Vault")
	errNotVault   = errors.New("the reply is not Vault's JSON")
	errNoHTTP     = errors.New("the reply is no HTTP that can be read")
)

// guard turns every redirect into an error, since the client would report a second
// one as "secret not found", and caps replies.
type guard struct{ next http.RoundTripper }

func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusMultipleChoices && resp.StatusCode < http.StatusBadRequest {
		return nil, errors.Join(errRedirected, resp.Body.Close())
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxReply)
	return resp, nil
}

// call is one request. Without a body it is a GET.
type call struct {
	op     string // for errors: "write secret kv/app/key"
	path   string // below /v1/
	query  url.Values
	body   any
	patch  bool // a merge patch instead of a PUT
	token  rotate.Secret
	remove bool // a DELETE
	// effect: the request may change something that matters, so that trouble after
	// sending it is an unknown outcome.
	effect bool
}

// reply to a call, of any status.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// send makes one request. Its error is an *rotate.Error about the transport; an HTTP
// status is the caller's to judge.
func (v *Vault) send(ctx context.Context, client *api.Client, c call) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, v.opt.Timeout)
	defer cancel()
	var sent atomic.Bool // a connection was had: bytes may have gone out
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	rep, err := exchange(ctx, client, c)
	if err == nil {
		return rep, nil
	}
	e := &rotate.Error{Op: c.op, Kind: rotate.KindTransient, Cause: rotate.CauseUnreachable, Err: ownWords(err)}
	if sent.Load() && c.effect && !errors.Is(err, errRedirected) {
		e.Kind = rotate.KindUnknownOutcome
	}
	return reply{}, e
}

// exchange uses the client's raw form: its others take a 404 for "not found"
// whatever its reason, hide headers, and keep the token in shared state.
func exchange(ctx context.Context, client *api.Client, c call) (reply, error) {
	method := http.MethodGet
	switch {
	case c.patch:
		method = http.MethodPatch
	case c.remove:
		method = http.MethodDelete
	case c.body != nil:
		method = http.MethodPut
	}
	r := client.NewRequest(method, "/v1/"+c.path)
	r.ClientToken = c.token.Reveal()
	if c.query != nil {
		r.Params = c.query
	}
	if c.body != nil {
		if err := r.SetJSONBody(c.body); err != nil {
			return reply{}, fmt.Errorf("encode request: %w", err)
		}
	}
	if c.patch {
		r.Headers.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := client.RawRequestWithContext(ctx, r) //nolint:staticcheck // see above
	if resp == nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	if _, ok := errors.AsType[*api.ResponseError](err); err != nil && !ok {
		return reply{}, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, fmt.Errorf("read reply: %w", err)
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: body}, nil
}

// ownWords keeps what this machine found out about the network and TLS. Every other
// error of a transport comes from reading a reply and may quote it, with a key or a
// token in it ("malformed HTTP status code"); net/http's own words repeat the URL.
func ownWords(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	for _, known := range []error{
		errRedirected, context.DeadlineExceeded, context.Canceled, io.ErrUnexpectedEOF, io.EOF, http.ErrSchemeMismatch,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return e
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return context.DeadlineExceeded
	}
	return errNoHTTP
}

// judge turns a reply that is no success into an *rotate.Error.
func judge(c call, r reply) error {
	e := &rotate.Error{Op: c.op, Kind: rotate.KindPermanent, Err: fmt.Errorf("vault answered %d", r.status)}
	switch {
	case r.says(wireSealed):
		e.Kind, e.Cause = rotate.KindTransient, rotate.CauseSealed
	case r.says(wireNoLeader):
		e.Kind, e.Cause = rotate.KindTransient, rotate.CauseUnreachable
	case r.status == http.StatusForbidden && r.says(wireInvalidToken):
		e.Kind = rotate.KindAuth
	case r.status == http.StatusForbidden:
		e.Cause = rotate.CauseForbidden
	case r.status == http.StatusNotFound:
		e.Cause = rotate.CauseNotFound
	case r.status == http.StatusTooManyRequests:
		e.Kind, e.Wait = rotate.KindRateLimited, retryAfter(r.header, time.Now())
	case r.status == http.StatusPreconditionFailed: // Enterprise: this node lags behind
		e.Kind = rotate.KindTransient
	case r.status >= http.StatusInternalServerError && c.effect:
		e.Kind = rotate.KindUnknownOutcome
	case r.status >= http.StatusInternalServerError:
		e.Kind = rotate.KindTransient
	}
	return e
}

// says looks for a wire text in the reply's errors.
func (r reply) says(text string) bool {
	var body struct {
		Errors []string `json:"errors"`
	}
	if r.status < http.StatusBadRequest || json.Unmarshal(r.body, &body) != nil {
		return false
	}
	for _, e := range body.Errors {
		if strings.Contains(e, text) {
			return true
		}
	}
	return false
}

// decode the reply's body. The error does not quote it: it may hold a key.
func (r reply) decode(into any) error {
	if err := json.Unmarshal(r.body, into); err != nil {
		return errNotVault
	}
	return nil
}

func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// do sends a call with a good token; a token that the server refuses is replaced
// once.
func (v *Vault) do(ctx context.Context, c call) (reply, error) {
	for again := false; ; again = true {
		id, err := v.signedIn(ctx)
		if err != nil {
			return reply{}, err
		}
		c.token = id.token
		rep, err := v.send(ctx, v.client, c)
		if err != nil {
			return reply{}, err
		}
		if rep.status != http.StatusForbidden || !rep.says(wireInvalidToken) || again {
			return rep, nil
		}
		v.session.refuse(id)
	}
}
