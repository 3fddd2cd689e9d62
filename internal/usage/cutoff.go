package usage

import (
	"fmt"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// Actor is who the history names where a budget gave the order.
const Actor = "credit budget"

// Stage of a cut-off.
type Stage string

// The stages, in their order. The last three are ends.
const (
	StageHolding      Stage = "holding"      // a hold until the period's end is being given
	StageInvalidating Stage = "invalidating" // the keys are being invalidated, one slot at a time
	StageDone         Stage = "done"         // no key of the credential works
	StageLifted       Stage = "lifted"       // a person resumed it; not again in this period
	StageStuck        Stage = "stuck"        // invalidating was refused too often
	// StageBlocked is no stored stage: the budget is spent, and something forbids the cut-off.
	StageBlocked Stage = "blocked"
)

// CutOff of one credential in one period. It is stored, so that one period cuts off once.
type CutOff struct {
	Period Period    `json:"period"`
	From   Day       `json:"from"`
	Until  Day       `json:"until"` // the first day after the period
	Budget float64   `json:"budget_credits"`
	Stage  Stage     `json:"stage"`
	Since  time.Time `json:"since"`
	Tries  int       `json:"tries,omitempty"`
	Why    string    `json:"why,omitempty"`
}

// InForce tells whether the cut-off is what keeps consumers out, or is about to.
func (c *CutOff) InForce() bool {
	return c != nil && (c.Stage == StageHolding || c.Stage == StageInvalidating || c.Stage == StageDone)
}

// underWay tells whether the next step should not wait for the schedule.
func (c *CutOff) underWay() bool {
	return c != nil && (c.Stage == StageHolding || c.Stage == StageInvalidating)
}

// maxTries bounds how often invalidating is asked for: each refusal is a line of history.
const maxTries = 6

// Key is what a cut-off must know of a credential.
type Key struct {
	Mode       rotate.Mode
	Adopted    bool
	ConfigHold string
	Hold       *rotate.Hold // nil, or in force
	Busy       bool         // a request is carried out, or a rotation is between mint and the last sink
	Stopped    bool         // a rotation that was asked for, and that a hold keeps from beginning
	// Working slots hold a key of ours that works as far as the journal knows, the served one first.
	Working []rotate.Slot
}

// KeyOf a record.
func KeyOf(r rotate.Record, mode rotate.Mode, configHold string, now time.Time) Key {
	k := Key{Mode: mode, Adopted: !r.AdoptedAt.IsZero(), ConfigHold: configHold}
	switch q := r.Request; {
	case r.Phase.InCutOver():
		k.Busy = true
	case q != nil && (q.Kind == rotate.RequestRotate || q.Kind == rotate.RequestRegenerate):
		k.Stopped = true
	case q != nil:
		k.Busy = true
	}
	if r.Hold.Active(now) {
		k.Hold = r.Hold
	}
	for _, s := range []rotate.Slot{r.Live.Slot, r.Live.Slot.Other()} {
		if s.Valid() && (s == r.Live.Slot && r.DeadAt.IsZero() || ours(r.Slots[s].Use)) && r.Slots[s].Active {
			k.Working = append(k.Working, s)
		}
	}
	return k
}

// ours tells whether the journal knows the slot's key as one that we made. An active key
// in a slot that was empty before is somebody's.
func ours(u rotate.SlotUse) bool {
	switch u {
	case rotate.UseLive, rotate.UsePrevious, rotate.UseOwn:
		return true
	case rotate.UseUnknown, rotate.UseEmpty:
		return false
	}
	return false
}

// Decide what a spent budget does next: the cut-off as it is from now on, nil for none,
// and the order to give, nil for none. The cut-off is to be stored before the order is
// given, so that a crash between the two repeats an order and never forgets one. It is pure.
//
// A hold until the period's end comes first: without it the daemon would find a dead key
// and mint the next one at once. Its end, or `rotatord resume`, is what brings a new key.
func Decide(now time.Time, b Budget, spent []Spent, was *CutOff, k Key) (*CutOff, *rotate.Command) {
	over := spentOut(now, b, spent)
	byUs := k.Hold != nil && k.Hold.By == Actor
	if was != nil && !now.Before(was.Until.Start()) {
		was = nil // its period is over, and with it its hold
	}
	if was != nil && (!b.CutOff || was.Budget != b.of(was.Period)) {
		// The config changed: what the old one did is taken back, and the new one begins afresh.
		if was.InForce() && byUs {
			return nil, &rotate.Command{Kind: rotate.CommandResume, By: Actor, Text: "the credit budget was changed"}
		}
		was = nil
	}
	if over == nil {
		return was, nil
	}
	if was != nil && (was.Period != over.Period || was.From != over.From) {
		was = nil
	}
	c := CutOff{Period: over.Period, From: over.From, Until: over.Until, Budget: over.Budget, Stage: StageHolding, Since: now.UTC()}
	if was != nil {
		c = *was
	}
	switch c.Stage {
	case StageHolding, StageBlocked:
		return c.begin(k, byUs, over)
	case StageInvalidating:
		return c.goOn(k, byUs, over)
	case StageDone:
		if k.Hold == nil { // a person's own hold in its place keeps the key away just as well
			c.Stage = StageLifted
		}
	case StageLifted, StageStuck:
	}
	return &c, nil
}

func (b Budget) of(p Period) float64 {
	if p == PeriodMonth {
		return b.PerMonth
	}
	return b.PerDay
}

// spentOut is the running period's budget that is spent and cuts off; of two the one that lasts longer.
func spentOut(now time.Time, b Budget, spent []Spent) *Spent {
	if !b.CutOff {
		return nil
	}
	var over *Spent
	for i, s := range spent {
		running := !now.Before(s.From.Start()) && now.Before(s.Until.Start())
		if running && s.Share >= 1 && (over == nil || s.Until > over.Until) {
			over = &spent[i]
		}
	}
	return over
}

func (c CutOff) begin(k Key, byUs bool, over *Spent) (*CutOff, *rotate.Command) {
	c.Stage, c.Why = StageBlocked, ""
	switch {
	case k.Mode != rotate.ModeRotate:
		c.Why = "mode is watch"
	case !k.Adopted:
		c.Why = "it was never adopted"
	case k.ConfigHold != "":
		c.Why = "the config holds it: " + k.ConfigHold
	case k.Hold != nil && !byUs:
		c.Why = "held by " + k.Hold.By + ": " + k.Hold.Reason
	case byUs && k.Hold.Until.Equal(c.Until.Start()):
		c.Stage = StageInvalidating
		return c.goOn(k, byUs, over)
	default:
		c.Stage = StageHolding
		return &c, &rotate.Command{Kind: rotate.CommandHold, By: Actor, Until: c.Until.Start(), Text: c.reason(over)}
	}
	return &c, nil
}

func (c CutOff) goOn(k Key, byUs bool, over *Spent) (*CutOff, *rotate.Command) {
	c.Why = ""
	switch {
	case !byUs:
		c.Stage = StageLifted
		if k.Hold != nil {
			c.Why = "held by " + k.Hold.By + ": " + k.Hold.Reason
		}
	case len(k.Working) == 0:
		c.Stage = StageDone
	case k.Busy:
		c.Why = "waits for what was asked for before"
	case k.Stopped:
		// It would wait for the hold's end, and the key would work until then. A new key comes at that end anyway.
		return &c, &rotate.Command{Kind: rotate.CommandCancel, By: Actor, Text: c.reason(over)}
	case c.Tries >= maxTries:
		c.Stage, c.Why = StageStuck, "invalidating was refused or failed too often; see `rotatord history`"
	default:
		c.Tries++
		return &c, &rotate.Command{Kind: rotate.CommandInvalidate, By: Actor, Slot: k.Working[0], OutageOK: true, Text: c.reason(over)}
	}
	return &c, nil
}

func (c CutOff) reason(over *Spent) string {
	return fmt.Sprintf("%s of %s credits are spent in the %s from %s; `rotatord resume` brings a new key before %s",
		number(over.Used), number(over.Budget), c.Period, c.From, c.Until.Start().Format(time.RFC3339))
}

// number with two decimals at most.
func number(v float64) string {
	s := fmt.Sprintf("%.2f", v)
	for len(s) > 1 && (s[len(s)-1] == '0' || s[len(s)-1] == '.') {
		dot := s[len(s)-1] == '.'
		if s = s[:len(s)-1]; dot {
			break
		}
	}
	return s
}

// Stages lists every stage.
func Stages() []Stage {
	return slices.Clone([]Stage{StageHolding, StageInvalidating, StageDone, StageLifted, StageStuck, StageBlocked})
}
