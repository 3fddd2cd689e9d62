package alert

import (
	"time"

	"rotatord/internal/rotate"
)

// Condition is the closed set of what is said about a credential.
type Condition string

// The conditions.
const (
	ConditionDead        Condition = "dead"        // the served key is dead
	ConditionExpiring    Condition = "expiring"    // the served key expires with no rotation on its way
	ConditionQuarantined Condition = "quarantined" // rotating again would not help
	ConditionDrift       Condition = "drift"       // journal, sinks and portal disagree
	ConditionFailing     Condition = "failing"     // an effect fails again and again
	ConditionDone        Condition = "done"        // a rotation went well
)

// Severity of a condition.
type Severity string

// The severities.
const (
	SeverityCritical Severity = "critical"
	SeverityWarning  Severity = "warning"
	SeverityInfo     Severity = "info"
)

const (
	// failuresBefore: one failed attempt is the network's, several are somebody's.
	failuresBefore = 3
	// driftFor: sinks that are being written to differ for a moment.
	driftFor = 5 * time.Minute
	// lateShare of the time between due and expiry may pass before a rotation that is
	// merely due counts as not on its way; the Prometheus rules take the same.
	lateShare = 4
)

// finding is one condition that holds.
type finding struct {
	condition Condition
	severity  Severity
	// step grows when the same condition gets worse; each is said at once.
	step int
	// once: not repeated while the step stays.
	once bool
}

// findings of a credential at now. Of a dead and an expiring key the first says it all.
func (a *Alerter) findings(v View, now time.Time) []finding {
	r := v.Record
	var out []finding
	if !r.DeadAt.IsZero() {
		out = append(out, finding{condition: ConditionDead, severity: SeverityCritical, step: 1})
	} else if f, ok := a.expiring(v, now); ok {
		out = append(out, f)
	}
	if r.Quarantine != nil {
		out = append(out, finding{condition: ConditionQuarantined, severity: SeverityWarning, step: 1})
	} else if r.Attempts >= failuresBefore {
		out = append(out, finding{condition: ConditionFailing, severity: SeverityWarning, step: 1})
	}
	if r.Drift != rotate.DriftNone && now.Sub(r.DriftSince) >= driftFor {
		out = append(out, finding{condition: ConditionDrift, severity: SeverityWarning, step: 1})
	}
	return out
}

func (a *Alerter) expiring(v View, now time.Time) (finding, bool) {
	expires := v.Record.Live.Expires
	if expires.IsZero() || onItsWay(v, now) {
		return finding{}, false
	}
	f := finding{condition: ConditionExpiring, severity: SeverityWarning}
	for _, before := range a.o.WarnBefore {
		if now.Before(expires.Add(-before)) {
			break
		}
		f.step++
	}
	steps := len(a.o.WarnBefore)
	if !now.Before(expires) {
		f.step = steps + 1
	}
	if f.step >= steps {
		f.severity = SeverityCritical
	}
	f.once = f.step < steps
	return f, f.step > 0
}

// onItsWay tells whether the key will be replaced in time without anybody's doing.
func onItsWay(v View, now time.Time) bool {
	r := v.Record
	if r.Attempts == 0 && r.Phase.InCutOver() {
		return true
	}
	if v.Mode != rotate.ModeRotate || r.AdoptedAt.IsZero() || v.DueAt.IsZero() ||
		r.Hold.Active(now) || r.Quarantine != nil || r.Drift != rotate.DriftNone || r.Blocked == rotate.ReasonOccupied {
		return false
	}
	late := v.DueAt.Add(r.Live.Expires.Sub(v.DueAt) / lateShare)
	return now.Before(late)
}
