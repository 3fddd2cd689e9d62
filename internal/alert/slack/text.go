package slack

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	slackgo "github.com/slack-go/slack"
)

// Slack's limits, in characters of UTF-16 (docs.slack.dev/reference/block-kit).
const (
	headerMost  = 150
	sectionMost = 3000
	fieldMost   = 2000
	valueMost   = 2000 // of a button
	dialogMost  = 60   // ours, of a credential's name in a dialog
	nameMost    = 100  // ours, of a credential where little room is: a modal, a dialog
	textMost    = 3000 // of the notification and of a line in the thread; Slack cuts far later
)

// mrkdwn is marked-up text. Verbatim: Slack makes no links and no mentions of what looks
// like one.
func mrkdwn(text string) *slackgo.TextBlockObject {
	return &slackgo.TextBlockObject{Type: slackgo.MarkdownType, Text: text, Verbatim: true}
}

func plainText(text string) *slackgo.TextBlockObject {
	return &slackgo.TextBlockObject{Type: slackgo.PlainTextType, Text: text}
}

// encoder turns one character into what Slack takes for it.
type encoder func(rune) string

// plain leaves out what a reader cannot see and may be led astray by.
func plain(r rune) string {
	switch {
	case r == '\n' || r == '\t':
		return string(r)
	case r < ' ', r == 0x7f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // controls, and text that runs backwards
		return ""
	}
	return string(r)
}

// escape is plain for marked-up text (docs.slack.dev/messaging/formatting-message-text).
func escape(r rune) string {
	switch r {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	}
	return plain(r)
}

// oneLine is for a header.
func oneLine(r rune) string {
	if r == '\n' || r == '\t' {
		return " "
	}
	return plain(r)
}

// clip encodes text and cuts it off at most characters. No escape is cut in two.
func clip(text string, most int, enc encoder) string {
	return clipPieces(runes(nil, text, enc), most)
}

func runes(out []string, text string, enc encoder) []string {
	for _, r := range text {
		out = append(out, enc(r))
	}
	return out
}

func clipPieces(pieces []string, most int) string {
	const ellipsis = "…"
	var b strings.Builder
	used, room := 0, most-size(ellipsis)
	fits := 0 // bytes that leave room for the ellipsis
	for _, s := range pieces {
		used += size(s)
		if used > most {
			return b.String()[:fits] + ellipsis
		}
		b.WriteString(s)
		if used <= room {
			fits = b.Len()
		}
	}
	return b.String()
}

// size of a text as Slack counts.
func size(s string) int { return len(utf16.Encode([]rune(s))) }

var instant = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`)

// rich is marked-up text in which every time is shown in the reader's own zone.
func rich(text string, most int) string {
	var pieces []string
	last := 0
	for _, at := range instant.FindAllStringIndex(text, -1) {
		t, err := time.Parse(time.RFC3339Nano, text[at[0]:at[1]])
		if err != nil {
			continue
		}
		pieces = append(runes(pieces, text[last:at[0]], escape), date(t))
		last = at[1]
	}
	return clipPieces(runes(pieces, text[last:], escape), most)
}

// date is a time that Slack shows in the reader's zone, and in UTC where it cannot.
func date(t time.Time) string {
	return "<!date^" + strconv.FormatInt(t.Unix(), 10) + "^{date_short_pretty} {time}|" + shortTime(t) + ">"
}

func shortTime(t time.Time) string { return t.UTC().Format("2 Jan 15:04 UTC") }

// phone is text for a notification: a lock screen shows no markup, and little of it.
func phone(text string) string {
	return instant.ReplaceAllStringFunc(text, func(s string) string {
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return s
		}
		return shortTime(t)
	})
}

// code is text in a code block, which ends at the first three backticks.
func code(text string) string {
	const around = 100 // room for a label and the backticks
	return "```" + clip(strings.ReplaceAll(text, "```", "'''"), sectionMost-around, escape) + "```"
}

// bullets are lines while they fit, and how many did not.
func bullets(title string, lines []string, most int) string {
	const lineMost, reserve = 600, 40
	var b strings.Builder
	if title != "" {
		b.WriteString("*" + clip(title, fieldMost, escape) + "*")
	}
	for i, l := range lines {
		line := "• " + rich(l, lineMost)
		if b.Len() > 0 {
			line = "\n" + line
		}
		if size(b.String())+size(line) > most-reserve {
			b.WriteString("\n… and " + strconv.Itoa(len(lines)-i) + " more")
			break
		}
		b.WriteString(line)
	}
	return b.String()
}

var slackPerson = regexp.MustCompile(`^slack:[UW][A-Z0-9]+ \((.+)\)$`)

// person is who did something, for readers in Slack: their name, which mentions nobody.
func person(by string) string {
	if m := slackPerson.FindStringSubmatch(by); m != nil {
		by = m[1]
	}
	return clip(by, nameMost, escape)
}
