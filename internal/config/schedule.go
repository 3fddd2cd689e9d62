package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/robfig/cron/v3"
)

// Schedule tells when the daemon wakes up next.
type Schedule interface {
	// Next is the first time after t, in UTC.
	Next(t time.Time) time.Time
}

// Errors of ParseSchedule.
var (
	ErrCronZone  = errors.New("a time zone does not belong into the cron line; it goes to time_zone")
	ErrCronEvery = errors.New("@every needs a duration of at least one second, as in @every 5m")
	ErrCronNever = errors.New("this date never comes")
	ErrCronSpec  = errors.New("is no cron line")
	ErrTimeZone  = errors.New("is no time zone")
)

// ParseSchedule reads a cron line of five fields, a word such as @daily, or
// "@every 5m", in the named zone ("" is UTC). It keeps four traps of the cron
// package away: a line with a zone alone panics there, dates that never come give
// the zero time, @every takes anything below a second for a second, and a
// schedule without zone follows the machine's.
func ParseSchedule(spec, tz string) (s Schedule, err error) {
	defer func() { // the parser is not maintained and has panicked on bad lines
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("%q %w", spec, ErrCronSpec)
		}
	}()
	loc, err := zone(tz)
	if err != nil {
		return nil, err
	}
	spec = strings.TrimSpace(spec)
	if strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ=") {
		return nil, ErrCronZone
	}
	if every, ok := strings.CutPrefix(spec, "@every"); ok {
		d, err := model.ParseDuration(strings.TrimSpace(every))
		if err != nil || time.Duration(d) < time.Second {
			return nil, ErrCronEvery
		}
		return everySchedule(d), nil
	}
	parsed, err := cron.ParseStandard(spec)
	if err != nil {
		return nil, fmt.Errorf("%q %w: %w", spec, ErrCronSpec, err)
	}
	z := zonedSchedule{parsed, loc}
	// Any date will do: the cron package looks five years ahead, leap days included.
	if z.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("%q: %w", spec, ErrCronNever)
	}
	return z, nil
}

// zone by name. The machine's own is refused: it would make the same file mean
// different things.
func zone(tz string) (*time.Location, error) {
	if tz == "" {
		return time.UTC, nil
	}
	loc, err := time.LoadLocation(tz)
	if err != nil || tz == "Local" {
		return nil, fmt.Errorf("%q %w", tz, ErrTimeZone)
	}
	return loc, nil
}

type zonedSchedule struct {
	cron cron.Schedule
	loc  *time.Location
}

func (z zonedSchedule) Next(t time.Time) time.Time {
	next := z.cron.Next(t.In(z.loc))
	if next.IsZero() {
		return next
	}
	return next.UTC()
}

type everySchedule time.Duration

func (e everySchedule) Next(t time.Time) time.Time { return t.Add(time.Duration(e)).UTC() }
