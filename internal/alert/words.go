package alert

import (
	"fmt"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

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
		if r.Quarantine != nil && r.Quarantine.Reason != "" {
			return "quarantined until a person resumes it: " + r.Quarantine.Reason
		}
		return "quarantined until a person resumes it"
	case ConditionDrift:
		return "drift: " + driftText(r.Drift)
	case ConditionFailing:
		return fmt.Sprintf("rotation keeps failing (%d times)", r.Attempts)
	case ConditionHeld:
		return "held, and its rotation is " + late(v.DueAt, now) + ": " + holdReason(v, now)
	case ConditionUnretired:
		return "the old key outlives its overlap: " + whyUnretired(r)
	case ConditionStopped:
		return "due, and the fleet is stopped after failed proofs"
	case ConditionOrphan:
		return "slot " + orphaned(r).String() + " holds a valid key of ours that no sink serves"
	case ConditionStraggling:
		if v.Detail != "" && r.Blocked == rotate.ReasonGate {
			return "the old key is still in use after its overlap: " + v.Detail
		}
		return "the old key outlives its overlap: somebody still uses it, or nobody knows"
	case ConditionStuck:
		return "in phase " + string(r.Phase) + " for over an hour"
	case ConditionOccupied:
		return "due, and the spare slot is used by somebody unknown"
	case ConditionOverdue:
		return "due" + lasting(v.DueAt, now) + ", and not rotated"
	case ConditionUnadopted:
		return "its mode is rotate, and nobody has adopted it"
	default: // a test wants a message of each condition; the others are made in trouble.go and uses.go
		return plain(c)
	}
}

func holdReason(v View, now time.Time) string {
	if v.Record.Hold.Active(now) {
		return v.Record.Hold.Reason
	}
	return v.ConfigHold
}

func whyUnretired(r rotate.Record) string {
	if r.Revoke.Attempts >= failuresBefore {
		return fmt.Sprintf("its revocation failed %d times", r.Revoke.Attempts)
	}
	return "a hook says no"
}

func consumersOf(v *View) string {
	if len(v.Consumers) > 0 {
		return strings.Join(v.Consumers, ", ")
	}
	return "its consumers"
}

// breaks says what breaks, for whom and when.
func breaks(v View, now time.Time) string {
	who := consumersOf(&v)
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

// spares says what of a condition that hurts no consumer of the served key; "" for others.
func spares(v View, c Condition, now time.Time) string {
	switch c {
	case ConditionOrphan:
		return "Nothing breaks by it: a key that nobody needs is valid beside the served one."
	case ConditionUnretired:
		return "Nothing breaks by it: the old key is valid longer than it should be."
	case ConditionStraggling:
		if ends := v.Record.Previous.Expires; !ends.IsZero() {
			return "Whoever still uses the old key breaks at its own end, " + When(ends, now) + "."
		}
		return "Nothing breaks by it: the old key is kept until nobody uses it, at the longest until its own end."
	default:
		return ""
	}
}

// driftText says what differs, where a word would only name it.
func driftText(d rotate.Drift) string {
	switch d {
	case rotate.DriftIdentity:
		return "the config names another item than the journal"
	case rotate.DriftItemGone:
		return "the portal does not show the item any more"
	case rotate.DriftSinkEmpty:
		return "the key has vanished from its sink"
	case rotate.DriftSinkForeign:
		return "the sink has a key that rotatord did not write"
	case rotate.DriftSinkOtherItem:
		return "the sink has the key of another credential"
	case rotate.DriftSinkBehind:
		return "the sink has an older key than was written, as after a restore"
	case rotate.DriftSinkAhead:
		return "the sink has a newer key than the journal knows, as after a restored journal"
	case rotate.DriftSinksDiffer:
		return "a later sink has another key than the first"
	case rotate.DriftForeignInstance:
		return "another rotatord works on it"
	case rotate.DriftKeyRefused:
		return "the portal refuses the served key, which is not yet certain to be dead"
	case rotate.DriftKeyOther:
		return "the served key belongs to another app or item"
	case rotate.DriftFlag:
		return "the portal shows no key in the slot whose key works"
	case rotate.DriftDates:
		return "the dates of the key disagree"
	case rotate.DriftSlotTaken:
		return "somebody made a key in a slot of ours"
	case rotate.DriftMalformed:
		return "what the sink has cannot be read"
	case rotate.DriftNone:
	}
	return strings.ReplaceAll(string(d), "_", " ")
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
	case c == ConditionUnadopted:
		verb = "adopt"
	case c == ConditionStraggling:
		verb = "acks"
	case c == ConditionExpiring, c == ConditionFailing, c == ConditionHeld, c == ConditionUnretired, c == ConditionStopped, c == ConditionOrphan, c == ConditionStuck,
		c == ConditionOccupied, c == ConditionOverdue:
		verb = "plan"
	}
	return "rotatord " + verb + " " + quote(string(v.Name))
}
