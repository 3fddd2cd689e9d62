package rotate

import (
	"fmt"
	"time"
)

// lifetimeOf a key: from its mint to its expiry where both are known, else what the
// policy asks for.
func lifetimeOf(k KeyFacts, p Policy) time.Duration {
	if !k.MintedAt.IsZero() && k.Expires.After(k.MintedAt) {
		return k.Expires.Sub(k.MintedAt)
	}
	return p.Lifetime
}

// DueAt is when the live key becomes due by the clock alone; false if nothing known
// about it ever makes it so.
func DueAt(r Record, p Policy) (time.Time, bool) {
	var at time.Time
	if !r.Live.Expires.IsZero() {
		at = r.Live.Expires.Add(-p.Lead(lifetimeOf(r.Live, p)))
	}
	if age := bornAt(r); p.MaxAge > 0 && !age.IsZero() {
		if by := age.Add(p.MaxAge); at.IsZero() || by.Before(at) {
			at = by
		}
	}
	return at, !at.IsZero()
}

func bornAt(r Record) time.Time {
	if !r.Live.MintedAt.IsZero() {
		return r.Live.MintedAt
	}
	return r.AdoptedAt
}

// dueCheck is one reason to rotate; checks are tried in order, first hit wins.
type dueCheck func(in *In) (Reason, string)

func dueChecks() []dueCheck {
	return []dueCheck{dueByRequest, dueByDeath, dueByBootstrap, dueByReplacement, dueByExpiry, dueByAge}
}

// due returns why a rotation is due, "" if none is.
func (in *In) due() (Reason, string) {
	for _, check := range dueChecks() {
		if r, detail := check(in); r != "" {
			return r, detail
		}
	}
	return "", ""
}

func dueByRequest(in *In) (Reason, string) {
	q := in.Record.Request
	if q == nil {
		return "", ""
	}
	switch q.Kind {
	case RequestCompromised:
		if !in.compromisedLive(q) {
			return "", ""
		}
		return ReasonCompromised, "declared compromised by " + q.By
	case RequestRotate, RequestRegenerate:
		return ReasonRequested, "asked for by " + q.By
	case RequestRollback, RequestInvalidate, RequestAdopt, RequestReplace, RequestBack:
		return "", ""
	}
	return "", ""
}

func dueByDeath(in *In) (Reason, string) {
	if in.Record.DeadAt.IsZero() {
		return "", ""
	}
	return ReasonDead, fmt.Sprintf("the served key of slot %s is dead since %s", in.Record.Live.Slot, stamp(in.Record.DeadAt))
}

func dueByBootstrap(in *In) (Reason, string) {
	if in.Record.Live.Fingerprint != "" {
		return "", ""
	}
	if in.Record.Former != nil {
		return ReasonReplace, "item " + string(in.Record.ID.Item) + ", which takes over, has no key in service"
	}
	return ReasonBootstrap, "no key was ever published"
}

// dueByReplacement: another item is to take over. It waits for a window as a rotation
// does, and where the served key is about to expire, that one is rotated first.
func dueByReplacement(in *In) (Reason, string) {
	q := in.Record.Request
	if q == nil || q.Kind != RequestReplace || q.Heir == nil || in.Record.Former != nil || in.critical() {
		return "", ""
	}
	return ReasonReplace, "item " + string(q.Heir.ID.Item) + " is to take over, asked for by " + q.By
}

func dueByExpiry(in *In) (Reason, string) {
	k := in.Record.Live
	if k.Expires.IsZero() {
		return "", ""
	}
	if at := k.Expires.Add(-in.Policy.Lead(lifetimeOf(k, in.Policy))); in.Portal.Before(at) {
		return "", ""
	}
	return ReasonExpiring, "the key of slot " + k.Slot.String() + " expires " + stamp(k.Expires)
}

func dueByAge(in *In) (Reason, string) {
	born := bornAt(in.Record)
	if in.Policy.MaxAge <= 0 || born.IsZero() || in.Portal.Before(born.Add(in.Policy.MaxAge)) {
		return "", ""
	}
	return ReasonMaxAge, "the key is older than " + in.Policy.MaxAge.String()
}

// Urgent tells whether a rotation for that reason waits for nothing that only
// postpones it, and does not count against limits (rule 13).
func Urgent(r Reason) bool { return urgent(r) }

// urgent reasons neither wait for windows, intervals and gains, nor count against them.
func urgent(r Reason) bool {
	switch r {
	case ReasonCompromised, ReasonDead, ReasonBootstrap, ReasonRestore, ReasonRollback:
		return true
	default:
		return false
	}
}

// critical: the live key dies within critical_before.
func (in *In) critical() bool {
	e := in.Record.Live.Expires
	return !e.IsZero() && !in.Portal.Before(e.Add(-in.Policy.CriticalBefore))
}

// startBlock is why a due rotation may not start now; "" if it may. These checks
// need no look at anything.
func (in *In) startBlock(due Reason) (Reason, time.Time, string) {
	r, p := &in.Record, &in.Policy
	if in.Mode != ModeRotate {
		return ReasonWatch, time.Time{}, "mode is watch"
	}
	if h := in.hold(); h != nil && due != ReasonCompromised {
		return ReasonHeld, h.Until, h.sentence()
	}
	if r.Quarantine != nil {
		return ReasonQuarantined, time.Time{}, r.Quarantine.Reason
	}
	if in.Now.Before(r.RetryAt) {
		return ReasonBackoff, r.RetryAt, "after " + plural(r.Attempts, "failure")
	}
	if due == ReasonDead && p.DeathsPerHour > 0 && in.Deaths > p.DeathsPerHour {
		return ReasonDeathStop, in.Now.Add(time.Minute), fmt.Sprintf("%d keys of this portal died within an hour", in.Deaths)
	}
	if urgent(due) || in.critical() || due == ReasonReplace && (r.Former != nil || r.Request.Heir.Compromised) {
		return "", time.Time{}, "" // a replacement that was begun goes on: nothing rotates the served key
	}
	if p.Calendar != nil {
		if why, opens := p.Calendar.Closed(in.Now); why != "" {
			until := opens
			if e := r.Live.Expires; !e.IsZero() { // critical_before overrides it by then
				until = earlier(e.Add(-p.CriticalBefore-min(r.Offset, 0)), opens)
			}
			return why, until, "opens " + stamp(opens)
		}
	}
	if b := in.Peers; b.Reason == ReasonLimit || b.Reason != "" && due != ReasonRequested {
		return b.Reason, b.Until, b.Text
	}
	if due == ReasonRequested || due == ReasonReplace {
		return "", time.Time{}, ""
	}
	if until := r.PromotedAt.Add(p.MinInterval); !r.PromotedAt.IsZero() && in.Now.Before(until) {
		return ReasonMinInterval, until, "the last rotation was promoted " + stamp(r.PromotedAt)
	}
	asked := p.ExpiryFor(r.Name, in.Portal)
	if !r.Live.Expires.IsZero() && asked.Sub(r.Live.Expires) <= p.MinGain {
		return ReasonNoGain, r.Live.Expires.Add(-p.CriticalBefore), "a new key would expire " + stamp(asked) + ", the served one " + stamp(r.Live.Expires)
	}
	return "", time.Time{}, ""
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return t.UTC().Format(time.RFC3339)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
