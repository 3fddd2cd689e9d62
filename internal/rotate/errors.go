package rotate

import (
	"errors"
	"fmt"
	"time"
)

// Kind is the closed classification of everything that can go wrong at a portal or
// a sink. Adapters classify; only the domain decides what follows.
type Kind string

// The kinds.
const (
	// KindTransient: nothing happened and it may work later (refused connection, 5xx on a read).
	KindTransient Kind = "transient"
	// KindPermanent: nothing happened and repeating the same request cannot help.
	KindPermanent Kind = "permanent"
	// KindAuth: our identity was refused, after one renewed sign-in.
	KindAuth Kind = "auth"
	// KindRateLimited: nothing happened; Error.Wait says how long to wait, 0 if the other side did not.
	KindRateLimited Kind = "rate_limited"
	// KindConflict: a compare-and-swap found another version.
	KindConflict Kind = "conflict"
	// KindUnknownOutcome: a write was sent and nobody knows whether it took, or will yet take, effect.
	KindUnknownOutcome Kind = "unknown_outcome"
	// KindVeto: a hook said no, or did not answer. It is asked again.
	KindVeto Kind = "veto"
)

// Kinds lists every kind, for metrics that create their series at start.
func Kinds() []Kind {
	return []Kind{KindTransient, KindPermanent, KindAuth, KindRateLimited, KindConflict, KindUnknownOutcome, KindVeto}
}

// Cause narrows a kind where the domain or a person's message depends on it.
type Cause string

// The causes.
const (
	CauseNone          Cause = ""
	CauseNotFound      Cause = "not_found"      // item, secret or version does not exist or is not visible to us
	CauseForbidden     Cause = "forbidden"      // signed in, but without the right
	CauseNotCredential Cause = "not_credential" // the item is an OAuth app, a legacy key or something else
	CauseTooOld        Cause = "too_old"        // an Enterprise without API key credentials
	CauseNotAPortal    Cause = "not_a_portal"   // the answer is not a portal's
	CauseBadDate       Cause = "bad_date"       // the portal refused to mint for the slot's date
	CauseSealed        Cause = "sealed"
	CauseNoMount       Cause = "no_mount"
	CauseKVv1          Cause = "kv_v1"
	CauseReadOnly      Cause = "read_only"
	CauseNamespace     Cause = "namespace" // the server ignores the configured namespace
	CauseBreakerOpen   Cause = "breaker_open"
	CauseUnreachable   Cause = "unreachable"
	CauseMalformed     Cause = "malformed" // the sink's key field holds something that is no string
)

// Error is what adapters return. It carries names, never values, bodies or URLs
// with tokens.
type Error struct {
	Op    string // what was attempted, on what: "mint slot 2 of item 4f…"
	Kind  Kind
	Cause Cause
	Wait  time.Duration // for KindRateLimited
	Err   error         // may be nil
}

func (e *Error) Error() string {
	msg := fmt.Sprintf("%s: %s", e.Op, e.Kind)
	if e.Cause != CauseNone {
		msg += " (" + string(e.Cause) + ")"
	}
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf an error: that of the outermost *Error in its chain; KindTransient for any
// other error, "" for nil. An adapter that may have written must return an *Error.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindTransient
}

// CauseOf an error; CauseNone where it has none.
func CauseOf(err error) Cause {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Cause
	}
	return CauseNone
}

// WaitOf is how long a rate limit asked to wait; 0 if it did not say.
func WaitOf(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Wait
	}
	return 0
}
