package rotate

import (
	"fmt"
	"slices"
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
	CommandConfirm     CommandKind = "confirm"  // after a rebuild: what the sink says is right
	CommandCancel      CommandKind = "cancel"   // drops a request that was not begun
	CommandReplace     CommandKind = "replace"  // Heir takes over from the present item
	CommandBack        CommandKind = "back"     // gives up a replacement that no sink shows yet
	CommandAck         CommandKind = "ack"      // a consumer runs a key: for the history, and so that the gates are asked
	CommandAlert       CommandKind = "alert"    // somebody took over an alert on it: for the history alone
	CommandSettings    CommandKind = "settings" // what became of its settings at the portal: for the history alone
)

// Command is one order. Apply checks it against the record; what it asks for is
// done by the following calls of Advance, under the same rules as everything else.
type Command struct {
	Kind         CommandKind   `json:"kind"`
	Fingerprints []Fingerprint `json:"fingerprints,omitempty"` // compromised; nil is all
	Slot         Slot          `json:"slot,omitempty"`         // regenerate, invalidate; adopt: take this slot
	Generation   int64         `json:"generation,omitempty"`   // ack
	Heir         *Heir         `json:"heir,omitempty"`         // replace
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

// Apply checks a command against the record and notes it there. It is pure: what
// was asked for is done by the following calls of Advance.
func Apply(r Record, cmd Command, now time.Time) (Record, Event, error) {
	if cmd.By == "" {
		return r, Event{}, &RefusedError{Command: cmd.Kind, Why: "nobody is named who gives it"}
	}
	ev := Event{Kind: EventRequested, Actor: cmd.By, Slot: cmd.Slot, Detail: commandDetail(cmd)}
	switch cmd.Kind {
	case CommandHold:
		if cmd.Text == "" {
			return r, ev, &RefusedError{Command: cmd.Kind, Why: "a hold needs a reason", Cure: "give --reason TEXT"}
		}
		r.Hold = &Hold{Reason: cmd.Text, By: cmd.By, Since: now, Until: cmd.Until}
		r.MarkDue = !r.AdoptedAt.IsZero() && r.Live.Fingerprint != ""
		ev.Kind = EventHeld
	case CommandResume:
		if r.Hold == nil && r.Quarantine == nil && r.Attempts == 0 && r.Revoke.Attempts == 0 && r.ProofFailedAt.IsZero() {
			return r, ev, &RefusedError{Command: cmd.Kind, Why: "it is neither held nor quarantined nor failing"}
		}
		r.MarkDue = r.MarkDue || r.Hold != nil && !r.AdoptedAt.IsZero() && r.Live.Fingerprint != ""
		r.Hold, r.Quarantine, r.Attempts, r.RetryAt, r.LastFailure = nil, nil, 0, time.Time{}, time.Time{}
		r.LastError, r.LastKind, r.ProofFailedAt, r.Revoke = "", "", time.Time{}, Ladder{}
		ev.Kind = EventResumed
	case CommandConfirm:
		if r.RebuiltAt.IsZero() {
			return r, ev, &RefusedError{Command: cmd.Kind, Why: "its journal was not rebuilt", Cure: "nothing needs confirming"}
		}
		r.RebuiltAt = time.Time{}
	case CommandAck:
		ev.Kind, ev.Generation, ev.Detail = EventAcknowledged, cmd.Generation, cmd.Text
		if len(cmd.Fingerprints) > 0 {
			ev.Fingerprint = cmd.Fingerprints[0]
		}
		if r.Blocked != ReasonGate {
			return r, ev, nil // nobody waits for it now
		}
	case CommandAlert:
		ev.Kind, ev.Detail = EventAlert, cmd.Text
		return r, ev, nil
	case CommandSettings:
		ev.Kind, ev.Detail = EventSettings, cmd.Text
		return r, ev, nil
	case CommandCancel:
		switch q := r.Request; {
		case q == nil && r.Unserved():
			cmd.Kind = CommandBack
			return request(r, cmd, now, ev)
		case q == nil:
			return r, ev, &RefusedError{Command: cmd.Kind, Why: "nothing was asked for"}
		case q.Kind == RequestBack:
			return r, ev, &RefusedError{Command: cmd.Kind, Why: "the replacement is being given up already"}
		case q.Kind == RequestReplace && r.Former == nil:
			r.drop(cmd.By, now)
		}
		r.Request = nil
	case CommandRotate, CommandCompromised, CommandRollback, CommandRegenerate, CommandInvalidate, CommandAdopt, CommandReplace, CommandBack:
		return request(r, cmd, now, ev)
	default:
		return r, ev, &RefusedError{Command: cmd.Kind, Why: "no such command"}
	}
	r.NextAt = now
	return r, ev, nil
}

// request notes one of the commands that Advance carries out.
func request(r Record, cmd Command, now time.Time, ev Event) (Record, Event, error) {
	refuse := func(why, cure string) (Record, Event, error) {
		return r, ev, &RefusedError{Command: cmd.Kind, Why: why, Cure: cure}
	}
	if cmd.Kind != CommandAdopt && r.AdoptedAt.IsZero() {
		return refuse("it was never adopted", "run `rotatord adopt "+string(r.Name)+"` first")
	}
	if cmd.Kind == CommandAdopt && cmd.Slot.Valid() && !r.AdoptedAt.IsZero() {
		return takeSlot(r, cmd, now, ev)
	}
	if cmd.Kind == CommandBack && r.Unserved() {
		r.Request = nil // of whatever else was asked for of an item that is given up
	}
	if q := r.Request; q != nil && q.same(cmd) {
		r.RetryAt, r.Revoke.RetryAt, r.NextAt = time.Time{}, time.Time{}, now
		ev.Detail += ", again"
		return r, ev, nil
	}
	if q := r.Request; q != nil && cmd.Kind != CommandCompromised {
		return refuse(string(q.Kind)+" was already asked for by "+q.By+" at "+stamp(q.At), "`rotatord cancel` drops it")
	}
	if r.Phase.InCutOver() && cmd.Kind != CommandCompromised && cmd.Kind != CommandBack {
		return refuse("a rotation is in its phase "+string(r.Phase), "wait for it, or hold it")
	}
	switch cmd.Kind {
	case CommandRegenerate, CommandInvalidate:
		if !cmd.Slot.Valid() {
			return refuse("it names no slot", "give --slot 1 or --slot 2")
		}
		if cmd.Slot == r.Live.Slot && !cmd.OutageOK {
			return refuse("sinks serve the key of slot "+cmd.Slot.String(), "--outage-ok accepts that its consumers fail")
		}
	case CommandRollback:
		if r.Previous.Fingerprint == "" {
			return refuse("there is no previous key to go back to", "")
		}
	case CommandCompromised:
		var why *RefusedError
		if cmd, why = named(r, cmd); why != nil {
			return refuse(why.Why, why.Cure)
		}
	case CommandReplace:
		if cmd.Heir == nil || cmd.Heir.ID == (ID{}) || cmd.Heir.ID == r.ID {
			return refuse("it names no other item", "give the item that is to take over")
		}
		if f := r.Former; f != nil {
			return refuse("item "+string(f.Record.ID.Item)+" of the last replacement is not retired yet", "wait for that; before a sink serves the new key `rotatord cancel` gives it up")
		}
		cmd.Heir = &Heir{ID: cmd.Heir.ID, Made: cmd.Heir.Made, Keep: cmd.Heir.Keep, Compromised: cmd.Heir.Compromised}
	case CommandBack:
		if !r.Unserved() {
			return refuse("no replacement is under way that could be given up", "replace it anew to go back")
		}
	case CommandHold, CommandResume, CommandRotate, CommandAdopt, CommandConfirm, CommandCancel, CommandAck, CommandAlert, CommandSettings:
	}
	r.Request = &Request{Kind: RequestKind(cmd.Kind), Heir: cmd.Heir, Fingerprints: cmd.Fingerprints, Slot: cmd.Slot, OutageOK: cmd.OutageOK, By: cmd.By, At: now, Text: cmd.Text}
	r.RetryAt, r.Revoke.RetryAt, r.NextAt = time.Time{}, time.Time{}, now
	return r, ev, nil
}

// same tells whether the one who asked for this gives the same command again, as after a
// process that was killed: it is gone on with.
func (q *Request) same(cmd Command) bool {
	heir := q.Heir == nil && cmd.Heir == nil || q.Heir != nil && cmd.Heir != nil && q.Heir.ID == cmd.Heir.ID
	return q.Kind == RequestKind(cmd.Kind) && q.By == cmd.By && q.Slot == cmd.Slot && q.OutageOK == cmd.OutageOK && heir && cmd.Kind != CommandCompromised
}

// named fills in which keys are compromised.
func named(r Record, cmd Command) (Command, *RefusedError) {
	all := cmd.Fingerprints == nil
	for _, f := range cmd.Fingerprints {
		if f != r.Live.Fingerprint && f != r.Previous.Fingerprint {
			return cmd, &RefusedError{Why: "no key " + string(f) + " is in use here", Cure: "`rotatord status` shows the fingerprints"}
		}
	}
	// "All" is what is in use now: the key that replaces it must not be meant.
	for _, f := range []Fingerprint{r.Live.Fingerprint, r.Previous.Fingerprint} {
		if all && f != "" {
			cmd.Fingerprints = append(slices.Clip(cmd.Fingerprints), f)
		}
	}
	if len(cmd.Fingerprints) == 0 {
		return cmd, &RefusedError{Why: "no key is in use here"}
	}
	return cmd, nil
}

// takeSlot allows rotatord to use the spare slot of an adopted credential whoever
// sits in it. What was asked for before goes on.
func takeSlot(r Record, cmd Command, now time.Time, ev Event) (Record, Event, error) {
	if cmd.Slot == r.Live.Slot {
		return r, ev, &RefusedError{Command: cmd.Kind, Why: "sinks serve the key of slot " + cmd.Slot.String(), Cure: "only the other slot can be taken"}
	}
	r.Slots[cmd.Slot].Taken = true
	r.RetryAt, r.NextAt = time.Time{}, now
	ev.Detail = "the key in slot " + cmd.Slot.String() + " may be replaced, whoever made it"
	return r, ev, nil
}

func commandDetail(cmd Command) string {
	text := string(cmd.Kind)
	if cmd.OutageOK {
		text += ", outage accepted"
	}
	if !cmd.Until.IsZero() {
		text += " until " + stamp(cmd.Until)
	}
	if cmd.Text != "" {
		text += ": " + cmd.Text
	}
	return text
}
