package portal

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// What one request is asked to wait, all requests of the portal wait.
func TestRetryAfterPausesTheWholePortal(t *testing.T) {
	const ample = 30 * time.Minute
	date := func(d time.Duration) http.Header { // by a clock that is an hour behind ours
		return http.Header{"Retry-After": {time.Now().Add(d - time.Hour).UTC().Format(http.TimeFormat)},
			"Date": {time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}}
	}
	after := func(s string) http.Header { return http.Header{"Retry-After": {s}} }
	tests := []struct {
		name   string
		answer canned
		want   time.Duration // 0: no pause
		asked  time.Duration // in the log; 0: no word of a cap
	}{
		{"429", canned{status: 429, header: after("1800")}, ample, 0},
		{"429 with a date, by the portal's clock", canned{status: 429, header: date(ample)}, ample, 0},
		{"code 429 in a 200", canned{status: 200, header: after("1800"), body: `{"error":{"code":429,"message":"x"}}`}, ample, 0},
		{"503", canned{status: 503, header: after("1800"), body: htmlBody}, ample, 0},
		{"code 503 in a 200", canned{status: 200, header: after("1800"), body: `{"error":{"code":503,"message":"x"}}`}, ample, 0},
		{"a week", canned{status: 429, header: after("604800")}, time.Hour, 7 * 24 * time.Hour},
		{"beyond any number", canned{status: 429, header: after("99999999999999999999999")}, time.Hour, math.MaxInt64 / time.Second * time.Second},
		{"503 without a word", canned{status: 503, body: htmlBody}, 0, 0},
		{"500", canned{status: 500, header: after("1800"), body: htmlBody}, 0, 0},
		{"a success", canned{status: 200, header: after("1800"), body: `{"id":"o"}`}, 0, 0},
		{"a date long past", canned{status: 503, header: date(-ample)}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tt.answer.header.Get("Date") != "" { // made outside of the bubble and its clock
					past := tt.want == 0
					tt.answer.header = date(map[bool]time.Duration{true: -ample, false: ample}[past])
				}
				var logged bytes.Buffer
				var told []time.Time
				transport := counting{canned: tt.answer}
				c, err := New(Options{URL: testURL, Transport: &transport, Limits: Limits{Retries: -1}, Identity: Identity{APIKey: &APIKeyIdentity{Key: fixed("AAPT-identity")}},
					Log: slog.New(slog.NewJSONHandler(&logged, nil)), OnPause: func(until time.Time) { told = append(told, until) }})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				_, _ = c.Mint(t.Context(), testID, testApp, rotate.Slot1)
				_, err = c.Item(t.Context(), credentialID(portaltest.Credential{ItemID: "another"}))
				if tt.want == 0 {
					if len(told) != 0 || transport.calls.Load() != 2 || !c.Standing().PausedUntil.IsZero() {
						t.Errorf("paused until %v after %d requests; want no pause", told, transport.calls.Load())
					}
					return
				}
				wantKind(t, err, limited, "")
				wait := rotate.WaitOf(err)
				if wait < tt.want-time.Second || wait > tt.want || transport.calls.Load() != 1 {
					t.Errorf("told to wait %s after %d requests, want %s after one", wait, transport.calls.Load(), tt.want)
				}
				until := start.Add(wait).UTC()
				if len(told) != 1 || !told[0].Equal(until) || !c.Standing().PausedUntil.Equal(until) {
					t.Errorf("told %v, standing %v, want %s", told, c.Standing().PausedUntil, until)
				}
				if capped := strings.Contains(logged.String(), fmt.Sprintf(`"asked":%d`, tt.asked)); capped != (tt.asked > 0) {
					t.Errorf("log: %s", logged.String())
				}
				time.Sleep(wait) // fake time
				_, _ = c.Item(t.Context(), testID)
				if transport.calls.Load() != 2 {
					t.Error("nothing is sent after the pause")
				}
			})
		})
	}
}

// Without a Date in the refusal, its Retry-After is by the clock that the portal showed before.
func TestADateIsByThePortalsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var header http.Header
		status := http.StatusOK
		c := keyClient(t, roundTripFunc(func(r *http.Request) (*http.Response, error) {
			return canned{status: status, header: header, body: `{"id":"o"}`}.RoundTrip(r)
		}), Limits{})
		ahead := func(d time.Duration) string { return time.Now().Add(26*time.Hour + d).UTC().Format(http.TimeFormat) }
		header = http.Header{"Date": {ahead(0)}}
		if err := c.Control(t.Context()); err != nil {
			t.Fatal(err)
		}
		header, status = http.Header{"Retry-After": {ahead(20 * time.Minute)}}, http.StatusTooManyRequests
		err := c.Control(t.Context())
		if got := rotate.WaitOf(err); (got - 20*time.Minute).Abs() > time.Second {
			t.Errorf("told to wait %s, want 20m", got)
		}
	})
}

