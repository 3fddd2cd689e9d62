package portal

import (
	"context"
	"maps"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"rotatord/internal/rotate"
)

// limits is what stands between a call and its portal: requests at once, requests a
// second, and a breaker that opens on consecutive transport failures.
type limits struct {
	slots   chan struct{}
	rate    ratelimiter.RateLimiter[any]       // nil: no limit
	breaker circuitbreaker.CircuitBreaker[any] // nil: never opens
}

func newLimits(l Limits) *limits {
	out := &limits{slots: make(chan struct{}, l.AtOnce)}
	if l.PerSecond > 0 {
		interval := time.Duration(math.Ceil(float64(time.Second) / l.PerSecond))
		out.rate = ratelimiter.NewSmoothWithMaxRate[any](interval)
	}
	if l.BreakerAfter > 0 {
		out.breaker = circuitbreaker.NewBuilder[any]().
			WithFailureThreshold(uint(l.BreakerAfter)).
			WithSuccessThreshold(1).
			WithDelay(l.BreakerDelay).
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

// enter waits for the limits. After a nil error the caller sends one request and calls
// leave once. Nothing has been sent when it returns an error.
func (l *limits) enter(ctx context.Context) (leave func(verdict), refused *rotate.Error) {
	if err := l.shut(); err != nil {
		return nil, err
	}
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, gaveUp(ctx)
	}
	free := func() { <-l.slots }
	if l.rate != nil {
		if l.rate.AcquirePermit(ctx) != nil {
			free()
			return nil, gaveUp(ctx)
		}
	}
	if ctx.Err() != nil {
		free()
		return nil, gaveUp(ctx)
	}
	if l.breaker == nil {
		return func(verdict) { free() }, nil
	}
	if !l.breaker.TryAcquirePermit() {
		free()
		return nil, l.open()
	}
	trial := l.breaker.IsHalfOpen()
	return func(v verdict) {
		switch {
		case v == wayOpen:
			l.breaker.RecordSuccess()
		case v == wayBroken, trial: // an abandoned trial proved nothing, and must give its permit back
			l.breaker.RecordFailure()
		}
		free()
	}, nil
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
