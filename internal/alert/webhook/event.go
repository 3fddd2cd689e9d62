package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"rotatord/internal/alert"
)

// event is a CloudEvent in structured mode (cloudevents.io, version 1.0.2).
type event struct {
	SpecVersion     string    `json:"specversion" jsonschema:"enum=1.0"`
	ID              string    `json:"id" jsonschema:"description=The same for the same state of the same subject: who has it already may forget it."`
	Source          string    `json:"source" jsonschema:"description=Which rotatord this is: urn:rotatord: and its instance."`
	Type            string    `json:"type" jsonschema:"enum=rotatord.alert.v1,enum=rotatord.routine.v1,enum=rotatord.digest.v1,enum=rotatord.sample.v1"`
	Subject         string    `json:"subject" jsonschema:"description=What this is about: the same from the opening of an alert to its end."`
	Time            time.Time `json:"time" jsonschema:"description=When the notice was composed; of two with one subject the later counts."`
	DataContentType string    `json:"datacontenttype" jsonschema:"enum=application/json"`
	Data            notice    `json:"data"`
}

// notice is the event's data: the whole present state, never a difference.
type notice struct {
	State       string    `json:"state" jsonschema:"enum=open,enum=acknowledged,enum=snoozed,enum=resolved"`
	Loud        bool      `json:"loud" jsonschema:"description=Asks for attention. What is not loud only brings what you show up to date."`
	By          string    `json:"by,omitempty" jsonschema:"description=Who acknowledged or snoozed it."`
	Until       time.Time `json:"until,omitzero" jsonschema:"description=End of the snooze."`
	Condition   string    `json:"condition"`
	Severity    string    `json:"severity" jsonschema:"enum=critical,enum=warning,enum=info"`
	Title       string    `json:"title"`
	Credential  string    `json:"credential,omitempty"`
	Others      []string  `json:"others,omitempty" jsonschema:"description=The credentials of which this is said, where it is several."`
	Owner       string    `json:"owner,omitempty"`
	Environment string    `json:"environment,omitempty"`
	Portal      string    `json:"portal,omitempty"`
	Breaks      string    `json:"breaks,omitempty" jsonschema:"description=What breaks, for whom and when."`
	Phase       string    `json:"phase,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	LastError   string    `json:"last_error,omitempty"`
	NextAttempt string    `json:"next_attempt,omitempty"`
	Command     string    `json:"command,omitempty" jsonschema:"description=The one to paste."`
	RotationID  string    `json:"rotation_id,omitempty"`
	Runbook     string    `json:"runbook,omitempty"`
	Since       time.Time `json:"since,omitzero" jsonschema:"description=Since when the condition holds."`
	Sections    []section `json:"sections,omitempty" jsonschema:"description=Of a digest."`
	Links       []link    `json:"links,omitempty"`
	Story       []line    `json:"story,omitempty" jsonschema:"description=Lines of its history that were not told before."`
}

type section struct {
	Title string   `json:"title"`
	Lines []string `json:"lines"`
}

type link struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

type line struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
	By   string    `json:"by,omitempty" jsonschema:"description=A person; without it rotatord."`
}

func (w *Notifier) event(n alert.Notice) event {
	m := n.Message
	d := notice{State: string(n.State), Loud: n.Loud, By: n.By, Until: n.Until.UTC(), Condition: string(m.Condition), Severity: string(m.Severity),
		Title: m.Title, Credential: m.Credential, Others: m.Others, Owner: m.Owner, Environment: m.Environment, Portal: m.Portal,
		Breaks: m.Breaks, Phase: m.Phase, Reason: m.Reason, LastError: m.LastError, NextAttempt: m.NextAttempt, Command: m.Command,
		RotationID: m.RotationID, Runbook: m.Runbook, Since: m.Since.UTC()}
	for _, s := range m.Sections {
		d.Sections = append(d.Sections, section{s.Title, append([]string{}, s.Lines...)})
	}
	for _, l := range m.Links {
		d.Links = append(d.Links, link(l))
	}
	for _, l := range n.Story {
		d.Story = append(d.Story, line{l.At.UTC(), l.Text, l.By})
	}
	at := m.At
	if at.IsZero() {
		at = time.Now()
	}
	return event{SpecVersion: "1.0", ID: id(n.Key, n.Kind, d), Source: w.source, Type: typeOf(n.Kind), Subject: n.Key,
		Time: at.UTC(), DataContentType: "application/json", Data: d}
}

// typeOf a kind; its number grows with a change that breaks a reader.
func typeOf(k alert.NoticeKind) string {
	switch k {
	case alert.NoticeAlert, alert.NoticeRoutine, alert.NoticeDigest, alert.NoticeSample:
		return "rotatord." + string(k) + ".v1"
	}
	return "rotatord.alert.v1"
}

// id of what is told: the same for the same state, so without the words that change as
// time passes ("in 12 days") and without what another attempt words anew.
func id(key string, kind alert.NoticeKind, d notice) string {
	d.Title, d.Breaks, d.NextAttempt, d.LastError = "", "", "", ""
	// A struct of strings, times and lists cannot fail to be written.
	state, _ := json.Marshal(d)
	sum := sha256.Sum256(append([]byte(string(kind)+"\x00"+key+"\x00"), state...))
	const length = 16
	return hex.EncodeToString(sum[:length])
}

// sourceURN of an instance. CloudEvents wants a URI reference that is not empty.
func sourceURN(instance string) string {
	return "urn:rotatord:" + strings.ReplaceAll(url.PathEscape(instance), "%2F", "/")
}
