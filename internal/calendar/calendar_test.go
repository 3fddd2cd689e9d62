package calendar

import (
	"fmt"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"

	"rotatord/internal/rotate"
)

// zoned is a cron line in a zone.
type zoned struct {
	cron cron.Schedule
	loc  *time.Location
}

func (z zoned) Next(t time.Time) time.Time { return z.cron.Next(t.In(z.loc)) }

type failer interface {
	Helper()
	Fatal(args ...any)
}

func in(t failer, zone string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func window(t failer, zone, line string, length time.Duration) Window {
	t.Helper()
	s, err := cron.ParseStandard(line)
	if err != nil {
		t.Fatal(err)
	}
	return Window{Schedule: zoned{s, in(t, zone)}, Length: length}
}

func at(t failer, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestClosed(t *testing.T) {
	const berlin = "Europe/Berlin"
	night := window(t, berlin, "0 22 * * *", 4*time.Hour)
	long := window(t, berlin, "0 22 * * *", 6*time.Hour)
	freeze := func(from, to string) []Freeze { return []Freeze{{at(t, from), at(t, to), "x"}} }
	for name, row := range map[string]struct {
		cal    Calendar
		now    string
		want   rotate.Reason
		reopen string // "" is never, or open
	}{
		"no windows": {now: "2026-03-29T00:30:00Z"},
		"before":     {Calendar{Windows: []Window{night}}, "2026-03-20T21:59:59+01:00", rotate.ReasonWindow, "2026-03-20T22:00:00+01:00"},
		"first":      {Calendar{Windows: []Window{night}}, "2026-03-20T22:00:00+01:00", "", ""},
		"last":       {Calendar{Windows: []Window{night}}, "2026-03-21T01:59:59.999999999+01:00", "", ""},
		"end":        {Calendar{Windows: []Window{night}}, "2026-03-21T02:00:00+01:00", rotate.ReasonWindow, "2026-03-21T22:00:00+01:00"},
		// Elapsed time: in the short night four hours end at 3 o'clock, in the long one six hours too.
		"spring, still open":   {Calendar{Windows: []Window{night}}, "2026-03-29T02:59:59+02:00", "", ""},
		"spring, end":          {Calendar{Windows: []Window{night}}, "2026-03-29T03:00:00+02:00", rotate.ReasonWindow, "2026-03-29T22:00:00+02:00"},
		"autumn, still open":   {Calendar{Windows: []Window{long}}, "2026-10-25T02:59:59+01:00", "", ""},
		"autumn, end":          {Calendar{Windows: []Window{long}}, "2026-10-25T03:00:00+01:00", rotate.ReasonWindow, "2026-10-25T22:00:00+01:00"},
		"day after spring":     {Calendar{Windows: []Window{night}}, "2026-03-29T21:30:00+02:00", rotate.ReasonWindow, "2026-03-29T22:00:00+02:00"},
		"day after autumn":     {Calendar{Windows: []Window{night}}, "2026-10-25T21:30:00+01:00", rotate.ReasonWindow, "2026-10-25T22:00:00+01:00"},
		"skipped start":        {Calendar{Windows: []Window{window(t, berlin, "30 2 * * *", time.Hour)}}, "2026-03-29T01:45:00+01:00", rotate.ReasonWindow, "2026-03-30T02:30:00+02:00"},
		"repeated start":       {Calendar{Windows: []Window{window(t, berlin, "30 2 * * *", 10*time.Minute)}}, "2026-10-25T02:40:00+02:00", rotate.ReasonWindow, "2026-10-25T02:30:00+01:00"},
		"overlapping":          {Calendar{Windows: []Window{night, window(t, berlin, "0 1 * * *", 2*time.Hour)}}, "2026-06-01T02:30:00+02:00", "", ""},
		"after both":           {Calendar{Windows: []Window{night, window(t, berlin, "0 1 * * *", 2*time.Hour)}}, "2026-06-01T03:00:00+02:00", rotate.ReasonWindow, "2026-06-01T22:00:00+02:00"},
		"overlaps itself":      {Calendar{Windows: []Window{window(t, berlin, "0 */2 * * *", 3*time.Hour)}}, "2026-06-01T03:30:00+02:00", "", ""},
		"sooner of two":        {Calendar{Windows: []Window{night, window(t, "America/New_York", "0 9 * * *", time.Hour)}}, "2026-06-01T12:00:00Z", rotate.ReasonWindow, "2026-06-01T13:00:00Z"},
		"freeze inside window": {Calendar{[]Window{night}, freeze("2026-06-01T21:00:00Z", "2026-06-01T22:00:00Z")}, "2026-06-01T21:30:00Z", rotate.ReasonFrozen, "2026-06-01T22:00:00Z"},
		"freeze beats window":  {Calendar{[]Window{night}, freeze("2026-06-01T10:00:00Z", "2026-06-01T11:00:00Z")}, "2026-06-01T10:30:00Z", rotate.ReasonFrozen, "2026-06-01T20:00:00Z"},
		"freeze over a start":  {Calendar{[]Window{night}, freeze("2026-06-01T19:00:00Z", "2026-06-01T23:30:00Z")}, "2026-06-01T12:00:00Z", rotate.ReasonWindow, "2026-06-01T23:30:00Z"},
		"freeze over a night":  {Calendar{[]Window{night}, freeze("2026-06-01T19:00:00Z", "2026-06-02T05:00:00Z")}, "2026-06-01T12:00:00Z", rotate.ReasonWindow, "2026-06-02T20:00:00Z"},
		"two freezes": {Calendar{Freezes: append(freeze("2026-06-01T00:00:00Z", "2026-06-03T00:00:00Z"), freeze("2026-06-02T00:00:00Z", "2026-06-05T00:00:00Z")...)},
			"2026-06-01T12:00:00Z", rotate.ReasonFrozen, "2026-06-05T00:00:00Z"},
		"end of a freeze":      {Calendar{Freezes: freeze("2026-06-01T00:00:00Z", "2026-06-03T00:00:00Z")}, "2026-06-03T00:00:00Z", "", ""},
		"beyond the horizon":   {Calendar{Freezes: freeze("2026-06-01T00:00:00Z", "2027-07-08T00:00:01Z")}, "2026-06-03T00:00:00Z", rotate.ReasonFrozen, ""},
		"just in the horizon":  {Calendar{Freezes: freeze("2026-06-01T00:00:00Z", "2027-07-08T00:00:00Z")}, "2026-06-03T00:00:00Z", rotate.ReasonFrozen, "2027-07-08T00:00:00Z"},
		"window that is spent": {Calendar{Windows: []Window{{never{}, time.Hour}}}, "2026-06-03T00:00:00Z", rotate.ReasonWindow, ""},
	} {
		t.Run(name, func(t *testing.T) {
			why, opens := row.cal.Closed(at(t, row.now))
			want := time.Time{}
			if row.reopen != "" {
				want = at(t, row.reopen)
			}
			if why != row.want || !opens.Equal(want) {
				t.Errorf("at %s: %q until %s, want %q until %s", row.now, why, opens, row.want, want)
			}
		})
	}
}

type never struct{}

func (never) Next(time.Time) time.Time { return time.Time{} }

func draw(t *rapid.T) (*Calendar, time.Time) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 330*24*60).Draw(t, "minute")) * time.Minute)
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Sydney"}
	c := &Calendar{}
	for range rapid.IntRange(0, 3).Draw(t, "windows") {
		day := rapid.SampledFrom([]string{"*", "1-5", "0", "6,0"}).Draw(t, "weekday")
		line := fmt.Sprintf("%d %d * * %s", rapid.IntRange(0, 59).Draw(t, "m"), rapid.IntRange(0, 23).Draw(t, "h"), day)
		c.Windows = append(c.Windows, window(t, rapid.SampledFrom(zones).Draw(t, "zone"), line, time.Duration(rapid.IntRange(5, 3000).Draw(t, "length"))*time.Minute))
	}
	for range rapid.IntRange(0, 4).Draw(t, "freezes") {
		from := start.Add(time.Duration(rapid.IntRange(-5000, 20000).Draw(t, "from")) * time.Minute)
		c.Freezes = append(c.Freezes, Freeze{From: from, To: from.Add(time.Duration(rapid.IntRange(1, 15000).Draw(t, "frozen")) * time.Minute)})
	}
	return c, start
}

