package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

const (
	mode    = "  mode: rotate\n"
	itemKey = "    item: 0123456789abcdef0123456789abcdef"
)

func TestCalendars(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "freeze.ics")
	put(t, file, "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260701\nDTEND:20260703\nEND:VEVENT\nEND:VCALENDAR\n", 0o644)
	const windows = "  windows: [{cron: 0 22 * * *, length: 4h}]\n"
	const freezes = "  freezes: [{from: 2026-06-10, to: 2026-06-11}]\n"
	for name, row := range map[string]struct {
		replace []string
		now     string
		want    rotate.Reason
		opens   string
	}{
		"no calendar":       {nil, "2026-06-01T12:00:00Z", "", ""},
		"default zone":      {[]string{mode, mode + windows}, "2026-06-01T21:59:00Z", rotate.ReasonWindow, "2026-06-01T22:00:00Z"},
		"zone of schedules": {[]string{mode, mode + windows, itemKey, itemKey + "\nschedules: {time_zone: Europe/Berlin}"}, "2026-06-01T19:59:00Z", rotate.ReasonWindow, "2026-06-01T20:00:00Z"},
		"zone of defaults":  {[]string{mode, mode + windows + "  time_zone: Europe/Berlin\n"}, "2026-06-01T19:59:00Z", rotate.ReasonWindow, "2026-06-01T20:00:00Z"},
		"own zone": {[]string{mode, mode + windows + "  time_zone: Europe/Berlin\n", itemKey, itemKey + "\n    time_zone: Asia/Tokyo"},
			"2026-06-01T12:59:00Z", rotate.ReasonWindow, "2026-06-01T13:00:00Z"},
		"own windows":       {[]string{mode, mode + windows, itemKey, itemKey + "\n    windows: [{cron: 0 9 * * *, length: 1h}]"}, "2026-06-01T22:00:00Z", rotate.ReasonWindow, "2026-06-02T09:00:00Z"},
		"no windows of its": {[]string{mode, mode + windows, itemKey, itemKey + "\n    windows: []"}, "2026-06-01T12:00:00Z", "", ""},
		"last day frozen":   {[]string{mode, mode + freezes + "  time_zone: Europe/Berlin\n"}, "2026-06-11T21:59:59Z", rotate.ReasonFrozen, "2026-06-11T22:00:00Z"},
		"first day frozen":  {[]string{mode, mode + freezes + "  time_zone: Europe/Berlin\n"}, "2026-06-09T22:00:00Z", rotate.ReasonFrozen, "2026-06-11T22:00:00Z"},
		"instants":          {[]string{mode, mode + "  freezes: [{from: '2026-06-10T10:00:00+02:00', to: 2026-06-10T12:00:00Z}]\n"}, "2026-06-10T08:00:00Z", rotate.ReasonFrozen, "2026-06-10T12:00:00Z"},
		"file":              {[]string{mode, mode + freezes + "  freeze_file: " + file + "\n"}, "2026-07-01T00:00:00Z", rotate.ReasonFrozen, "2026-07-03T00:00:00Z"},
		"file and freezes":  {[]string{mode, mode + freezes + "  freeze_file: " + file + "\n"}, "2026-06-10T00:00:00Z", rotate.ReasonFrozen, "2026-06-12T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, row.now)
			if err != nil {
				t.Fatal(err)
			}
			cal, err := NewCalendars().Of(minimal(t, row.replace...).Credentials[0])
			if err != nil {
				t.Fatal(err)
			}
			if (cal == nil) != (row.want == "") {
				t.Fatalf("calendar %v", cal)
			}
			if cal == nil {
				return
			}
			why, opens := cal.Closed(now)
			got := ""
			if !opens.IsZero() {
				got = opens.UTC().Format(time.RFC3339)
			}
			if why != row.want || got != row.opens {
				t.Errorf("%q until %q, want %q until %q", why, got, row.want, row.opens)
			}
		})
	}
}

