package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"rotatord/internal/journal"
)

const (
	// briefPause is not kept: a restart takes about as long.
	briefPause = 5 * time.Second
	// pauseWrite bounds one write of a pause.
	pauseWrite = 30 * time.Second
)

// portalState is the JSON of one portal in the journal's portal_state.
type portalState struct {
	PausedUntil time.Time `json:"paused_until"`
}

// pauses remember until when portals want to be left alone, over reloads and restarts.
// A write to the journal delays no request: it is done beside, the last word wins.
type pauses struct {
	log    *slog.Logger
	put    func(ctx context.Context, key string, value []byte) error // nil: this process writes nothing
	writes sync.WaitGroup

	mu      sync.Mutex           // guards everything below
	until   map[string]time.Time // by portal
	unsaved map[string]bool
	writing bool
	closed  bool
}

// openPauses reads what the journal remembers; db is nil where there is no journal yet.
func openPauses(ctx context.Context, db *journal.DB, writes bool, log *slog.Logger) (*pauses, error) {
	p := &pauses{log: log, until: map[string]time.Time{}, unsaved: map[string]bool{}}
	if db == nil {
		return p, nil
	}
	state := db.PortalState()
	if writes {
		p.put = state.Put
	}
	values, err := state.Values(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		var s portalState
		if err := json.Unmarshal(values[name], &s); err != nil {
			// It can only make us ask too early, and the portal says so again.
			log.LogAttrs(ctx, slog.LevelWarn, "state of portal not understood", slog.String("portal", name), slog.Any("err", err))
			continue
		}
		p.until[name] = s.PausedUntil
	}
	return p, nil
}

// restore has the clients of a wait for what earlier ones were asked, and is told what
// they are asked from now on.
func (p *pauses) restore(a *adapters) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a.pauses = p
	now := time.Now()
	for name, client := range a.portals {
		if until := p.until[name]; until.After(now) {
			client.Pause(until)
			p.log.LogAttrs(context.Background(), slog.LevelInfo, "portal still wants to be left alone", slog.String("portal", name), slog.Time("until", until))
		}
	}
}

// note a portal's wish. It does not wait for the journal.
func (p *pauses) note(name string, until time.Time) {
	if p == nil {
		return // a command that keeps nothing
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until[name] = until
	if p.put == nil || p.closed || time.Until(until) < briefPause {
		return
	}
	p.unsaved[name] = true
	if !p.writing {
		p.writing = true
		p.writes.Go(p.save)
	}
}

// save what is unsaved, until nothing is.
func (p *pauses) save() {
	for {
		name, until, ok := p.next()
		if !ok {
			return
		}
		if err := p.write(name, until); err != nil {
			p.log.LogAttrs(context.Background(), slog.LevelWarn, "pause of portal not kept for a restart", slog.String("portal", name), slog.Any("err", err))
		}
	}
}

func (p *pauses) next() (name string, until time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name = range p.unsaved {
		delete(p.unsaved, name)
		return name, p.until[name], true
	}
	p.writing = false
	return "", time.Time{}, false
}

func (p *pauses) write(name string, until time.Time) error {
	value, err := json.Marshal(portalState{PausedUntil: until.UTC().Truncate(time.Millisecond)})
	if err != nil {
		return fmt.Errorf("keep pause of portal %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), pauseWrite)
	defer cancel()
	return p.put(ctx, name, value)
}

// close waits for writes under way. What is noted afterwards is not written.
func (p *pauses) close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.writes.Wait()
}
