package portal

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

func TestRequestsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Latency: 50 * time.Millisecond, MaxInFlight: 4})
		c := newTestClient(t, e, Options{Limits: Limits{AtOnce: 4}})
		start := time.Now()
		controls(t, c, 41) // and one sign-in
		if _, peak := e.Requests(); peak != 4 {
			t.Errorf("%d requests at once, want 4", peak)
		}
		if got := time.Since(start); got != 600*time.Millisecond { // one sign-in, then eleven rounds
			t.Errorf("took %s, want 600ms", got)
		}
	})
}

func TestRequestsASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		c := newTestClient(t, e, Options{Limits: Limits{PerSecond: 20, AtOnce: 30}})
		start := time.Now()
		controls(t, c, 100)
		if got := time.Since(start); got < 4900*time.Millisecond || got > 5100*time.Millisecond {
			t.Errorf("101 requests took %s, want about 5s", got)
		}
	})
}

func TestWaitingForTheLimitsEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Latency: 10 * time.Second})
		c := newTestClient(t, e, Options{Limits: Limits{AtOnce: 1, Retries: -1}})
		var group sync.WaitGroup
		defer group.Wait()
		group.Go(func() {
			if err := c.Control(t.Context()); err != nil {
				t.Errorf("control: %v", err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Mint(ctx, testID, testApp, rotate.Slot1)
		wantKind(t, err, transient, "") // it was never sent
		if got := time.Since(start); got != time.Second {
			t.Errorf("waited %s, want 1s", got)
		}
		if e.Counts()[portaltest.OpMint] != 0 {
			t.Error("the mint was sent")
		}
	})
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		c := newTestClient(t, e, Options{Limits: Limits{Retries: -1, BreakerAfter: 3, BreakerDelay: time.Minute}})
		if err := c.Control(t.Context()); err != nil {
			t.Fatalf("control: %v", err)
		}
		fault, err := e.Inject(portaltest.Fault{Kind: portaltest.LoseRequest, Count: -1})
		if err != nil {
			t.Fatalf("inject: %v", err)
		}
		for range 3 {
			wantKind(t, c.Control(t.Context()), transient, rotate.CauseUnreachable)
		}
		e.ResetCounts()
		_, err = c.Mint(t.Context(), testID, testApp, rotate.Slot1)
		wantKind(t, err, transient, rotate.CauseBreakerOpen)
		if got := rotate.WaitOf(err); got != time.Minute {
			t.Errorf("told to wait %s, want 1m", got)
		}
		time.Sleep(time.Minute) // fake time
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = c.Control(ctx)                                                      // one that gives up must not use up the trial
		wantKind(t, c.Control(t.Context()), transient, rotate.CauseUnreachable) // the trial
		wantKind(t, c.Control(t.Context()), transient, rotate.CauseBreakerOpen)
		if total, _ := e.Requests(); total != 1 {
			t.Errorf("%d requests while the breaker was open, want the one trial", total)
		}
		e.Withdraw(fault)
		time.Sleep(time.Minute)
		for range 3 {
			if err := c.Control(t.Context()); err != nil {
				t.Errorf("control after the portal came back: %v", err)
			}
		}
	})
}

func TestAnAbandonedTrialDoesNotBlockTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		c := newTestClient(t, e, Options{Limits: Limits{Retries: -1, BreakerAfter: 1, BreakerDelay: time.Minute}})
		if err := c.Control(t.Context()); err != nil {
			t.Fatalf("control: %v", err)
		}
		inject(t, e, "", portaltest.Fault{Kind: portaltest.LoseReply})
		wantKind(t, c.Control(t.Context()), transient, rotate.CauseUnreachable)
		time.Sleep(time.Minute) // fake time
		inject(t, e, "", portaltest.Fault{Kind: portaltest.Delay, Delay: 10 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantKind(t, c.Control(ctx), transient, rotate.CauseUnreachable)
		time.Sleep(time.Minute)
		if err := c.Control(t.Context()); err != nil {
			t.Errorf("control: %v", err)
		}
	})
}

func TestPortalFaultsDoNotOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		c := newTestClient(t, e, Options{Limits: Limits{Retries: -1, BreakerAfter: 2}})
		inject(t, e, portaltest.OpItem, portaltest.Fault{Kind: portaltest.FailBefore, Count: -1})
		for range 9 {
			_, err := c.Item(t.Context(), testID)
			wantKind(t, err, transient, "") // one credential's trouble stops no other
		}
		if err := c.Control(t.Context()); err != nil {
			t.Errorf("control: %v", err)
		}
	})
}

func TestReadsWaitAsLongAsThePortalAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		c := newTestClient(t, e, Options{Jitter: func() float64 { return 0.999 }})
		if err := c.Control(t.Context()); err != nil {
			t.Fatalf("control: %v", err)
		}
		for _, row := range []struct {
			fault    portaltest.Fault
			from, to time.Duration
		}{
			{portaltest.Fault{Kind: portaltest.RateLimited, RetryAfter: 7 * time.Second}, 7 * time.Second, 7700 * time.Millisecond},
			{portaltest.Fault{Kind: portaltest.ServerError}, 250 * time.Millisecond, 275 * time.Millisecond},
			{portaltest.Fault{Kind: portaltest.ServerError, Count: 2}, 750 * time.Millisecond, 825 * time.Millisecond},
		} {
			inject(t, e, portaltest.OpSelf, row.fault)
			start := time.Now()
			if err := c.Control(t.Context()); err != nil {
				t.Errorf("%s: %v", row.fault.Kind, err)
			}
			if got := time.Since(start); got < row.from || got > row.to {
				t.Errorf("%s: waited %s, want %s to %s", row.fault.Kind, got, row.from, row.to)
			}
		}
		inject(t, e, portaltest.OpSelf, portaltest.Fault{Kind: portaltest.RateLimited, RetryAfter: 7 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := c.Control(ctx)
		wantKind(t, err, limited, "") // not the context's end: the domain needs to know the wait
		repeats := 0
		for k, n := range c.Counts() {
			if k.Repeat {
				repeats += n
			}
		}
		if repeats != 4 {
			t.Errorf("counted %d repeats, want 4", repeats)
		}
	})
}

func TestClockFollowsThePortalsDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Switches: map[string]string{portaltest.SwitchDateHeader: "10m"}})
		c := newTestClient(t, e, Options{})
		if _, _, ok := c.Clock(); ok {
			t.Error("a clock before the first answer")
		}
		if err := c.Control(t.Context()); err != nil {
			t.Fatalf("control: %v", err)
		}
		if offset, at, ok := c.Clock(); !ok || (offset-10*time.Minute).Abs() > time.Second || time.Since(at) > time.Second {
			t.Errorf("got %s at %s, %t; want 10m", offset, at, ok)
		}
	})
}

func TestEachRequestIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Latency: time.Second})
		var reported atomic.Int64
		known := map[string]bool{}
		for _, op := range Ops() {
			known[op] = true
		}
		c := newTestClient(t, e, Options{OnRequest: func(op string, purpose rotate.Purpose, result rotate.Result, took time.Duration) {
			reported.Add(1)
			if !known[op] || purpose == "" || result == "" || took != time.Second {
				t.Errorf("reported %s %s %s %s", op, purpose, result, took)
			}
		}})
		inject(t, e, portaltest.OpItem, portaltest.Fault{Kind: portaltest.ServerError})
		_, err := c.Item(t.Context(), testID)
		wantKind(t, err, permanent, rotate.CauseNotFound)
		counted := 0
		for _, n := range c.Counts() {
			counted += n
		}
		if total, _ := e.Requests(); int64(total) != reported.Load() || total != counted || total != 3 {
			t.Errorf("portal saw %d, reported %d, counted %d; want 3", total, reported.Load(), counted)
		}
	})
}
