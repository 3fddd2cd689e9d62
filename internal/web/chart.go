package web

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// chart is a histogram of expiries: how many keys end on each day, or in each week or
// month, and how many of them are at risk.
type chart struct {
	Unit   string // day, week, month
	Bars   []bar
	Ticks  []tick // of the time axis
	Levels []tick // of the count axis
	Top    int    // the highest bar
	Sum    int
	At     int // how many of them are at risk
	Width  int
	Height int
	Base   int // y of the axis
}

// bar is one day, week or month.
type bar struct {
	From, To time.Time // To is not in it
	Count    int
	AtRisk   int
	X, W     int
	Y, H     int // of all
	RY, RH   int // of those at risk
}

// tick of an axis.
type tick struct {
	X, Y  int
	Label string
}

const (
	chartWidth  = 960
	chartHeight = 190
	chartLeft   = 34
	chartTop    = 12
	chartBase   = chartHeight - 24
)

// atRisk tells whether the key may end without being replaced: no rotation is on the
// way, or something is wrong with it.
func (r row) atRisk() bool {
	if r.State == stateBroken || r.State == stateAttention {
		return true
	}
	at, ok := r.Starts()
	return r.Record.Phase != "" && !r.Record.Phase.InCutOver() && (!ok || !at.Before(r.Expires()))
}

// expiryChart of so many days from today; 0 is up to the last expiry.
func expiryChart(rows []row, now time.Time, days int) chart {
	today := now.Truncate(day)
	last := today.AddDate(0, 0, days)
	c := chart{Unit: "day", Width: chartWidth, Height: chartHeight, Base: chartBase}
	if days == 0 {
		last = today.AddDate(0, 0, 27)
		for _, r := range rows {
			if e := r.Expires(); e.After(last) && e.Before(today.AddDate(5, 0, 0)) {
				last = e
			}
		}
		last = last.Truncate(day).AddDate(0, 0, 1)
		switch n := int(last.Sub(today) / day); {
		case n > 2*366:
			c.Unit = "month"
			today = time.Date(today.Year(), today.Month(), 1, 0, 0, 0, 0, time.UTC)
		case n > 120:
			c.Unit = "week"
			today = monday(today)
		}
	}
	for at := today; at.Before(last); {
		next := at.AddDate(0, 0, 1)
		switch c.Unit {
		case "week":
			next = at.AddDate(0, 0, 7)
		case "month":
			next = at.AddDate(0, 1, 0)
		}
		c.Bars = append(c.Bars, bar{From: at, To: next})
		at = next
	}
	for _, r := range rows {
		e := r.Expires()
		i, ok := slices.BinarySearchFunc(c.Bars, e, func(b bar, t time.Time) int { return b.From.Compare(t) })
		if !ok {
			i--
		}
		if e.IsZero() || i < 0 || i >= len(c.Bars) || !e.Before(c.Bars[i].To) {
			continue
		}
		c.Bars[i].Count++
		c.Sum++
		if r.atRisk() {
			c.Bars[i].AtRisk++
			c.At++
		}
	}
	c.draw()
	return c
}

// monday of the week.
func monday(t time.Time) time.Time { return t.AddDate(0, 0, -(int(t.Weekday())+6)%7) }

// draw gives every bar and tick its place.
func (c *chart) draw() {
	for _, b := range c.Bars {
		c.Top = max(c.Top, b.Count)
	}
	scale := max(c.Top, 1)
	height := chartBase - chartTop
	for i := range c.Bars {
		b := &c.Bars[i]
		left := chartLeft + i*(chartWidth-chartLeft)/len(c.Bars)
		right := chartLeft + (i+1)*(chartWidth-chartLeft)/len(c.Bars)
		b.X, b.W = left+1, max(right-left-2, 1)
		b.H, b.RH = high(b.Count, scale, height), high(b.AtRisk, scale, height)
		b.Y, b.RY = chartBase-b.H, chartBase-b.RH
	}
	c.Levels = []tick{{X: chartLeft - 6, Y: chartBase, Label: "0"}}
	if c.Top > 0 {
		c.Levels = append(c.Levels, tick{X: chartLeft - 6, Y: chartTop, Label: short(c.Top)})
	}
	every := max(1, (len(c.Bars)+8)/9)
	for i := 0; i < len(c.Bars); i += every {
		label := c.Bars[i].From.Format("2 Jan")
		if c.Unit == "month" {
			label = c.Bars[i].From.Format("Jan 2006")
		}
		if x := c.Bars[i].X; x < chartWidth-50 {
			c.Ticks = append(c.Ticks, tick{X: x, Y: chartHeight - 6, Label: label})
		}
	}
}

// high is a bar's height; something is never nothing.
func high(n, of, height int) int {
	if n == 0 {
		return 0
	}
	return max(3, n*height/of)
}

// short writes 12345 as 12k.
func short(n int) string {
	if n >= 10000 {
		return itoa(n/1000) + "k"
	}
	return itoa(n)
}

func itoa(n int) string { return strconv.Itoa(n) }

