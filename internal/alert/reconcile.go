package alert

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// afterCause is how long an effect may outlive its cause before it is told: what
	// waited for a portal goes on by itself, at its own pace.
	afterCause = 15 * time.Minute
	// heldBackMost: a cause that nobody was told of holds its effect back for so long at most.
	heldBackMost = time.Hour
	// endedKept: a notifier that does not come back is waited for so long with an end.
	endedKept = 7 * 24 * time.Hour
)

// reconcile compares what holds with what is known, and decides what asks for attention.
// It is called with the desk locked.
func (a *Alerter) reconcile(ctx context.Context, s Scene, now time.Time) {
	all, unknown := a.holdings(s, now)
	causes := hide(all)
	a.holds = all
	changed := map[string]bool{}
	for key, h := range all {
		if h.stale {
			continue
		}
		if a.see(h, causes[key], now) {
			changed[key] = true
		}
	}
	for key, r := range a.state.alerts {
		if r.Members == nil && all[key] == nil && !unknown[key] && a.gone(ctx, r, now) {
			changed[key] = true
		}
	}
	for _, r := range a.sorted() {
		if r.Members == nil && a.awake(r, now) {
			changed[r.Key] = true
		}
	}
	a.call(changed, now)
	for _, r := range a.sorted() {
		if a.follow(ctx, r, now) {
			changed[r.Key] = true
		}
	}
	for key := range changed {
		if r := a.state.alerts[key]; r != nil {
			a.save(ctx, r)
		}
	}
	a.sweep(ctx, now)
}

// sorted alerts, the most urgent first.
func (a *Alerter) sorted() []*Alert {
	rank := map[Condition]int{}
	for i, c := range Conditions() {
		rank[c] = i
	}
	return slices.SortedFunc(maps.Values(a.state.alerts), func(x, y *Alert) int {
		return cmp.Or(cmp.Compare(level(y.Severity), level(x.Severity)), cmp.Compare(rank[x.Condition], rank[y.Condition]), cmp.Compare(x.Key, y.Key))
	})
}

// see that a condition holds. It tells whether the alert changed.
func (a *Alerter) see(h *holding, cause string, now time.Time) bool {
	r := a.state.alerts[h.key()]
	changed := false
	switch {
	case r == nil:
		r = &Alert{Key: h.key(), Condition: h.condition, Subject: h.subject, State: StateOpen, Since: now, Settled: now, Waiting: true, Mark: h.mark}
		a.state.alerts[r.Key] = r
		r.Title, changed = a.title(r, now), true
	case !r.Ended.IsZero():
		a.reopen(r, now)
		changed = true
	}
	if !r.QuietSince.IsZero() {
		r.QuietSince, changed = time.Time{}, true
	}
	if r.Mark != h.mark {
		r.Mark, changed = h.mark, true
		if r.Waiting {
			r.Settled = now
		}
	}
	if r.Cause != cause {
		a.caused(r, cause, now)
		changed = true
	}
	for _, of := range []struct{ is, was *string }{{&h.owner, &r.Owner}, {&h.environment, &r.Environment}, {&h.portal, &r.Portal}} {
		if *of.is != *of.was {
			*of.was, changed = *of.is, true
		}
	}
	if id := h.rotation(); id != "" && id != r.RotationID {
		r.RotationID, changed = id, true
	}
	if r.Waiting {
		if r.Severity != h.severity || r.Once != h.once {
			r.Severity, r.Once, changed = h.severity, h.once, true
		}
		return changed
	}
	return a.worse(r, h, now) || changed
}

// reopen what had ended. If nobody was told of the end, it never ended.
func (a *Alerter) reopen(r *Alert, now time.Time) {
	ended := r.Ended
	r.Ended, r.State = time.Time{}, StateOpen
	g := a.state.alerts[r.Group]
	if (g != nil && g.Ended.IsZero()) || (r.Group == "" && !a.endTold(r)) {
		r.Rev++
		r.tell(now, "", "is back")
		return
	}
	if r.Group != "" { // whose end was the end of all
		r.Group, r.Calls, r.Opens = "", 0, nil
	}
	r.Since, r.Settled, r.Waiting, r.Gathered, r.Step, r.Once = now, now, true, false, 0, false
	r.tell(now, "", "is back, %s after its end", distance(now.Sub(ended)))
}

// endTold tells whether some notifier knows of the end.
func (a *Alerter) endTold(r *Alert) bool {
	for _, of := range a.state.told {
		if t := of[r.Key]; t != nil && t.Rev >= r.Rev {
			return true
		}
	}
	return false
}

// caused notes which alert hides this one from now on.
func (a *Alerter) caused(r *Alert, cause string, now time.Time) {
	switch {
	case cause != "":
		r.tell(now, "", "is part of %s", cause)
	default:
		r.tell(now, "", "is no longer part of %s", r.Cause)
		// A cause that comes and goes untold must not keep its effect untold for ever.
		was := a.state.alerts[r.Cause]
		if r.Waiting && (now.Sub(r.Since) < heldBackMost || (was != nil && was.Calls > 0)) {
			r.Settled = now.Add(afterCause)
		}
	}
	r.Cause = cause
	if !r.Waiting {
		r.Rev++
	}
}

