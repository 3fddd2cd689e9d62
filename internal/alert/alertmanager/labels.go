package alertmanager

import (
	"encoding/json"
	"maps"
	"net/url"
	"strings"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/wire"
)

// postable is an element of what POST /api/v2/alerts takes.
type postable struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     time.Time         `json:"startsAt,omitzero"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// sampleFor is how long a sample stands: longer than Alertmanager's usual group_wait.
const sampleFor = 2 * time.Minute

// alerts to post for a notice, and the ref after that.
func (a *Notifier) alerts(n alert.Notice, now time.Time) ([]postable, string) {
	was := labelsOf(n.Ref)
	is := postable{Labels: labels(n), Annotations: annotations(n), StartsAt: n.Message.Since.UTC(), EndsAt: now.Add(a.o.Keep),
		GeneratorURL: generator(n.Message.Links)}
	if is.StartsAt.IsZero() || is.StartsAt.After(now) {
		is.StartsAt = now
	}
	ended := func(labels map[string]string) postable {
		return postable{Labels: labels, Annotations: is.Annotations, StartsAt: is.StartsAt, EndsAt: now, GeneratorURL: is.GeneratorURL}
	}
	switch {
	case n.Kind == alert.NoticeSample:
		is.EndsAt = now.Add(sampleFor)
		return []postable{is}, ""
	case n.State == alert.StateResolved && was == nil:
		return nil, "" // what it was not told does not end
	case n.State == alert.StateResolved:
		return []postable{ended(was)}, n.Ref // its labels, not those that the end has
	case was != nil && !maps.Equal(was, is.Labels):
		return []postable{is, ended(was)}, refOf(is.Labels)
	}
	return []postable{is}, refOf(is.Labels)
}

// most characters of one label and of one annotation.
const (
	mostLabel      = 256
	mostAnnotation = 4096
)

// labels are what routes, groups and inhibitions go by: those of the rules in
// deploy/prometheus, and two that these have not. An empty one is none to Alertmanager.
func labels(n alert.Notice) map[string]string {
	m := n.Message
	return short(mostLabel, map[string]string{
		"alertname":   Name(m.Condition),
		"severity":    string(m.Severity),
		"credential":  m.Credential,
		"portal":      m.Portal,
		"owner":       m.Owner,
		"environment": m.Environment,
		"condition":   string(m.Condition),
		// Tells apart what has no credential, and ours from Prometheus' alerts of the same name.
		"subject": wire.Hide(n.Key),
	})
}

func annotations(n alert.Notice) map[string]string {
	m := n.Message
	description := []string{m.Breaks}
	if m.LastError != "" {
		description = append(description, "Last error: "+m.LastError)
	}
	if m.NextAttempt != "" {
		description = append(description, "Next attempt: "+m.NextAttempt)
	}
	for _, s := range m.Sections {
		description = append(description, s.Title+":", strings.Join(s.Lines, "\n"))
	}
	out := map[string]string{
		"summary":     m.Title,
		"description": strings.TrimSpace(strings.Join(description, "\n")),
		"runbook_url": m.Runbook,
		"command":     m.Command,
		"credentials": strings.Join(m.Others, ", "),
		"phase":       m.Phase,
		"reason":      m.Reason,
		"rotation_id": m.RotationID,
	}
	switch n.State {
	case alert.StateAcknowledged:
		out["acknowledged_by"] = n.By
	case alert.StateSnoozed:
		out["snoozed_by"], out["snoozed_until"] = n.By, n.Until.UTC().Format(time.RFC3339)
	case alert.StateOpen, alert.StateResolved:
	}
	return short(mostAnnotation, out)
}

// short cuts long values, and drops empty ones.
func short(most int, values map[string]string) map[string]string {
	for k, v := range values {
		v = strings.TrimSpace(v)
		if r := []rune(v); len(r) > most {
			v = string(r[:most-1]) + "…"
		}
		values[k] = v
		if v == "" {
			delete(values, k)
		}
	}
	return values
}

// Name of the alert for a condition: that of the Prometheus rule on the same fault, so
// that one route, one inhibition and one section of the runbook serve both.
func Name(c alert.Condition) string {
	if rules := alert.RulesOf(c); len(rules) > 0 {
		return rules[0]
	}
	var name strings.Builder
	name.WriteString("Rotatord")
	for word := range strings.SplitSeq(string(c), "_") {
		if word != "" {
			name.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return name.String()
}

// generator is the first link that is a web address, as generatorURL must be.
func generator(links []alert.Link) string {
	for _, l := range links {
		u, err := url.Parse(l.URL)
		if err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") {
			return u.String()
		}
	}
	return ""
}

// refOf is what finds the alert again: its labels.
func refOf(labels map[string]string) string {
	b, _ := json.Marshal(labels) // a map of strings cannot fail
	return string(b)
}

// labelsOf a ref; nil if it is none of ours.
func labelsOf(ref string) map[string]string {
	var out map[string]string
	if json.Unmarshal([]byte(ref), &out) != nil || len(out) == 0 || out["alertname"] == "" {
		return nil
	}
	for k, v := range out {
		out[k] = wire.Hide(v)
	}
	return out
}
