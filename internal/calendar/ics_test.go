package calendar

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// text of a calendar with one event.
func text(lines ...string) []byte {
	all := append([]string{"BEGIN:VCALENDAR", "VERSION:2.0", "BEGIN:VEVENT", "UID:1"}, lines...)
	return []byte(strings.Join(append(all, "END:VEVENT", "END:VCALENDAR", ""), "\r\n"))
}

func TestParseICS(t *testing.T) {
	for name, row := range map[string]struct {
		lines []string
		want  string // from/to/reason of each, in UTC
	}{
		"days":             {[]string{"DTSTART;VALUE=DATE:20261220", "DTEND;VALUE=DATE:20270107", "SUMMARY:year end"}, "2026-12-19T23:00Z/2027-01-06T23:00Z/year end"},
		"one day":          {[]string{"DTSTART;VALUE=DATE:20260329"}, "2026-03-28T23:00Z/2026-03-29T22:00Z/"},
		"days by duration": {[]string{"DTSTART:20261024", "DURATION:P1W1D"}[:1], "2026-10-23T22:00Z/2026-10-24T22:00Z/"},
		"week":             {[]string{"DTSTART:20261024", "DURATION:P1W"}, "2026-10-23T22:00Z/2026-10-30T23:00Z/"},
		"UTC":              {[]string{"DTSTART:20261220T180000Z", "DTEND:20261220T200000Z"}, "2026-12-20T18:00Z/2026-12-20T20:00Z/"},
		"own zone":         {[]string{"DTSTART;TZID=America/New_York:20261220T180000", "DTEND;TZID=America/New_York:20261220T200000"}, "2026-12-20T23:00Z/2026-12-21T01:00Z/"},
		"quoted zone":      {[]string{`DTSTART;X-A="a;b:c";TZID="America/New_York":20261220T180000`, "DURATION:PT1H30M"}, "2026-12-20T23:00Z/2026-12-21T00:30Z/"},
		"floating":         {[]string{"DTSTART:20261220T180000", "DURATION:P1DT2H"}, "2026-12-20T17:00Z/2026-12-21T19:00Z/"},
		"folded":           {[]string{"DTSTART:2026122", " 0T180000Z", "DURATION:PT1H", `SUMMARY:year end\, `, "\t all of us"}, "2026-12-20T18:00Z/2026-12-20T19:00Z/year end,  all of us"},
		"cancelled":        {[]string{"DTSTART:20261220T180000Z", "STATUS:CANCELLED"}, ""},
		"alarm":            {[]string{"DTSTART:20261220T180000Z", "BEGIN:VALARM", "DURATION:PT5M", "TRIGGER:-PT5M", "END:VALARM", "DURATION:PT1H"}, "2026-12-20T18:00Z/2026-12-20T19:00Z/"},
		"yearly":           {[]string{"DTSTART;VALUE=DATE:20241220", "DTEND;VALUE=DATE:20250107", "RRULE:FREQ=YEARLY;COUNT=2"}, "2024-12-19T23:00Z/2025-01-06T23:00Z/ 2025-12-19T23:00Z/2026-01-06T23:00Z/"},
		"weekly over DST": {[]string{"DTSTART;TZID=Europe/Berlin:20260322T080000", "DURATION:PT2H", "RRULE:FREQ=WEEKLY;UNTIL=20260405T060000Z"},
			"2026-03-22T07:00Z/2026-03-22T09:00Z/ 2026-03-29T06:00Z/2026-03-29T08:00Z/ 2026-04-05T06:00Z/2026-04-05T08:00Z/"},
		"every other week, but one": {[]string{"DTSTART:20260601T080000Z", "DURATION:PT2H", "RRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=3", "EXDATE:20260615T080000Z"},
			"2026-06-01T08:00Z/2026-06-01T10:00Z/ 2026-06-29T08:00Z/2026-06-29T10:00Z/"},
	} {
		t.Run(name, func(t *testing.T) {
			freezes, err := ParseICS(text(row.lines...), in(t, "Europe/Berlin"))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range freezes {
				got = append(got, f.From.Format("2006-01-02T15:04Z")+"/"+f.To.Format("2006-01-02T15:04Z")+"/"+f.Reason)
			}
			if s := strings.Join(got, " "); s != row.want {
				t.Errorf("got  %s\nwant %s", s, row.want)
			}
		})
	}
}

func TestParseICSRepeatsUntilTheHorizon(t *testing.T) {
	freezes, err := ParseICS(text("DTSTART;VALUE=DATE:20241220", "RRULE:FREQ=YEARLY"), time.UTC)
	if err != nil || len(freezes) != lastYear-2024+1 {
		t.Errorf("%d freezes, err %v", len(freezes), err)
	}
}

