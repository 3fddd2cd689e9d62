package calendar

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Entry is one moment in a calendar that is written.
type Entry struct {
	UID     string // stable, so that a calendar that is read again replaces it
	At      time.Time
	Summary string
	Detail  string
}

// entryLength is how long an entry looks in a calendar; what happens takes seconds.
const entryLength = 15 * time.Minute

// WriteICS writes an iCalendar file (RFC 5545) that calendar programs subscribe to.
func WriteICS(w io.Writer, name string, made time.Time, entries []Entry) error {
	var b bytes.Buffer
	line := func(key, value string) { fold(&b, key+":"+value) }
	line("BEGIN", "VCALENDAR")
	line("VERSION", "2.0")
	line("PRODID", "-//rotatord//simulate//EN")
	line("X-WR-CALNAME", escape(name))
	for _, e := range entries {
		line("BEGIN", "VEVENT")
		line("UID", escape(e.UID))
		line("DTSTAMP", utc(made))
		line("DTSTART", utc(e.At))
		line("DTEND", utc(e.At.Add(entryLength)))
		line("SUMMARY", escape(e.Summary))
		if e.Detail != "" {
			line("DESCRIPTION", escape(e.Detail))
		}
		line("TRANSP", "TRANSPARENT")
		line("END", "VEVENT")
	}
	line("END", "VCALENDAR")
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write calendar: %w", err)
	}
	return nil
}

func utc(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\r\n", `\n`, "\n", `\n`, "\r", "").Replace(s)
}

// fold writes a line in pieces of at most 75 octets, never inside a character.
func fold(b *bytes.Buffer, s string) {
	for limit := 75; len(s) > limit; limit = 74 {
		cut := limit
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		b.WriteString(s[:cut] + "\r\n ")
		s = s[cut:]
	}
	b.WriteString(s + "\r\n")
}
