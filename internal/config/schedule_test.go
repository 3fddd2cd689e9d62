package config

import (
	"errors"
	"testing"
	"time"
)

func TestParseSchedule(t *testing.T) {
	from := time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)
	for name, row := range map[string]struct {
		spec, tz string
		want     string // of Next(from)
		err      error
	}{
		"every_minute":    {spec: "* * * * *", want: "2026-03-01T12:01:00Z"},
		"spaces_around":   {spec: "  */5 * * * * ", want: "2026-03-01T12:05:00Z"},
		"word":            {spec: "@daily", want: "2026-03-02T00:00:00Z"},
		"every":           {spec: "@every 90s", want: "2026-03-01T12:02:00Z"},
		"every_day":       {spec: "@every 1d", want: "2026-03-02T12:00:30Z"},
		"zone":            {spec: "30 9 * * *", tz: "Europe/Berlin", want: "2026-03-02T08:30:00Z"},
		"leap_day":        {spec: "0 0 29 2 *", want: "2028-02-29T00:00:00Z"},
		"never":           {spec: "0 0 31 2 *", err: ErrCronNever},
		"never_30":        {spec: "0 0 30 2 *", err: ErrCronNever},
		"panic_tz":        {spec: "TZ=UTC", err: ErrCronZone},
		"panic_cron_tz":   {spec: "CRON_TZ=Europe/Berlin", err: ErrCronZone},
		"panic_tz_short":  {spec: "TZ=0", err: ErrCronZone},
		"tz_in_line":      {spec: "TZ=UTC * * * * *", err: ErrCronZone},
		"every_negative":  {spec: "@every -5m", err: ErrCronEvery},
		"every_zero":      {spec: "@every 0s", err: ErrCronEvery},
		"every_nanosec":   {spec: "@every 1ns", err: ErrCronEvery},
		"every_below":     {spec: "@every 999ms", err: ErrCronEvery},
		"every_nothing":   {spec: "@every", err: ErrCronEvery},
		"empty":           {spec: "", err: ErrCronSpec},
		"four_fields":     {spec: "* * * *", err: ErrCronSpec},
		"seconds_field":   {spec: "0 * * * * *", err: ErrCronSpec},
		"out_of_range":    {spec: "61 * * * *", err: ErrCronSpec},
		"unknown_zone":    {spec: "* * * * *", tz: "Mars/Olympus", err: ErrTimeZone},
		"machine_zone":    {spec: "* * * * *", tz: "Local", err: ErrTimeZone},
		"zone_of_a_path":  {spec: "* * * * *", tz: "../../etc/passwd", err: ErrTimeZone},
		"word_misspelled": {spec: "@dayly", err: ErrCronSpec},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseSchedule(row.spec, row.tz)
			if !errors.Is(err, row.err) || (err != nil) != (row.err != nil) {
				t.Fatalf("error %v, want %v", err, row.err)
			}
			if err != nil {
				return
			}
			if got := s.Next(from).Format(time.RFC3339); got != row.want {
				t.Errorf("next %s, want %s", got, row.want)
			}
		})
	}
}

// The zone is the config's and never that of the time handed in.
func TestScheduleIgnoresTheCallersZone(t *testing.T) {
	s, err := ParseSchedule("0 12 * * *", "")
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	here := s.Next(from)
	there := s.Next(from.In(time.FixedZone("far", 9*3600)))
	if !here.Equal(there) || here.Format(time.RFC3339) != "2026-07-01T12:00:00Z" {
		t.Errorf("next %v and %v", here, there)
	}
}

func FuzzParseSchedule(f *testing.F) {
	for _, s := range []string{"* * * * *", "TZ=UTC", "CRON_TZ=0", "@every 1ns", "0 0 31 2 *", "@", "*/0 * * * *", "1-0 * * * *", "TZ= *"} {
		f.Add(s)
	}
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := ParseSchedule(spec, "UTC")
		if err != nil {
			return
		}
		if next := s.Next(from); !next.After(from) {
			t.Errorf("%q: next %v is not after %v", spec, next, from)
		}
	})
}