// Name of the bar for the table beside the chart.
func (b bar) Name() string {
	if b.To.Sub(b.From) <= day {
		return b.From.Format(time.DateOnly)
	}
	return b.From.Format(time.DateOnly) + " to " + b.To.AddDate(0, 0, -1).Format(time.DateOnly)
}

// Says the chart in a sentence.
func (c chart) Says() string {
	if c.Sum == 0 {
		return "No key expires in that time."
	}
	text := count(c.Sum, "key") + " expire"
	if c.Sum == 1 {
		text += "s"
	}
	text += fmt.Sprintf(" in that time, at most %s a %s", thousands(c.Top), c.Unit)
	if c.At > 0 {
		return text + "; " + thousands(c.At) + " of them at risk."
	}
	return text + ", none of them at risk."
}

// timelineModel is the page of expiries.
type timelineModel struct {
	frame
	Query query
	All   bool
	Spans []choice
	Chart chart
	Axis  axis
	Lanes []lane
	Pager pager
}

// axis of the lanes.
type axis struct {
	Ticks []tick
	Width int
}

// lane is one credential's key in time.
type lane struct {
	row
	Due, Ends     int // x; -1: unknown or out of sight
	From          int // where the time in which it is to be rotated begins
	To            int
	Retire        int
	Beyond, Ended bool
}

const (
	laneWidth = 600
	lanePad   = 8
)

func (s *Site) timeline(r *http.Request, now time.Time) (any, error) {
	q := readQuery(r.URL.Query())
	rows := s.rows(now)
	m := timelineModel{frame: s.frame("Timeline", "timeline", now, rows), All: r.URL.Query().Get("span") == "all"}
	days := 90
	if m.All {
		days = 0
	}
	q.Sort, q.Desc = "expires", false
	m.Query = q
	kept := q.filter(rows)
	q.sort(kept)
	m.Chart = expiryChart(kept, now, days)
	to := "timeline?span=90"
	if m.All {
		to = "timeline?span=all"
	}
	m.Spans = []choice{{Label: "90 days", Link: "timeline?span=90", Chosen: !m.All}, {Label: "all", Link: "timeline?span=all", Chosen: m.All}}
	if !m.All {
		last := now.Add(90 * day)
		n, _ := slices.BinarySearchFunc(kept, last, func(r row, t time.Time) int { return byTime(r.Expires(), t) })
		kept = kept[:n]
	}
	m.Pager = q.cut(len(kept))
	if m.Pager.Page > 1 {
		m.Pager.Prev = to + "&page=" + itoa(m.Pager.Page-1)
	}
	if m.Pager.Page < m.Pager.Pages {
		m.Pager.Next = to + "&page=" + itoa(m.Pager.Page+1)
	}
	span := 90 * day
	if m.All && len(m.Chart.Bars) > 0 {
		span = m.Chart.Bars[len(m.Chart.Bars)-1].To.Sub(now)
	}
	m.Axis = axisOf(now, span)
	for _, one := range kept[min(len(kept), m.Pager.From-1):m.Pager.To] {
		m.Lanes = append(m.Lanes, laneOf(one, now, span))
	}
	return m, nil
}

func axisOf(now time.Time, span time.Duration) axis {
	a := axis{Width: laneWidth}
	const n = 6
	for i := range n {
		at := now.Add(span * time.Duration(i) / n)
		a.Ticks = append(a.Ticks, tick{X: lanePad + i*(laneWidth-2*lanePad)/n, Label: at.Format("2 Jan")})
	}
	a.Ticks[0].Label = "now"
	return a
}

// laneOf a credential: what lies before now is drawn at now.
func laneOf(r row, now time.Time, span time.Duration) lane {
	x := func(t time.Time) int {
		if t.IsZero() {
			return -1
		}
		at := min(max(t.Sub(now), 0), span)
		return lanePad + int(float64(at)/float64(span)*(laneWidth-2*lanePad))
	}
	l := lane{row: r, Due: -1, Ends: x(r.Expires()), Retire: -1, From: lanePad, To: laneWidth - lanePad}
	e := r.Expires()
	l.Beyond, l.Ended = e.Sub(now) > span, !e.IsZero() && !e.After(now)
	if l.Ends >= 0 {
		l.To = l.Ends
	}
	if !r.DueAt.IsZero() && r.DueAt.Sub(now) <= span {
		l.Due = x(r.DueAt)
		l.From = l.Due
	} else {
		l.From = l.To
	}
	if rec := &r.Record; rec.RetireAt.After(now) && (rec.Phase == "overlap" || rec.Phase == "retiring") && rec.RetireAt.Sub(now) <= span {
		l.Retire = x(rec.RetireAt)
	}
	return l
}

// AtRisk is atRisk, for the template.
func (l lane) AtRisk() bool { return l.atRisk() }

// ValidWidth is how long the key is valid with nothing due, and WindowWidth how long
// it is to be rotated in, both in the drawing's units.
func (l lane) ValidWidth() int { return max(0, l.From-lanePad) }

// WindowWidth: see ValidWidth.
func (l lane) WindowWidth() int { return max(0, l.To-l.From) }
