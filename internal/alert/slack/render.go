package slack

import (
	"regexp"
	"slices"
	"strings"

	slackgo "github.com/slack-go/slack"

	"rotatord/internal/alert"
)

// shown is one message as Slack gets it.
type shown struct {
	text   string // the notification
	blocks []slackgo.Block
}

// render a notice. What it says comes in the order in which somebody who was woken asks:
// what, what breaks and when, what do I type, and then the rest.
func (n *Notifier) render(o alert.Notice, mention string) shown {
	m := o.Message
	title := icon(o) + " " + m.Title
	if o.Kind == alert.NoticeSample {
		title = icon(o) + " Sample: " + m.Title
	}
	blocks := []slackgo.Block{slackgo.NewHeaderBlock(plainText(clip(title, headerMost, oneLine)))}
	add := func(text string) {
		if text != "" {
			blocks = append(blocks, slackgo.NewSectionBlock(mrkdwn(text), nil, nil))
		}
	}
	live := !resolved(o)
	add(state(o))
	add(strings.TrimSpace(rich(m.Breaks, sectionMost-size(mention)-1) + "\n" + mention))
	if m.Command != "" && live && o.Kind != alert.NoticeRoutine {
		add("*To paste*\n" + code(m.Command))
	}
	if m.LastError != "" && live {
		add("*Last error*\n" + code(m.LastError))
	}
	if fields := fieldsOf(m); len(fields) > 0 {
		blocks = append(blocks, slackgo.NewSectionBlock(nil, fields, nil))
	}
	add(bullets(about(o), m.Others, sectionMost))
	for _, s := range m.Sections[:min(len(m.Sections), sectionsMost)] {
		add(bullets(s.Title, s.Lines, sectionMost))
	}
	if n.actions && live && o.Kind == alert.NoticeAlert {
		if b := buttons(o); b != nil {
			blocks = append(blocks, b)
		}
	}
	blocks = append(blocks, slackgo.NewContextBlock("", mrkdwn(footer(o))))
	text := clip(phone(lockScreen(o)), textMost, escape)
	if mention != "" {
		text += " " + mention
	}
	return shown{text: text, blocks: blocks}
}

// sectionsMost of a digest: a message has 50 blocks, and some hold other things.
const sectionsMost = 35

// lockScreen is the message in a line: what it is, whom it hurts, what to do.
func lockScreen(o alert.Notice) string {
	m := o.Message
	text := icon(o) + " "
	if o.Kind == alert.NoticeSample {
		text += "Sample: "
	}
	text += m.Title
	if resolved(o) {
		return text
	}
	switch o.State {
	case alert.StateAcknowledged:
		return text + " · acknowledged"
	case alert.StateSnoozed:
		return text + " · snoozed"
	case alert.StateOpen, alert.StateResolved:
	}
	if m.Breaks != "" {
		text += " · " + m.Breaks
	}
	if m.Command != "" && o.Kind != alert.NoticeRoutine {
		text += " · " + m.Command
	}
	return text
}

func resolved(o alert.Notice) bool { return o.State == alert.StateResolved || o.Message.Resolved }

func icon(o alert.Notice) string {
	switch {
	case o.Kind == alert.NoticeSample:
		return "🧪"
	case o.Kind == alert.NoticeDigest:
		return "🗒️"
	case o.Kind == alert.NoticeRoutine, resolved(o):
		return "✅"
	}
	switch o.Message.Severity {
	case alert.SeverityCritical:
		return "🔴"
	case alert.SeverityWarning:
		return "🟠"
	case alert.SeverityInfo:
	}
	return "🔵"
}

// state says who has it in hand.
func state(o alert.Notice) string {
	by := ""
	if o.By != "" {
		by = " by " + person(o.By)
	}
	switch o.State {
	case alert.StateAcknowledged:
		return "👀 *Acknowledged*" + by
	case alert.StateSnoozed:
		until := ""
		if !o.Until.IsZero() {
			until = " until " + date(o.Until)
		}
		return "💤 *Snoozed*" + until + by
	case alert.StateOpen, alert.StateResolved:
	}
	if o.Kind == alert.NoticeSample {
		return "_This is how such a message looks. Nothing is wrong; `rotatord notify --test` sent it._"
	}
	return ""
}

// about says what the list of others is; a routine's title does.
func about(o alert.Notice) string {
	if o.Kind == alert.NoticeRoutine || len(o.Message.Others) == 0 {
		return ""
	}
	return "It is about"
}

// fieldsOf a message: at most nine facts, of ten allowed. The rotation's id is long and
// for searching: it is in the last line.
func fieldsOf(m alert.Message) []*slackgo.TextBlockObject {
	const most = 10
	var out []*slackgo.TextBlockObject
	for _, f := range m.Facts() {
		if f.Value == m.RotationID || len(out) == most {
			continue
		}
		label := "*" + clip(f.Label, nameMost, escape) + ":* "
		out = append(out, mrkdwn(label+rich(f.Value, fieldMost-size(label))))
	}
	return out
}

// footer has the links and what one searches logs for.
func footer(o alert.Notice) string {
	m := o.Message
	var links []string
	add := func(text, url string) {
		const most, urlMost = 6, 400 // with their texts below the 3000 of a context
		if target := clip(url, len(url)*len("&amp;"), escape); linkForm.MatchString(target) && size(target) <= urlMost && len(links) < most {
			links = append(links, "<"+target+"|"+linkLabel(text)+">")
		}
	}
	add("Runbook", m.Runbook)
	for _, l := range m.Links {
		add(l.Text, l.URL)
	}
	parts := []string{strings.Join(links, " · ")}
	if m.RotationID != "" {
		parts = append(parts, "rotation "+clip(m.RotationID, nameMost, escape))
	}
	if !m.Since.IsZero() && o.Kind == alert.NoticeAlert {
		parts = append(parts, "since "+date(m.Since))
	}
	parts = append(parts, "rotatord, as of "+date(m.At))
	if parts[0] == "" {
		parts = parts[1:]
	}
	return strings.Join(parts, " · ")
}

// linkForm is an address that is whole: one that something was taken out of leads nowhere.
var linkForm = regexp.MustCompile(`^https?://[^\s<>|\[\]]+$`)

func linkLabel(text string) string {
	const most = 40
	return clip(strings.NewReplacer("|", "/", "\n", " ", "\t", " ").Replace(text), most, escape)
}

// thread is what a notice adds to its message's thread; "" is nothing.
func thread(o alert.Notice, fresh bool, mention string) string {
	story := o.Story
	if fresh && o.Kind != alert.NoticeRoutine && len(story) <= 1 {
		return "" // the message says that it began
	}
	const lineMost = 700
	lines := make([]string, 0, len(story)+1)
	room := textMost
	for _, l := range slices.Backward(story) { // the newest are kept
		line := rich(l.Text, lineMost)
		if l.By != "" {
			line += " (" + person(l.By) + ")"
		}
		if len(story) > 1 || o.Kind == alert.NoticeRoutine {
			line = "• " + date(l.At) + "  " + line
		}
		if room -= size(line) + 1; room < 0 {
			lines = append(lines, "…")
			break
		}
		lines = append(lines, line)
	}
	slices.Reverse(lines)
	if len(lines) == 0 && o.Loud && !fresh {
		lines = append(lines, clip(icon(o)+" "+o.Message.Title, lineMost, escape))
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.TrimSpace(strings.TrimSpace(mention) + " " + strings.Join(lines, "\n"))
}
