package rotate

import (
	"context"
	"time"
)

// Quiet asks whether a previous key is still in use. It names keys by fingerprint
// and generation and can hold none.
type Quiet struct {
	Name     Name
	ID       ID
	Live     KeyFacts // what the sinks serve
	Previous KeyFacts // what is to be retired
	RetireAt time.Time
	Now      time.Time
}

// QuietAnswer of one gate.
type QuietAnswer struct {
	Quiet  bool   // nobody uses the previous key any more
	Detail string // a sentence for people: who still does, or how that is known
}

// Gate is one proof of quiet: the previous key is retired only where every gate of
// its credential says that nobody uses it any more. An error is "unknown", and
// unknown is not quiet. It must answer within its context's time.
type Gate interface {
	Name() string
	Ask(ctx context.Context, q Quiet) (QuietAnswer, error)
}

// HookPoint is a moment of a rotation at which hooks are called: before or after
// the effect of a phase.
type HookPoint string

// The points, in the order of a rotation. Those "before" come before the phase's
// effect is sent, those "after" when it is journalled and before the next one.
const (
	BeforeClaiming   HookPoint = "before_claiming"
	AfterClaiming    HookPoint = "after_claiming"
	BeforeDating     HookPoint = "before_dating"
	AfterDating      HookPoint = "after_dating"
	BeforeMinting    HookPoint = "before_minting"
	AfterMinting     HookPoint = "after_minting"
	BeforeProving    HookPoint = "before_proving"
	AfterProving     HookPoint = "after_proving"
	BeforePublishing HookPoint = "before_publishing"
	AfterPublishing  HookPoint = "after_publishing" // every sink serves the new key; the overlap begins
	BeforeRetiring   HookPoint = "before_retiring"
	AfterRetiring    HookPoint = "after_retiring"
)

// HookPoints lists every point in order.
func HookPoints() []HookPoint {
	return []HookPoint{BeforeClaiming, AfterClaiming, BeforeDating, AfterDating, BeforeMinting, AfterMinting, BeforeProving, AfterProving,
		BeforePublishing, AfterPublishing, BeforeRetiring, AfterRetiring}
}

// HookCall is what a hook is told. It can hold no key.
type HookCall struct {
	Point       HookPoint   `json:"point"`
	Name        Name        `json:"credential"`
	Portal      PortalID    `json:"portal"`
	Item        ItemID      `json:"item"`
	RotationID  string      `json:"rotation_id"`
	Reason      Reason      `json:"reason"`
	Generation  int64       `json:"generation"`
	Slot        Slot        `json:"slot"`
	Fingerprint Fingerprint `json:"fingerprint,omitempty"` // of the key that the point is about
	At          time.Time   `json:"at"`
}

// Hook is called at its points, at least once each in every rotation. An error is a
// veto: the rotation waits and asks again, unless its reason is urgent. It must
// answer within its context's time.
type Hook interface {
	Name() string
	Points() []HookPoint
	Call(ctx context.Context, c HookCall) error
}
