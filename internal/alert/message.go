package alert

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// Message is one thing that is said. Empty fields are unknown or do not apply.
type Message struct {
	Condition   Condition
	Severity    Severity
	Resolved    bool
	Title       string
	Credential  string
	Owner       string
	Environment string
	Portal      string
	Breaks      string // what breaks, for whom and when
	Phase       string
	Reason      string
	LastError   string
	NextAttempt string
	Command     string // the one to paste
	RotationID  string
	Runbook     string
	Since       time.Time // of the condition
	At          time.Time // of composing
	// Others are further credentials of which the same is said; the fields above are
	// then those of none.
	Others []string
	// Sections are what a digest is made of; Links lead to the portal's item page, the
	// dashboard and the status page.
	Sections []Section `json:",omitempty"`
	Links    []Link    `json:",omitempty"`
}

// Section of a digest.
type Section struct {
	Title string
	Lines []string // one fact each, the most urgent first
}

// Link for people.
type Link struct{ Text, URL string }

// Fact is one labelled line of a message.
type Fact struct{ Label, Value string }

// Facts are the short ones, in their order, without the empty ones.
func (m Message) Facts() []Fact {
	var out []Fact
	for _, f := range []Fact{
		{"Credential", m.Credential}, {"Owner", m.Owner}, {"Environment", m.Environment}, {"Portal", m.Portal},
		{"Phase", m.Phase}, {"Reason", m.Reason}, {"Next attempt", m.NextAttempt}, {"Rotation", m.RotationID},
	} {
		if f.Value != "" {
			out = append(out, f)
		}
	}
	return out
}

// Text is the message in plain words, for a notification.
func (m Message) Text() string {
	parts := []string{m.Title}
	if m.Breaks != "" {
		parts = append(parts, m.Breaks)
	}
	if m.Command != "" && !m.Resolved {
		parts = append(parts, "Run: "+m.Command)
	}
	return strings.Join(parts, " · ")
}

// compose what is to be told of an alert now.
func (a *Alerter) compose(r *Alert, now time.Time) Message {
	m := a.composeState(r, now)
	m.Links = append(m.Links, a.o.Links.Always...)
	if r.Flapping {
		m.Title += " (comes and goes)"
	}
	return m
}

func (a *Alerter) composeState(r *Alert, now time.Time) Message {
	m := Message{Condition: r.Condition, Severity: r.Severity, Owner: r.Owner, Environment: r.Environment, Portal: r.Portal,
		RotationID: r.RotationID, Since: r.Since, At: now}
	if k, ok := a.kinds[r.Condition]; ok && k.subject == SubjectCredential && r.Members == nil {
		m.Credential = r.Subject
	}
	h := a.holds[r.Key]
	switch {
	case r.Members != nil:
		a.composeGroup(&m, r)
	case !r.Ended.IsZero():
		m.Severity, m.Resolved, m.Title = SeverityInfo, true, r.Subject+": resolved, no longer "+plain(r.Condition)
	case h == nil || h.stale:
		m.Title, m.Runbook = cmp.Or(r.Title, r.Subject+": "+plain(r.Condition)), a.runbook(r.Condition)
	default:
		a.composeHolding(&m, h, now)
	}
	return m
}

// plain words of a condition.
func plain(c Condition) string { return strings.ReplaceAll(string(c), "_", " ") }

// composeHolding says what a page must say of what holds.
func (a *Alerter) composeHolding(m *Message, h *holding, now time.Time) {
	m.Runbook = a.runbook(h.condition)
	switch {
	case h.use != nil && usageCondition(h.condition):
		m.Links = append(m.Links, h.view.Links...)
		h.used(m, now)
	case h.condition == ConditionSettings && h.view != nil && h.view.Settings != nil:
		h.compared(m)
	case h.view != nil:
		h.rotated(m, now)
	default:
		h.troubled(m, now)
	}
}

func usageCondition(c Condition) bool {
	return c == ConditionCutOff || c == ConditionBudget || c == ConditionSpike || c == ConditionSilent
}

