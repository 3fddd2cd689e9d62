// Package calendar tells when a rotation may start and an old key be retired: in
// windows that schedules open, and outside of freezes. It reads freezes from
// iCalendar text too. It is pure: no clock, no files.
package calendar

import (
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// Horizon bounds how far ahead the next open instant is looked for.
const Horizon = 400 * 24 * time.Hour

// Schedule tells when windows open. It carries its own time zone.
type Schedule interface {
	// Next is the first start after t; zero if none comes.
	Next(t time.Time) time.Time
}

// Window opens at each start of its schedule. Length is elapsed time: a night in
// which the clocks change does not make it longer or shorter.
type Window struct {
	Schedule Schedule
	Length   time.Duration
}

// Freeze closes everything from From on and before To.
type Freeze struct {
	From, To time.Time
	Reason   string
}

// Calendar of one credential. Without windows it is open but for the freezes.
type Calendar struct {
	Windows []Window
	Freezes []Freeze
}

var _ rotate.Calendar = (*Calendar)(nil)

// Closed tells why nothing may start at now and the next instant at which it may;
// zero if none comes within Horizon. A freeze is named before a window.
func (c *Calendar) Closed(now time.Time) (rotate.Reason, time.Time) {
	switch {
	case !c.thaw(now).IsZero():
		return rotate.ReasonFrozen, c.opens(now)
	case !c.inWindow(now):
		return rotate.ReasonWindow, c.opens(now)
	}
	return "", time.Time{}
}

// thaw is the latest end of the freezes that cover t; zero if none does.
func (c *Calendar) thaw(t time.Time) (end time.Time) {
	for _, f := range c.Freezes {
		if !t.Before(f.From) && t.Before(f.To) && f.To.After(end) {
			end = f.To
		}
	}
	return end
}

// inWindow: a start lies no further back than its window's length.
func (c *Calendar) inWindow(t time.Time) bool {
	if len(c.Windows) == 0 {
		return true
	}
	return slices.ContainsFunc(c.Windows, func(w Window) bool {
		start := w.Schedule.Next(t.Add(-w.Length))
		return !start.IsZero() && !start.After(t)
	})
}

// opens is the first open instant from t on. Each round leaves a freeze or enters a
// window, so there are few.
func (c *Calendar) opens(t time.Time) time.Time {
	for last := t.Add(Horizon); !t.After(last); {
		if end := c.thaw(t); !end.IsZero() {
			t = end
			continue
		}
		if c.inWindow(t) {
			return t.UTC()
		}
		start := c.nextStart(t)
		if start.IsZero() {
			break
		}
		t = start
	}
	return time.Time{}
}

func (c *Calendar) nextStart(t time.Time) (first time.Time) {
	for _, w := range c.Windows {
		if s := w.Schedule.Next(t); !s.IsZero() && (first.IsZero() || s.Before(first)) {
			first = s
		}
	}
	return first
}

// LongestClosed finds the longest time between from and to without an open stretch
// of at least the given length. Both ends are equal if there is none.
func (c *Calendar) LongestClosed(from, to time.Time, least time.Duration) (start, end time.Time) {
	start, end = from, from
	since := from
	note := func(until time.Time) {
		if until.Sub(since) > end.Sub(start) {
			start, end = since, until
		}
	}
	for _, open := range c.openTimes(from, to) {
		if open.to.Sub(open.from) < least {
			continue
		}
		note(open.from)
		since = open.to
	}
	note(to)
	return start, end
}

// stretch of time, without its end.
type stretch struct{ from, to time.Time }

// openTimes between two instants, in order and apart from one another.
func (c *Calendar) openTimes(from, to time.Time) []stretch {
	open := []stretch{{from, to}}
	if len(c.Windows) > 0 {
		open = nil
	}
	for _, w := range c.Windows {
		first := len(open)
		for s := w.Schedule.Next(from.Add(-w.Length)); !s.IsZero() && s.Before(to); s = w.Schedule.Next(s) {
			one := stretch{latest(s, from), earliest(s.Add(w.Length), to)}
			if n := len(open); n > first && !one.from.After(open[n-1].to) {
				open[n-1].to = one.to // windows of one schedule end in the order of their starts
				continue
			}
			open = append(open, one)
		}
	}
	open = merged(open)
	for _, f := range c.Freezes {
		if f.From.Before(to) && from.Before(f.To) {
			open = without(open, f)
		}
	}
	return open
}

// merged sorts stretches and joins those that overlap or touch.
func merged(all []stretch) []stretch {
	slices.SortFunc(all, func(a, b stretch) int { return a.from.Compare(b.from) })
	var out []stretch
	for _, s := range all {
		if n := len(out); n > 0 && !s.from.After(out[n-1].to) {
			out[n-1].to = latest(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// without cuts a freeze out.
func without(open []stretch, f Freeze) []stretch {
	rest := make([]stretch, 0, len(open)+1)
	for _, o := range open {
		if !f.From.Before(o.to) || !o.from.Before(f.To) {
			rest = append(rest, o)
			continue
		}
		if o.from.Before(f.From) {
			rest = append(rest, stretch{o.from, f.From})
		}
		if f.To.Before(o.to) {
			rest = append(rest, stretch{f.To, o.to})
		}
	}
	return rest
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
