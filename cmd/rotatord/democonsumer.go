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
	why      string // of the last failure
}

func (c *consumer) counts() (requests, failures int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests, c.failures
}

func (c *consumer) lastFailure() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// count one request; why is "" for one that went well.
func (c *consumer) count(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if why != "" {
		c.failures++
		c.why = why
	}
}

// use the key once, as an application does, and say what went wrong.
func (c *consumer) use(ctx context.Context, key rotate.Secret) string {
	proof, err := c.portal.Prove(ctx, key, "")
	switch {
	case err != nil:
		return "use key " + string(key.Fingerprint()) + ": " + err.Error()
	case !proof.Valid:
		return "key " + string(key.Fingerprint()) + " was refused"
	}
	return ""
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
			switch {
			case err == nil:
				key, readAt = fresh, now
			case !key.IsZero(): // before the first key there is nothing to read either
				c.count("read key: " + err.Error())
			}
		}
		if !key.IsZero() {
			why := c.use(ctx, key)
			if ctx.Err() != nil {
				return
			}
			c.count(why)
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
