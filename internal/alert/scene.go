package alert

import (
	"cmp"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// holding is one condition that holds, with what there is to say about it.
type holding struct {
	finding
	subject     string
	owner       string
	environment string
	portal      string
	sinks       []string // that the subject depends on
	// hidden are the effects of which this is the cause.
	hidden []*holding
	// stale: it held when rotatord was stopped, and nobody has looked since.
	stale bool

	view   *View // of a credential; the one that fits of the others
	health *PortalHealth
	sink   *SinkHealth
	daemon *DaemonHealth
	use    *Use
}

func keyOf(c Condition, subject string) string { return string(c) + "/" + subject }

func (h *holding) key() string { return keyOf(h.condition, h.subject) }

// rotation under way, if any.
func (h *holding) rotation() string {
	if h.view == nil || h.view.Record.Rotation == nil {
		return ""
	}
	return h.view.Record.Rotation.ID
}

// sortedHoldings has the most urgent condition first.
func sortedHoldings(all map[string]*holding) []*holding {
	rank := map[Condition]int{}
	for i, c := range Conditions() {
		rank[c] = i
	}
	out := make([]*holding, 0, len(all))
	for _, h := range all {
		out = append(out, h)
	}
	slices.SortFunc(out, func(x, y *holding) int {
		return cmp.Or(cmp.Compare(rank[x.condition], rank[y.condition]), cmp.Compare(x.subject, y.subject))
	})
	return out
}

// holdings of a scene by key; and the keys of which nothing is known yet, so that what
// was told of them stays as it is.
func (a *Alerter) holdings(s Scene, now time.Time) (all map[string]*holding, unknown map[string]bool) {
	all, unknown = map[string]*holding{}, map[string]bool{}
	add := func(h holding, found []finding) {
		for _, f := range found {
			one := h
			one.finding = f
			all[one.key()] = &one
		}
	}
	uses := make(map[rotate.Name]*Use, len(s.Uses))
	for i := range s.Uses {
		uses[s.Uses[i].Credential] = &s.Uses[i]
	}
	told := a.toldOfUse()
	for name := range told {
		told[name] = s.UseKnown == nil || !s.UseKnown(rotate.Name(name))
	}
	s.each(func(v *View) {
		found, use := append(a.findings(*v, now), v.Settings.findings()...), uses[v.Name]
		if v.Settings != nil && !v.Settings.Known {
			unknown[keyOf(ConditionSettings, string(v.Name))] = true
		}
		if use != nil {
			found = append(found, use.findings(*v, now)...)
		} else if told[string(v.Name)] {
			for _, c := range conditionsOfUse() {
				unknown[keyOf(c, string(v.Name))] = true
			}
		}
		if len(found) > 0 {
			v = s.keep(v)
			add(holding{subject: string(v.Name), owner: v.Owner, environment: v.Environment, portal: string(v.Portal), sinks: v.Sinks, view: v, use: use}, found)
		}
	})
	for i := range s.Health.Portals {
		p := &s.Health.Portals[i]
		add(holding{subject: string(p.Portal), owner: a.o.Owner, portal: string(p.Portal), health: p}, p.findings(now))
		for _, c := range []Condition{ConditionUnreachable, ConditionIdentity, ConditionClock, ConditionSurveyStale} {
			unknown[keyOf(c, string(p.Portal))] = !p.Known
		}
	}
	for i := range s.Health.Sinks {
		k := &s.Health.Sinks[i]
		on := []string{k.Sink}
		if k.Vault {
			on = append(on, VaultSubject)
		}
		add(holding{subject: k.Sink, owner: a.o.Owner, sinks: on, sink: k}, k.findings(now))
		for _, c := range []Condition{ConditionSinkFailing, ConditionVaultToken} {
			unknown[keyOf(c, k.Sink)] = !k.Known
		}
	}
	add(holding{subject: daemonSubject, owner: a.o.Owner, daemon: &s.Health.Daemon}, s.Health.Daemon.findings(now))
	for key, is := range unknown {
		if r := a.state.alerts[key]; is && r != nil && r.Ended.IsZero() && all[key] == nil {
			all[key] = &holding{finding: finding{condition: r.Condition, severity: r.Severity, step: r.Step}, subject: r.Subject, portal: r.Portal, stale: true}
		}
	}
	return all, unknown
}

func conditionsOfUse() []Condition {
	return []Condition{ConditionCutOff, ConditionBudget, ConditionSpike, ConditionSilent}
}

// toldOfUse are the credentials of which an alert of their use was told.
func (a *Alerter) toldOfUse() map[string]bool {
	out := map[string]bool{}
	for _, r := range a.state.alerts {
		if slices.Contains(conditionsOfUse(), r.Condition) {
			out[r.Subject] = true
		}
	}
	return out
}
