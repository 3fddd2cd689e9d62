package rotate

import (
	"fmt"
	"time"
)

// CommandKind is what a person can order.
type CommandKind string

// The commands.
const (
	CommandHold        CommandKind = "hold"
	CommandResume      CommandKind = "resume" // ends hold and quarantine, forgets failures
	CommandRotate      CommandKind = "rotate"
	CommandCompromised CommandKind = "compromised"
	CommandRollback    CommandKind = "rollback"
	CommandRegenerate  CommandKind = "regenerate"
	CommandInvalidate  CommandKind = "invalidate"
	CommandAdopt       CommandKind = "adopt"
	CommandConfirm     CommandKind = "confirm" // after a rebuild: what the sink says is right
	CommandCancel      CommandKind = "cancel"  // drops a request that was not begun
)

// Command is one order. Apply checks it against the record; what it asks for is
// done by the following calls of Advance, under the same rules as everything else.
type Command struct {
	Kind         CommandKind   `json:"kind"`
	Fingerprints []Fingerprint `json:"fingerprints,omitempty"` // compromised; nil is all
	Slot         Slot          `json:"slot,omitempty"`         // regenerate, invalidate; adopt: take this slot
	OutageOK     bool          `json:"outage_ok,omitempty"`
	Until        time.Time     `json:"until,omitzero"` // hold
	Text         string        `json:"text,omitempty"` // why
	By           string        `json:"by"`             // who, for the history
}

// RefusedError says why a command cannot be accepted, and what would help.
type RefusedError struct {
	Command CommandKind
	Why     string
	Cure    string
}

func (e *RefusedError) Error() string {
	if e.Cure == "" {
		return fmt.Sprintf("%s refused: %s", e.Command, e.Why)
	}
	return fmt.Sprintf("%s refused: %s; %s", e.Command, e.Why, e.Cure)
}
