package alert

import (
	"time"

	"rotatord/internal/rotate"
)

// Condition is the closed set of what is told.
type Condition string

// The conditions of a credential.
const (
	ConditionDead        Condition = "dead"        // the served key is dead
	ConditionExpiring    Condition = "expiring"    // the served key expires with no rotation on its way
	ConditionQuarantined Condition = "quarantined" // rotating again would not help
	ConditionDrift       Condition = "drift"       // journal, sinks and portal disagree
	ConditionFailing     Condition = "failing"     // an effect fails again and again
	ConditionHeld        Condition = "held"        // a hold outlives the date at which the key should have been rotated
	ConditionUnretired   Condition = "unretired"   // the old key outlives its overlap: it will not die, or a hook says no
	ConditionStraggling  Condition = "straggling"  // the old key outlives its overlap: a gate does not call it unused
	ConditionStuck       Condition = "stuck"       // a phase of seconds lasts
	ConditionOccupied    Condition = "occupied"    // due, and somebody unknown sits in the spare slot
	ConditionOverdue     Condition = "overdue"     // due for a quarter of the time that there is, and nothing else says why
	ConditionUnadopted   Condition = "unadopted"   // mode rotate, and nobody has adopted it
	ConditionStopped     Condition = "stopped"     // due, and the fleet was stopped after failed proofs
	ConditionOrphan      Condition = "orphan"      // a valid key of ours that no sink serves
	ConditionCutOff      Condition = "cut_off"     // its budget is spent, and rotatord takes its keys away
	ConditionBudget      Condition = "budget"      // a warning level of its budget is reached, or all of it
	ConditionSpike       Condition = "usage_spike"
	ConditionSilent      Condition = "usage_silence"  // a busy key was not used for a day
	ConditionSettings    Condition = "settings_drift" // its portal has other settings than the config says
)

// The conditions of a portal, a sink, or the daemon.
const (
	ConditionUnreachable Condition = "portal_unreachable"
	ConditionIdentity    Condition = "identity_expiring" // rotatord's own sign-in at a portal ends, or has ended
	ConditionClock       Condition = "clock_off"
	ConditionSurveyStale Condition = "survey_stale"
	ConditionSinkFailing Condition = "sink_failing"
	ConditionVaultToken  Condition = "vault_token" // the sign-in to Vault is not renewed
	ConditionReload      Condition = "reload_refused"
	ConditionCrashed     Condition = "crashed" // the daemon started after an end that was no stop
)

// What messages have for a condition that are no alert of one.
const (
	ConditionDone    Condition = "done"    // a day's rotations that went well
	ConditionSeveral Condition = "several" // what waited for the end of quiet hours
	ConditionDigest  Condition = "digest"
	ConditionSample  Condition = "sample" // notify --test
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
	// unretiredFor: a gate is asked every probe_every, and a first failure means little.
	unretiredFor = time.Hour
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
	// broken: consumers are refused already. foresees: nothing is broken yet, and so it
	// is the cause of nothing.
	broken, foresees bool
	// mark: the waiting time starts anew when it changes.
	mark string
}

