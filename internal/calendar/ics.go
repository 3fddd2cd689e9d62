package calendar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	ics "github.com/arran4/golang-ical"
)

// LineError is one mistake of an iCalendar text.
type LineError struct {
	Line int // of the file, from 1
	Msg  string
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

// Errors of a text as a whole.
var (
	ErrNoCalendar = errors.New("is no iCalendar file: its first line is not BEGIN:VCALENDAR")
	ErrCutOff     = errors.New("is cut off: its last line is not END:VCALENDAR")
)

// property is one unfolded line.
type property struct {
	line  int
	name  string
	value string
	tzid  string
}

func (p property) bad(format string, args ...any) error {
	return &LineError{Line: p.line, Msg: p.name + " " + fmt.Sprintf(format, args...)}
}

// event under construction: its properties by name, those of its alarms left out.
type event struct {
	begin   property
	props   map[string]property
	exdates []property
}

// icsParser walks the components.
type icsParser struct {
	zone    *time.Location // of times that name none
	stack   []string
	event   *event
	freezes []Freeze
}

// ParseICS reads the events of an iCalendar text as freezes, SUMMARY being the
// reason. Dates, and times without a zone of their own, are of the given zone.
// Cancelled events are left out; what is not understood is an error and not left out.
func ParseICS(src []byte, zone *time.Location) ([]Freeze, error) {
	p := &icsParser{zone: zone}
	lines := unfold(src)
	for i, l := range lines {
		prop, err := parseLine(l)
		if err != nil {
			if i == 0 {
				return nil, ErrNoCalendar
			}
			return nil, err
		}
		if i == 0 && (prop.name != "BEGIN" || !strings.EqualFold(prop.value, "VCALENDAR")) {
			return nil, ErrNoCalendar
		}
		if err := p.take(prop); err != nil {
			return nil, err
		}
	}
	switch {
	case len(lines) == 0:
		return nil, ErrNoCalendar
	case len(p.stack) > 0:
		return nil, ErrCutOff
	}
	slices.SortFunc(p.freezes, func(a, b Freeze) int { return a.From.Compare(b.From) })
	return p.freezes, nil
}

type rawLine struct {
	n    int // of its first line in the file
	text []byte
}

// unfold joins lines that go on with a blank.
func unfold(src []byte) []rawLine {
	var out []rawLine
	n := 0
	for text := range strings.SplitSeq(strings.TrimPrefix(string(src), "\ufeff"), "\n") {
		n++
		text = strings.TrimSuffix(text, "\r")
		switch {
		case text == "":
		case (text[0] == ' ' || text[0] == '\t') && len(out) > 0:
			last := &out[len(out)-1]
			last.text = append(last.text, text[1:]...)
		default:
			out = append(out, rawLine{n, []byte(text)})
		}
	}
	return out
}

func parseLine(l rawLine) (property, error) {
	parsed, err := ics.ParseProperty(ics.ContentLine(l.text))
	if err != nil || parsed == nil {
		return property{}, &LineError{Line: l.n, Msg: "is no iCalendar line (NAME:VALUE)"}
	}
	p := property{line: l.n, name: strings.ToUpper(parsed.IANAToken), value: parsed.Value}
	for name, values := range parsed.ICalParameters {
		if strings.EqualFold(name, "TZID") && len(values) > 0 {
			p.tzid = values[0]
		}
	}
	return p, nil
}

func (p *icsParser) take(prop property) error {
	switch {
	case prop.name == "BEGIN":
		if len(p.stack) == 0 && !strings.EqualFold(prop.value, "VCALENDAR") {
			return prop.bad("%.40q stands outside of VCALENDAR", prop.value)
		}
		p.stack = append(p.stack, strings.ToUpper(prop.value))
		if len(p.stack) == 2 && p.inEvent() {
			p.event = &event{begin: prop, props: map[string]property{}}
		}
	case len(p.stack) == 0:
		return prop.bad("stands outside of VCALENDAR")
	case prop.name == "END":
		if p.stack[len(p.stack)-1] != strings.ToUpper(prop.value) {
			return prop.bad("%.40q does not end %.40s", prop.value, p.stack[len(p.stack)-1])
		}
		ended := len(p.stack) == 2 && p.inEvent()
		p.stack = p.stack[:len(p.stack)-1]
		if ended {
			return p.finish()
		}
	case len(p.stack) == 2 && p.inEvent():
		return p.event.add(prop)
	}
	return nil
}

func (p *icsParser) inEvent() bool { return p.stack[len(p.stack)-1] == "VEVENT" }

func (e *event) add(prop property) error {
	switch prop.name {
	case "EXDATE":
		e.exdates = append(e.exdates, prop)
		return nil
	case "RDATE", "EXRULE", "RECURRENCE-ID":
		return prop.bad("is not supported: write such days as events of their own")
	case "DTSTART", "DTEND", "DURATION", "RRULE", "SUMMARY", "STATUS":
		if first, twice := e.props[prop.name]; twice {
			return prop.bad("stands in line %d already", first.line)
		}
		e.props[prop.name] = prop
	}
	return nil
}

// finish turns the event into freezes.
func (p *icsParser) finish() error {
	e := p.event
	p.event = nil
	if strings.EqualFold(e.props["STATUS"].value, "CANCELLED") {
		return nil
	}
	begin, ok := e.props["DTSTART"]
	if !ok {
		return &LineError{Line: e.begin.line, Msg: "the event has no DTSTART"}
	}
	start, wholeDay, err := p.when(begin, begin.value)
	if err != nil {
		return err
	}
	l, err := p.lengthOf(e, start, wholeDay)
	if err != nil {
		return err
	}
	starts, err := p.starts(e, start)
	if err != nil {
		return err
	}
	for _, s := range starts {
		p.freezes = append(p.freezes, Freeze{From: s.UTC(), To: l.after(s).UTC(), Reason: strings.TrimSpace(e.props["SUMMARY"].value)})
	}
	return nil
}
