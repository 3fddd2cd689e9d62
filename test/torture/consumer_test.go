package torture

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// consumers use the served keys all the time, each with a key that it caches for at
// most the overlap.
type consumers struct {
	w        *world
	requests atomic.Int64
	excused  atomic.Int64 // refused, and the restorer's doing: see restore_test.go
	mu       sync.Mutex
	failures []string
	wg       sync.WaitGroup
}

// reader is one consumer: where it reads its key from, and how often.
type reader struct {
	name, from string
	read       func(context.Context) string
	every      time.Duration
}

func (w *world) consume(ctx context.Context) *consumers {
	c := &consumers{w: w}
	for i, name := range w.names {
		// Half of them read often, the others as rarely as the overlap allows.
		every := 500 * time.Millisecond
		if i%2 == 1 {
			every = overlap - 1500*time.Millisecond
		}
		vault := reader{name: name, from: "Vault", every: every, read: func(ctx context.Context) string { return w.served(ctx, name) }}
		c.wg.Go(func() { c.run(ctx, vault) })
		if w.hasFile(i) {
			file := reader{name: name, from: "its file", every: overlap - 1500*time.Millisecond, read: func(context.Context) string { return w.fileKey(name) }}
			c.wg.Go(func() { c.run(ctx, file) })
		}
	}
	return c
}

func (c *consumers) run(ctx context.Context, r reader) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var key string
	var readAt, answered time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if began := time.Now(); key == "" || began.Sub(readAt) >= r.every {
			if fresh := r.read(ctx); fresh != "" {
				key, readAt, answered = fresh, began, time.Now()
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
			c.refused(r, key, answered)
			key = ""
		}
	}
}

func (c *consumers) refused(r reader, key string, readAt time.Time) {
	if c.w.excused(r.name, key, r.from == "Vault", readAt) {
		c.excused.Add(1)
		return
	}
	k, _ := c.w.keyInfo(key)
	why := "expired"
	if end := endOf(k); end.Before(k.Expires) {
		why = k.EndedBy + " " + end.UTC().Format("15:04:05.000")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, fmt.Sprintf("%s: %s of %s, read from %s %s ago, is %s (minted %s, expires %s)", time.Now().UTC().Format("15:04:05.000"),
		fingerprint(key), r.name, r.from, time.Since(readAt).Round(time.Millisecond), why, k.Minted.UTC().Format("15:04:05.000"), k.Expires.UTC().Format("15:04:05.000")))
}

// fileKey is the key in the credential's file; "" if there is none.
func (w *world) fileKey(name string) string {
	raw, err := os.ReadFile(w.keyFile(name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}
