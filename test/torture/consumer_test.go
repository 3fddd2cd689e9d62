package torture

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// consumers use the served keys all the time, each with a key that it caches for at
// most the overlap.
type consumers struct {
	w        *world
	requests atomic.Int64
	mu       sync.Mutex
	failures []string
	wg       sync.WaitGroup
}

func (w *world) consume(ctx context.Context) *consumers {
	c := &consumers{w: w}
	for i, name := range w.names {
		// Half of them read often, the others as rarely as the overlap allows.
		every := 500 * time.Millisecond
		if i%2 == 1 {
			every = overlap - 1500*time.Millisecond
		}
		c.wg.Go(func() { c.run(ctx, name, every) })
	}
	return c
}

func (c *consumers) run(ctx context.Context, name string, every time.Duration) {
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	var key string
	var readAt time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if began := time.Now(); key == "" || began.Sub(readAt) >= every {
			if fresh := c.w.served(ctx, name); fresh != "" {
				key, readAt = fresh, began
			}
		}
		// A key may be cached for the overlap, and not longer.
		if key == "" || time.Since(readAt) > overlap-time.Second {
			continue
		}
		refused, err := c.w.use(ctx, key)
		if err != nil {
			continue // the network, or a fault that was injected
		}
		c.requests.Add(1)
		if refused {
			_, why := c.w.emu.KeyValid(key)
			c.mu.Lock()
			c.failures = append(c.failures, fmt.Sprintf("%s: %s of %s, read %s ago, is %s", time.Now().UTC().Format("15:04:05.000"), fingerprint(key), name,
				time.Since(readAt).Round(time.Millisecond), why))
			c.mu.Unlock()
			key = ""
		}
	}
}
