package rotate

// Phase of a credential's rotation: the effect that comes next, or what is waited for.
type Phase string

// The phases, in their order; doc.go has the diagram.
const (
	PhaseIdle       Phase = "idle"
	PhaseClaiming   Phase = "claiming"
	PhaseDating     Phase = "dating"
	PhaseMinting    Phase = "minting"
	PhaseProving    Phase = "proving"
	PhasePublishing Phase = "publishing"
	PhaseOverlap    Phase = "overlap"
	PhaseRetiring   Phase = "retiring"
)

// Phases lists every phase in order.
func Phases() []Phase {
	return []Phase{PhaseIdle, PhaseClaiming, PhaseDating, PhaseMinting, PhaseProving, PhasePublishing, PhaseOverlap, PhaseRetiring}
}

// InCutOver tells whether a rotation is under way that must run on to the last
// sink (rule 13).
func (p Phase) InCutOver() bool {
	switch p {
	case PhaseClaiming, PhaseDating, PhaseMinting, PhaseProving, PhasePublishing:
		return true
	case PhaseIdle, PhaseOverlap, PhaseRetiring, "":
		return false
	}
	return false
}

// Reason is the closed set of words that say why a rotation is due, or why nothing
// happens. It is log attribute, metric label, plan column and Slack text.
type Reason string

// Why a rotation is due.
const (
	ReasonCompromised Reason = "compromised"
	ReasonRequested   Reason = "requested"
	ReasonDead        Reason = "dead"
	ReasonBootstrap   Reason = "bootstrap"
	ReasonExpiring    Reason = "expiring"
	ReasonMaxAge      Reason = "max_age"
	ReasonRollback    Reason = "rollback"
	ReasonRestore     Reason = "restore" // the way back of rule 4, or a vanished secret of rule 8
	ReasonReplace     Reason = "replace" // another item takes over
)

// Why nothing happens now.
const (
	ReasonNotDue       Reason = "not_due"
	ReasonWatch        Reason = "watch"
	ReasonUnadopted    Reason = "unadopted"
	ReasonHeld         Reason = "held"
	ReasonFrozen       Reason = "frozen"
	ReasonWindow       Reason = "outside_window"
	ReasonQuarantined  Reason = "quarantined"
	ReasonDrift        Reason = "drift"
	ReasonOccupied     Reason = "occupied"
	ReasonBackoff      Reason = "backoff"
	ReasonMinInterval  Reason = "min_interval"
	ReasonNoGain       Reason = "no_gain"
	ReasonHorizon      Reason = "effect_horizon"
	ReasonOverlap      Reason = "overlap"
	ReasonPropagation  Reason = "propagation"
	ReasonClock        Reason = "clock"
	ReasonUnreachable  Reason = "unreachable"
	ReasonForeignClaim Reason = "foreign_claim"
	ReasonDeathStop    Reason = "too_many_deaths"
	ReasonSuspect      Reason = "suspect"        // refused probes, not yet a death
	ReasonRebuilt      Reason = "rebuilt"        // the journal was rebuilt; occupied slots wait (rule 10)
	ReasonWorking      Reason = "working"        // a rotation is under way
	ReasonGate         Reason = "still_in_use"   // a gate does not call the old key unused
	ReasonVeto         Reason = "vetoed"         // a hook said no
	ReasonStage        Reason = "earlier_stage"  // an earlier stage is not done, or not healthy for long enough
	ReasonLimit        Reason = "cut_over_limit" // as many rotations are under way as the config allows
	ReasonFleetStop    Reason = "fleet_stopped"  // too many new keys failed their proof
)

// DueReasons and BlockReasons list the closed sets.
func DueReasons() []Reason {
	return []Reason{ReasonCompromised, ReasonRequested, ReasonDead, ReasonBootstrap, ReasonExpiring, ReasonMaxAge, ReasonRollback, ReasonRestore, ReasonReplace}
}

// BlockReasons lists why nothing happens.
func BlockReasons() []Reason {
	return []Reason{ReasonNotDue, ReasonWatch, ReasonUnadopted, ReasonHeld, ReasonFrozen, ReasonWindow, ReasonQuarantined, ReasonDrift,
		ReasonOccupied, ReasonBackoff, ReasonMinInterval, ReasonNoGain, ReasonHorizon, ReasonOverlap, ReasonPropagation, ReasonClock,
		ReasonUnreachable, ReasonForeignClaim, ReasonDeathStop, ReasonSuspect, ReasonRebuilt, ReasonWorking, ReasonGate, ReasonVeto,
		ReasonStage, ReasonLimit, ReasonFleetStop}
}

// Drift is the closed set of disagreements between journal, sinks and portal
// (rule 1). Nothing destructive happens while one is there.
type Drift string

// The drifts.
const (
	DriftNone            Drift = ""
	DriftIdentity        Drift = "identity"         // the config names another item than the journal
	DriftItemGone        Drift = "item_gone"        // the portal does not show the item any more
	DriftSinkEmpty       Drift = "sink_empty"       // the secret vanished
	DriftSinkForeign     Drift = "sink_foreign"     // a key that rotatord did not write
	DriftSinkOtherItem   Drift = "sink_other_item"  // another credential's key or meta
	DriftSinkBehind      Drift = "sink_behind"      // an older generation: a restored Vault
	DriftSinkAhead       Drift = "sink_ahead"       // a newer generation: a restored journal
	DriftSinksDiffer     Drift = "sinks_differ"     // a later sink does not show the first one's key
	DriftForeignInstance Drift = "foreign_instance" // another rotatord works on this credential
	DriftKeyRefused      Drift = "key_refused"      // the served key is refused, and not yet dead
	DriftKeyOther        Drift = "key_other"        // the served key belongs to another app or item
	DriftFlag            Drift = "flag"             // the slot's flag is false while its key works
	DriftDates           Drift = "dates"            // the key's dates disagree
	DriftSlotTaken       Drift = "slot_taken"       // somebody minted into our slot
	DriftMalformed       Drift = "malformed"        // the sink's content cannot be read as ours
)

// Drifts lists every drift but none.
func Drifts() []Drift {
	return []Drift{DriftIdentity, DriftItemGone, DriftSinkEmpty, DriftSinkForeign, DriftSinkOtherItem, DriftSinkBehind, DriftSinkAhead,
		DriftSinksDiffer, DriftForeignInstance, DriftKeyRefused, DriftKeyOther, DriftFlag, DriftDates, DriftSlotTaken, DriftMalformed}
}
