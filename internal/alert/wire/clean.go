package wire

import (
	"regexp"
	"strings"
	"unicode"

	"rotatord/internal/alert"
)

// secretForms are values that are secrets wherever they stand: API keys, Vault and Slack
// tokens, webhook addresses, passwords and tokens in addresses, bearer headers. No text
// of an alert should ever hold one; what an error quoted by mistake ends here.
var secretForms = regexp.MustCompile(`AAP[TK][A-Za-z0-9._-]{8,}|\bhv[sb]\.[A-Za-z0-9._-]{8,}|\bx(?:ox[a-z]|app)-[A-Za-z0-9-]{8,}|hooks\.slack\.com/\S+|` +
	`\bwhsec_[A-Za-z0-9+/=]{8,}|://[^\s/@]*:[^\s/@]*@|[?&](?i:token|key|apikey|api_key|access_token|password|secret)=[^\s&"<>]+|(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}`)

// Secret tells whether a text holds what looks like one.
func Secret(s string) bool { return secretForms.MatchString(s) }

// hidden stands where something was taken out.
const hidden = "[hidden]"

// Hide takes out of a text what looks like a secret, what is no UTF-8, and control
// characters, those that change the direction of writing among them. Line feeds stay.
func Hide(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case unicode.IsControl(r):
			return ' '
		case unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return secretForms.ReplaceAllString(s, hidden)
}

// Line is Hide on one line, of at most so many characters.
func Line(s string, most int) string {
	s = strings.Join(strings.Fields(Hide(s)), " ")
	if r := []rune(s); len(r) > most {
		return strings.TrimRight(string(r[:most-1]), " ") + "…"
	}
	return s
}

// Clean is Hide on every text of a notice that is for readers. Key and Ref, which are
// for finding it again, stay.
func Clean(n alert.Notice) alert.Notice {
	m := &n.Message
	for _, s := range []*string{&n.By, &m.Title, &m.Credential, &m.Owner, &m.Environment, &m.Portal, &m.Breaks, &m.Phase, &m.Reason,
		&m.LastError, &m.NextAttempt, &m.Command, &m.RotationID, &m.Runbook} {
		*s = Hide(*s)
	}
	m.Others = each(m.Others, Hide)
	m.Sections = each(m.Sections, func(s alert.Section) alert.Section {
		return alert.Section{Title: Hide(s.Title), Lines: each(s.Lines, Hide)}
	})
	m.Links = each(m.Links, func(l alert.Link) alert.Link { return alert.Link{Text: Hide(l.Text), URL: Hide(l.URL)} })
	n.Story = each(n.Story, func(l alert.StoryLine) alert.StoryLine {
		return alert.StoryLine{At: l.At, Text: Hide(l.Text), By: Hide(l.By)}
	})
	return n
}

// each leaves the caller's slice alone.
func each[T any](in []T, f func(T) T) []T {
	if in == nil {
		return nil
	}
	out := make([]T, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}