// The reopen time is open and everything before it is closed, by an account of the
// open times that is made in another way.
func TestReopensExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, now := draw(t)
		why, opens := c.Closed(now)
		if why == "" {
			if !opens.IsZero() {
				t.Fatalf("open, and opens %s", opens)
			}
			return
		}
		if opens.IsZero() {
			t.Fatal("never opens")
		}
		if again, _ := c.Closed(opens); again != "" {
			t.Fatalf("%s at %s, when it should be open", again, opens)
		}
		if before, until := c.Closed(opens.Add(-1)); before == "" || !until.Equal(opens) {
			t.Fatalf("just before %s: %q until %s", opens, before, until)
		}
		for range 20 {
			mid := now.Add(time.Duration(rapid.Int64Range(0, int64(opens.Sub(now))-1).Draw(t, "mid")))
			if before, until := c.Closed(mid); before == "" || !until.Equal(opens) {
				t.Fatalf("at %s: %q until %s, want closed until %s", mid, before, until, opens)
			}
		}
		if open := c.openTimes(now, opens); len(open) > 0 {
			t.Fatalf("open %v before %s", open, opens)
		}
	})
}

// Closed and the account of open times agree at every edge.
func TestOpenTimesAgreeWithClosed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, now := draw(t)
		end := now.Add(60 * 24 * time.Hour)
		since := now
		for _, o := range append(c.openTimes(now, end), stretch{end, end}) {
			if since.Before(o.from) {
				for _, closed := range []time.Time{since, o.from.Add(-1), since.Add(o.from.Sub(since) / 2)} {
					if why, _ := c.Closed(closed); why == "" {
						t.Fatalf("open at %s, which lies between %s and %s", closed, since, o.from)
					}
				}
			}
			if o.from.Before(o.to) {
				for _, open := range []time.Time{o.from, o.to.Add(-1), o.from.Add(o.to.Sub(o.from) / 2)} {
					if why, _ := c.Closed(open); why != "" {
						t.Fatalf("%s at %s, which lies in %s to %s", why, open, o.from, o.to)
					}
				}
			}
			since = o.to
		}
	})
}

