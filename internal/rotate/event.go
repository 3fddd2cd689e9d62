package rotate

import "time"

// Effect is one kind of external effect.
type Effect string

// The effects.
const (
	EffectClaim   Effect = "claim"
	EffectDate    Effect = "date"
	EffectMint    Effect = "mint"
	EffectProve   Effect = "prove"
	EffectPublish Effect = "publish"
	EffectProbe   Effect = "probe"
	EffectRevoke  Effect = "revoke"
	EffectMark    Effect = "mark"   // adoption or hold written into the first sink
	EffectSurvey  Effect = "survey" // a deep survey
	EffectHook    Effect = "hook"   // the hooks of one point
	EffectRemove  Effect = "remove" // the item that was replaced is deleted
)

// Effects lists every effect.
func Effects() []Effect {
	return []Effect{EffectClaim, EffectDate, EffectMint, EffectProve, EffectPublish, EffectProbe, EffectRevoke, EffectMark, EffectSurvey, EffectHook, EffectRemove}
}

// EventKind is the closed set of things that happen to a credential.
type EventKind string

// The events.
const (
	EventEffect       EventKind = "effect" // an effect was tried: Effect, Result
	EventStarted      EventKind = "rotation_started"
	EventPromoted     EventKind = "rotation_promoted" // every sink serves the new key
	EventFinished     EventKind = "rotation_finished" // the old key is retired
	EventAborted      EventKind = "rotation_aborted"
	EventKeyLost      EventKind = "key_lost" // a minted key is in no memory and no sink
	EventKeyDead      EventKind = "key_dead"
	EventKeyRevived   EventKind = "key_revived"
	EventDrift        EventKind = "drift"
	EventDriftCleared EventKind = "drift_cleared"
	EventOrphan       EventKind = "orphan"
	EventAdopted      EventKind = "adopted"
	EventRebuilt      EventKind = "rebuilt"
	EventHeld         EventKind = "held"
	EventResumed      EventKind = "resumed"
	EventRequested    EventKind = "requested"
	EventRefused      EventKind = "request_refused"
	EventQuarantined  EventKind = "quarantined"
	EventDatesDiffer  EventKind = "dates_differ"
	EventAcknowledged EventKind = "acknowledged" // a consumer said which key it runs
	EventAlert        EventKind = "alert"        // somebody acknowledged or snoozed an alert on it, or took that back
	EventSettings     EventKind = "settings"     // its settings at the portal were edited, or found otherwise than the config says
	EventBlocked      EventKind = "blocked"      // a due rotation cannot start: Reason
	EventRenamed      EventKind = "renamed"      // its history goes on under another name, or comes from one
	EventRetired      EventKind = "retired"      // for good, by a person; or that was taken back
	EventHandedOver   EventKind = "handed_over"  // another item takes over
	EventHandedBack   EventKind = "handed_back"  // that was given up, and the item before stays
	EventReplaced     EventKind = "replaced"     // nothing is left of the item before
)

// EventKinds lists every kind.
func EventKinds() []EventKind {
	return []EventKind{EventEffect, EventStarted, EventPromoted, EventFinished, EventAborted, EventKeyLost, EventKeyDead, EventKeyRevived, EventDrift,
		EventDriftCleared, EventOrphan, EventAdopted, EventRebuilt, EventHeld, EventResumed, EventRequested, EventRefused, EventQuarantined, EventDatesDiffer, EventAcknowledged, EventAlert, EventSettings, EventBlocked, EventRenamed, EventRetired,
		EventHandedOver, EventHandedBack, EventReplaced}
}

// Result of an effect: "ok" or the Kind of its error.
type Result string

// ResultOK is the result of an effect that succeeded; all others are Kinds.
const ResultOK Result = "ok"

// Event is one line of a credential's history. It has no field that could hold a key.
type Event struct {
	At          time.Time   `json:"at"`
	Name        Name        `json:"name"`
	Portal      PortalID    `json:"portal,omitempty"`
	Item        ItemID      `json:"item,omitempty"`
	RotationID  string      `json:"rotation_id,omitempty"`
	Kind        EventKind   `json:"kind"`
	Phase       Phase       `json:"phase,omitempty"`
	Effect      Effect      `json:"effect,omitempty"`
	Result      Result      `json:"result,omitempty"`
	Reason      Reason      `json:"reason,omitempty"`
	Drift       Drift       `json:"drift,omitempty"`
	Slot        Slot        `json:"slot,omitempty"`
	Fingerprint Fingerprint `json:"fingerprint,omitempty"`
	Generation  int64       `json:"generation,omitempty"`
	Sink        string      `json:"sink,omitempty"`
	Expires     time.Time   `json:"expires,omitzero"`
	Actor       string      `json:"actor,omitempty"`  // the person, or "" for the daemon
	Detail      string      `json:"detail,omitempty"` // a sentence for people
	Error       string      `json:"error,omitempty"`  // an adapter's *Error as text
	// Took is how long an effect took.
	Took time.Duration `json:"took_ns,omitempty"`
}
