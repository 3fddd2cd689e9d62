package portal

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"rotatord/internal/rotate"
)

// limits is what stands between a call and its portal: a queue for requests at once and
// a second, the pause that a portal asked for, and a breaker that opens on consecutive
// transport failures. All credentials of the portal share it.
type limits struct {
	queue   queue
	breaker circuitbreaker.CircuitBreaker[any] // nil: never opens
	// told is called when the portal asked for a pause, or for a longer one.
	told func(p pause)

	mu      sync.Mutex
	strikes int // guarded by mu: refusals in a row that named no wait
}

// newLimits tells the log when the breaker moves.
func newLimits(l Limits, log *slog.Logger, told func(pause)) *limits {
	out := &limits{queue: queue{atOnce: l.AtOnce, patience: l.RetryWait}, told: told}
	if l.PerSecond > 0 {
		out.queue.interval = time.Duration(math.Ceil(float64(time.Second) / l.PerSecond))
	}
	if l.BreakerAfter > 0 {
		out.breaker = circuitbreaker.NewBuilder[any]().
			WithFailureThreshold(uint(l.BreakerAfter)).
			WithSuccessThreshold(1).
			WithDelay(l.BreakerDelay).
			OnOpen(func(circuitbreaker.StateChangedEvent) {
				log.LogAttrs(context.Background(), slog.LevelWarn, "portal breaker opened", slog.Duration("wait", l.BreakerDelay))
			}).
			OnClose(func(circuitbreaker.StateChangedEvent) {
				log.LogAttrs(context.Background(), slog.LevelInfo, "portal breaker closed")
			}).
			Build()
	}
	return out
}

// verdict is what one exchange says about the way to the portal.
type verdict uint8

const (
	wayOpen verdict = iota
	wayBroken
	wayUnknown // the caller gave up: nothing is known
)

// verdictOf: an answer of any kind shows that the way is open; a gateway's 502, 503 or
// 504 and a connection that gave none do not.
func verdictOf(ctx context.Context, x exchange) verdict {
	switch {
	case x.err != nil && ctx.Err() != nil:
		return wayUnknown
	case x.err != nil || x.status == http.StatusBadGateway || x.status == http.StatusServiceUnavailable || x.status == http.StatusGatewayTimeout:
		return wayBroken
	}
	return wayOpen
}

// longestHold bounds how long a mint or revoke waits for its turn. What it rests on was
// read before, and its effect horizon counts from the time that was journalled before.
const longestHold = 10 * time.Second

var (
	errPaused = errors.New("the portal asked to be left alone, and nothing was sent")
	errHeld   = errors.New("the portal's limits held it back for too long, and nothing was sent")
)

// enter waits for the limits. After a nil error the caller sends one request and calls
// leave once. Nothing has been sent when it returns an error.
func (l *limits) enter(ctx context.Context, u rotate.Urgency, n nature) (leave func(verdict), refused *rotate.Error) {
	if err := l.shut(); err != nil {
		return nil, err
	}
	if n == happening {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, longestHold+l.queue.interval, errHeld)
		defer cancel()
	}
	for {
		turned, refused := l.queue.acquire(ctx, u)
		if refused != nil {
			return nil, refused
		}
		if !turned {
			break
		}
		if err := l.shut(); err != nil {
			return nil, err
		}
	}
	if l.breaker == nil {
		return func(verdict) { l.queue.release() }, nil
	}
	if !l.breaker.TryAcquirePermit() {
		l.queue.release()
		return nil, l.open()
	}
	trial := l.breaker.IsHalfOpen()
	return func(v verdict) {
		l.record(v, trial)
		l.queue.release()
	}, nil
}

// record tells the breaker how a request went. Nobody waits for a portal whose breaker
// is open.
func (l *limits) record(v verdict, trial bool) {
	switch {
	case v == wayOpen:
		l.breaker.RecordSuccess()
	case v == wayBroken, trial: // an abandoned trial proved nothing, and must give its permit back
		l.breaker.RecordFailure()
		if l.shut() != nil {
			l.queue.clear()
		}
	}
}

// shut spares a call the wait for its turn while the breaker is open.
func (l *limits) shut() *rotate.Error {
	if l.breaker != nil && l.breaker.IsOpen() && l.breaker.RemainingDelay() > 0 {
		return l.open()
	}
	return nil
}

func (l *limits) open() *rotate.Error {
	return &rotate.Error{Kind: rotate.KindTransient, Cause: rotate.CauseBreakerOpen, Wait: l.breaker.RemainingDelay(), Err: circuitbreaker.ErrOpen}
}

// pause is a portal's wish to be left alone.
type pause struct {
	until  time.Time
	asked  time.Duration // as the answer says; 0: it did not
	status int           // HTTP
}

const (
	// maxPause caps what a Retry-After can do: nobody who means well asks for more, and
	// a key may be dying meanwhile.
	maxPause = time.Hour
	// A refusal that names no wait pauses the portal for this long, doubled for each
	// further one in a row.
	firstPause   = time.Second
	longestPause = time.Minute
	// Several requests are refused at once, and each names its own end of one pause.
	samePause = time.Second
)