// worse asks for attention again where an open alert has got worse. What is more severe
// ends an acknowledgement and a snooze: they were given to something lesser.
func (a *Alerter) worse(r *Alert, h *holding, now time.Time) bool {
	severer, step := level(h.severity) > level(r.Severity), h.step > r.Step
	if !severer && !step {
		if r.Once != h.once {
			r.Once = h.once
			return true
		}
		return false
	}
	if a.quiet(h.severity, now) {
		return false // the end of quiet hours sees it again
	}
	r.Severity, r.Step, r.Once = worst(r.Severity, h.severity), max(r.Step, h.step), h.once
	if severer && r.State != StateOpen {
		r.tell(now, "", "is %s now: it is no longer %s", h.severity, r.State)
		r.State, r.By, r.Until = StateOpen, "", time.Time{}
	} else {
		r.tell(now, "", "got worse (%s)", h.severity)
	}
	r.Rev++
	if r.State == StateOpen && r.Cause == "" {
		r.Calls, r.CalledAt = r.Calls+1, now
	}
	return true
}

// gone notes that a condition holds no longer.
func (a *Alerter) gone(ctx context.Context, r *Alert, now time.Time) bool {
	switch {
	case !r.Ended.IsZero():
		return false
	case r.Waiting && r.Calls == 0:
		a.forget(ctx, r.Key)
		return false
	case r.Waiting: // it was back, and nobody was told
		r.Waiting, r.Ended, r.State = false, now, StateResolved
		return true
	case r.Flapping && r.QuietSince.IsZero():
		r.QuietSince = now
		return true
	case r.Flapping && now.Sub(r.QuietSince) < a.o.FlapWindow:
		return false
	case !r.Flapping && a.o.FlapTimes > 0 && len(a.recent(r, now)) >= a.o.FlapTimes:
		r.Flapping, r.QuietSince = true, now
		r.Rev++
		r.tell(now, "", "comes and goes: %d times within %s; it stays open until it has been gone for so long", len(r.Opens), distance(a.o.FlapWindow))
		return true
	}
	r.Ended, r.State, r.By, r.Until, r.Cause = now, StateResolved, "", time.Time{}, ""
	r.Flapping, r.QuietSince = false, time.Time{}
	r.Rev++
	r.tell(now, "", "resolved")
	return true
}

// recent openings, within the window of flapping.
func (a *Alerter) recent(r *Alert, now time.Time) []time.Time {
	r.Opens = slices.DeleteFunc(r.Opens, func(t time.Time) bool { return now.Sub(t) >= a.o.FlapWindow })
	return r.Opens
}

// awake ends a snooze whose time is over.
func (a *Alerter) awake(r *Alert, now time.Time) bool {
	if r.State != StateSnoozed || now.Before(r.Until) || (r.open() && a.quiet(r.Severity, now)) {
		return false
	}
	r.State, r.By, r.Until = StateOpen, "", time.Time{}
	r.Rev++
	r.tell(now, "", "the snooze is over, and it still holds")
	if r.open() && r.Cause == "" && r.Group == "" {
		r.Calls, r.CalledAt = r.Calls+1, now
	}
	return true
}

// follow what is open: groups follow their members; what is not resolved is repeated;
// and changed facts are brought up to date, quietly.
func (a *Alerter) follow(ctx context.Context, r *Alert, now time.Time) bool {
	if !r.open() || r.Group != "" {
		return false
	}
	changed := false
	if r.Members != nil {
		changed = a.followGroup(r, now)
	}
	if r.Ended.IsZero() && r.State == StateOpen && !r.Once && r.Cause == "" && !r.Flapping && !a.quiet(r.Severity, now) && now.Sub(r.CalledAt) >= a.o.repeat(r.Severity) {
		r.Calls, r.CalledAt, r.Rev = r.Calls+1, now, r.Rev+1
		r.tell(now, "", "still so, after %s", distance(now.Sub(r.Since)))
		changed = true
	}
	if !r.Ended.IsZero() || !a.known(r) {
		return changed
	}
	m := a.compose(r, now)
	facts := strings.Join([]string{string(m.Severity), m.Owner, m.Phase, m.Reason, m.LastError, m.RotationID, m.Command, strings.Join(m.Others, ",")}, "|")
	if r.Title != m.Title {
		r.Title, changed = m.Title, true
	}
	if r.Shown != facts {
		if r.Shown != "" {
			r.Rev++
		}
		if m.LastError != "" && m.LastError != r.Error {
			r.Error = m.LastError
			r.tell(now, "", "last error: %s", m.LastError)
		}
		r.Shown, changed = facts, true
	}
	return changed
}

// known tells whether what the alert is about is before our eyes.
func (a *Alerter) known(r *Alert) bool {
	h := a.holds[r.Key]
	return r.Members != nil || (h != nil && !h.stale)
}

// sweep forgets what everybody knows the end of.
func (a *Alerter) sweep(ctx context.Context, now time.Time) {
	for key, r := range a.state.alerts {
		switch {
		case r.Ended.IsZero() || now.Sub(r.Ended) < a.o.FlapWindow:
		case r.Group != "" && a.state.alerts[r.Group] != nil: // which is composed of its members to the end
		case r.Group == "" && !a.endKnown(r) && now.Sub(r.Ended) < endedKept:
		default:
			a.forget(ctx, key)
		}
	}
	for date, d := range a.state.days {
		if t, err := time.Parse(time.DateOnly, d.Date); err != nil || now.Sub(t) >= daysKept {
			delete(a.state.days, date)
			a.keep(a.o.Store.Delete(ctx, dayPrefix+date))
			for way := range a.state.told {
				a.forgetTold(ctx, way, routineKey(date))
			}
		}
	}
}

// endKnown tells whether every notifier that was told of it knows its end.
func (a *Alerter) endKnown(r *Alert) bool {
	for _, w := range a.ways {
		if t := a.state.told[w.name][r.Key]; t != nil && t.Calls > 0 && !t.Over && t.Rev < r.Rev {
			return false
		}
	}
	return true
}
