package usage

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// now is a Sunday noon; yesterday is full, today runs.
var today = DayOf(noon)

// days of one service's requests that end on a day, each read whole long after its end;
// a tenth of a credit for each request. Below zero: the day was never read.
func days(last Day, service string, requests ...float64) []Row {
	var rows []Row
	for i, n := range requests {
		d := last - Day(len(requests)-1-i)
		if n < 0 {
			continue
		}
		readAt := d.End().Add(Settle)
		rows = append(rows, Row{Day: d, ReadAt: readAt, Source: SourcePortal})
		if n > 0 {
			rows = append(rows, Row{Day: d, Service: service, Requests: n, Credits: n / 10, ReadAt: readAt, Source: SourcePortal})
		}
	}
	return rows
}

func repeat(n int, v float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func evaluate(rows []Row, b Budget) Finding {
	return Evaluate(noon, Input{Credential: "maps", Rows: rows, Budget: b})
}

func TestNothingIsKnown(t *testing.T) {
	if f := evaluate(nil, Budget{PerDay: 1, CutOff: true}); f.Missing != MissingUnread || f.HasDay || f.Spent != nil || !f.Until.IsZero() {
		t.Errorf("never read: %+v", f)
	}
	f := Evaluate(noon, Input{Missing: MissingLocationPlatform, Rows: days(today-1, "geocode", 5)})
	if f.Missing != MissingLocationPlatform || !f.HasDay || f.All.Requests != 5 {
		t.Errorf("imported where nothing can be read: %+v", f)
	}
	if f := Evaluate(noon, Input{Missing: MissingUnread, Rows: days(today-1, "geocode", 0)}); f.Missing != MissingNothing || !f.HasDay || f.All.Requests != 0 {
		t.Errorf("read and not used: %+v", f)
	}
}

func TestFullDay(t *testing.T) {
	part := func(d Day, readAt time.Time, n float64) []Row {
		return []Row{{Day: d, ReadAt: readAt, Source: SourcePortal}, {Day: d, Service: "geocode", Requests: n, ReadAt: readAt, Source: SourcePortal}}
	}
	for name, c := range map[string]struct {
		rows []Row
		want Day
		full bool
		till time.Time
	}{
		"today alone":               {rows: part(today, noon, 7), till: noon},
		"yesterday, read too early": {rows: part(today-1, today.Start().Add(Settle-1), 7), till: today.Start()},
		"yesterday":                 {rows: part(today-1, today.Start().Add(Settle), 7), want: today - 1, full: true, till: today.Start()},
		"yesterday before its end":  {rows: part(today-1, at(today-1, 15), 7), till: at(today-1, 15)},
		"a gap after it":            {rows: append(days(today-4, "geocode", 1, 2), part(today, noon, 7)...), want: today - 4, full: true, till: noon},
		"a day that has not come":   {rows: part(today+1, noon, 7)},
	} {
		f := evaluate(c.rows, Budget{})
		if f.HasDay != c.full || f.LastFull != c.want && c.full || !f.Until.Equal(c.till) {
			t.Errorf("%s: last full day %v %s, until %s; want %v %s, until %s", name, f.HasDay, f.LastFull, f.Until, c.full, c.want, c.till)
		}
	}
}

func TestSums(t *testing.T) {
	rows := append(days(today-1, "geocode", repeat(30, 20)...), days(today-1, "tiles", repeat(3, 1)...)...)
	rows = append(rows, Row{Day: today, Service: "geocode", Requests: 4, Credits: 0.4, ReadAt: noon, Source: SourceFile})
	f := evaluate(rows, Budget{})
	// November has 21 full days before the 22nd.
	if f.All.Requests != 21 || f.All.MonthRequests != 21*20+3+4 || f.Today.Requests != 4 || f.Today.Credits != 0.4 || f.Source != SourceFile {
		t.Errorf("got %+v, today %+v, newest from %s", f.All, f.Today, f.Source)
	}
	if len(f.Services) != 2 || f.Services[0].Service != "geocode" || f.Services[1].Requests != 1 || f.Services[1].MonthRequests != 3 {
		t.Errorf("services %+v", f.Services)
	}
	if !f.All.HasMedian || f.All.MedianRequests != 20 || f.All.MedianCredits != 2 || !f.Services[0].HasMedian || f.Services[1].HasMedian {
		t.Errorf("medians %+v, %+v", f.All, f.Services)
	}
}

func TestSpike(t *testing.T) {
	for name, c := range map[string]struct {
		before []float64
		last   float64
		want   bool
	}{
		"as always":                         {repeat(28, 1000), 1000, false},
		"three times as much":               {repeat(28, 1000), 3000, false},
		"more than that":                    {repeat(28, 1000), 3001, true},
		"a small key":                       {repeat(28, 10), 100, false},
		"a small key turned into a big one": {repeat(28, 10), 1010, true},
		"too young":                         {repeat(6, 10), 5000, false},
		"old enough":                        {repeat(7, 10), 5000, true},
		"not in use before":                 {append(repeat(21, 0), repeat(6, 10)...), 5000, false},
		"unread days say nothing":           {append(repeat(22, -1), repeat(6, 10)...), 5000, false},
		"quiet weekends":                    {[]float64{2000, 2000, 2000, 2000, 2000, 0, 0, 2000, 2000, 2000, 2000, 2000, 0, 0}, 2500, false},
		"older than 28 days":                {append(repeat(20, 5000), repeat(28, 10)...), 5000, true},
		"a spike before does not hide one":  {append(repeat(27, 10), 9000), 9000, true},
	} {
		f := evaluate(days(today-1, "geocode", append(c.before, c.last)...), Budget{})
		if f.Spike != c.want || f.All.Spike != c.want {
			t.Errorf("%s: spike %v, want %v (median %g)", name, f.Spike, c.want, f.All.MedianRequests)
		}
	}
	// One service's spike is not hidden by a bigger one's traffic.
	rows := append(days(today-1, "tiles", repeat(29, 100_000)...), days(today-1, "geocode", append(repeat(28, 10), 9000)...)...)
	if f := evaluate(rows, Budget{}); !f.Spike || f.All.Spike {
		t.Errorf("a small service's spike: %+v", f)
	}
	// Credits alone: the same number of requests, of a dearer kind.
	dear := days(today-1, "geocode", repeat(29, 100)...)
	dear[len(dear)-1].Credits = 45
	if f := evaluate(dear, Budget{}); !f.Spike {
		t.Errorf("spike of credits: %+v", f.All)
	}
}

func TestSilence(t *testing.T) {
	weeks := func(n int, weekday, weekend float64) (out []float64) {
		for range n { // ends on a Friday, as the last full day is a Saturday
			out = append(out, weekend, weekend, weekday, weekday, weekday, weekday, weekday)
		}
		return out
	}
	for name, c := range map[string]struct {
		before []float64
		want   bool
	}{
		"a busy key":             {repeat(28, 500), true},
		"not a busy one":         {repeat(28, 99), false},
		"quiet on every weekend": {weeks(4, 500, 0), false},
		"less on weekends":       {weeks(4, 500, 3), true},
		"too young":              {repeat(14, 500), false},
		"three weeks":            {repeat(21, 500), true},
	} {
		f := evaluate(days(today-1, "geocode", append(c.before, 0)...), Budget{})
		if f.Silent != c.want {
			t.Errorf("%s: silent %v, want %v", name, f.Silent, c.want)
		}
	}
	if f := evaluate(days(today-1, "geocode", repeat(29, 500)...), Budget{}); f.Silent {
		t.Error("a key in use is called silent")
	}
	if f := evaluate(days(today-2, "geocode", repeat(29, 500)...), Budget{}); f.Silent {
		t.Error("a day that was not read is called silent")
	}
}

func TestBudgets(t *testing.T) {
	b := Budget{PerDay: 10, PerMonth: 100, WarnAt: []float64{0.5, 0.8, 1}}
	month, _ := today.month()
	spent := func(p Period, from, until Day, budget, used, level float64) Spent {
		return Spent{Period: p, From: from, Until: until, Budget: budget, Used: used, Share: used / budget, Level: level}
	}
	_, next := today.month()
	now := Row{Day: today, Service: "geocode", Requests: 1, Credits: 5, ReadAt: noon}
	for name, c := range map[string]struct {
		rows []Row
		b    Budget
		want []Spent
	}{
		"no budget":                 {rows: []Row{now}},
		"half a day's":              {[]Row{now}, b, []Spent{spent(PeriodDay, today, today+1, 10, 5, 0.5), spent(PeriodMonth, month, next, 100, 5, 0)}},
		"the month before":          {append(days(month-1, "geocode", 5000), now), Budget{PerMonth: 100}, []Spent{spent(PeriodMonth, month, next, 100, 5, 0)}},
		"yesterday took more":       {append(days(today-1, "geocode", 80), now), b, []Spent{spent(PeriodDay, today, today+1, 10, 5, 0.5), spent(PeriodDay, today-1, today, 10, 8, 0.8), spent(PeriodMonth, month, next, 100, 13, 0)}},
		"nothing is known of today": {days(today-1, "geocode", 40), Budget{PerDay: 10}, []Spent{spent(PeriodDay, today-1, today, 10, 4, 0)}},
		"yesterday took less":       {append(days(today-1, "geocode", 40), now), Budget{PerDay: 10}, []Spent{spent(PeriodDay, today, today+1, 10, 5, 0)}},
		"all of it":                 {append(days(today-1, "geocode", 950), now), Budget{PerMonth: 100, WarnAt: b.WarnAt}, []Spent{spent(PeriodMonth, month, next, 100, 100, 1)}},
		"more than all of it":       {append(days(today-1, "geocode", 9950), now), Budget{PerMonth: 100, WarnAt: b.WarnAt}, []Spent{spent(PeriodMonth, month, next, 100, 1000, 1)}},
		"a level beyond it all":     {append(days(today-1, "geocode", 1450), now), Budget{PerMonth: 100, WarnAt: []float64{1, 1.5}}, []Spent{spent(PeriodMonth, month, next, 100, 150, 1.5)}},
	} {
		if diff := cmp.Diff(c.want, evaluate(c.rows, c.b).Spent); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestMissingSentences(t *testing.T) {
	seen := map[string]bool{MissingNothing.Sentence(): true}
	for _, m := range MissingReasons() {
		if s := m.Sentence(); seen[s] || s == string(m) {
			t.Errorf("%s says %q", m, s)
		} else {
			seen[s] = true
		}
	}
}