func TestParseICSRefuses(t *testing.T) {
	for name, row := range map[string]struct {
		lines []string
		want  string
	}{
		"no start":          {[]string{"DTEND:20261220"}, "line 3: the event has no DTSTART"},
		"no length":         {[]string{"DTSTART:20261220T180000Z"}, "line 3: the event has no length: neither DTEND nor DURATION"},
		"bad date":          {[]string{"DTSTART:20261320"}, `line 5: DTSTART "20261320" is no date (20261220) and no time (20261220T180000)`},
		"end first":         {[]string{"DTSTART:20261220", "DTEND:20261220"}, "line 6: DTEND is not after DTSTART"},
		"mixed":             {[]string{"DTSTART:20261220", "DTEND:20261221T000000Z"}, "line 6: DTEND and DTSTART must both be dates, or both be times"},
		"both":              {[]string{"DTSTART:20261220", "DTEND:20261221", "DURATION:P1D"}, "line 7: DURATION stands beside DTEND; only one of them can be used"},
		"duration":          {[]string{"DTSTART:20261220", "DURATION:1D"}, `line 6: DURATION "1D" is no duration (P2D, P1W, PT4H)`},
		"negative":          {[]string{"DTSTART:20261220", "DURATION:-P1D"}, `line 6: DURATION "-P1D" is no duration (P2D, P1W, PT4H)`},
		"empty duration":    {[]string{"DTSTART:20261220", "DURATION:P0D"}, "line 6: DURATION must be above zero"},
		"hours of a day":    {[]string{"DTSTART:20261220", "DURATION:PT4H"}, "line 6: DURATION must be whole days, since DTSTART is a date"},
		"zone":              {[]string{"DTSTART;TZID=W. Europe Standard Time:20261220T180000"}, `line 5: DTSTART has the time zone "W. Europe Standard Time", which is no name as in Europe/Berlin`},
		"hourly":            {[]string{"DTSTART:20261220", "RRULE:FREQ=HOURLY"}, "line 6: RRULE repeats within a day; only YEARLY, MONTHLY, WEEKLY and DAILY are supported"},
		"rule":              {[]string{"DTSTART:20261220", "RRULE:FREQ=OFTEN"}, "line 6: RRULE cannot be read: undefined frequency: OFTEN"},
		"never":             {[]string{"DTSTART:20261220", "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "line 6: RRULE never happens"},
		"too many":          {[]string{"DTSTART:20261220", "RRULE:FREQ=DAILY;BYHOUR=1,2"}, "line 6: RRULE makes more than 20000 freezes until 2100; end it with COUNT or UNTIL"},
		"further dates":     {[]string{"DTSTART:20261220", "RDATE:20261231"}, "line 6: RDATE is not supported: write such days as events of their own"},
		"moved":             {[]string{"DTSTART:20261220", "RECURRENCE-ID:20261231"}, "line 6: RECURRENCE-ID is not supported: write such days as events of their own"},
		"twice":             {[]string{"DTSTART:20261220", "DTSTART:20261231"}, "line 6: DTSTART stands in line 5 already"},
		"no property":       {[]string{"DTSTART:20261220", "hello"}, "line 6: is no iCalendar line (NAME:VALUE)"},
		"after a fold":      {[]string{"DESCRIPTION:a", " b", " c", "DTSTART:x"}, `line 8: DTSTART "x" is no date (20261220) and no time (20261220T180000)`},
		"crossed":           {[]string{"BEGIN:VALARM", "END:VEVENT"}, `line 6: END "VEVENT" does not end VALARM`},
		"bad exception":     {[]string{"DTSTART:20261220", "RRULE:FREQ=DAILY;COUNT=2", "EXDATE:never"}, `line 7: EXDATE "never" is no date (20261220) and no time (20261220T180000)`},
		"second at the end": {[]string{"DTSTART:20261220", "END:VEVENT", "END:VCALENDAR", "X:y"}, "line 8: X stands outside of VCALENDAR"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseICS(text(row.lines...), time.UTC)
			if _, ok := errors.AsType[*LineError](err); !ok || err.Error() != row.want {
				t.Errorf("got  %v\nwant %s", err, row.want)
			}
		})
	}
	whole := string(text("DTSTART:20261220"))
	for name, row := range map[string]struct {
		src  string
		want error
	}{
		"empty":   {"", ErrNoCalendar},
		"HTML":    {"<!DOCTYPE html>\n<p>sign in</p>\n", ErrNoCalendar},
		"other":   {"BEGIN:VCARD\nEND:VCARD\n", ErrNoCalendar},
		"cut off": {strings.TrimSuffix(whole, "END:VCALENDAR\r\n"), ErrCutOff},
	} {
		if _, err := ParseICS([]byte(row.src), time.UTC); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
	if f, err := ParseICS([]byte("\ufeffBEGIN:VCALENDAR\nEND:VCALENDAR"), time.UTC); err != nil || len(f) != 0 {
		t.Errorf("a calendar without events: %v, %v", f, err)
	}
}
