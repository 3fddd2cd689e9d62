package portal

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rotatord/internal/rotate"
)

// nature says what a request may do, which decides what its failures mean.
type nature uint8

const (
	reading   nature = iota // changes nothing, may be repeated
	settling                // a write that is idempotent: an unknown outcome is merely transient
	happening               // makes or ends something: sent at most once, and unless the answer is clean its outcome is unknown
)

// fault is the portal's own word that something went wrong (contract 1.3).
type fault struct {
	Code        int // the portal's code, or the HTTP status where it gave none
	MessageCode string
	Message     string        // capped and scrubbed
	OAuth       string        // the OAuth error word
	whole       rotate.Secret // the message before it was scrubbed, for says alone
}

func (f *fault) Error() string {
	msg := "portal answers"
	if f.Code != 0 {
		msg += " code " + strconv.Itoa(f.Code)
	}
	if f.MessageCode != "" {
		msg += " " + f.MessageCode
	}
	if f.OAuth != "" {
		msg += " " + f.OAuth
	}
	if f.Message != "" {
		msg += ": " + f.Message
	}
	return msg
}

// says tells whether the portal's message holds one of the words. Contract 1.3 has
// several faults that differ in nothing but their message.
func (f *fault) says(words ...string) bool {
	msg := strings.ToLower(f.whole.Reveal())
	for _, w := range words {
		if strings.Contains(msg, w) {
			return true
		}
	}
	return false
}

// The portal's codes for a token that it does not accept, or misses.
const (
	codeInvalidToken  = 498
	codeTokenRequired = 499
)

func (f *fault) tokenRefused() bool {
	return f != nil && (f.Code == codeInvalidToken || f.Code == codeTokenRequired)
}

type wireFault struct {
	Error       json.RawMessage `json:"error"`
	Code        number          `json:"code"`
	MessageCode text            `json:"messageCode"`
	Message     text            `json:"message"`
	Details     list            `json:"details"`
	OAuth       text            `json:"-"`
	Description text            `json:"error_description"`
	Status      text            `json:"status"`
	Success     truth           `json:"success"`
}

// readFault finds the portal's word of a failure in an answer's body. object is false
// if the body is not one whole JSON object: then it did not come from a portal, or not
// to its end.
func readFault(body []byte) (f *fault, object bool) {
	var w wireFault
	if object = isObject(body) && json.Unmarshal(body, &w) == nil; !object {
		return nil, false
	}
	outer := w
	switch {
	case len(w.Error) > 0 && w.Error[0] == '{':
		inner := struct {
			wireFault
			Word text `json:"error"`
		}{}
		if json.Unmarshal(w.Error, &inner) != nil {
			return &fault{}, true
		}
		w = inner.wireFault
		w.OAuth = inner.Word
	case len(w.Error) > 0 && w.Error[0] == '"':
		_ = w.OAuth.UnmarshalJSON(w.Error) // a text takes any value
	case len(w.Error) > 0 && string(w.Error) != "null" && string(w.Error) != "false":
	case outer.Success.set && !outer.Success.v:
	case slices.Contains([]string{"failed", "failure", "error"}, strings.ToLower(string(outer.Status))):
	default:
		return nil, true
	}
	msg := string(w.Message)
	if msg == "" {
		msg = string(w.Description)
	}
	if len(w.Details.v) > 0 {
		msg = strings.TrimSpace(msg + " " + strings.Join(w.Details.v, " "))
	}
	return &fault{Code: int(w.Code.v), MessageCode: string(w.MessageCode), Message: msg, OAuth: string(w.OAuth), whole: rotate.NewSecret(msg)}, true
}

func isObject(body []byte) bool {
	trimmed := strings.TrimSpace(string(body[:min(len(body), 64)]))
	return strings.HasPrefix(trimmed, "{")
}

// exchange is what came of one HTTP request.
type exchange struct {
	status  int // 0: no answer
	header  http.Header
	body    []byte
	fault   *fault
	object  bool  // the body is one whole JSON object
	err     error // why there is no answer, or not all of it
	unsent  bool  // provably nothing was sent
	tooBig  bool
	date    time.Time
	arrived time.Time
	offset  time.Duration // how far the portal's clock was ahead of ours when it was last seen
}

// asksToWait tells whether the portal refused because it is asked too much, and for how
// long it wants to be left alone; 0 where it does not say.
func (x exchange) asksToWait() (wait time.Duration, limited bool) {
	code := x.status
	if x.fault != nil && x.fault.Code != 0 {
		code = x.fault.Code
	}
	switch wait = x.retryAfter(); {
	case x.err != nil:
		return 0, false
	case x.status == http.StatusTooManyRequests || code == http.StatusTooManyRequests:
		return wait, true
	case x.status == http.StatusServiceUnavailable || code == http.StatusServiceUnavailable:
		return wait, wait > 0
	}
	return 0, false
}

// wait is Retry-After as far as it is obeyed.
func (x exchange) wait() time.Duration { return min(x.retryAfter(), maxPause) }

