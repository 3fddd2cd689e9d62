package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

func expiring(names string, left ...time.Duration) []row {
	var list []Credential
	for i, l := range left {
		list = append(list, fine(names[i:i+1], l))
	}
	return rowsOf(list...)
}

// TestChartCountsEachKeyOnce on its UTC day, and none that ends outside.
func TestChartCountsEachKeyOnce(t *testing.T) {
	// It is noon: 11:59:59 h on is still today, 12 h on is tomorrow.
	rows := expiring("abcdefgh", -13*time.Hour, -time.Hour, 12*time.Hour-time.Second, 12*time.Hour, 89*day, 90*day-12*time.Hour-time.Second, 90*day-12*time.Hour, 4000*day)
	c := expiryChart(rows, at(), 90)
	if len(c.Bars) != 90 || c.Sum != 5 || c.Top != 2 {
		t.Errorf("%d bars, %d keys, at most %d", len(c.Bars), c.Sum, c.Top)
	}
	for i, want := range map[int]int{0: 2, 1: 1, 89: 2, 45: 0} {
		if c.Bars[i].Count != want {
			t.Errorf("bar %d (%s) has %d, want %d", i, c.Bars[i].Name(), c.Bars[i].Count, want)
		}
	}
	for _, tt := range []struct {
		left time.Duration
		unit string
	}{{20 * day, "day"}, {100 * day, "day"}, {200 * day, "week"}, {1000 * day, "month"}} {
		c := expiryChart(expiring("ab", 5*day, tt.left), at(), 0)
		if c.Unit != tt.unit || c.Sum != 2 {
			t.Errorf("up to %s: %d keys by %s, want 2 by %s", tt.left, c.Sum, c.Unit, tt.unit)
		}
		for i, b := range c.Bars {
			if i > 0 && !b.From.Equal(c.Bars[i-1].To) {
				t.Errorf("by %s: a gap before %s", c.Unit, b.Name())
			}
			if b.X < chartLeft || b.X+b.W > chartWidth || b.Y < chartTop || b.Y+b.H != chartBase {
				t.Errorf("by %s: bar %d is drawn outside: %+v", c.Unit, i, b)
			}
		}
		if c.Unit == "week" && c.Bars[0].From.Weekday() != time.Monday {
			t.Errorf("a week begins on %s", c.Bars[0].From.Weekday())
		}
	}
}

func TestAtRisk(t *testing.T) {
	for name, tt := range map[string]struct {
		want   bool
		change func(*Credential)
	}{
		"a rotation comes":           {false, func(*Credential) {}},
		"watched":                    {true, func(c *Credential) { c.Mode = rotate.ModeWatch }},
		"held without end":           {true, func(c *Credential) { c.Hold = &rotate.Hold{} }},
		"held beyond its expiry":     {true, func(c *Credential) { c.Hold = &rotate.Hold{Until: at().Add(90 * day)} }},
		"held for now":               {false, func(c *Credential) { c.Hold = &rotate.Hold{Until: at().Add(60 * day)} }},
		"the window opens too late":  {true, func(c *Credential) { c.StartAt = at().Add(80 * day) }},
		"the window opens in time":   {false, func(c *Credential) { c.StartAt = at().Add(70 * day) }},
		"never adopted":              {true, func(c *Credential) { c.Record.AdoptedAt = time.Time{} }},
		"quarantined":                {true, func(c *Credential) { c.Record.Quarantine = &rotate.Quarantine{} }},
		"occupied":                   {true, func(c *Credential) { c.Record.Blocked = rotate.ReasonOccupied }},
		"under way":                  {false, func(c *Credential) { c.Record.Phase = rotate.PhaseMinting }},
		"under way and wants people": {true, func(c *Credential) { c.Record.Phase, c.Attention = rotate.PhaseMinting, "failing" }},
	} {
		c := fine("a", 80*day)
		tt.change(&c)
		if got := rowOf(&c, at()).atRisk(); got != tt.want {
			t.Errorf("%s: at risk %v, want %v", name, got, tt.want)
		}
	}
}