// heed takes from an answer what it asks of everybody who calls this portal.
func (l *limits) heed(x exchange) {
	asked, limited := x.asksToWait()
	if !limited {
		if x.err == nil {
			l.mu.Lock()
			l.strikes = 0
			l.mu.Unlock()
		}
		return
	}
	p := pause{asked: asked, status: x.status}
	if l.extend(&p, x.arrived) > samePause {
		l.told(p)
	}
}

// extend the pause, and tell by how much. A refusal that named no wait is counted and the
// pause begun in one go: those of requests that were sent before it are the same refusal.
func (l *limits) extend(p *pause, arrived time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := p.asked
	if asked <= 0 {
		if !l.queue.isPaused() {
			l.strikes++
		}
		asked = min(firstPause<<min(max(l.strikes-1, 0), 10), longestPause)
	}
	p.until = arrived.Add(min(asked, maxPause))
	return l.queue.pause(p.until)
}

// Breaker says whether requests are let through.
type Breaker string

// The states of a breaker.
const (
	BreakerOff      Breaker = "off"       // the config has none
	BreakerClosed   Breaker = "closed"    // requests go through
	BreakerOpen     Breaker = "open"      // none goes through
	BreakerHalfOpen Breaker = "half_open" // one goes through, and decides
)

// Breakers lists every state, for metrics that create their series at start.
func Breakers() []Breaker {
	return []Breaker{BreakerOff, BreakerClosed, BreakerOpen, BreakerHalfOpen}
}

// Standing is how a portal's limits stand, for metrics and people.
type Standing struct {
	Breaker     Breaker
	OpenUntil   time.Time              // zero unless the breaker is open
	PausedUntil time.Time              // zero unless the portal asked for a pause that is not over
	UnderWay    int                    // requests
	Waiting     map[rotate.Urgency]int // requests; every urgency is in it
	Waits       uint64                 // requests so far that did not get their turn at once
	Waited      time.Duration          // all of them together, once their wait was over
}

func (l *limits) standing() Standing {
	now := time.Now()
	s := l.queue.standing(now)
	s.Breaker = BreakerOff
	if l.breaker == nil {
		return s
	}
	left := l.breaker.RemainingDelay()
	switch l.breaker.State() {
	case circuitbreaker.ClosedState:
		s.Breaker = BreakerClosed
	case circuitbreaker.HalfOpenState:
		s.Breaker = BreakerHalfOpen
	case circuitbreaker.OpenState:
		s.Breaker = BreakerHalfOpen // the next request is the trial
		if left > 0 {
			s.Breaker, s.OpenUntil = BreakerOpen, now.Add(left)
		}
	}
	return s
}

func gaveUp(ctx context.Context) *rotate.Error {
	return &rotate.Error{Kind: rotate.KindTransient, Err: context.Cause(ctx)}
}

const (
	retryFirst = 250 * time.Millisecond
	retryShare = 0.1 // jitter, at most this share on top
)

// newRetry repeats reads that failed for a reason that may pass. The delay is computed
// here and not by the policy's own jitter, which could shorten a Retry-After.
func newRetry(l Limits, jitter func() float64) failsafe.Policy[any] {
	if l.Retries == 0 {
		return nil
	}
	return retrypolicy.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool { return worthRepeating(err, l.RetryWait) }).
		WithMaxRetries(l.Retries).
		ReturnLastFailure().
		WithDelayFunc(func(e failsafe.ExecutionAttempt[any]) time.Duration {
			delay := retryFirst << min(e.Retries(), 10)
			delay = min(max(delay, rotate.WaitOf(e.LastError())), l.RetryWait)
			return delay + time.Duration(jitter()*retryShare*float64(delay))
		}).
		Build()
}

func worthRepeating(err error, longest time.Duration) bool {
	kind := rotate.KindOf(err)
	return (kind == rotate.KindTransient || kind == rotate.KindRateLimited) &&
		rotate.CauseOf(err) != rotate.CauseBreakerOpen && rotate.WaitOf(err) <= longest
}

// Counted is what requests are counted by.
type Counted struct {
	Op      string
	Purpose rotate.Purpose
	Repeat  bool // a repeated read, or a call sent again after a renewed sign-in
}

type counts struct {
	mu sync.Mutex
	by map[Counted]int // guarded by mu
}

func (c *counts) add(k Counted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[Counted]int{}
	}
	c.by[k]++
}

func (c *counts) snapshot() map[Counted]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.by)
}

// clock remembers how far the portal's clock is from ours.
type clock struct {
	mu     sync.Mutex
	offset time.Duration // guarded by mu
	at     time.Time     // guarded by mu
}

// note takes an answer's Date. It has whole seconds, so half of one is added.
func (c *clock) note(date, sent, arrived time.Time) {
	middle := sent.Add(arrived.Sub(sent) / 2)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset, c.at = date.Add(time.Second/2).Sub(middle), arrived
}

func (c *clock) read() (offset time.Duration, at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset, c.at, !c.at.IsZero()
}