// rotated fills the message of an alert on a credential's rotation.
func (h *holding) rotated(m *Message, now time.Time) {
	v, r := *h.view, h.view.Record
	m.Phase, m.Reason, m.LastError, m.Breaks = string(r.Phase), string(reason(r)), r.LastError, breaks(v, now)
	m.Links = append(m.Links, v.Links...)
	if !r.NextAt.IsZero() {
		m.NextAttempt = When(r.NextAt, now)
	}
	if h.condition == ConditionUnretired && r.Revoke.Error != "" {
		m.LastError = r.Revoke.Error
	}
	if text := spares(v, h.condition, now); text != "" {
		m.Breaks = text + " " + strings.Replace(m.Breaks, "Breaks at", "The served key works until", 1)
	}
	m.Title = m.Credential + ": " + headline(v, h.condition, now)
	m.Command = command(v, h.condition, now)
}

// composeGroup says the same of many at once.
func (a *Alerter) composeGroup(m *Message, g *Alert) {
	var all, open []string
	for _, key := range g.Members {
		member := a.state.alerts[key]
		if member == nil {
			continue
		}
		text := label(member.Subject, member.Owner)
		if g.Condition == ConditionSeveral {
			text = cmp.Or(member.Title, member.Subject+": "+plain(member.Condition))
		}
		all = append(all, text)
		if member.Ended.IsZero() {
			open = append(open, text)
		}
	}
	what, of := ": "+plain(g.Condition), "credential"
	if k, ok := a.kinds[g.Condition]; ok && k.subject != SubjectCredential {
		of = string(k.subject)
	}
	if g.Condition == ConditionSeveral {
		what, of = " waited for the end of quiet hours", "alert"
	}
	if !g.Ended.IsZero() {
		m.Severity, m.Resolved, m.Others = SeverityInfo, true, all
		if m.Title = fmt.Sprintf("%s: resolved", count(len(all), of)); g.Condition != ConditionSeveral {
			m.Title += ", no longer " + plain(g.Condition)
		}
		return
	}
	m.Others, m.Title = open, count(len(open), of)+what
	if n := len(all) - len(open); n > 0 {
		m.Title += fmt.Sprintf(", %d more resolved", n)
	}
	m.Command, m.Runbook = "rotatord status", a.runbook(g.Condition)
	if g.Condition == ConditionSeveral {
		m.Command = "rotatord alerts"
	}
}

// title of an alert, for lists and stories.
func (a *Alerter) title(r *Alert, now time.Time) string { return a.compose(r, now).Title }

// label names a subject and whom it concerns.
func label(subject, owner string) string {
	if owner == "" {
		return subject
	}
	return subject + " (" + owner + ")"
}

func appendOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func reason(r rotate.Record) rotate.Reason {
	if r.Blocked != "" {
		return r.Blocked
	}
	return r.Due
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)

// quote a word for a shell.
func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// runbook links the section of the Prometheus alert that says the same.
func (a *Alerter) runbook(c Condition) string {
	if a.o.Links.Runbook == "" {
		return ""
	}
	k, ok := a.kinds[c]
	if !ok {
		return ""
	}
	return a.o.Links.Runbook + "#" + k.anchor
}

// When is a time in UTC with its distance: "2026-04-01T23:59:59Z (in 12 days)".
func When(t, now time.Time) string {
	return t.UTC().Format(time.RFC3339) + " (" + ago(t, now) + ")"
}

func ago(t, now time.Time) string {
	switch d := t.Sub(now); {
	case d.Abs() < time.Second:
		return "now"
	case d < 0:
		return distance(-d) + " ago"
	default:
		return "in " + distance(d)
	}
}

// lasting is for titles, in which a date would be all that one sees: " for 3 days", or
// nothing at the beginning.
func lasting(since, now time.Time) string {
	if d := now.Sub(since); d >= time.Second {
		return " for " + distance(d)
	}
	return ""
}

// late says for how long something has been due.
func late(due, now time.Time) string {
	if d := now.Sub(due); d >= time.Second {
		return distance(d) + " late"
	}
	return "due"
}

// distance rounds down to the greatest unit of which there are two; a reader must not
// think that there is more time than there is.
func distance(d time.Duration) string {
	const day = 24 * time.Hour
	n, unit := int(d/time.Second), "second"
	switch {
	case d >= 2*day:
		n, unit = int(d/day), "day"
	case d >= 2*time.Hour:
		n, unit = int(d/time.Hour), "hour"
	case d >= 2*time.Minute:
		n, unit = int(d/time.Minute), "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
