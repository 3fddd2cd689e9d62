package alert

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// groupOver: more news of one condition than that become one message.
const groupOver = 5

// call decides which waiting alerts ask for attention now, one by one or as a group.
func (a *Alerter) call(changed map[string]bool, now time.Time) {
	byCondition := map[Condition][]*Alert{}
	gathered := map[string][]*Alert{} // by route
	for _, r := range a.sorted() {
		if !a.ripe(r, now) {
			continue
		}
		switch {
		case a.quiet(r.Severity, now):
			changed[r.Key] = changed[r.Key] || !r.Gathered
			r.Gathered = true
		case r.Calls > 0:
			a.announce(r, changed, now)
		case r.Gathered:
			route := strings.Join(a.routeOf(r.Condition), ",")
			gathered[route] = append(gathered[route], r)
		default:
			byCondition[r.Condition] = append(byCondition[r.Condition], r)
		}
	}
	for _, route := range slices.Sorted(maps.Keys(gathered)) {
		list := gathered[route]
		if len(list) == 1 {
			byCondition[list[0].Condition] = append(byCondition[list[0].Condition], list[0])
			continue
		}
		c := ConditionSeveral
		if !slices.ContainsFunc(list, func(r *Alert) bool { return r.Condition != list[0].Condition }) {
			c = list[0].Condition
		}
		a.gather(c, list, changed, now)
	}
	for _, c := range Conditions() {
		list := byCondition[c]
		group := a.groupOf(c)
		switch {
		case group != nil && len(list) > 0:
			a.join(group, list, changed, now)
		case len(list) > groupOver:
			a.gather(c, list, changed, now)
		default:
			for _, r := range list {
				a.announce(r, changed, now)
			}
		}
	}
}

// ripe tells whether a waiting alert has waited long enough, and is nobody's effect.
func (a *Alerter) ripe(r *Alert, now time.Time) bool {
	if r.Members != nil || !r.Waiting || !r.Ended.IsZero() || r.Cause != "" || r.State != StateOpen {
		return false
	}
	return now.Sub(r.Settled) >= max(a.kinds[r.Condition].after, a.o.Waits[r.Severity])
}

// announce an opening.
func (a *Alerter) announce(r *Alert, changed map[string]bool, now time.Time) {
	r.Waiting, r.Gathered = false, false
	r.Calls, r.CalledAt, r.Rev = r.Calls+1, now, r.Rev+1
	if h := a.holds[r.Key]; h != nil && !h.stale {
		r.Step, r.Severity, r.Once = h.step, h.severity, h.once
	}
	r.Opens = append(a.recent(r, now), now)
	r.tell(r.Since, "", "%s (%s)", a.title(r, now), r.Severity)
	changed[r.Key] = true
}

// groupOf a condition that is open, the oldest if there are several.
func (a *Alerter) groupOf(c Condition) *Alert {
	var first *Alert
	for _, r := range a.state.alerts {
		if r.Members != nil && r.Condition == c && r.Ended.IsZero() && (first == nil || r.Key < first.Key) {
			first = r
		}
	}
	return first
}

// gather several into one that is told.
func (a *Alerter) gather(c Condition, list []*Alert, changed map[string]bool, now time.Time) {
	at := now.UTC().Format(time.RFC3339)
	g := &Alert{Key: groupPrefix + string(c) + "/" + at, Condition: c, Subject: at, State: StateOpen, Since: list[0].Since, Settled: now, Members: []string{}}
	a.state.alerts[g.Key] = g
	a.join(g, list, changed, now)
}

// join a group. It asks for attention: somebody new is concerned.
func (a *Alerter) join(g *Alert, list []*Alert, changed map[string]bool, now time.Time) {
	for _, r := range list {
		a.announce(r, changed, now)
		r.Group = g.Key
		g.Members = append(g.Members, r.Key)
		g.Severity, g.Step, g.Once = worst(g.Severity, r.Severity), max(g.Step, r.Step), r.Once && (g.Once || g.Calls == 0)
		if r.Since.Before(g.Since) {
			g.Since = r.Since
		}
	}
	g.Calls, g.CalledAt, g.Rev = g.Calls+1, now, g.Rev+1
	g.tell(now, "", "%d alerts: %s", len(list), clipList(list))
	changed[g.Key] = true
}

func clipList(list []*Alert) string {
	const most = 10
	var names []string
	for _, r := range list {
		names = append(names, r.Subject)
	}
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// followGroup: it is as its members are, and ends with the last of them.
func (a *Alerter) followGroup(g *Alert, now time.Time) bool {
	open, step, sev := 0, g.Step, SeverityInfo
	for _, key := range g.Members {
		if m := a.state.alerts[key]; m != nil && m.Ended.IsZero() {
			open++
			step, sev = max(step, m.Step), worst(sev, m.Severity)
		}
	}
	if open == 0 {
		g.Ended, g.State, g.By, g.Until = now, StateResolved, "", time.Time{}
		g.Rev++
		g.tell(now, "", "resolved, all %d", len(g.Members))
		return true
	}
	changed := a.awake(g, now)
	if level(sev) <= level(g.Severity) && step <= g.Step {
		return changed
	}
	return a.worse(g, &holding{finding: finding{severity: sev, step: step, once: g.Once}}, now) || changed
}
