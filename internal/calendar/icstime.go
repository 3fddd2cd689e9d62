package calendar

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/teambition/rrule-go"
)

const (
	// lastYear to which events that repeat without end are written out.
	lastYear = 2100
	// maxFreezes of one file.
	maxFreezes = 20000
)

var durationForm = regexp.MustCompile(`^\+?P(?:(\d{1,5})W|(?:(\d{1,5})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?)?)$`)

// length of an event: days by the calendar, of 23 to 25 hours, and elapsed time.
type length struct {
	days  int
	exact time.Duration
}

func (l length) after(t time.Time) time.Time { return t.AddDate(0, 0, l.days).Add(l.exact) }

// when reads a date or a time.
func (p *icsParser) when(prop property, value string) (t time.Time, wholeDay bool, err error) {
	loc := p.zone
	if prop.tzid != "" {
		if loc, err = time.LoadLocation(prop.tzid); err != nil || prop.tzid == "Local" {
			return time.Time{}, false, prop.bad("has the time zone %.60q, which is no name as in Europe/Berlin", prop.tzid)
		}
	}
	switch {
	case len(value) == len("20060102"):
		t, err = time.ParseInLocation("20060102", value, p.zone)
		wholeDay = true
	case strings.HasSuffix(value, "Z"):
		t, err = time.ParseInLocation("20060102T150405Z", value, time.UTC)
	default:
		t, err = time.ParseInLocation("20060102T150405", value, loc)
	}
	if err != nil {
		return time.Time{}, false, prop.bad("%.40q is no date (20261220) and no time (20261220T180000)", value)
	}
	return t, wholeDay, nil
}

// lengthOf the event by DTEND or DURATION; a date alone is one day.
func (p *icsParser) lengthOf(e *event, start time.Time, wholeDay bool) (length, error) {
	end, hasEnd := e.props["DTEND"]
	duration, hasDuration := e.props["DURATION"]
	switch {
	case hasEnd && hasDuration:
		return length{}, duration.bad("stands beside DTEND; only one of them can be used")
	case hasEnd:
		return p.lengthTo(end, start, wholeDay)
	case hasDuration:
		return lengthFrom(duration, wholeDay)
	case wholeDay:
		return length{days: 1}, nil
	}
	return length{}, &LineError{Line: e.begin.line, Msg: "the event has no length: neither DTEND nor DURATION"}
}

func (p *icsParser) lengthTo(end property, start time.Time, wholeDay bool) (length, error) {
	t, endIsDay, err := p.when(end, end.value)
	switch {
	case err != nil:
		return length{}, err
	case endIsDay != wholeDay:
		return length{}, end.bad("and DTSTART must both be dates, or both be times")
	case !t.After(start):
		return length{}, end.bad("is not after DTSTART")
	case wholeDay:
		return length{days: int(dateOf(t).Sub(dateOf(start)) / (24 * time.Hour))}, nil
	}
	return length{exact: t.Sub(start)}, nil
}

// dateOf a local midnight, in UTC, where all days are equally long.
func dateOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

func lengthFrom(prop property, wholeDay bool) (length, error) {
	m := durationForm.FindStringSubmatch(prop.value)
	if m == nil {
		return length{}, prop.bad("%.40q is no duration (P2D, P1W, PT4H)", prop.value)
	}
	n := make([]int, len(m))
	for i, digits := range m[1:] {
		if digits == "" {
			continue
		}
		var err error
		if n[i+1], err = strconv.Atoi(digits); err != nil {
			return length{}, prop.bad("%.40q is no duration (P2D, P1W, PT4H)", prop.value)
		}
	}
	l := length{days: 7*n[1] + n[2], exact: time.Duration(n[3])*time.Hour + time.Duration(n[4])*time.Minute + time.Duration(n[5])*time.Second}
	switch {
	case l == length{}:
		return l, prop.bad("must be above zero")
	case wholeDay && l.exact != 0:
		return l, prop.bad("must be whole days, since DTSTART is a date")
	}
	return l, nil
}

// starts of the event: one, or those that its rule gives, less its exceptions.
func (p *icsParser) starts(e *event, first time.Time) ([]time.Time, error) {
	all := []time.Time{first}
	if rule, repeats := e.props["RRULE"]; repeats {
		var err error
		if all, err = p.repeats(rule, first); err != nil {
			return nil, err
		}
	}
	for _, ex := range e.exdates {
		for value := range strings.SplitSeq(ex.value, ",") {
			t, _, err := p.when(ex, value)
			if err != nil {
				return nil, err
			}
			all = slices.DeleteFunc(all, t.Equal)
		}
	}
	return all, nil
}

func (p *icsParser) repeats(rule property, first time.Time) ([]time.Time, error) {
	option, err := rrule.StrToROptionInLocation(rule.value, first.Location())
	if err != nil {
		return nil, rule.bad("cannot be read: %v", err)
	}
	if option.Freq > rrule.DAILY {
		return nil, rule.bad("repeats within a day; only YEARLY, MONTHLY, WEEKLY and DAILY are supported")
	}
	option.Dtstart = first
	r, err := rrule.NewRRule(*option)
	if err != nil {
		return nil, rule.bad("cannot be read: %v", err)
	}
	var all []time.Time
	next := r.Iterator()
	for t, more := next(); more && t.Year() <= lastYear; t, more = next() {
		if len(p.freezes)+len(all) >= maxFreezes {
			return nil, rule.bad("makes more than %d freezes until %d; end it with COUNT or UNTIL", maxFreezes, lastYear)
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil, rule.bad("never happens")
	}
	return all, nil
}