// A key that can never rotate in a window, and a freeze file that cannot be read, are
// named before anything starts.
func TestCheckFilesOfCalendars(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	const event = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260701\n%s\nEND:VEVENT\nEND:VCALENDAR\n"
	for name, row := range map[string]struct {
		defaults, own string
		ics           string // "" is no file
		want          string // path: message
	}{
		"every night":        {defaults: "  windows: [{cron: 0 22 * * *, length: 4h}]\n"},
		"monthly":            {defaults: "  windows: [{cron: 0 22 1 * *, length: 4h}]\n", want: "defaults.windows: alpha would be closed from 2026-07-02T02:00:00Z to 2026-08-01T22:00:00Z, longer than renew_before less critical_before (25d): a key that is due then has no chance"},
		"twice a month":      {defaults: "  windows: [{cron: '0 22 1,15 * *', length: 4h}]\n"},
		"too short":          {defaults: "  windows: [{cron: 0 22 * * *, length: 9m}]\n", want: "defaults.windows: alpha would be closed from 2026-06-01T12:00:00Z to "},
		"own":                {defaults: "  windows: [{cron: 0 22 * * *, length: 4h}]\n", own: "    windows: [{cron: 0 22 1 1 *, length: 4h}]", want: "credentials[0].windows: alpha would be closed from 2026-06-01T12:00:00Z to 2027-01-01T22:00:00Z, "},
		"freeze":             {own: "    freezes: [{from: 2026-07-01, to: 2026-07-25}]", want: "credentials[0].freezes: alpha would be closed from 2026-07-01T00:00:00Z to 2026-07-26T00:00:00Z, "},
		"shorter freeze":     {own: "    freezes: [{from: 2026-07-01, to: 2026-07-24}]"},
		"freeze of long ago": {own: "    freezes: [{from: 2025-07-01, to: 2026-05-31}]"},
		"freeze far ahead":   {own: "    freezes: [{from: 2028-07-01, to: 2029-07-24}]"},
		"file":               {defaults: "  freeze_file: FILE\n", ics: fmt.Sprintf(event, "DURATION:P30D"), want: "defaults.freeze_file: alpha would be closed from 2026-07-01T00:00:00Z to 2026-07-31T00:00:00Z, "},
		"good file":          {defaults: "  freeze_file: FILE\n", ics: fmt.Sprintf(event, "DURATION:P20D")},
		"missing file":       {defaults: "  freeze_file: FILE\n", want: "defaults.freeze_file: FILE does not exist"},
		"own missing file":   {own: "    freeze_file: FILE", want: "credentials[0].freeze_file: FILE does not exist"},
		"bad file":           {own: "    freeze_file: FILE", ics: fmt.Sprintf(event, "RDATE:20260701"), want: "credentials[0].freeze_file: read freeze file: FILE: line 4: RDATE is not supported"},
		"no calendar":        {defaults: "  freeze_file: FILE\n", ics: "hello", want: "defaults.freeze_file: read freeze file: FILE: is no iCalendar file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			secret, token, file := filepath.Join(dir, "secret"), filepath.Join(dir, "token"), filepath.Join(dir, "freeze.ics")
			put(t, secret, "s", 0o600)
			put(t, token, "t", 0o600)
			if row.ics != "" {
				put(t, file, row.ics, 0o644)
			}
			src := []string{"/etc/rotatord/secrets/main", secret, "/run/vault/token", token, mode, mode + strings.ReplaceAll(row.defaults, "FILE", file)}
			if row.own != "" {
				src = append(src, itemKey, itemKey+"\n"+strings.ReplaceAll(row.own, "FILE", file))
			}
			ps := minimal(t, src...).checkFiles(os.Geteuid(), now)
			if row.want == "" {
				if len(ps) > 0 {
					t.Errorf("problems %v", ps)
				}
				return
			}
			if len(ps) != 1 {
				t.Fatalf("problems %v, want one", ps)
			}
			got := strings.ReplaceAll(ps[0].Path+": "+ps[0].Message, file, "FILE")
			if !strings.HasPrefix(got, row.want) || ps[0].Warning || ps[0].Cure == "" || ps[0].Line == 0 {
				t.Errorf("problem %+v\nwant %s", ps[0], row.want)
			}
			if foreseen := strings.Contains(ps[0].Message, "has no chance"); ps[0].Foreseen != foreseen {
				t.Errorf("foreseen is %v, want %v", ps[0].Foreseen, foreseen)
			}
		})
	}
}
