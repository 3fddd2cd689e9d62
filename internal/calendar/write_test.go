package calendar

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestWrittenCalendarsAreReadBack: by our own reader, whatever stands in the texts.
func TestWrittenCalendarsAreReadBack(t *testing.T) {
	at := time.Date(2026, 3, 1, 23, 50, 0, 0, time.UTC)
	long := strings.TrimSpace(strings.Repeat("Größe; Karte, \\ und\nmehr ", 12))
	entries := []Entry{{UID: "a@rotatord", At: at, Summary: "maps: rotates"}, {UID: "b@rotatord", At: at.AddDate(0, 1, 0), Summary: long, Detail: long}}
	var b bytes.Buffer
	if err := WriteICS(&b, "rotatord", at, entries); err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(b.String(), "\r\n") {
		if len(line) > 75 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("a line of %d octets: %q", len(line), line)
		}
	}
	got, err := ParseICS(b.Bytes(), time.UTC)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	for i, e := range entries {
		if !got[i].From.Equal(e.At) || !got[i].To.Equal(e.At.Add(entryLength)) || got[i].Reason != e.Summary {
			t.Errorf("%+v, want %+v", got[i], e)
		}
	}
}
