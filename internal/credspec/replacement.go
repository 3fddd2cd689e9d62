package credspec

import "time"

// Retirement is what becomes of an item whose credential was replaced. Its keys are
// revoked in any case.
type Retirement string

// The retirements.
const (
	RetireDelete Retirement = "delete"
	RetireKeep   Retirement = "keep"
)

// Serving is whose key the sinks serve.
type Serving string

// The servings.
const (
	ServeOld   Serving = "old"
	ServeNew   Serving = "new"
	ServeSplit Serving = "split" // some sinks the new one, others not yet
	ServeOther Serving = "other" // a key of neither, or unreadable
)

// Replacement is what the journal keeps of a credential that another one takes over from.
type Replacement struct {
	Old string   `json:"old"` // item
	New Creation `json:"new"`
	// Promoted is when every sink was seen to serve the new credential's key; zero before.
	Promoted time.Time `json:"promoted,omitzero"`
}

// ReplacementSeen is what was read for a step, all of it afresh.
type ReplacementSeen struct {
	New     Seen // Keyed is not used: Serving says it
	Serving Serving
	// Valid: the key that the sinks serve was probed just now, and its portal took it.
	Valid bool
	// OldGone: the portal says that the old item does not exist.
	OldGone      bool
	OldActive    bool // some slot of the old credential holds a key
	OldProtected bool
	// Held is why nothing may be retired now: a hold, a freeze, a gate that says "still in use"; "" is nothing.
	Held string
}

// ReplaceOptions are the policy's words.
type ReplaceOptions struct {
	Overlap time.Duration
	Horizon time.Duration
	Retire  Retirement
}

// Next says what a replacement does next. The old credential is not touched before the new
// one's key has been served, valid, for the overlap.
func (r Replacement) Next(spec *Spec, seen ReplacementSeen, now time.Time, o ReplaceOptions) Step {
	n := seen.New
	n.Keyed = seen.Serving == ServeNew
	step := r.New.Next(spec, n, now, o.Horizon)
	switch {
	case step.Act == ActDone:
		return r.takeOver(seen, now, o)
	case !r.Promoted.IsZero() && makes(step.Act):
		// The new one was in service: whatever it lacks now is no reason to make anything anew.
		return r.fellBack(seen, step)
	case step.Act == ActFirstKey && seen.Serving == ServeOther:
		return Step{Act: ActStuck, Item: r.Old, Why: "the sinks serve a key of neither credential"}
	}
	return step
}

// makes tells the acts that bring something new into the world, and those that wait for one,
// from what can be put right at any time.
func makes(a Act) bool {
	switch a {
	case ActFolder, ActItem, ActRegister, ActFirstKey, ActWait, ActStuck, ActKeep:
		return true
	case ActRemove, ActTidy, ActProtect, ActShare, ActRecord, ActDone, ActPromote, ActOverlap, ActRevoke, ActUnprotect, ActDelete:
		return false
	}
	return true
}

// takeOver runs once every sink serves the new credential's key.
func (r Replacement) takeOver(seen ReplacementSeen, now time.Time, o ReplaceOptions) Step {
	if !seen.Valid {
		return Step{Act: ActStuck, Item: r.New.Item, Why: "the new credential's key is served, but its portal refuses it; the old credential is kept as it is"}
	}
	if r.Promoted.IsZero() {
		return Step{Act: ActPromote, Item: r.New.Item, Why: "every sink serves the new credential's key"}
	}
	if seen.OldGone {
		return Step{Act: ActDone, Item: r.New.Item, Why: "the old item is gone"}
	}
	if until := r.Promoted.Add(o.Overlap); now.Before(until) {
		return Step{Act: ActOverlap, Item: r.Old, Until: until, Why: "consumers may still use the old credential's key"}
	}
	if seen.Held != "" && (seen.OldActive || o.Retire == RetireDelete) {
		return Step{Act: ActOverlap, Item: r.Old, Why: seen.Held}
	}
	return r.retire(seen, o)
}

func (r Replacement) retire(seen ReplacementSeen, o ReplaceOptions) Step {
	to := func(a Act, why string) Step { return Step{Act: a, Item: r.Old, Why: why} }
	switch {
	case seen.OldActive:
		return to(ActRevoke, "nothing needs the old credential's keys any more")
	case o.Retire != RetireDelete:
		return to(ActDone, "the old item has no keys and is kept")
	case seen.OldProtected:
		return to(ActUnprotect, "a protected item cannot be deleted")
	}
	return to(ActDelete, "the old item has no keys")
}

// fellBack: after the promotion the sinks serve something else, or the new item changed.
func (r Replacement) fellBack(seen ReplacementSeen, step Step) Step {
	why := "the new credential is not as it was when it took over (" + string(step.Act) + ": " + step.Why + "); the old one is kept as it is"
	if seen.Serving != ServeNew {
		why = "the sinks served the new credential's key and do not any more; the old credential is kept as it is"
	}
	return Step{Act: ActStuck, Item: r.New.Item, Why: why, Extra: step.Extra}
}

// Begin, End and Refused are as Creation's; now is when the step was done.
func (r Replacement) Begin(s Step, now time.Time) Replacement {
	r.New = r.New.Begin(s, now)
	return r
}

// End is what to journal after a clean answer.
func (r Replacement) End(s Step, item string, now time.Time) Replacement {
	if s.Act == ActPromote {
		r.Promoted = now
		return r
	}
	r.New = r.New.End(s, item)
	return r
}

// Refused is what to journal after an answer that says that nothing happened.
func (r Replacement) Refused(s Step) Replacement {
	r.New = r.New.Refused(s)
	return r
}