func TestLongestClosed(t *testing.T) {
	from, to := at(t, "2026-06-01T00:00:00Z"), at(t, "2026-07-01T00:00:00Z")
	week := window(t, "UTC", "0 22 * * 1", 4*time.Hour) // Monday 1 June 2026 first
	short := window(t, "UTC", "0 12 * * *", 5*time.Minute)
	for name, row := range map[string]struct {
		cal        Calendar
		start, end string
	}{
		"always open":    {Calendar{}, "2026-06-01T00:00:00Z", "2026-06-01T00:00:00Z"},
		"weekly":         {Calendar{Windows: []Window{week}}, "2026-06-02T02:00:00Z", "2026-06-08T22:00:00Z"},
		"short ones":     {Calendar{Windows: []Window{short}}, "2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z"},
		"short and long": {Calendar{Windows: []Window{short, week}}, "2026-06-02T02:00:00Z", "2026-06-08T22:00:00Z"},
		"one frozen": {Calendar{[]Window{week}, []Freeze{{From: at(t, "2026-06-15T00:00:00Z"), To: at(t, "2026-06-16T01:55:00Z")}}},
			"2026-06-09T02:00:00Z", "2026-06-22T22:00:00Z"},
		"freeze alone": {Calendar{Freezes: []Freeze{{From: at(t, "2026-06-15T00:00:00Z"), To: at(t, "2026-06-20T00:00:00Z")}}},
			"2026-06-15T00:00:00Z", "2026-06-20T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			start, end := row.cal.LongestClosed(from, to, 10*time.Minute)
			if !start.Equal(at(t, row.start)) || !end.Equal(at(t, row.end)) {
				t.Errorf("closed %s to %s, want %s to %s", start, end, row.start, row.end)
			}
		})
	}
}
