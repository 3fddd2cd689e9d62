package usage

import (
	"fmt"
	"time"
)

// Day is a UTC day, counted from 1970-01-01.
type Day int

// DayOf a time.
func DayOf(t time.Time) Day {
	s := t.Unix()
	d := s / 86400
	if s%86400 < 0 {
		d--
	}
	return Day(d)
}

// ParseDay reads 2026-11-22.
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("%q is no day; write it as in 2026-11-22", s)
	}
	return DayOf(t), nil
}

// Start of the day.
func (d Day) Start() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// End of the day, which is the start of the next.
func (d Day) End() time.Time { return (d + 1).Start() }

func (d Day) String() string { return d.Start().Format(time.DateOnly) }

// MarshalText writes 2026-11-22.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the same.
func (d *Day) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDay(string(b))
	return err
}

// month is the first day of the day's month and of the next month.
func (d Day) month() (first, next Day) {
	t := d.Start()
	return DayOf(time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)), DayOf(time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC))
}
