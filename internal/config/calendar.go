package config

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"rotatord/internal/calendar"
)

// Window in which a rotation may start and an old key be retired.
type Window struct {
	Cron   string   `yaml:"cron" jsonschema:"required" doc:"When it opens (cron line, in time_zone). A start in the hour that the clocks skip in spring is left out that day."`
	Length Duration `yaml:"length" jsonschema:"required" doc:"How long it stays open, at least 5m; elapsed time, also in the nights in which the clocks change."`
}

// Freeze closes all windows for a time.
type Freeze struct {
	From   When   `yaml:"from" jsonschema:"required" doc:"First day, as in 2026-12-20, or an instant as in 2026-12-20T18:00:00+01:00."`
	To     When   `yaml:"to" jsonschema:"required" doc:"Last day, which is still frozen, or the instant at which the freeze ends."`
	Reason string `yaml:"reason,omitempty" doc:"What it is for."`
}

// When is a day, or an instant with its offset from UTC.
type When struct {
	text string
	at   time.Time // midnight UTC of a day
	day  bool
}

const whenForm = `^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2}))?$`

// UnmarshalText parses a date or an RFC 3339 time.
func (w *When) UnmarshalText(b []byte) error {
	text := string(b)
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		*w = When{text: text, at: day, day: true}
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return badValue("write a day as in 2026-12-20, or an instant as in 2026-12-20T18:00:00+01:00", "%s is no date", shown(text))
	}
	*w = When{text: text, at: at}
	return nil
}

// MarshalText writes what was read.
func (w When) MarshalText() ([]byte, error) { return []byte(w.text), nil }

func (w When) String() string { return w.text }

// IsZero tells whether nothing was read.
func (w When) IsZero() bool { return w.text == "" }

// in the zone: a day's midnight, days later.
func (w When) in(loc *time.Location, days int) time.Time {
	if !w.day {
		return w.at
	}
	return time.Date(w.at.Year(), w.at.Month(), w.at.Day()+days, 0, 0, 0, 0, loc)
}

func (f Freeze) in(loc *time.Location) calendar.Freeze {
	return calendar.Freeze{From: f.From.in(loc, 0), To: f.To.in(loc, 1), Reason: f.Reason}
}

// inheritCalendar takes from defaults what the credential leaves out. An empty list
// of its own is not left out.
func (cr *Credential) inheritCalendar(d Defaults) {
	if cr.Windows == nil {
		cr.Windows = slices.Clone(d.Windows)
	}
	if cr.Freezes == nil {
		cr.Freezes = slices.Clone(d.Freezes)
	}
	if cr.FreezeFile == "" {
		cr.FreezeFile = d.FreezeFile
	}
	if cr.TimeZone == "" {
		cr.TimeZone = d.TimeZone
	}
}

func (cr *Credential) hasCalendar() bool {
	return len(cr.Windows) > 0 || len(cr.Freezes) > 0 || cr.FreezeFile != ""
}

// Calendars makes the calendars of one configuration. Credentials share what is read
// from files. It is not for use by several goroutines.
type Calendars struct {
	files map[[2]string]icsFile // by file and zone
}

type icsFile struct {
	freezes []calendar.Freeze
	err     error
}

// NewCalendars reads nothing yet.
func NewCalendars() *Calendars { return &Calendars{files: map[[2]string]icsFile{}} }

// Of the credential; nil if it has neither windows nor freezes.
func (cs *Calendars) Of(cr *Credential) (*calendar.Calendar, error) {
	if !cr.hasCalendar() {
		return nil, nil
	}
	loc, err := zone(cr.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("time_zone: %w", err)
	}
	c := &calendar.Calendar{}
	for i, w := range cr.Windows {
		s, err := ParseSchedule(w.Cron, cr.TimeZone)
		if err != nil {
			return nil, fmt.Errorf("windows[%d]: %w", i, err)
		}
		c.Windows = append(c.Windows, calendar.Window{Schedule: s, Length: w.Length.Std()})
	}
	for _, f := range cr.Freezes {
		c.Freezes = append(c.Freezes, f.in(loc))
	}
	if cr.FreezeFile == "" {
		return c, nil
	}
	key := [2]string{string(cr.FreezeFile), cr.TimeZone}
	file, known := cs.files[key]
	if !known {
		file.freezes, file.err = readICS(string(cr.FreezeFile), loc)
		cs.files[key] = file
	}
	if file.err != nil {
		return nil, file.err
	}
	c.Freezes = append(c.Freezes, file.freezes...)
	return c, nil
}

// maxICS bounds a freeze file.
const maxICS = 4 << 20

func readICS(path string, loc *time.Location) ([]calendar.Freeze, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read freeze file: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxICS+1))
	if err != nil {
		return nil, fmt.Errorf("read freeze file: %w", err)
	}
	if len(src) > maxICS {
		return nil, fmt.Errorf("read freeze file: %s is larger than %d MiB", path, maxICS>>20)
	}
	freezes, err := calendar.ParseICS(src, loc)
	if err != nil {
		return nil, fmt.Errorf("read freeze file: %s: %w", path, err)
	}
	return freezes, nil
}

// everyLine tells a schedule whose starts depend on when it is asked.
func everyLine(cron string) bool { return strings.HasPrefix(strings.TrimSpace(cron), "@every") }