// A portal that refuses without naming a wait is left alone for a little, then for longer.
func TestBareRefusalsWaitLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := canned{status: http.StatusTooManyRequests}
		c := keyClient(t, roundTripFunc(func(r *http.Request) (*http.Response, error) { return answers.RoundTrip(r) }), Limits{RetryWait: time.Nanosecond})
		pauses := func(n int) (out []time.Duration) {
			for range n {
				var group sync.WaitGroup
				for range 5 { // all refused at once: one refusal
					group.Go(func() { wantKind(t, c.Control(t.Context()), limited, "") })
				}
				group.Wait()
				pause := time.Until(c.Standing().PausedUntil)
				out = append(out, pause)
				time.Sleep(max(pause, 0)) // fake time
			}
			return out
		}
		const s = time.Second
		if got, want := pauses(8), []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, time.Minute, time.Minute}; !slices.Equal(got, want) {
			t.Errorf("paused for %v, want %v", got, want)
		}
		answers = canned{status: http.StatusOK, body: `{"id":"o"}`}
		if err := c.Control(t.Context()); err != nil {
			t.Error(err)
		}
		answers = canned{status: http.StatusTooManyRequests}
		if got := pauses(1); got[0] != s {
			t.Errorf("paused for %s after a success, want 1s", got[0])
		}
	})
}

func TestAPauseOutlivesItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, row := range []struct{ until, want time.Duration }{{20 * time.Minute, 20 * time.Minute}, {365 * 24 * time.Hour, time.Hour}, {-time.Hour, 0}} {
			c := keyClient(t, canned{status: 200, body: `{"id":"o"}`}, Limits{})
			c.Pause(time.Now().Add(row.until).Round(0)) // as read from a journal
			err := c.Control(t.Context())
			if got := rotate.WaitOf(err); got != row.want || (err == nil) != (row.want == 0) {
				t.Errorf("paused for %s: %v, told to wait %s, want %s", row.until, err, got, row.want)
			}
		}
	})
}

// A mint rests on what was read before: it is not kept for long, and nothing was sent then.
func TestAMintIsNotHeldForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Latency: time.Hour})
		c := newTestClient(t, e, Options{Timeout: time.Minute, Limits: Limits{AtOnce: 1, Retries: -1}})
		var group sync.WaitGroup
		group.Go(func() { wantKind(t, c.Control(t.Context()), transient, rotate.CauseUnreachable) })
		synctest.Wait()
		start := time.Now()
		_, err := c.Mint(rotate.WithUrgency(t.Context(), rotate.UrgencyCutOver), testID, testApp, rotate.Slot1)
		wantKind(t, err, transient, "")
		if got := time.Since(start); got != 10*time.Second || e.Counts()[portaltest.OpMint] != 0 {
			t.Errorf("the mint was held for %s and sent %d times, want 10s and never", got, e.Counts()[portaltest.OpMint])
		}
		group.Wait()
	})
}

// Everybody sees how a portal's limits stand, and nobody waits for one whose breaker has opened.
func TestStanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		c := keyClient(t, hang, Limits{AtOnce: 2, BreakerAfter: 1, BreakerDelay: time.Minute})
		var group sync.WaitGroup
		ask := func(u rotate.Urgency, cause rotate.Cause, after time.Duration) {
			start := time.Now()
			group.Go(func() {
				wantKind(t, c.Control(rotate.WithUrgency(t.Context(), u)), transient, cause)
				if got := time.Since(start); got != after {
					t.Errorf("%s was answered after %s, want %s", u, got, after)
				}
			})
			synctest.Wait()
		}
		ask(rotate.UrgencyIdle, rotate.CauseUnreachable, 30*time.Second)
		ask(rotate.UrgencyIdle, rotate.CauseUnreachable, 30*time.Second)
		ask(rotate.UrgencyDying, rotate.CauseBreakerOpen, 30*time.Second)
		ask(rotate.UrgencySurvey, rotate.CauseBreakerOpen, 30*time.Second)
		s := c.Standing()
		if s.Breaker != BreakerClosed || s.UnderWay != 2 || s.Waits != 2 || s.Waiting[rotate.UrgencyDying] != 1 || s.Waiting[rotate.UrgencySurvey] != 1 || len(s.Waiting) != len(rotate.Urgencies()) {
			t.Errorf("standing %+v", s)
		}
		group.Wait()
		s = c.Standing()
		if s.Breaker != BreakerOpen || !s.OpenUntil.Equal(time.Now().Add(time.Minute)) || s.UnderWay != 0 || s.Waiting[rotate.UrgencyDying] != 0 || s.Waited != time.Minute {
			t.Errorf("after the breaker opened: %+v", s)
		}
		time.Sleep(time.Minute) // fake time
		if s = c.Standing(); s.Breaker != BreakerHalfOpen || !s.OpenUntil.IsZero() {
			t.Errorf("after the delay: %+v", s)
		}
		if s := keyClient(t, hang, Limits{BreakerAfter: -1}).Standing(); s.Breaker != BreakerOff {
			t.Errorf("without a breaker: %+v", s)
		}
	})
}

// A sign-in goes before what needs it, whoever asked for it.
func TestASignInIsAsUrgentAsWhatWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Latency: time.Second})
		var mu sync.Mutex
		var ended []string
		note := func(op string, _ rotate.Purpose, _ rotate.Result, _ time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, op)
		}
		c := newTestClient(t, e, Options{Limits: Limits{AtOnce: 1, Retries: -1}, OnRequest: note})
		var group sync.WaitGroup
		for range 3 { // without a token of ours
			group.Go(func() {
				_, _ = c.Prove(rotate.WithUrgency(t.Context(), rotate.UrgencyDying), rotate.NewSecret(testKey(rotate.Slot1)), "")
			})
		}
		synctest.Wait()
		if err := c.Control(rotate.WithUrgency(t.Context(), rotate.UrgencySurvey)); err != nil {
			t.Error(err)
		}
		group.Wait()
		if want := []string{opProve, opSignIn, opProve, opProve, opControl}; !slices.Equal(ended, want) {
			t.Errorf("sent %v, want %v", ended, want)
		}
	})
}
