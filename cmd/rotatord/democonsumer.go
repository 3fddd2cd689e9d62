package main

import (
	"context"
	"sync"
	"time"

	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

// consumerPause is the time between two requests of one consumer.
const consumerPause = 100 * time.Millisecond

// readKey reads the served key as an application would; the zero Secret where there is none yet.
type readKey func(ctx context.Context) (rotate.Secret, error)

// consumer uses a served key all the time, and keeps what it read for a while.
type consumer struct {
	read   readKey
	cache  time.Duration
	portal *portal.Client

	mu       sync.Mutex // guards what is below
	requests int
	failures int
}

func (c *consumer) counts() (requests, failures int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests, c.failures
}

func (c *consumer) count(ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if !ok {
		c.failures++
	}
}

// run until enough or ctx ends. Before the first key there is nothing to use.
func (c *consumer) run(ctx context.Context, enough <-chan struct{}) {
	tick := time.NewTicker(consumerPause)
	defer tick.Stop()
	var key rotate.Secret
	var readAt time.Time
	for {
		if now := time.Now(); key.IsZero() || now.Sub(readAt) >= c.cache {
			fresh, err := c.read(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				c.count(false)
			} else {
				key, readAt = fresh, now
			}
		}
		if !key.IsZero() {
			proof, err := c.portal.Prove(ctx, key, "")
			if ctx.Err() != nil {
				return
			}
			c.count(err == nil && proof.Valid)
		}
		select {
		case <-ctx.Done():
			return
		case <-enough:
			return
		case <-tick.C:
		}
	}
}

func (w *demoWorld) startConsumers(ctx context.Context) *sync.WaitGroup {
	all := &sync.WaitGroup{}
	for _, m := range w.credentials {
		all.Go(func() { m.consumer.run(ctx, w.enough) })
	}
	return all
}

func (w *demoWorld) stopConsumers() { close(w.enough) }
