package rotate

import "time"

// Record is the journal's state of one credential. It holds no key. Zero times are
// unknown or never. Every change is journalled before the next effect.
type Record struct {
	Name  Name  `json:"name"`
	ID    ID    `json:"id"`
	Epoch int64 `json:"epoch"` // fence of every Save; 0 was never saved

	Owner     string    `json:"owner,omitempty"` // of the item; the paths of 3.2 and 4.2 need it
	ClientID  string    `json:"client_id,omitempty"`
	Referrer  string    `json:"referrer,omitempty"` // the app's first; probes send it
	AdoptedAt time.Time `json:"adopted_at,omitzero"`
	// RebuiltAt is when the journal was rebuilt from the sink. Until one overlap
	// later, or a person's confirmation, no occupied slot is minted into or revoked.
	RebuiltAt time.Time `json:"rebuilt_at,omitzero"`

	Phase      Phase     `json:"phase"`
	Live       KeyFacts  `json:"live,omitzero"`     // what the sinks serve
	Previous   KeyFacts  `json:"previous,omitzero"` // in use until RetireAt
	PromotedAt time.Time `json:"promoted_at,omitzero"`
	RetireAt   time.Time `json:"retire_at,omitzero"`
	Rotation   *Rotation `json:"rotation,omitempty"` // from claiming to retiring

	Slots [3]SlotState `json:"slots"` // by Slot; index 0 is unused

	Request    *Request    `json:"request,omitempty"`
	Hold       *Hold       `json:"hold,omitempty"`
	MarkDue    bool        `json:"mark_due,omitempty"` // adoption or hold is not yet in the first sink
	Quarantine *Quarantine `json:"quarantine,omitempty"`

	Drift       Drift     `json:"drift,omitempty"`
	DriftSince  time.Time `json:"drift_since,omitzero"`
	DriftDetail string    `json:"drift_detail,omitempty"`

	// Refusals are the times at which the served key was refused while a control
	// call succeeded; rule 8 makes a death of three over ten minutes.
	Refusals []time.Time `json:"refusals,omitempty"`
	DeadAt   time.Time   `json:"dead_at,omitzero"`
	// OldRefusals are the same of the previous key while its slot is flagged active.
	OldRefusals []time.Time `json:"old_refusals,omitempty"`

	// DatesDiffer says which sources disagree about the served key's expiry; "" if none do.
	DatesDiffer string `json:"dates_differ,omitempty"`

	ProbedAt   time.Time `json:"probed_at,omitzero"`   // last probe of the served key
	SurveyedAt time.Time `json:"surveyed_at,omitzero"` // last deep survey
	Due        Reason    `json:"due,omitempty"`        // last plan: why a rotation is due
	Blocked    Reason    `json:"blocked,omitempty"`    // last plan: why nothing happens
	NextAt     time.Time `json:"next_at,omitzero"`     // when to advance again

	Attempts    int       `json:"attempts,omitempty"` // failures in a row
	LastFailure time.Time `json:"last_failure,omitzero"`
	LastError   string    `json:"last_error,omitempty"`
	LastKind    Kind      `json:"last_kind,omitempty"`
	RetryAt     time.Time `json:"retry_at,omitzero"` // no effect before; a Retry-After outlives a restart

	// Revoke counts the revocations that failed in a row. They have a ladder of their
	// own: a key that will not die delays no rotation and quarantines nothing.
	Revoke Ladder `json:"revoke,omitzero"`
	// ProofFailedAt is when a new key failed its proof, or died within its overlap;
	// zero once a later one was promoted, or a person resumed the credential.
	ProofFailedAt time.Time `json:"proof_failed_at,omitzero"`
	// Hooked are the points whose hooks agreed since the last start, or whose veto did
	// not count. HookDue is a call that outlives its rotation.
	Hooked  []HookPoint `json:"hooked,omitempty"`
	HookDue *HookCall   `json:"hook_due,omitempty"`

	// Former is the item that was replaced, until nothing is left of it; Formerly are all
	// that the name had before, which a config may still name.
	Former   *Former `json:"former,omitempty"`
	Formerly []ID    `json:"formerly,omitempty"`

	// LastRotation is the id of the rotation that began last: a claim that is not newer
	// is one that this journal knows.
	LastRotation string `json:"last_rotation,omitempty"`
	// TopGeneration is the highest generation ever seen, so that one is never used twice.
	TopGeneration int64 `json:"top_generation,omitempty"`
	// Offset is portal time minus ours, as last measured (rule 11).
	Offset time.Duration `json:"offset_ns,omitempty"`
}

