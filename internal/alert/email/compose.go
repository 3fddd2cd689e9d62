package email

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"html/template"
	"regexp"
	"strings"
	texttemplate "text/template"
	"time"

	gomail "github.com/wneessen/go-mail"

	"rotatord/internal/alert"
	"rotatord/internal/alert/wire"
)

var (
	//go:embed mail.txt.tmpl
	plainSource string
	//go:embed mail.html.tmpl
	htmlSource string

	//nolint:gochecknoglobals // a compiled template, as house style allows
	plainTemplate = texttemplate.Must(texttemplate.New("mail").Funcs(texttemplate.FuncMap{"pad": pad, "indent": indent}).Parse(plainSource))
	//nolint:gochecknoglobals // a compiled template, as house style allows
	htmlTemplate = template.Must(template.New("mail").Parse(htmlSource))
)

// page is what both forms of a mail are made of.
type page struct {
	Word    string // CRITICAL, Warning, OK, ...; "" for news
	Colour  string // of Word
	Title   string
	Breaks  string
	Command string
	Runbook string
	Facts   []alert.Fact
	Error   string
	Others  []string
	Story   []alert.StoryLine
	Section []alert.Section
	Links   []alert.Link
}

// threadForm is a Message-ID of ours.
var threadForm = regexp.MustCompile(`^<rotatord\.[0-9a-f]{32}@[A-Za-z0-9.-]+>$`)

// compose the mail, and say which thread it belongs to.
func (e *Notifier) compose(n alert.Notice, now time.Time) (raw []byte, thread string, err error) {
	m := gomail.NewMsg(gomail.WithEncoding(gomail.EncodingQP), gomail.WithCharset(gomail.CharsetUTF8), gomail.WithNoDefaultUserAgent())
	m.FromMailAddress(e.from)
	m.SetAddrHeaderFromMailAddress(gomail.HeaderTo, e.to...)
	m.SetDateWithValue(now)
	p := pageOf(n)
	m.Subject(subject(p))

	thread = e.id(n.Key, n.Message.Since)
	if n.Kind == alert.NoticeDigest || n.Kind == alert.NoticeSample {
		thread = e.id(n.Key, now) // each stands for itself
	}
	first := true
	if threadForm.MatchString(n.Ref) && n.Kind == alert.NoticeAlert {
		first, thread = false, n.Ref
	}
	id := thread
	if !first {
		id = e.id(n.Key+"\x00"+string(n.State), now)
		m.SetGenHeader(gomail.HeaderInReplyTo, thread)
		m.SetGenHeader(gomail.HeaderReferences, thread)
	}
	m.SetMessageIDWithValue(strings.Trim(id, "<>"))
	m.SetGenHeader("List-Id", "rotatord <alerts.rotatord."+domain(e.from.Address)+">")
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's holiday answers it
	m.SetGenHeader(gomail.HeaderXAutoResponseSuppress, "All")
	m.SetGenHeader("X-Rotatord-Condition", wire.Line(string(n.Message.Condition), mostHeader))
	m.SetGenHeader("X-Rotatord-Severity", wire.Line(string(n.Message.Severity), mostHeader))
	if n.Message.Severity == alert.SeverityCritical && n.State != alert.StateResolved {
		m.SetImportance(gomail.ImportanceHigh)
	}
	if err := m.SetBodyTextTemplate(plainTemplate, p); err != nil {
		return nil, "", err
	}
	if err := m.AddAlternativeHTMLTemplate(htmlTemplate, p); err != nil {
		return nil, "", err
	}
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		return nil, "", err
	}
	return b.Bytes(), thread, nil
}

// mostHeader characters of a header of ours, mostSubject of the subject: a phone shows
// about forty, a desk about a hundred.
const (
	mostHeader  = 64
	mostSubject = 120
)

func subject(p page) string {
	if p.Word == "" {
		return wire.Line(p.Title, mostSubject)
	}
	return wire.Line(p.Word+": "+p.Title, mostSubject)
}

// id of a mail, from what it is about and a time.
func (e *Notifier) id(what string, at time.Time) string {
	sum := sha256.Sum256([]byte(what + "\x00" + at.UTC().Format(time.RFC3339Nano)))
	const length = 16
	return "<rotatord." + hex.EncodeToString(sum[:length]) + "@" + domain(e.from.Address) + ">"
}

// domain of an address, as far as it can stand in a Message-ID.
func domain(address string) string {
	d := address[strings.LastIndexByte(address, '@')+1:]
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || (r >= '0' && r <= '9') || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') {
			return r
		}
		return '-'
	}, d)
}

func pageOf(n alert.Notice) page {
	m := n.Message
	p := page{Title: wire.Line(m.Title, mostTitle), Breaks: m.Breaks, Command: m.Command, Runbook: m.Runbook, Facts: m.Facts(), Error: m.LastError,
		Others: m.Others, Story: n.Story, Section: m.Sections, Links: m.Links}
	p.Word, p.Colour = word(n)
	if !m.Since.IsZero() && n.Kind != alert.NoticeDigest {
		p.Facts = append(p.Facts, alert.Fact{Label: "Since", Value: m.Since.UTC().Format(time.RFC3339)})
	}
	switch n.State {
	case alert.StateAcknowledged:
		p.Facts = append(p.Facts, alert.Fact{Label: "Acknowledged", Value: n.By})
	case alert.StateSnoozed:
		p.Facts = append(p.Facts, alert.Fact{Label: "Snoozed", Value: n.By + ", until " + n.Until.UTC().Format(time.RFC3339)})
	case alert.StateResolved:
		p.Command, p.Runbook = "", ""
	case alert.StateOpen:
	}
	return p
}

const mostTitle = 200

// word that a mail begins with, and its colour.
func word(n alert.Notice) (text, colour string) {
	const red, amber, green, grey = "#b3261e", "#8a5a00", "#1b6e3c", "#555555"
	switch {
	case n.Kind == alert.NoticeSample:
		return "TEST", grey
	case n.Kind == alert.NoticeDigest || n.Kind == alert.NoticeRoutine:
		return "", grey
	case n.State == alert.StateResolved:
		return "OK", green
	}
	switch n.Message.Severity {
	case alert.SeverityCritical:
		return "CRITICAL", red
	case alert.SeverityWarning:
		return "Warning", amber
	case alert.SeverityInfo:
	}
	return "Note", grey
}

// pad a label, so that values stand below one another.
func pad(label string) string {
	const width = 13
	return label + strings.Repeat(" ", max(width-len([]rune(label)), 1))
}

// indent what follows a line's end.
func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n    ") }
