package calendar

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Whatever the text is, an error or freezes in order come out, soon and not more of them
// than a rule may make; the same text means the same again, with either line end.
func FuzzParseICS(f *testing.F) {
	f.Add(text("DTSTART;VALUE=DATE:20241220", "DTEND;VALUE=DATE:20250107", "RRULE:FREQ=YEARLY;COUNT=2", "SUMMARY:a\\,b"))
	f.Add(text(`DTSTART;X-A="a;b:c";TZID="America/New_York":20261220T180000`, "DURATION:PT1H30M", "EXDATE:20261220T180000"))
	f.Add([]byte("BEGIN:VCALENDAR\r\nX;=\\"))
	f.Add(text("DTSTART;VALUE=DATE:20241220", "RRULE:FREQ=SECONDLY;COUNT=999999999"))
	f.Add(text("DTSTART:20241220T000000Z", "DURATION:P999999999W"))
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 64<<10 {
			return
		}
		start := time.Now()
		freezes, err := ParseICS(src, time.UTC)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
		again, errAgain := ParseICS(src, time.UTC)
		if fmt.Sprint(err) != fmt.Sprint(errAgain) || len(freezes) != len(again) {
			t.Fatalf("two answers: %v, %v", err, errAgain)
		}
		if err != nil {
			if strings.ContainsRune(err.Error(), '\n') || len(err.Error()) > len(src)+500 {
				t.Errorf("an error that is no line: %q", err)
			}
			return
		}
		if len(freezes) > 10_000*(1+bytes.Count(src, []byte("VEVENT"))) {
			t.Errorf("%d freezes out of %d bytes", len(freezes), len(src))
		}
		for i, fr := range freezes {
			if !fr.From.Before(fr.To) {
				t.Errorf("freeze from %s to %s", fr.From, fr.To)
			}
			if i > 0 && fr.From.Before(freezes[i-1].From) {
				t.Error("out of order")
			}
		}
		if !bytes.ContainsRune(src, '\r') {
			dos, err := ParseICS(bytes.ReplaceAll(src, []byte("\n"), []byte("\r\n")), time.UTC)
			if err != nil || len(dos) != len(freezes) {
				t.Errorf("with the other line ends: %d freezes and %v, want %d", len(dos), err, len(freezes))
			}
		}
	})
}