// classify turns an exchange into the closed classification; nil where it went well.
func classify(n nature, x exchange) *rotate.Error {
	switch {
	case x.unsent:
		return &rotate.Error{Kind: rotate.KindTransient, Cause: rotate.CauseUnreachable, Err: x.err}
	case x.status == 0 || x.err != nil:
		return &rotate.Error{Kind: unclear(n), Cause: rotate.CauseUnreachable, Err: x.err}
	case x.status == http.StatusTooManyRequests || x.fault != nil && x.fault.Code == http.StatusTooManyRequests:
		return &rotate.Error{Kind: rotate.KindRateLimited, Wait: x.wait(), Err: faultOr(x)}
	case x.status >= 300 && x.status < 400:
		return &rotate.Error{Kind: rotate.KindPermanent, Cause: rotate.CauseNotAPortal,
			Err: fmt.Errorf("the answer is a redirect (HTTP %d) to %s", x.status, redirectHost(x.header))}
	case !x.object:
		return unreadable(n, x)
	case x.fault != nil || x.status >= 400:
		return classifyFault(n, x)
	}
	return nil
}

// unclear is what a missing or unreadable answer means.
func unclear(n nature) rotate.Kind {
	if n == happening {
		return rotate.KindUnknownOutcome
	}
	return rotate.KindTransient
}

func unreadable(n nature, x exchange) *rotate.Error {
	e := &rotate.Error{Kind: unclear(n)}
	switch {
	case x.tooBig:
		e.Err = errors.New("the answer is larger than the limit")
	case x.status >= 500:
		e.Wait = x.wait()
		e.Err = fmt.Errorf("HTTP %d without a portal's answer", x.status)
	default:
		e.Cause = rotate.CauseNotAPortal
		e.Err = fmt.Errorf("HTTP %d without a portal's answer", x.status)
	}
	return e
}

func faultOr(x exchange) error {
	if x.fault != nil {
		return x.fault
	}
	return fmt.Errorf("HTTP %d", x.status)
}

func classifyFault(n nature, x exchange) *rotate.Error {
	e := &rotate.Error{Kind: rotate.KindPermanent, Err: faultOr(x)}
	code := x.status
	var messageCode string
	if f := x.fault; f != nil {
		messageCode = f.MessageCode
		if f.Code != 0 {
			code = f.Code
		}
	}
	switch {
	case code == codeInvalidToken || code == codeTokenRequired || code == http.StatusUnauthorized:
		e.Kind = rotate.KindAuth
	case messageCode == "CONT_0001" || code == http.StatusNotFound:
		e.Cause = rotate.CauseNotFound
	case messageCode == "GWM_0003" || code == http.StatusForbidden:
		e.Cause = rotate.CauseForbidden
	case code >= 500 || code == http.StatusRequestTimeout || code < 400:
		// Below 400 the portal named no code: nothing says whether it acted.
		e.Kind = unclear(n)
		e.Wait = x.wait()
	}
	return e
}

// retryAfter reads both forms of Retry-After (RFC 9110, 10.2.3); 0 without one. A date is
// taken against the answer's own Date, and without one against the portal's clock as we
// know it, so that clock skew does not matter.
func (x exchange) retryAfter() time.Duration {
	raw := strings.TrimSpace(x.header.Get("Retry-After"))
	if raw == "" {
		return 0
	}
	if s, err := strconv.ParseUint(raw, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(s, uint64(math.MaxInt64/time.Second))) * time.Second
	}
	at, err := http.ParseTime(raw)
	if err != nil {
		return 0
	}
	now := x.date
	if now.IsZero() {
		now = x.arrived.Add(x.offset)
	}
	return max(0, at.Sub(now))
}

// neverSent tells whether err itself proves that nothing went out: the connection was
// never made. traced says that a socket transport reported on the connection, gotConn
// that it had one.
func neverSent(err error, traced, gotConn bool) bool {
	if err == nil {
		return false
	}
	if traced {
		return !gotConn
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// tokenLike is any run of characters that could be a key, a token or a client secret.
var tokenLike = regexp.MustCompile(`[A-Za-z0-9._~+/=%-]{20,}`)

const maxMessage = 200

// scrub makes a portal's text fit for an error: no value that was sent, nothing that
// looks like a token, no control characters, capped.
func scrub(msg string, secrets []string) string {
	msg = tokenLike.ReplaceAllString(hide(msg, secrets), "[redacted]")
	msg = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, msg)
	if len(msg) > maxMessage {
		msg = strings.ToValidUTF8(msg[:maxMessage], "") + "…"
	}
	return strings.TrimSpace(msg)
}

func hide(msg string, secrets []string) string {
	for _, s := range secrets {
		if s == "" {
			continue
		}
		msg = strings.ReplaceAll(msg, s, "[redacted]")
		msg = strings.ReplaceAll(msg, url.QueryEscape(s), "[redacted]")
	}
	return msg
}

// brokenError is a transport's error without the URL and without sent values. It has
// no Unwrap: whoever walks the chain must not come to the text it was made from.
type brokenError struct {
	msg string
	err error
}

func (e *brokenError) Error() string        { return e.msg }
func (e *brokenError) Is(target error) bool { return errors.Is(e.err, target) }

func cleanTransport(err error, secrets []string) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return &brokenError{hide(ownWords(err), secrets), err}
}
