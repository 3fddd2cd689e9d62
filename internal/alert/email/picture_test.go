package email

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/notifytest"
)

var body = regexp.MustCompile(`(?s)<body style="([^"]*)">(.*)</body>`)

// TestPictures: every mail that there is, as the engine composes it, in pictures for
// people to read, with its subject.
func TestPictures(t *testing.T) {
	s := newServer(t, false, "PLAIN")
	n := started(t, options(s))
	mail := func(name string, o alert.Notice) notifytest.Shot {
		t.Helper()
		raw, _, err := n.compose(o, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		p := mailbox{raw: string(raw)}.read(t)
		m := body.FindStringSubmatch(p.html)
		if m == nil {
			t.Fatalf("no body in %s", p.html)
		}
		return notifytest.Shot{Name: name + " · " + subject(pageOf(o)), HTML: `<div style="` + m[1] + `">` + m[2] + "</div>"}
	}
	told := notifytest.Told(t)
	opened, over := notifytest.ToldOfMany(t)
	const sheets = 4
	for i := range sheets {
		var shots []notifytest.Shot
		for j, o := range told {
			if j*sheets/len(told) == i {
				shots = append(shots, mail(string(o.Message.Condition), o))
			}
		}
		if i == sheets-1 {
			shots = append(shots, mail("of seven at once", opened), mail("its end", over))
		}
		notifytest.Picture(t, *update, "mail-"+strconv.Itoa(i+1), notifytest.Sheet("", shots...))
	}
}
