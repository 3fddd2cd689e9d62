package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

// redrawEvery is how often the live table is drawn.
const redrawEvery = 250 * time.Millisecond

// demoCounts is what one credential has behind it.
type demoCounts struct{ rotations, bootstraps, retired int }

// demoShow shows a demo: a live table on a terminal, a line for each event elsewhere.
type demoShow struct {
	out   io.Writer
	live  bool
	began time.Time

	mu     sync.Mutex // guards what is below
	done   map[rotate.Name]*demoCounts
	reason map[rotate.Name]rotate.Reason // of the rotation under way
	last   string
}

func newDemoShow(c *cli) *demoShow {
	s := &demoShow{out: c.out, live: isTerminal(c.out) && !c.json, began: time.Now(), done: map[rotate.Name]*demoCounts{},
		reason: map[rotate.Name]rotate.Reason{}}
	if c.json {
		s.out = c.err // standard output is for the result
	}
	return s
}

func (s *demoShow) counts(name rotate.Name) demoCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.done[name]; c != nil {
		return *c
	}
	return demoCounts{}
}

// Observe implements rotate.Observer.
func (s *demoShow) Observe(e rotate.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.done[e.Name]
	if c == nil {
		c = &demoCounts{}
		s.done[e.Name] = c
	}
	switch e.Kind {
	case rotate.EventStarted:
		s.reason[e.Name] = e.Reason
	case rotate.EventPromoted:
		if s.reason[e.Name] == rotate.ReasonBootstrap {
			c.bootstraps++
		} else {
			c.rotations++
		}
	case rotate.EventEffect:
		if e.Effect == rotate.EffectRevoke && e.Result == rotate.ResultOK {
			c.retired++
		}
	default: // only shown
	}
	if e.Kind == rotate.EventEffect && (e.Effect == rotate.EffectSurvey || e.Effect == rotate.EffectProbe) && e.Result == rotate.ResultOK {
		return // many, and nothing new
	}
	s.tell(eventLine(e))
}

// note something that is no event.
func (s *demoShow) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(text)
}

// tell one line; the caller holds mu.
func (s *demoShow) tell(text string) {
	s.last = fmt.Sprintf("%6.2fs  %s", time.Since(s.began).Seconds(), text)
	if !s.live {
		_, _ = fmt.Fprintln(s.out, s.last) // a closed pipe ends the demo no sooner
	}
}

func eventLine(e rotate.Event) string {
	what := string(e.Kind)
	if e.Kind == rotate.EventEffect {
		what = string(e.Effect) + " " + string(e.Result)
	}
	var line strings.Builder
	fmt.Fprintf(&line, "%-22s %-19s", e.Name, what)
	if e.Slot.Valid() {
		line.WriteString(" slot " + e.Slot.String())
	}
	if e.Fingerprint != "" {
		line.WriteString(" " + string(e.Fingerprint))
	}
	if e.Reason != "" {
		line.WriteString(" (" + string(e.Reason) + ")")
	}
	for _, text := range []string{e.Detail, e.Error} {
		if text != "" {
			line.WriteString(": " + text)
		}
	}
	return strings.TrimRight(line.String(), " ")
}

// draw the live table until ctx ends; elsewhere than on a terminal it does nothing.
func (s *demoShow) draw(ctx context.Context, w *demoWorld) {
	if !s.live {
		return
	}
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	for {
		_, _ = fmt.Fprint(s.out, "\x1b[H\x1b[2J"+s.frame(w, time.Now())) // as in tell
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// frame is one picture of the demo.
func (s *demoShow) frame(w *demoWorld, now time.Time) string {
	byName := map[rotate.Name]*demoCredential{}
	for _, m := range w.credentials {
		byName[m.Name] = m
	}
	var rows [][]string
	for _, v := range w.daemon.Views() {
		m := byName[v.Name]
		done := s.counts(v.Name)
		requests, failures := m.consumer.counts()
		rows = append(rows, []string{string(v.Name), phaseBar(v.Record.Phase), slotCell(v.Record, rotate.Slot1, now), slotCell(v.Record, rotate.Slot2, now),
			nextText(v, now), fmt.Sprint(done.rotations), fmt.Sprintf("%d ok, %d failed", requests-failures, failures)})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	table := renderTable(s.out, []string{"credential", "phase", "slot 1", "slot 2", "next", "rotations", "consumer"}, rows)
	return fmt.Sprintf("rotatord demo: keys live %s, overlap %s; Ctrl-C ends it\n\n%s\n\n%s\n", demoLifetime, demoOverlap, table, s.last)
}

func phaseBar(p rotate.Phase) string {
	if p == "" {
		p = rotate.PhaseIdle
	}
	n := 0
	for i, one := range rotate.Phases() {
		if one == p {
			n = i
		}
	}
	return strings.Repeat("■", n) + strings.Repeat("·", len(rotate.Phases())-1-n) + " " + string(p)
}

// slotCell is a slot's key: its public tail, what it is, and how long it lives.
func slotCell(r rotate.Record, slot rotate.Slot, now time.Time) string {
	s := r.Slots[slot]
	if s.Key.Fingerprint == "" || s.Use == rotate.UseEmpty {
		return "-"
	}
	tail, _, _ := strings.Cut(string(s.Key.Fingerprint), "-")
	cell := tail + " " + string(s.Use)
	if !s.Key.Expires.IsZero() {
		cell += fmt.Sprintf(" %4.1fs", max(0, s.Key.Expires.Sub(now).Seconds()))
	}
	return cell
}

// nextText is what happens next and when.
func nextText(v daemon.View, now time.Time) string {
	in := func(what string, at time.Time) string {
		if at.After(now) {
			return fmt.Sprintf("%s in %.1fs", what, at.Sub(now).Seconds())
		}
		return what + " now"
	}
	r := v.Record
	switch r.Phase {
	case rotate.PhaseOverlap, rotate.PhaseRetiring:
		return in("retire slot "+r.Previous.Slot.String(), r.RetireAt)
	case rotate.PhaseClaiming, rotate.PhaseDating, rotate.PhaseMinting, rotate.PhaseProving, rotate.PhasePublishing:
		return in("go on", r.NextAt)
	case rotate.PhaseIdle, "":
		if at, ok := rotate.DueAt(r, v.Policy); ok {
			return in("rotate", at)
		}
	}
	return in("look", r.NextAt)
}
