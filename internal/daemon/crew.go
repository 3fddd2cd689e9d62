package daemon

import (
	"slices"
	"time"
)

const (
	// slowAfter is how long a worker may take before it stops counting against its
	// lane's limit: what hangs (a sink, a hook, a portal) must delay no other credential.
	// What one portal is asked at once is bounded by its client, not by workers.
	slowAfter = 15 * time.Second
	// slowMost bounds the workers that hang, as a multiple of the lane's limit.
	slowMost = 16
)

// crew is the workers of one lane.
type crew struct {
	busy []*entry // counted against the limit, the longest first
	slow int      // that hang
}

// begin notes a worker.
func (c *crew) begin(e *entry, now time.Time) {
	e.began = now
	c.busy = append(c.busy, e)
}

// end notes that the worker of e is done.
func (c *crew) end(e *entry) {
	if i := slices.Index(c.busy, e); i >= 0 {
		c.busy = slices.Delete(c.busy, i, i+1)
		return
	}
	if e.slow {
		e.slow = false
		c.slow--
	}
}

// settle stops counting those that have taken long.
func (c *crew) settle(limit int, now time.Time) {
	for len(c.busy) > 0 && c.slow < slowMost*limit && now.Sub(c.busy[0].began) >= slowAfter {
		c.busy[0].slow = true
		c.busy = slices.Delete(c.busy, 0, 1)
		c.slow++
	}
}

// next is when settle has something to do; false if never.
func (c *crew) next(limit int) (time.Time, bool) {
	if len(c.busy) == 0 || c.slow >= slowMost*limit {
		return time.Time{}, false
	}
	return c.busy[0].began.Add(slowAfter), true
}
