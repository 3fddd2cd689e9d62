package alert

import (
	"fmt"
	"regexp"
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

func (a *Alerter) compose(v View, f finding, inc incident, now time.Time) Message {
	r := v.Record
	m := Message{Condition: f.condition, Severity: f.severity, Credential: string(v.Name), Owner: v.Owner, Environment: v.Environment,
		Portal: string(v.Portal), Phase: string(r.Phase), Reason: string(reason(r)), LastError: r.LastError, Since: inc.Since, At: now,
		Breaks: breaks(v, now), Runbook: a.runbook(f.condition), RotationID: inc.RotationID}
	if !r.NextAt.IsZero() {
		m.NextAttempt = When(r.NextAt, now)
	}
	if rot := r.Rotation; rot != nil {
		m.RotationID = rot.ID
	}
	if f.condition == ConditionUnretired && r.Revoke.Error != "" {
		m.LastError = r.Revoke.Error
	}
	m.Title = m.Credential + ": " + headline(v, f.condition, now)
	m.Command = command(v, f.condition, now)
	return m
}

func reason(r rotate.Record) rotate.Reason {
	if r.Blocked != "" {
		return r.Blocked
	}
	return r.Due
}

func headline(v View, c Condition, now time.Time) string {
	r := v.Record
	switch c {
	case ConditionDead:
		return "the served key is dead"
	case ConditionExpiring:
		if !now.Before(r.Live.Expires) {
			return "the served key has expired"
		}
		return "key expires " + ago(r.Live.Expires, now) + " and no rotation is on its way"
	case ConditionQuarantined:
		return "quarantined"
	case ConditionDrift:
		return "drift: " + strings.ReplaceAll(string(r.Drift), "_", " ")
	case ConditionFailing:
		return fmt.Sprintf("rotation keeps failing (%d times)", r.Attempts)
	case ConditionHeld:
		return "held, and its rotation is due since " + When(v.DueAt, now) + ": " + holdReason(v, now)
	case ConditionUnretired:
		return "the old key outlives its overlap: " + whyUnretired(r)
	case ConditionStopped:
		return "due, and the fleet is stopped after failed proofs"
	case ConditionOrphan:
		return "slot " + orphaned(r).String() + " holds a valid key of ours that no sink serves"
	case ConditionDone:
		return "rotated"
	}
	return string(c)
}

func holdReason(v View, now time.Time) string {
	if v.Record.Hold.Active(now) {
		return v.Record.Hold.Reason
	}
	return v.ConfigHold
}

func whyUnretired(r rotate.Record) string {
	switch {
	case r.Revoke.Attempts >= failuresBefore:
		return fmt.Sprintf("its revocation failed %d times", r.Revoke.Attempts)
	case r.Blocked == rotate.ReasonVeto:
		return "a hook says no"
	}
	return "somebody still uses it, or nobody knows"
}

// breaks says what breaks, for whom and when.
func breaks(v View, now time.Time) string {
	who := "its consumers"
	if len(v.Consumers) > 0 {
		who = strings.Join(v.Consumers, ", ")
	}
	switch r := v.Record; {
	case !r.DeadAt.IsZero():
		return "Refused since " + When(r.DeadAt, now) + ": " + who
	case r.Live.Expires.IsZero():
		return "Breaks when the key expires, which nobody knows: " + who
	case !now.Before(r.Live.Expires):
		return "Broken since " + When(r.Live.Expires, now) + ": " + who
	default:
		return "Breaks at " + When(r.Live.Expires, now) + ": " + who
	}
}

// command is the one to paste.
func command(v View, c Condition, now time.Time) string {
	r := v.Record
	verb := "status"
	switch {
	case c == ConditionQuarantined:
		verb = "resume"
	case c == ConditionExpiring && r.Hold.Active(now):
		verb = "resume"
	case c == ConditionExpiring && r.AdoptedAt.IsZero():
		verb = "adopt"
	case c == ConditionHeld && r.Hold.Active(now):
		verb = "resume"
	case c == ConditionExpiring, c == ConditionFailing, c == ConditionHeld, c == ConditionUnretired, c == ConditionStopped, c == ConditionOrphan:
		verb = "plan"
	case c == ConditionDone:
		verb = "history"
	}
	return "rotatord " + verb + " " + quote(string(v.Name))
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
	anchor := map[Condition]string{
		ConditionDead: "rotatordkeydead", ConditionExpiring: "rotatordkeyexpiresunrotated", ConditionQuarantined: "rotatordquarantined",
		ConditionDrift: "rotatorddrift", ConditionFailing: "rotatordrotationfailing",
		ConditionHeld: "rotatordheldlong", ConditionUnretired: "rotatordoldkeynotretired", ConditionStopped: "rotatordfleetstopped",
		ConditionOrphan: "rotatordorphan",
	}[c]
	if anchor == "" {
		return ""
	}
	return a.o.Links.Runbook + "#" + anchor
}

// When is a time in UTC with its distance: "2026-04-01T23:59:59Z (in 12 days)".
func When(t, now time.Time) string {
	return t.UTC().Format(time.RFC3339) + " (" + ago(t, now) + ")"
}

func ago(t, now time.Time) string {
	d := t.Sub(now)
	if d < 0 {
		return distance(-d) + " ago"
	}
	return "in " + distance(d)
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
