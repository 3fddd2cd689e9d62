package notifytest

import (
	"strings"
	"time"

	"rotatord/internal/alert"
)

// What looks like a secret, and must not leave a notifier.
const (
	keyLike   = "AAPTxy8BH1VEsoebNVZXo8HurNeLiCZjvkxcvTgnlAHZk6eAT1_H4JC97kO"
	tokenLike = "hvs.CAESIJlWh0PyBq8bTUGx"
	urlToken  = "t0ken-in-an-address-93bf"
)

// begin is when the notices' conditions began: some minutes ago, in whole seconds.
func begin() time.Time { return time.Now().UTC().Truncate(time.Second).Add(-10 * time.Minute) }

// Notice of an alert that has just opened.
func Notice() alert.Notice { return full(alert.ConditionDead, alert.StateOpen, alert.NoticeAlert) }

// Notices are all that can be told: each condition in each state, and each other kind,
// with a Key of its own each. All are loud; none has a Ref.
func Notices() []alert.Notice {
	var out []alert.Notice
	for _, c := range alert.Conditions() {
		for _, s := range []alert.State{alert.StateOpen, alert.StateAcknowledged, alert.StateSnoozed, alert.StateResolved} {
			out = append(out, full(c, s, alert.NoticeAlert))
		}
	}
	routine := full(alert.ConditionDone, alert.StateResolved, alert.NoticeRoutine)
	routine.Loud = false // always
	digest := full(alert.ConditionDigest, alert.StateResolved, alert.NoticeDigest)
	digest.Message.Sections = []alert.Section{{Title: "Rotated", Lines: []string{"store-locator", "field-maps"}}, {Title: "Wants a person", Lines: []string{"none"}}}
	several := full(alert.ConditionSeveral, alert.StateOpen, alert.NoticeAlert)
	several.Message.Credential, several.Message.Others = "", []string{"store-locator", "field-maps"}
	return append(out, routine, digest, several, full(alert.ConditionSample, alert.StateOpen, alert.NoticeSample))
}

func full(c alert.Condition, s alert.State, k alert.NoticeKind) alert.Notice {
	since := begin()
	m := alert.Message{Condition: c, Severity: alert.SeverityCritical, Title: "store-locator: " + string(c) + " and " + string(s), Credential: "store-locator",
		Owner: "maps", Environment: "production", Portal: "acme", Breaks: "Breaks at 2026-04-01T23:59:59Z (in 3 days): shop, mobile",
		Phase: "publishing", Reason: "expiring", LastError: "publish to vault: transient: connection refused", NextAttempt: "2026-03-29T10:00:00Z (in 2 min)",
		Command: "rotatord plan store-locator", RotationID: "01JABCDEF0123456789ABCDEFG", Runbook: "https://wiki.example/keys#rotatordkeydead", Since: since, At: since.Add(time.Minute),
		Links: []alert.Link{{Text: "Item", URL: "https://acme.example/home/item.html?id=4f1c9e0b7a6d4e0f8b2a6c1d3e5f7a9b"}}}
	n := alert.Notice{Key: string(c) + "/" + string(s) + "/" + string(k), Kind: k, State: s, Message: m, Loud: true,
		Story: []alert.StoryLine{{At: since, Text: "told first"}, {At: since.Add(time.Minute), Text: "looked at", By: "ada"}}}
	switch s {
	case alert.StateAcknowledged:
		n.By = "ada"
	case alert.StateSnoozed:
		n.By, n.Until = "ada", since.Add(2*time.Hour)
	case alert.StateResolved:
		n.Message.Resolved, n.Message.Severity = true, alert.SeverityInfo
	case alert.StateOpen:
	}
	return n
}

// Hostile texts: what an error of a portal or a name in a config might hold.
func Hostile() []string {
	return []string{
		"the key " + keyLike + " was refused",
		"Authorization: Bearer " + tokenLike,
		"GET https://portal.example/x?token=" + urlToken + "&f=json",
		"line\r\nBcc: everybody@example.org\r\n\r\n<h1>another body</h1>",
		"\n.\nQUIT\n",
		"<script>alert(1)</script> <!channel> <@U012AB3CD> & \"quoted\" 'so' `code` {{.Key}}",
		"Grüße aus 東京 \U0001F5FA\uFE0F, \u202Eright to left\u202C, \u0000nul, \u001b[31mred",
		"no UTF-8: \xff\xfe\xc3",
		strings.Repeat("long ", 2000),
		strings.Repeat("x", 3000),
	}
}
