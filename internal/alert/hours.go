package alert

import (
	"errors"
	"slices"
	"time"
)

// QuietHours are a time of day in which only what is critical asks for attention. If To
// is not after From, they end on the next day; Days are those on which they begin.
type QuietHours struct {
	Days     []time.Weekday // none: every day
	From, To time.Duration  // since midnight, of the wall clock
	Zone     *time.Location
}

func (q QuietHours) check() error {
	const day = 24 * time.Hour
	if q.From < 0 || q.From >= day || q.To < 0 || q.To > day || q.Zone == nil {
		return errors.New("quiet hours: want times of a day, and a zone")
	}
	return nil
}

// at tells whether t lies in them. Days are taken by the wall clock: on a day of 23 or
// 25 hours the same times are meant.
func (q QuietHours) at(t time.Time) bool {
	local := t.In(q.Zone)
	clock := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute + time.Duration(local.Second())*time.Second
	today := q.begins(local.Weekday())
	if q.From < q.To {
		return today && clock >= q.From && clock < q.To
	}
	yesterday := q.begins((local.Weekday() + 6) % 7)
	return (today && clock >= q.From) || (yesterday && clock < q.To)
}

func (q QuietHours) begins(d time.Weekday) bool {
	return len(q.Days) == 0 || slices.Contains(q.Days, d)
}

// quiet tells whether an alert of that severity must not ask for attention now.
func (a *Alerter) quiet(s Severity, now time.Time) bool {
	return s != SeverityCritical && slices.ContainsFunc(a.o.QuietHours, func(q QuietHours) bool { return q.at(now) })
}
