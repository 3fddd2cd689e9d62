package daemon

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/rotate"
)

// Three credentials hang for ever with two workers: the others wait for seconds, not for them.
func TestWorkersThatHangDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		hangs := map[rotate.Name]bool{"a-0": true, "a-1": true, "a-2": true}
		e.advance = func(ctx context.Context, c *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
			if hangs[c.Name] {
				<-ctx.Done()
				return rotate.AdvanceResult{Record: r, Err: ctx.Err(), Next: time.Now()}
			}
			return rotate.AdvanceResult{Record: r, Next: time.Now().Add(time.Minute), Healthy: true}
		}
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 6}), EffectTimeout: 10 * time.Minute})
		start := time.Now()
		time.Sleep(time.Hour)
		for _, name := range []rotate.Name{"a-3", "a-4", "a-5"} {
			calls := e.called(name)
			if late := calls[0].at.Sub(start); late > 2*slowAfter+time.Second {
				t.Errorf("%s was first looked at after %s", name, late)
			}
			for i, c := range calls[1:] {
				if gap := c.at.Sub(calls[i].at); gap > time.Minute+2*slowAfter {
					t.Errorf("%s waited %s at %s", name, gap, c.at.Sub(start))
				}
			}
		}
		d.end(t)
	})
}

func TestCrew(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var c crew
	all := make([]*entry, 2+slowMost)
	for i := range all {
		all[i] = &entry{}
		c.begin(all[i], start.Add(time.Duration(i)*time.Second))
	}
	c.settle(1, start.Add(slowAfter-time.Millisecond))
	if len(c.busy) != len(all) || c.slow != 0 {
		t.Fatalf("before the time: %d busy, %d slow", len(c.busy), c.slow)
	}
	if at, ok := c.next(1); !ok || !at.Equal(start.Add(slowAfter)) {
		t.Errorf("next at %s, %v", at, ok)
	}
	c.settle(1, start.Add(time.Hour))
	if len(c.busy) != 2 || c.slow != slowMost {
		t.Errorf("after it: %d busy, %d slow", len(c.busy), c.slow)
	}
	if _, ok := c.next(1); ok {
		t.Error("as many hang as may, and there is a next time")
	}
	c.end(all[0])
	c.end(all[len(all)-1])
	c.end(&entry{}) // of a lane that a reload dropped
	if len(c.busy) != 1 || c.slow != slowMost-1 {
		t.Errorf("two came back: %d busy, %d slow", len(c.busy), c.slow)
	}
}