func TestCalendar(t *testing.T) {
	overdue, soon, far, dies := fine("overdue", 20*day), fine("soon", 33*day), fine("far", 200*day), fine("dies", 10*day)
	overdue.Record.Due, overdue.Record.Blocked, overdue.NextAt = rotate.ReasonExpiring, rotate.ReasonWindow, at().Add(26*time.Hour)
	dies.Mode = rotate.ModeWatch
	both := fine("both", 340*day)
	both.Record.Phase, both.Record.RetireAt, both.Record.Previous.Slot = rotate.PhaseOverlap, at().Add(-time.Minute), rotate.Slot2
	s := &Site{o: Options{Snapshot: func(time.Time) []Credential { return []Credential{overdue, soon, far, dies, both} }}}
	turn := func(query string) calendarModel {
		m, err := s.calendar(httptest.NewRequest(http.MethodGet, "/calendar"+query, nil), at())
		if err != nil {
			t.Fatal(err)
		}
		return m.(calendarModel)
	}
	m := turn("")
	var got []string
	for _, d := range m.Days {
		for _, e := range d.Events {
			got = append(got, d.Day.Format("01-02")+" "+string(e.Name)+" "+string(e.What))
		}
	}
	want := []string{"03-01 both old key is invalidated", "03-02 overdue rotation starts", "03-04 soon rotation starts", "03-11 dies key expires, at risk"}
	if len(got) != len(want) {
		t.Fatalf("the calendar says %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d is %q, want %q", i, got[i], want[i])
		}
	}
	// 1 March 2026 is a Sunday: the grid begins on Monday, 23 February.
	if first := m.Weeks[0].Days[6]; !first.Today || !m.Weeks[0].Days[5].Past || first.Count != 0 {
		t.Errorf("today: %+v", first)
	}
	if c := m.Weeks[1].Days[2]; c.Count != 1 || c.Link != "#d2026-03-04" || c.Shade == 0 {
		t.Errorf("4 March: %+v", c)
	}
	if c := m.Weeks[2].Days[2]; c.Ends != 1 || c.Count != 0 {
		t.Errorf("11 March: %+v", c)
	}
	if m.Prev != "" || m.Next != "calendar?from=2026-03-29" || m.Sum != 2 {
		t.Errorf("%q, %q, %d", m.Prev, m.Next, m.Sum)
	}
	if m := turn("?from=2026-08-15"); m.Sum != 1 || m.Prev != "calendar?from=2026-07-18" || m.Today == "" {
		t.Errorf("later: %d, %q", m.Sum, m.Prev)
	}
	for _, odd := range []string{"?from=2020-01-01", "?from=9999-12-31", "?from=x"} {
		if m := turn(odd); !m.From.Equal(at().Truncate(day)) {
			t.Errorf("%s shows %s", odd, m.From)
		}
	}
}

// TestFullDay: what is not told of a day is counted, and linked; keys that die are told.
func TestFullDay(t *testing.T) {
	var list []Credential
	for range 100 {
		list = append(list, fine("x", 35*day))
	}
	m := calendarModel{From: at().Truncate(day), To: at().Truncate(day).AddDate(0, 0, listed)}
	m.fillDays(upcoming(rowsOf(list...), at()), m.From, perDay)
	if d := m.Days[0]; len(m.Days) != 1 || len(d.Events) != perDay || d.More != 60 || d.Starts != 100 || d.All != "calendar?on=2026-03-06" {
		t.Errorf("%d days; %d told, %d more of %d: %s", len(m.Days), len(d.Events), d.More, d.Starts, d.All)
	}
}

func TestLanes(t *testing.T) {
	for name, tt := range map[string]struct {
		left      time.Duration
		due, ends int
	}{
		"overdue":    {10 * day, lanePad, lanePad + 10*(laneWidth-2*lanePad)/100},
		"to come":    {50 * day, lanePad + 20*(laneWidth-2*lanePad)/100, lanePad + 50*(laneWidth-2*lanePad)/100},
		"expired":    {-day, lanePad, lanePad},
		"far beyond": {500 * day, -1, laneWidth - lanePad},
	} {
		l := laneOf(expiring("a", tt.left)[0], at(), 100*day)
		if l.Due != tt.due || l.Ends != tt.ends || l.Beyond != (tt.left > 100*day) || l.Ended != (tt.left < 0) {
			t.Errorf("%s: %+v", name, l)
		}
		if l.From < lanePad || l.To > laneWidth-lanePad || l.WindowWidth() < 0 || l.ValidWidth() < 0 {
			t.Errorf("%s is drawn outside: %d to %d", name, l.From, l.To)
		}
	}
}

func TestDistance(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "now", -500 * time.Millisecond: "now", 90 * time.Second: "in 90 seconds", 47*time.Hour + time.Hour/2: "in 47 hours",
		-49 * time.Hour: "2 days ago", 3*day - 1: "in 2 days", 119 * time.Minute: "in 119 minutes", time.Second: "in 1 second"} {
		if got := distance(at().Add(d), at()); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