// Rotation is one rotation under way.
type Rotation struct {
	ID         string    `json:"id"` // ULID
	Reason     Reason    `json:"reason"`
	Started    time.Time `json:"started"`
	Generation int64     `json:"generation"` // of the key that is to come
	Target     Slot      `json:"target,omitempty"`
	Asked      time.Time `json:"asked,omitzero"` // the date asked for
	ClaimedAt  time.Time `json:"claimed_at,omitzero"`
	ClaimAt    Version   `json:"claim_version,omitempty"` // first sink's version after the claim
	// New is the key that is to be published. For a roll-back or a restore it is a
	// key that a sink held before, and nothing is minted.
	New       KeyFacts `json:"new,omitzero"`
	Republish bool     `json:"republish,omitempty"`
	Committed bool     `json:"committed,omitempty"` // the first sink holds New
	// Compromised rotations have no overlap and revoke these keys.
	Compromised bool `json:"compromised,omitempty"`
	// TargetWasActive: the target slot's flag when it was chosen. One that turned
	// active without a mint of ours was taken by somebody.
	TargetWasActive bool          `json:"target_was_active,omitempty"`
	Fingerprints    []Fingerprint `json:"fingerprints,omitempty"`
	OutageOK        bool          `json:"outage_ok,omitempty"`
	DeadOld         bool          `json:"dead_old,omitempty"` // the key that is replaced was dead already
	Mints           int           `json:"mints,omitempty"`    // mint requests sent
	By              string        `json:"by,omitempty"`
}

// Ladder is a back-off of its own.
type Ladder struct {
	Attempts int       `json:"attempts,omitempty"` // failures in a row
	Since    time.Time `json:"since,omitzero"`     // of the first
	RetryAt  time.Time `json:"retry_at,omitzero"`
	Error    string    `json:"error,omitempty"`
	Kind     Kind      `json:"kind,omitempty"`
}

// SlotUse is what a slot holds, as far as the journal knows.
type SlotUse string

// The uses.
const (
	UseUnknown  SlotUse = ""         // never looked, or somebody unknown sits there
	UseEmpty    SlotUse = "empty"    // flag false or date past when last seen
	UseLive     SlotUse = "live"     // the served key
	UsePrevious SlotUse = "previous" // in overlap, or waiting to be retired
	UseOwn      SlotUse = "own"      // our own lost or unpublished key
)

// SlotState is the journal's view of one slot.
type SlotState struct {
	Use    SlotUse   `json:"use,omitempty"`
	Key    KeyFacts  `json:"key,omitzero"`
	Asked  time.Time `json:"asked,omitzero"` // the date that we last set
	Since  time.Time `json:"since,omitzero"` // of this use
	Intent *Intent   `json:"intent,omitempty"`
	// Taken: a person allowed rotatord to use this slot whoever sits in it.
	Taken bool `json:"taken,omitempty"`
	// Told: the orphan in it was reported.
	Told bool `json:"told,omitempty"`

	// As last seen at the portal.
	Active  bool      `json:"active,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	SeenAt  time.Time `json:"seen_at,omitzero"`
	// Listed is the date of the portal's list of keys (apiTokens), the fourth source of
	// a key's expiry. The list may be old or cut: it is told and decides nothing.
	Listed time.Time `json:"listed,omitzero"`
}

// Outcome of an effect that was sent.
type Outcome string

// The outcomes. A pending intent found in the journal is an unknown one.
const (
	OutcomePending Outcome = "pending"
	OutcomeDone    Outcome = "done"
	OutcomeFailed  Outcome = "failed" // known not to have happened
	OutcomeUnknown Outcome = "unknown"
)

// Intent is a mint or a revoke, journalled before it is sent (rule 6).
type Intent struct {
	Effect     Effect    `json:"effect"`
	RotationID string    `json:"rotation_id,omitempty"`
	SentAt     time.Time `json:"sent_at"`
	Outcome    Outcome   `json:"outcome"`
}

// InFlight tells whether the effect may still take place at now.
func (i *Intent) InFlight(now time.Time, horizon time.Duration) bool {
	if i == nil || (i.Outcome != OutcomePending && i.Outcome != OutcomeUnknown) {
		return false
	}
	return now.Before(i.SentAt.Add(horizon))
}

// RequestKind is what a person asked for.
type RequestKind string

// The requests.
const (
	RequestRotate      RequestKind = "rotate"
	RequestCompromised RequestKind = "compromised"
	RequestRollback    RequestKind = "rollback"
	RequestRegenerate  RequestKind = "regenerate"
	RequestInvalidate  RequestKind = "invalidate"
	RequestAdopt       RequestKind = "adopt"
	RequestReplace     RequestKind = "replace" // Heir takes over
	RequestBack        RequestKind = "back"    // a replacement that no sink shows yet is given up
)

// Request waits in the record until it is carried out or refused.
type Request struct {
	Kind RequestKind `json:"kind"`
	// Fingerprints names the compromised keys; all of those in use where none was named.
	Fingerprints []Fingerprint `json:"fingerprints,omitempty"`
	Slot         Slot          `json:"slot,omitempty"` // regenerate, invalidate, adopt --take-slot
	Heir         *Heir         `json:"heir,omitempty"` // replace
	OutageOK     bool          `json:"outage_ok,omitempty"`
	By           string        `json:"by"`
	At           time.Time     `json:"at"`
	Text         string        `json:"text,omitempty"`
}

// Quarantine stops a credential until a person resumes it.
type Quarantine struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}
