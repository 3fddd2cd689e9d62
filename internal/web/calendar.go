package web

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

const (
	listed  = 28 // days that are told in full
	weeks   = 14 // of the grid
	perDay  = 40 // credentials of one day, and of one day alone:
	onlyDay = 5000
	farther = 5 // years that the calendar may be turned
)

// calendarModel is the page of what comes.
type calendarModel struct {
	frame
	From, To   time.Time // of the list; To is not in it
	Weeks      []week
	Days       []dayModel
	Prev, Next string
	Today      string
	Sum        int  // rotations in the list
	Span       int  // days of the list
	Starts     bool // it is told when rotations start, and not when they have ended
	Foretold   foretold
}

// week is one line of the grid, from Monday.
type week struct {
	Monday time.Time
	Days   [7]cell
}

// cell is one day of the grid.
type cell struct {
	Day   time.Time
	Count int // rotations that start
	Ends  int // keys that expire and are at risk
	Link  string
	Today bool
	Past  bool
	Shade int // 0 to 4, beside the number
}

// dayModel is one day of the list.
type dayModel struct {
	Day    time.Time
	ID     string
	Today  bool
	Events []coming
	Starts int
	More   int // events that are not told
	All    string
}

// comingKind is what happens.
type comingKind string

// What happens.
const (
	comingRotation comingKind = "rotation starts"    // as the records foretell
	comingKey      comingKind = "new key is served"  // as the planner foretells
	comingDeath    comingKind = "key ends unrotated" // likewise
	comingRetire   comingKind = "old key is invalidated"
	comingExpiry   comingKind = "key expires, at risk"
)

// coming is one thing that happens to one credential.
type coming struct {
	row
	At   time.Time
	What comingKind
	Note string
	Late bool // the old key is about to end
}

// upcoming is everything that the records foretell, in order.
func upcoming(rows []row, now time.Time) []coming {
	var out []coming
	for _, r := range rows {
		rec := &r.Record
		if at, ok := r.Starts(); ok {
			c := coming{row: r, At: at, What: comingRotation}
			switch {
			case !r.DueAt.IsZero() && r.DueAt.Before(now):
				c.Note = "due since " + stampWith(r.DueAt, now)
			case r.StartAt.After(r.DueAt) && !r.DueAt.IsZero():
				c.Note = "due " + r.DueAt.UTC().Format("2006-01-02 15:04 UTC") + ", and the window opens then"
			}
			out = append(out, c)
		}
		if (rec.Phase == rotate.PhaseOverlap || rec.Phase == rotate.PhaseRetiring) && !rec.RetireAt.IsZero() {
			out = append(out, coming{row: r, At: later(rec.RetireAt, now), What: comingRetire, Note: "slot " + rec.Previous.Slot.String()})
		}
		if e := r.Expires(); e.After(now) && r.atRisk() {
			out = append(out, coming{row: r, At: e, What: comingExpiry, Note: r.Attention})
		}
	}
	slices.SortFunc(out, func(a, b coming) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Name, b.Name), cmp.Compare(a.What, b.What))
	})
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (s *Site) calendar(r *http.Request, now time.Time) (any, error) {
	rows := s.rows(now)
	today := now.Truncate(day)
	from := today
	if t, err := time.Parse(time.DateOnly, r.URL.Query().Get("from")); err == nil && t.After(today) && t.Before(today.AddDate(farther, 0, 0)) {
		from = t
	}
	m := calendarModel{frame: s.frame("Calendar", "calendar", now, rows), From: from, Span: listed, Starts: true}
	most := perDay
	if t, err := time.Parse(time.DateOnly, r.URL.Query().Get("on")); err == nil && !t.Before(today) && t.Before(today.AddDate(farther, 0, 0)) {
		from, most = t, onlyDay
		m.From, m.Span = t, 1
	}
	m.To = m.From.AddDate(0, 0, m.Span)
	all := s.foresee(r, &m, rows, now)
	m.fillGrid(all, today)
	m.fillDays(all, today, most)
	if from.After(today) {
		m.Today = "calendar"
		m.Prev = calendarLink(later(from.AddDate(0, 0, -listed), today))
	}
	m.Next = calendarLink(m.To)
	return m, nil
}

// foresee what the planner says, or while nobody has asked it what the records do.
func (s *Site) foresee(r *http.Request, m *calendarModel, rows []row, now time.Time) []coming {
	if s.o.Forecast == nil {
		return upcoming(rows, now)
	}
	f := s.o.Forecast(r.Context())
	if f == nil {
		m.Foretold = f.told(nil, m.To)
		return upcoming(rows, now)
	}
	if f.TooMany {
		return upcoming(rows, now)
	}
	all := f.coming(rows, now)
	m.Foretold, m.Starts = f.told(all, m.To), false
	return all
}

func calendarLink(from time.Time) string { return "calendar?from=" + from.Format(time.DateOnly) }

func (m *calendarModel) fillGrid(all []coming, today time.Time) {
	first := monday(m.From)
	for w := range weeks {
		one := week{Monday: first.AddDate(0, 0, 7*w)}
		for d := range one.Days {
			at := one.Monday.AddDate(0, 0, d)
			one.Days[d] = cell{Day: at, Today: at.Equal(today), Past: at.Before(today), Link: calendarLink(at)}
			if !at.Before(m.From) && at.Before(m.To) {
				one.Days[d].Link = "#d" + at.Format(time.DateOnly)
			}
		}
		m.Weeks = append(m.Weeks, one)
	}
	top := 0
	for _, c := range all {
		i := int(c.At.UTC().Truncate(day).Sub(first) / day)
		if i < 0 || i >= 7*weeks {
			continue
		}
		one := &m.Weeks[i/7].Days[i%7]
		switch c.What {
		case comingRotation, comingKey:
			one.Count++
			top = max(top, one.Count)
		case comingExpiry, comingDeath:
			one.Ends++
		case comingRetire: // the list tells it
		}
	}
	for w := range m.Weeks {
		for d := range m.Weeks[w].Days {
			if c := &m.Weeks[w].Days[d]; c.Count > 0 {
				c.Shade = 1 + 3*c.Count/max(top, 1)
			}
		}
	}
}

func (m *calendarModel) fillDays(all []coming, today time.Time, most int) {
	for _, c := range all {
		at := c.At.UTC().Truncate(day)
		if at.Before(m.From) || !at.Before(m.To) {
			continue
		}
		if n := len(m.Days); n == 0 || !m.Days[n-1].Day.Equal(at) {
			name := at.Format(time.DateOnly)
			m.Days = append(m.Days, dayModel{Day: at, ID: "d" + name, Today: at.Equal(today),
				All: "calendar?on=" + name})
		}
		d := &m.Days[len(m.Days)-1]
		if c.What == comingRotation || c.What == comingKey {
			d.Starts++
			m.Sum++
		}
		if len(d.Events) >= most && c.What != comingExpiry && c.What != comingDeath && !c.Late {
			d.More++
			continue
		}
		d.Events = append(d.Events, c)
	}
}

// Class of the line in the style sheet.
func (c coming) Class() string {
	switch c.What {
	case comingRotation, comingKey:
		if c.Late {
			return "late"
		}
		return "rotation"
	case comingRetire:
		return "retire"
	case comingExpiry, comingDeath:
		return "expiry"
	}
	return ""
}
