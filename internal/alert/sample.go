package alert

import (
	"time"

	"rotatord/internal/rotate"
)

// Sample is how an alert of a condition looks, for somebody who tries the way to their
// eyes: with this config's links, and a credential that there is not.
func (a *Alerter) Sample(c Condition, now time.Time) Notice {
	const day = 24 * time.Hour
	m := Message{Condition: c, Severity: SeverityWarning, Owner: "an owner", Environment: "none", Portal: "a portal", Since: now.Add(-time.Hour), At: now,
		RotationID: "01J0000000000000000000SAMP", Runbook: a.runbook(c), Links: append([]Link(nil), a.o.Links.Always...)}
	switch c {
	case ConditionDead, ConditionExpiring, ConditionCutOff, ConditionUnreachable:
		m.Severity = SeverityCritical
	default:
	}
	k, _ := kindOf(c)
	subject := "a " + string(k.subject)
	if k.subject == SubjectCredential {
		subject = "example"
		m.Credential = subject
	}
	if k.subject == SubjectCredential && !usageCondition(c) && c != ConditionSettings {
		v := View{Name: rotate.Name(subject), Consumers: []string{"its first consumer", "its second"}, DueAt: now.Add(-day), ConfigHold: "a reason",
			Record: rotate.Record{Name: rotate.Name(subject), Phase: rotate.PhaseIdle, Attempts: failuresBefore, NextAt: now.Add(time.Hour), Due: rotate.ReasonExpiring,
				LastError: "publish example to a sink: transient: connection refused", Live: rotate.KeyFacts{Expires: now.Add(3 * day)}}}
		if c == ConditionDead {
			v.Record.DeadAt = now.Add(-time.Hour)
		}
		h := &holding{finding: finding{condition: c, severity: m.Severity}, subject: subject, view: &v}
		h.rotated(&m, now)
	} else {
		m.Title, m.Command = subject+": "+plain(c), "rotatord status"
	}
	return Notice{Key: "sample/" + string(c), Kind: NoticeSample, State: StateOpen, Message: m, Loud: true}
}
