package quiet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// Ack is a consumer's word about the key that it runs.
type Ack struct {
	Name        rotate.Name        `json:"credential"`
	Consumer    string             `json:"consumer"`
	Fingerprint rotate.Fingerprint `json:"fingerprint,omitempty"`
	Generation  int64              `json:"generation,omitempty"`
	At          time.Time          `json:"at"`
	By          string             `json:"by"` // who said so, for the audit
}

// Ledger keeps the latest word of each consumer of each credential, over restarts.
type Ledger interface {
	Put(ctx context.Context, a Ack) error
	Latest(ctx context.Context, name rotate.Name) ([]Ack, error)
}

var (
	consumerForm    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	fingerprintForm = regexp.MustCompile(`^(AT[12]_[A-Za-z0-9]{8}|foreign)-[0-9a-f]{8}$`)
)

// Check the form. What is no fingerprint may be the key itself, sent by mistake: it is
// not repeated.
func (a Ack) Check() error {
	switch {
	case a.Name == "":
		return errors.New("the credential is missing")
	case !consumerForm.MatchString(a.Consumer):
		return errors.New("the consumer's name is not made of lower-case letters, digits, dot, dash and underscore")
	case a.Fingerprint != "" && !fingerprintForm.MatchString(string(a.Fingerprint)):
		return errors.New("the fingerprint has not the form AT1_H4JC97kO-1a2b3c4d; it is the key's last 12 characters and the first 8 hexadecimal digits of its SHA-256, never the key itself")
	case a.Generation < 0:
		return errors.New("the generation is negative")
	case a.Fingerprint == "" && a.Generation == 0:
		return errors.New("a generation or a fingerprint is needed")
	}
	return nil
}

// State says which key was acknowledged, as seen from what the sinks serve now.
type State string

// The states.
const (
	StateNever    State = "never" // nothing was acknowledged
	StateLive     State = "live"
	StateNext     State = "next" // on its way into the sinks
	StatePrevious State = "previous"
	StateOlder    State = "older"    // from before the previous one
	StateMismatch State = "mismatch" // generation and fingerprint name different keys
	StateUnknown  State = "unknown"  // no key that the journal knows
)

// Says the state in words that go after "runs".
func (s State) Says() string {
	switch s {
	case StateNever:
		return "nothing that it acknowledged"
	case StateLive:
		return "the live key"
	case StateNext:
		return "the key that is on its way into the sinks"
	case StatePrevious:
		return "the previous key"
	case StateOlder:
		return "a key from before the previous one"
	case StateMismatch:
		return "a generation and a fingerprint that name different keys"
	case StateUnknown:
		return "a key that nobody here knows"
	}
	return string(s)
}

// Odd states are worth a look by whoever acknowledged: nothing ever waits for such a key.
func (s State) Odd() bool { return s == StateMismatch || s == StateUnknown || s == StateOlder }

// agrees tells whether exactly this key was acknowledged.
func (a Ack) agrees(k rotate.KeyFacts) bool {
	return a.Fingerprint != "" && a.Fingerprint == k.Fingerprint && (a.Generation == 0 || a.Generation == k.Generation)
}

// known keys of a record, the live one first.
func known(r rotate.Record) []keyState {
	keys := []keyState{{StateLive, r.Live}}
	if r.Rotation != nil {
		next := r.Rotation.New
		next.Generation = cmp.Or(next.Generation, r.Rotation.Generation)
		keys = append(keys, keyState{StateNext, next})
	}
	return slices.DeleteFunc(append(keys, keyState{StatePrevious, r.Previous}), func(k keyState) bool { return k.key.Fingerprint == "" })
}

type keyState struct {
	state State
	key   rotate.KeyFacts
}

// state of an acknowledgement under a record.
func (a Ack) state(r rotate.Record) State {
	half := false
	for _, k := range known(r) {
		if a.agrees(k.key) {
			return k.state
		}
		half = half || a.Fingerprint == k.key.Fingerprint || a.Generation == k.key.Generation
	}
	switch {
	case half:
		return StateMismatch
	case a.Generation > 0 && a.Generation < r.Live.Generation:
		return StateOlder
	}
	return StateUnknown
}

