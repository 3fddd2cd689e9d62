package usage

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(d Day, hour int) time.Time { return d.Start().Add(time.Duration(hour) * time.Hour) }

func TestDay(t *testing.T) {
	d := DayOf(noon)
	if d.String() != "2026-11-22" || DayOf(d.Start()) != d || DayOf(d.End()) != d+1 || DayOf(d.End().Add(-1)) != d {
		t.Errorf("day %s from %s to %s", d, d.Start(), d.End())
	}
	if before := DayOf(time.Unix(-1, 0)); before != -1 {
		t.Errorf("the second before 1970 is of day %d", before)
	}
	if got := DayOf(time.Date(2026, 11, 22, 23, 30, 0, 0, time.FixedZone("west", -7*3600))); got != d+1 {
		t.Errorf("an evening in the west is of %s, want the next UTC day", got)
	}
	first, next := d.month()
	if first.String() != "2026-11-01" || next.String() != "2026-12-01" {
		t.Errorf("month from %s to %s", first, next)
	}
	if _, next := DayOf(time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)).month(); next.String() != "2027-01-01" {
		t.Errorf("the month after December begins %s", next)
	}
	if _, err := ParseDay("22.11.2026"); err == nil {
		t.Error("a day in another form was taken")
	}
}

// told is the readings merged in the given order, day by day as the store does it.
func told(readings ...Reading) []Row {
	var known []Row
	for _, r := range readings {
		known = Merge(known, r)
	}
	return known
}

func TestMerge(t *testing.T) {
	d := DayOf(noon)
	use := func(service string, n float64) []Use {
		return []Use{{At: at(d, 3), Service: service, Requests: n, Credits: n / 10}}
	}
	whole := func(hour int, uses []Use) Reading {
		return Reading{From: d, Until: d, At: at(d, hour), Source: SourcePortal, Uses: uses, Whole: true}
	}
	part := func(hour int, uses []Use) Reading { return Import(uses, at(d, hour)) }
	row := func(service string, n float64, hour int, from Source) Row {
		return Row{Day: d, Service: service, Requests: n, Credits: n / 10, ReadAt: at(d, hour), Source: from}
	}
	mark := func(hour int) Row { return Row{Day: d, ReadAt: at(d, hour), Source: SourcePortal} }
	for name, c := range map[string]struct{ got, want []Row }{
		"a day while it runs, then more of it": {told(whole(10, use("geocode", 5)), whole(20, use("geocode", 9))), []Row{mark(20), row("geocode", 9, 20, SourcePortal)}},
		"the older reading comes last":         {told(whole(20, use("geocode", 9)), whole(10, use("geocode", 5))), []Row{mark(20), row("geocode", 9, 20, SourcePortal)}},
		"corrected downwards":                  {told(whole(10, use("geocode", 9)), whole(20, use("geocode", 5))), []Row{mark(20), row("geocode", 5, 20, SourcePortal)}},
		"a service that is gone":               {told(whole(10, use("geocode", 9)), whole(20, use("tiles", 5))), []Row{mark(20), row("tiles", 5, 20, SourcePortal)}},
		"nothing was used":                     {told(whole(10, nil)), []Row{mark(10)}},
		"a file adds a service":                {told(whole(10, use("geocode", 9)), part(20, use("tiles", 5))), []Row{mark(10), row("geocode", 9, 10, SourcePortal), row("tiles", 5, 20, SourceFile)}},
		"a file corrects":                      {told(whole(10, use("geocode", 9)), part(20, use("geocode", 5))), []Row{mark(10), row("geocode", 5, 20, SourceFile)}},
		"a file of before the reading":         {told(whole(20, use("geocode", 9)), part(10, use("tiles", 5))), []Row{mark(20), row("geocode", 9, 20, SourcePortal)}},
		"the same file again":                  {told(part(10, use("geocode", 9)), part(12, use("geocode", 9))), []Row{row("geocode", 9, 12, SourceFile)}},
		"two files, one service each":          {told(part(10, use("geocode", 9)), part(12, use("tiles", 1))), []Row{row("geocode", 9, 10, SourceFile), row("tiles", 1, 12, SourceFile)}},
		"buckets of one day add up within a reading": {told(whole(10, append(use("geocode", 9), Use{At: at(d, 23), Service: "Geocode ", Requests: 1, Credits: 0.1}))),
			[]Row{mark(10), row("geocode", 10, 10, SourcePortal)}},
		"another day's is left out": {told(whole(10, []Use{{At: at(d+1, 0), Service: "geocode", Requests: 1}})), []Row{mark(10)}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestMergeForgetsOrder: whatever is read again, overlaps, or comes in another order, the
// result is that of the readings in the order in which they were made.
func TestMergeForgetsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := DayOf(noon)
		n := rapid.IntRange(1, 8).Draw(t, "readings")
		readings := make([]Reading, n)
		for i := range readings {
			from := first + Day(rapid.IntRange(0, 4).Draw(t, "from"))
			r := Reading{From: from, Until: from + Day(rapid.IntRange(0, 3).Draw(t, "days")), Source: SourcePortal,
				At: noon.Add(time.Duration(i) * time.Hour), Whole: rapid.Bool().Draw(t, "whole")}
			for range rapid.IntRange(0, 4).Draw(t, "uses") {
				r.Uses = append(r.Uses, Use{At: at(r.From+Day(rapid.IntRange(0, 4).Draw(t, "day")), rapid.IntRange(0, 23).Draw(t, "hour")),
					Service: rapid.SampledFrom([]string{"geocode", "tiles", ""}).Draw(t, "service"), Requests: float64(rapid.IntRange(0, 9).Draw(t, "requests"))})
			}
			readings[i] = r
		}
		want := told(readings...)
		again := append(rapid.Permutation(readings).Draw(t, "order"), rapid.SliceOfN(rapid.SampledFrom(readings), 0, 4).Draw(t, "again")...)
		if diff := cmp.Diff(want, told(again...)); diff != "" {
			t.Fatalf("(-in order +in another):\n%s", diff)
		}
		for _, r := range want {
			if last := lastWord(readings, r); last != r.Requests {
				t.Fatalf("%s %q has %g requests, the last reading that speaks of it said %g", r.Day, r.Service, r.Requests, last)
			}
		}
	})
}

// lastWord is what the latest reading that says anything of the row's place said.
func lastWord(readings []Reading, r Row) (sum float64) {
	for _, one := range readings { // in the order of their times
		if r.Day < one.From || r.Day > one.Until {
			continue
		}
		said, heard := 0.0, one.Whole
		for _, u := range one.Uses {
			if r.Service != "" && DayOf(u.At) == r.Day && ServiceName(u.Service) == r.Service {
				said, heard = said+u.Requests, true
			}
		}
		if heard {
			sum = said
		}
	}
	return sum
}

func TestServiceName(t *testing.T) {
	for in, want := range map[string]string{"geocode": "geocode", " GeoCode ": "geocode", "nasimpleroute": "nasimpleroute", "a.b-c_9": "a.b-c_9",
		"": OtherService, "Basemap Styles (session)": "basemap-styles-session", `x"y`: "x-y", "ünicode": "nicode", "日本": OtherService, "--": OtherService, fmt.Sprintf("%041d", 0): OtherService} {
		if got := ServiceName(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
