package rotate

import "context"

// Urgency says what waits for a portal's answer. Where the limits of a portal make its
// requests wait, the most urgent one goes first; lower values go first.
type Urgency uint8

// The urgencies. The zero value is none of them.
const (
	UrgencyOrder   Urgency = iota + 1 // a person waits for an answer
	UrgencyHolding                    // a minted key is in memory only
	UrgencyCutOver                    // between claim and the last sink
	UrgencyDying                      // dead, compromised, or about to expire
	UrgencyOpen                       // overlap and retiring
	UrgencyIdle                       // nothing is under way
	UrgencySurvey                     // a pass over many credentials
)

// Urgencies lists every urgency, the most urgent first.
func Urgencies() []Urgency {
	return []Urgency{UrgencyOrder, UrgencyHolding, UrgencyCutOver, UrgencyDying, UrgencyOpen, UrgencyIdle, UrgencySurvey}
}

// String is the word for logs, metrics and people.
func (u Urgency) String() string {
	switch u {
	case UrgencyOrder:
		return "order"
	case UrgencyHolding:
		return "holding"
	case UrgencyCutOver:
		return "cut_over"
	case UrgencyDying:
		return "dying"
	case UrgencyOpen:
		return "open"
	case UrgencyIdle:
		return "idle"
	case UrgencySurvey:
		return "survey"
	}
	return "unknown"
}

type urgencyKey struct{}

// WithUrgency marks the requests made under ctx.
func WithUrgency(ctx context.Context, u Urgency) context.Context {
	return context.WithValue(ctx, urgencyKey{}, u)
}

// UrgencyOf ctx; UrgencyIdle without one.
func UrgencyOf(ctx context.Context) Urgency {
	if u, ok := ctx.Value(urgencyKey{}).(Urgency); ok {
		return u
	}
	return UrgencyIdle
}
