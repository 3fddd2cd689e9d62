package slack

import (
	"strings"
	"time"
	"unicode/utf16"

	slackgo "github.com/slack-go/slack"

	"rotatord/internal/alert"
)

// Slack's limits, in characters (docs.slack.dev/reference/block-kit/blocks).
const (
	headerMost  = 150
	sectionMost = 3000
	fieldMost   = 2000
	textMost    = 3000 // of the notification; more is cut off by Slack far later
)

// render a message; mention is written into what is critical.
func render(m alert.Message, mention string) *slackgo.WebhookMessage {
	title := icon(m) + " " + m.Title
	blocks := []slackgo.Block{
		slackgo.NewHeaderBlock(&slackgo.TextBlockObject{Type: slackgo.PlainTextType, Text: clip(title, headerMost, plain)}),
	}
	add := func(text string) {
		if text != "" {
			blocks = append(blocks, slackgo.NewSectionBlock(mrkdwn(text), nil, nil))
		}
	}
	critical := m.Severity == alert.SeverityCritical && !m.Resolved
	if critical {
		add(mention)
	}
	add(clip(m.Breaks, sectionMost, escape))
	if fields := fieldsOf(m); len(fields) > 0 {
		blocks = append(blocks, slackgo.NewSectionBlock(nil, fields, nil))
	}
	add(others(m.Others))
	if m.LastError != "" {
		add("*Last error*\n" + code(m.LastError))
	}
	if m.Command != "" && !m.Resolved {
		add("*To paste*\n" + code(m.Command))
	}
	blocks = append(blocks, slackgo.NewContextBlock("", mrkdwn(footer(m))))
	text := clip(icon(m)+" "+m.Text(), textMost, escape)
	if critical && mention != "" {
		text = mention + " " + text
	}
	off := false
	return &slackgo.WebhookMessage{Text: text, Blocks: &slackgo.Blocks{BlockSet: blocks}, UnfurlLinks: &off, UnfurlMedia: &off}
}

func mrkdwn(text string) *slackgo.TextBlockObject {
	return &slackgo.TextBlockObject{Type: slackgo.MarkdownType, Text: text}
}

func icon(m alert.Message) string {
	switch {
	case m.Resolved || m.Condition == alert.ConditionDone:
		return "✅"
	case m.Severity == alert.SeverityCritical:
		return "🔴"
	default:
		return "🟠"
	}
}

// fieldsOf a message: at most eight facts, of ten allowed.
func fieldsOf(m alert.Message) []*slackgo.TextBlockObject {
	var out []*slackgo.TextBlockObject
	for _, f := range m.Facts() {
		label := "*" + f.Label + "*\n"
		out = append(out, mrkdwn(label+clip(f.Value, fieldMost-len(label), escape)))
	}
	return out
}

// others lists names while they fit.
func others(names []string) string {
	const listed = 40
	more := ""
	if len(names) > listed {
		names, more = names[:listed], ", …"
	}
	return clip(strings.Join(names, ", ")+more, sectionMost, escape)
}

// code is text in a code block, which ends at the first three backticks.
func code(text string) string {
	const around = 100 // room for a label and the backticks
	return "```" + clip(strings.ReplaceAll(text, "```", "'''"), sectionMost-around, escape) + "```"
}

func footer(m alert.Message) string {
	parts := []string{"rotatord, " + m.At.UTC().Format(time.RFC3339)}
	if !m.Since.IsZero() {
		parts = append(parts, "since "+alert.When(m.Since, m.At))
	}
	if m.Runbook != "" {
		parts = append(parts, "<"+clip(m.Runbook, fieldMost, link)+"|Runbook>")
	}
	return strings.Join(parts, " · ")
}

// plain, escape and link turn one character into what Slack takes for it.
func plain(r rune) string { return string(r) }

func escape(r rune) string {
	switch r {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	}
	return string(r)
}

func link(r rune) string {
	switch r {
	case '<', '>', '|', ' ':
		return ""
	}
	return escape(r)
}

// clip encodes text and cuts it off at most characters, of UTF-16 as Slack counts.
func clip(text string, most int, enc func(rune) string) string {
	const ellipsis = "…"
	var b strings.Builder
	used, room := 0, most-len(utf16.Encode([]rune(ellipsis)))
	fits := 0 // bytes that leave room for the ellipsis
	for _, r := range text {
		s := enc(r)
		used += len(utf16.Encode([]rune(s)))
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
