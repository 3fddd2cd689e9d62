package config

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"rotatord/internal/calendar"
)

const (
	// minWindow is the shortest window: a tick a minute must meet it, with room for a busy portal.
	minWindow = 5 * time.Minute
	// minChance is the shortest open time that counts as a chance to rotate.
	minChance = 10 * time.Minute
)

// calendars checks windows and freezes, those of defaults once and not for each heir.
func (k *checker) calendars() {
	if k.anyBroken("schedules.time_zone") {
		return
	}
	d := k.c.Defaults
	k.calendar("defaults", d.Windows, d.Freezes, d.TimeZone, d.TimeZone)
	for i, cr := range k.c.Credentials {
		at := "credentials[" + strconv.Itoa(i) + "]"
		if cr == nil || k.broken[at] {
			continue
		}
		own := Credential{}
		if k.has(at + ".windows") {
			own.Windows = cr.Windows
		}
		if k.has(at + ".freezes") {
			own.Freezes = cr.Freezes
		}
		if k.has(at + ".time_zone") {
			own.TimeZone = cr.TimeZone
		}
		k.calendar(at, own.Windows, own.Freezes, own.TimeZone, cr.TimeZone)
	}
}

// calendar of one place; own is the zone that it names itself, tz the one in force.
func (k *checker) calendar(at string, windows []Window, freezes []Freeze, own, tz string) {
	if _, err := zone(own); err != nil {
		k.bad(at+".time_zone", "write a name as in Europe/Berlin, or UTC", "%v", err)
	}
	loc, err := zone(cmp.Or(tz, k.c.Schedules.TimeZone))
	if err != nil {
		loc = time.UTC // the zone is complained about where it stands
	}
	for i, w := range windows {
		p := at + ".windows[" + strconv.Itoa(i) + "]"
		if !k.anyBroken(p+".cron") && w.Cron != "" {
			k.cron(p+".cron", w.Cron)
		}
		if !k.anyBroken(p+".length") && w.Length > 0 && w.Length.Std() < minWindow {
			k.bad(p+".length", "write 5m or more", "is shorter than %s; work could miss it", Duration(minWindow))
		}
	}
	for i, f := range freezes {
		p := at + ".freezes[" + strconv.Itoa(i) + "]"
		if f.From.IsZero() || f.To.IsZero() || k.anyBroken(p) {
			continue
		}
		if one := f.in(loc); !one.To.After(one.From) {
			k.bad(p+".to", "write the earlier one to from", "is not after from (%s)", f.From.text)
		}
	}
}

func (k *checker) cron(path, line string) {
	const example = "0 22 * * 1-5"
	if everyLine(line) {
		k.bad(path, cronCure(nil, example, "time_zone"), "@every has no fixed times that a window could open at")
		return
	}
	if _, err := ParseSchedule(line, ""); err != nil {
		k.bad(path, cronCure(err, example, "time_zone"), "%v", err)
	}
}

// calendars reads the freeze files and looks whether each key has a chance to rotate
// from now on, before critical_before overrides the calendar.
func (f *fileChecker) calendars(now time.Time) {
	f.plain("defaults.freeze_file", f.c.Defaults.FreezeFile)
	all := NewCalendars()
	chances := map[string]closedFor{} // ten thousand credentials share few calendars
	for i, cr := range f.c.Credentials {
		at := "credentials[" + strconv.Itoa(i) + "]"
		file := at + ".freeze_file"
		if f.has(file) {
			f.plain(file, cr.FreezeFile)
		} else {
			file = "defaults.freeze_file"
		}
		cal, err := all.Of(cr)
		if err != nil {
			f.badICS(file, err)
			continue
		}
		if cal != nil {
			f.chance(cr, cal, at, now, chances)
		}
	}
}

// badICS notes a freeze file that cannot be used, unless it was said already.
func (f *fileChecker) badICS(path string, err error) {
	for _, p := range f.problems {
		if p.Path == path {
			return
		}
	}
	f.bad(path, "correct the file, or export it again", "%v", err)
}

// closedFor is the longest closed time of a calendar.
type closedFor struct{ from, to time.Time }

// chance: within renew_before less critical_before of any point of the coming time
// something must be open.
func (f *fileChecker) chance(cr *Credential, cal *calendar.Calendar, at string, now time.Time, known map[string]closedFor) {
	p := f.c.RotatePolicy(cr)
	room := p.Lead(p.Lifetime-p.Spread) - p.CriticalBefore
	if p.CriticalBefore <= 0 || room <= 0 {
		return // a watched credential that states no policy
	}
	key := fmt.Sprint(cr.Windows, cr.Freezes, cr.FreezeFile, cr.TimeZone, room)
	closed, ok := known[key]
	if !ok {
		closed.from, closed.to = cal.LongestClosed(now, now.Add(calendar.Horizon+room), minChance)
		known[key] = closed
	}
	// A start as late as minChance before closing, and minChance after opening, must fit in.
	if closed.to.Sub(closed.from)+2*minChance <= room {
		return
	}
	place := at + ".windows"
	for _, key := range []string{".windows", ".freezes", ".freeze_file"} {
		if f.has(at + key) {
			place = at + key
			break
		}
		if f.has("defaults" + key) {
			place = "defaults" + key
			break
		}
	}
	loc, err := zone(cr.TimeZone)
	if err != nil {
		loc = time.UTC
	}
	f.bad(place, "open a window more often, shorten the freeze, or renew earlier",
		"%s would be closed from %s to %s, longer than renew_before less critical_before (%s): a key that is due then has no chance",
		cr.Name, closed.from.In(loc).Format(time.RFC3339), closed.to.In(loc).Format(time.RFC3339), Duration(room))
	f.problems[len(f.problems)-1].Foreseen = true
}
