package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

// forecastOf a fleet of four.
func forecastOf(events ...Foreseen) *Forecast {
	return &Forecast{Made: at().Add(-time.Minute), Until: at().AddDate(0, 0, 100), Unknown: []rotate.Name{"zeta", "alpha"}, Events: events}
}

// The calendar has the planner's dates, and what cannot be rotated in time comes first.
func TestCalendarOfAForecast(t *testing.T) {
	maps, shop, ends, failing := fine("maps", 33*day), fine("shop", 33*day), fine("ends", 10*day), fine("failing", 12*day)
	ends.Mode, failing.Attention = rotate.ModeWatch, "rotation keeps failing"
	f := forecastOf(
		Foreseen{At: at().Add(-2 * day), Name: "maps", What: ForeseenRetire, Slot: rotate.Slot2}, // before today
		Foreseen{At: at().Add(5 * day), Name: "maps", What: ForeseenRotation, Slot: rotate.Slot2, Left: 28 * day},
		Foreseen{At: at().Add(6 * day), Name: "shop", What: ForeseenRotation, Slot: rotate.Slot2, Left: 2 * day, Late: true},
		Foreseen{At: at().Add(10 * day), Name: "ends", What: ForeseenDeath, Detail: "it is only watched"},
		Foreseen{At: at().Add(12 * day), Name: "maps", What: ForeseenRetire, Slot: rotate.Slot1},
		Foreseen{At: at().Add(13 * day), Name: "left the config", What: ForeseenDeath})
	s := &Site{o: Options{Snapshot: func(time.Time) []Credential { return []Credential{maps, shop, ends, failing} },
		Forecast: func(context.Context) *Forecast { return f }}}
	turn := func(query string) calendarModel {
		t.Helper()
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
			got = append(got, strings.TrimSpace(d.Day.Format("01-02")+" "+string(e.Name)+": "+string(e.What)+", "+e.Class()+" "+e.Note))
		}
	}
	want := []string{"03-06 maps: new key is served, rotation", "03-07 shop: new key is served, late late: the old key has 2 days left then",
		"03-11 ends: key ends unrotated, expiry it is only watched", "03-13 maps: old key is invalidated, retire slot 1",
		"03-13 failing: key expires, at risk, expiry rotation keeps failing"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if m.Sum != 2 || m.Starts || !m.Foretold.On || m.Foretold.Short || len(m.Foretold.Dying) != 1 || m.Foretold.Dying[0].Name != "ends" ||
		m.Foretold.Unknown[0] != "alpha" {
		t.Errorf("%d rotations, %+v", m.Sum, m.Foretold)
	}
	if m := turn("?on=2026-03-06"); m.Span != 1 || len(m.Days) != 1 || m.Sum != 1 || m.Next != "calendar?from=2026-03-07" {
		t.Errorf("one day: %d days, %d rotations, next %q", len(m.Days), m.Sum, m.Next)
	}
	if m := turn("?from=2026-06-01"); !m.Foretold.Short || len(m.Days) != 0 {
		t.Errorf("beyond the forecast: %+v", m.Foretold)
	}
	f.TooMany = true
	if m := turn(""); m.Foretold.Coming || m.Foretold.On || m.Sum != 3 {
		t.Errorf("of a fleet that is too large: %d rotations, %+v", m.Sum, m.Foretold)
	}
	f = nil
	if m := turn(""); !m.Foretold.Coming || m.Foretold.On || !m.Starts || m.Sum != 3 {
		t.Errorf("while it is made: %d rotations, %+v", m.Sum, m.Foretold)
	}
}

// Of a fleet that dies the page names the first, and counts the rest.
func TestManyThatDie(t *testing.T) {
	var list []Credential
	f := forecastOf()
	for i := range 50 {
		c := fine("credential", 10*day)
		c.Name += rotate.Name(rune('A' + i))
		list = append(list, c)
		f.Events = append(f.Events, Foreseen{At: at().Add(10 * day), Name: c.Name, What: ForeseenDeath})
	}
	all := f.coming(rowsOf(list...), at())
	if told := f.told(all, at().Add(28*day)); len(told.Dying) != mostDying || told.More != 30 {
		t.Errorf("%d named, %d more", len(told.Dying), told.More)
	}
	m := calendarModel{From: at().Truncate(day), To: at().Truncate(day).AddDate(0, 0, listed)}
	m.fillDays(all, m.From, perDay)
	if len(m.Days) != 1 || len(m.Days[0].Events) != 50 || m.Days[0].More != 0 {
		t.Errorf("of the keys that die on a day some are not told: %+v", m.Days)
	}
}