// findings of a credential at now. Of a dead or a held key that expires the first says
// it all; that is the table's to say, so that the other does not end meanwhile.
func (a *Alerter) findings(v View, now time.Time) []finding {
	r := v.Record
	var out []finding
	if !r.DeadAt.IsZero() {
		out = append(out, finding{condition: ConditionDead, severity: SeverityCritical, step: 1, broken: true})
	} else if h, ok := held(v, now); ok && now.Before(r.Live.Expires) {
		out = append(out, h)
	}
	if f, ok := a.expiring(v, now); ok {
		out = append(out, f)
	}
	if at := r.RetiresAt(); (r.Previous.Fingerprint != "" || r.Former != nil) && !at.IsZero() && now.Sub(at) >= unretiredFor {
		if c := unretired(r); c != "" {
			out = append(out, finding{condition: c, severity: SeverityWarning, step: 1})
		}
	}
	if r.Due != "" && r.Blocked == rotate.ReasonFleetStop {
		out = append(out, finding{condition: ConditionStopped, severity: SeverityWarning, step: 1})
	}
	if orphaned(r) != rotate.NoSlot {
		out = append(out, finding{condition: ConditionOrphan, severity: SeverityWarning, step: 1, once: true})
	}
	if r.Due != "" && r.Blocked == rotate.ReasonOccupied {
		out = append(out, finding{condition: ConditionOccupied, severity: SeverityWarning, step: 1})
	}
	if overdue(v, now) {
		out = append(out, finding{condition: ConditionOverdue, severity: SeverityWarning, step: 1})
	}
	if r.Quarantine != nil {
		out = append(out, finding{condition: ConditionQuarantined, severity: SeverityWarning, step: 1})
	} else if r.Attempts >= failuresBefore {
		out = append(out, finding{condition: ConditionFailing, severity: SeverityWarning, step: 1})
	}
	if r.Drift != rotate.DriftNone && now.Sub(r.DriftSince) >= driftFor {
		out = append(out, finding{condition: ConditionDrift, severity: SeverityWarning, step: 1})
	}
	if r.Phase.InCutOver() || r.Phase == rotate.PhaseRetiring {
		out = append(out, finding{condition: ConditionStuck, severity: SeverityWarning, step: 1, mark: string(r.Phase)})
	}
	if v.Mode == rotate.ModeRotate && r.AdoptedAt.IsZero() && r.Epoch > 0 {
		out = append(out, finding{condition: ConditionUnadopted, severity: SeverityInfo, step: 1, once: true})
	}
	return out
}

// held: who holds a credential is told when the hold begins to cost, and paged when
// the key is about to die of it.
func held(v View, now time.Time) (finding, bool) {
	r := &v.Record
	if (v.ConfigHold == "" && !r.Hold.Active(now)) || v.DueAt.IsZero() || now.Before(v.DueAt) || r.Phase.InCutOver() {
		return finding{}, false
	}
	if !r.Live.Expires.IsZero() && !now.Before(r.Live.Expires.Add(-v.CriticalBefore)) {
		return finding{condition: ConditionHeld, severity: SeverityCritical, step: 2}, true
	}
	return finding{condition: ConditionHeld, severity: SeverityWarning, step: 1}, true
}

// unretired tells why the old key stays, if somebody must look at that.
func unretired(r rotate.Record) Condition {
	switch {
	case r.Revoke.Attempts >= failuresBefore, r.Blocked == rotate.ReasonVeto, r.Former != nil && r.Blocked == rotate.ReasonOccupied && r.Due == "":
		return ConditionUnretired
	case r.Blocked == rotate.ReasonGate:
		return ConditionStraggling
	}
	return ""
}

// orphaned is the slot with a key of ours that nobody serves and that was told.
func orphaned(r rotate.Record) rotate.Slot {
	for _, s := range rotate.Slots() {
		if st := r.Slots[s]; st.Told && st.Active {
			return s
		}
	}
	return rotate.NoSlot
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
		f.step, f.broken = steps+1, true
	}
	if f.step >= steps {
		f.severity = SeverityCritical
	}
	f.once = f.step < steps
	return f, f.step > 0
}

// overdueUnknown: without a known end there is no share of the time that is left.
const overdueUnknown = 24 * time.Hour

// overdue: rotatord should have rotated by itself, and has not.
func overdue(v View, now time.Time) bool {
	r := &v.Record
	if v.Mode != rotate.ModeRotate || r.AdoptedAt.IsZero() || v.DueAt.IsZero() || v.ConfigHold != "" || r.Hold.Active(now) || r.Phase.InCutOver() {
		return false
	}
	if r.Live.Expires.IsZero() {
		return now.Sub(v.DueAt) > overdueUnknown
	}
	return now.Before(r.Live.Expires) && !now.Before(v.DueAt.Add(r.Live.Expires.Sub(v.DueAt)/lateShare))
}

// onItsWay tells whether the key will be replaced in time without anybody's doing.
func onItsWay(v View, now time.Time) bool {
	r := v.Record
	if r.Attempts == 0 && r.Phase.InCutOver() {
		return true
	}
	if v.Mode != rotate.ModeRotate || r.AdoptedAt.IsZero() || v.DueAt.IsZero() ||
		v.ConfigHold != "" || r.Hold.Active(now) || r.Quarantine != nil || r.Drift != rotate.DriftNone || r.Blocked == rotate.ReasonOccupied {
		return false
	}
	late := v.DueAt.Add(r.Live.Expires.Sub(v.DueAt) / lateShare)
	return now.Before(late)
}