// bind an acknowledgement of a generation alone to the key that has it now.
func (a Ack) bind(r rotate.Record) Ack {
	if a.Fingerprint != "" {
		return a
	}
	for _, k := range known(r) {
		if a.Generation == k.key.Generation {
			a.Fingerprint = k.key.Fingerprint
			return a
		}
	}
	return a
}

// Receipt is the answer to an acknowledgement that was stored.
type Receipt struct {
	Ack
	State State `json:"state"`
	// Missing are the consumers that a gate still waits for. Expected: this one is or was among them.
	Missing  []string `json:"missing,omitempty"`
	Expected bool     `json:"expected"`
	Changed  bool     `json:"changed"` // it had not said this before
}

// Accept stores an acknowledgement, bound to the keys of the record, and says what it
// means. Gates of the credential tell who else is waited for.
func Accept(ctx context.Context, l Ledger, a Ack, r rotate.Record, gates []rotate.Gate) (Receipt, error) {
	if err := a.Check(); err != nil {
		return Receipt{}, &FormError{err}
	}
	a = a.bind(r)
	before, err := l.Latest(ctx, a.Name)
	if err != nil {
		return Receipt{}, err
	}
	if err := l.Put(ctx, a); err != nil {
		return Receipt{}, err
	}
	all, err := Standings(ctx, l, r, gates)
	if err != nil {
		return Receipt{}, err
	}
	res := Receipt{Ack: a, State: a.state(r), Changed: !slices.ContainsFunc(before, func(b Ack) bool {
		return b.Consumer == a.Consumer && b.Fingerprint == a.Fingerprint && b.Generation == a.Generation
	})}
	for _, s := range all {
		if s.Expected && s.State != StateLive {
			res.Missing = append(res.Missing, s.Consumer)
		}
		res.Expected = res.Expected || (s.Expected && s.Consumer == a.Consumer)
	}
	return res, nil
}

// FormError is an acknowledgement that cannot be understood.
type FormError struct{ err error }

func (e *FormError) Error() string { return "acknowledgement refused: " + e.err.Error() }
func (e *FormError) Unwrap() error { return e.err }

// Standing is what one consumer runs, by its own word.
type Standing struct {
	Consumer    string             `json:"consumer"`
	Expected    bool               `json:"expected"` // a gate waits for it
	State       State              `json:"state"`
	Fingerprint rotate.Fingerprint `json:"fingerprint,omitempty"`
	Generation  int64              `json:"generation,omitempty"`
	At          time.Time          `json:"at,omitzero"`
	By          string             `json:"by,omitempty"`
}

// Standings of a credential's consumers: those that a gate waits for in its order, then
// the others that ever spoke.
func Standings(ctx context.Context, l Ledger, r rotate.Record, gates []rotate.Gate) ([]Standing, error) {
	acks, err := l.Latest(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	said := map[string]Ack{}
	for _, a := range acks {
		said[a.Consumer] = a
	}
	out := []Standing{}
	for _, c := range expected(gates) {
		s := Standing{Consumer: c, Expected: true, State: StateNever}
		if a, ok := said[c]; ok {
			s = standing(a, r)
			s.Expected = true
		}
		delete(said, c)
		out = append(out, s)
	}
	for _, a := range acks {
		if _, rest := said[a.Consumer]; rest {
			out = append(out, standing(a, r))
		}
	}
	return out, nil
}

func standing(a Ack, r rotate.Record) Standing {
	return Standing{Consumer: a.Consumer, State: a.state(r), Fingerprint: a.Fingerprint, Generation: a.Generation, At: a.At, By: a.By}
}

// expected are the consumers that the gates among these wait for.
func expected(gates []rotate.Gate) []string {
	var out []string
	for _, g := range gates {
		if a, ok := g.(*Acks); ok {
			out = append(out, a.consumers...)
		}
	}
	return out
}

// described is what an acknowledgement named, for people.
func (a Ack) described() string {
	switch {
	case a.Generation == 0:
		return string(a.Fingerprint)
	case a.Fingerprint == "":
		return fmt.Sprintf("generation %d", a.Generation)
	}
	return fmt.Sprintf("generation %d, %s", a.Generation, a.Fingerprint)
}
