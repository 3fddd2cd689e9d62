package main

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/fleet"
	"rotatord/internal/rotate"
	"rotatord/internal/simulate"
	"rotatord/internal/web"
)

const (
	// A forecast is made when somebody looks at the calendar: not more than so often, nor for
	// more than a fiftieth of the time. Who looks waits for it for a moment.
	forecastAge      = time.Minute
	forecastShare    = 50
	forecastPatience = 1500 * time.Millisecond
	// It reaches as far as `rotatord simulate` by itself, and less far in a large fleet, but
	// over the calendar's grid: 100 days of 10,000 credentials take two seconds.
	forecastDays  = 400
	forecastLeast = 100
	forecastWork  = 1_200_000 // credentials times days
	// forecastMost credentials; beyond that a terminal is the place for it.
	forecastMost = 20_000
)

// simulated is what a simulation needs of a config that is in force, besides the fleet.
type simulated struct {
	policy  fleet.Policy
	stages  map[rotate.Name]string
	workers map[rotate.PortalID]int
}

func simulatedOf(cfg *config.Config) *simulated {
	s := &simulated{policy: cfg.FleetPolicy(), stages: map[rotate.Name]string{}, workers: make(map[rotate.PortalID]int, len(cfg.Portals))}
	for _, cr := range cfg.Credentials {
		if cr.Stage != "" {
			s.stages[rotate.Name(cr.Name)] = cr.Stage
		}
	}
	for name := range cfg.Portals {
		s.workers[rotate.PortalID(name)] = cfg.Workers
	}
	return s
}

func (s *simulated) credential(m *daemon.Managed, r rotate.Record) simulate.Credential {
	return simulate.Credential{Name: m.Name, ID: m.ID, Stage: s.stages[m.Name], Mode: m.Mode, Hold: m.Hold, Policy: m.Policy, Record: r}
}

func (s *simulated) options(o simulate.Options) simulate.Options {
	o.Fleet, o.Workers = s.policy, s.workers
	return o
}

// forecaster makes forecasts of a running daemon's fleet, one at a time.
type forecaster struct {
	each   func(func(*daemon.View))
	config atomic.Pointer[simulated]
	asked  chan struct{}

	mu   sync.Mutex // guards everything below
	last *web.Forecast
	of   *simulated // that last was made of
	took time.Duration
	made chan struct{} // closed when the next one is there
}

func newForecaster(each func(func(*daemon.View)), cfg *config.Config) *forecaster {
	f := &forecaster{each: each, asked: make(chan struct{}, 1), made: make(chan struct{})}
	f.config.Store(simulatedOf(cfg))
	return f
}

// Run makes forecasts that are asked for, until ctx ends.
func (f *forecaster) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.asked:
		}
		began := time.Now()
		of := f.config.Load()
		next := f.forecast(of, began.UTC())
		f.mu.Lock()
		f.last, f.of, f.took = next, of, time.Since(began)
		close(f.made)
		f.made = make(chan struct{})
		f.mu.Unlock()
		debug.FreeOSMemory() // the records of the whole fleet, twice
	}
}

// get the last forecast; where that is old, and a new one is made in a moment, the new one.
func (f *forecaster) get(ctx context.Context) *web.Forecast {
	f.mu.Lock()
	last, made := f.last, f.made
	fresh := last != nil && f.of == f.config.Load() && time.Since(last.Made) < max(forecastAge, forecastShare*f.took)
	f.mu.Unlock()
	if fresh {
		return last
	}
	select {
	case f.asked <- struct{}{}:
	default: // it is being made, or about to be
	}
	timer := time.NewTimer(forecastPatience)
	defer timer.Stop()
	select {
	case <-made:
	case <-timer.C:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// forecast of the fleet as it is now.
func (f *forecaster) forecast(of *simulated, now time.Time) *web.Forecast {
	var all []simulate.Credential
	f.each(func(v *daemon.View) {
		if len(all) <= forecastMost {
			all = append(all, of.credential(&v.Managed, v.Record))
		}
	})
	if len(all) > forecastMost {
		return &web.Forecast{Made: now, TooMany: true}
	}
	days := min(max(forecastWork/max(len(all), 1), forecastLeast), forecastDays)
	res := simulate.Run(all, of.options(simulate.Options{From: now, Days: days}))
	late := make(map[simulate.Event]bool, len(res.Late))
	for _, e := range res.Late {
		late[e] = true
	}
	out := &web.Forecast{Made: now, Until: res.To, Events: make([]web.Foreseen, len(res.Events)), Unknown: res.Unknown}
	for i, e := range res.Events {
		out.Events[i] = web.Foreseen{At: e.At, Name: e.Name, What: foreseenKind(e.What), Slot: e.Slot, Left: time.Duration(e.Left) * time.Second,
			Late: late[e], Detail: e.Detail}
	}
	return out
}

func foreseenKind(what string) web.ForeseenKind {
	switch what {
	case simulate.Rotates:
		return web.ForeseenRotation
	case simulate.Retires:
		return web.ForeseenRetire
	default:
		return web.ForeseenDeath
	}
}
