package alert

// inhibition: while the cause is there, the effect is part of it and is not told.
type inhibition struct {
	cause, effect Condition
}

// inhibitions is the whole table: a cause hides its effects on the same credential, on
// the credentials of its portal, or on those that have its sink. docs/alerts.md shows it.
//
// A cause is as severe as the worst of what it hides, and names it, so nothing urgent is
// lost. What has consumers refused already (a dead or an expired key) is hidden by
// nothing but a cut-off, which is meant to do that.
func inhibitions() []inhibition {
	var out []inhibition
	add := func(cause Condition, effects ...Condition) {
		for _, e := range effects {
			out = append(out, inhibition{cause, e})
		}
	}
	add(ConditionCutOff, ConditionDead, ConditionExpiring, ConditionHeld, ConditionBudget, ConditionSpike, ConditionSilent, ConditionFailing, ConditionOverdue)
	add(ConditionDead, ConditionExpiring, ConditionFailing, ConditionOverdue, ConditionOccupied, ConditionStuck, ConditionSilent, ConditionUnretired, ConditionStraggling)
	add(ConditionUnreachable, ConditionExpiring, ConditionOverdue, ConditionFailing, ConditionStuck, ConditionUnretired, ConditionSurveyStale, ConditionIdentity, ConditionClock)
	add(ConditionVaultToken, ConditionSinkFailing)
	add(ConditionSinkFailing, ConditionExpiring, ConditionOverdue, ConditionFailing, ConditionStuck)
	add(ConditionIdentity, ConditionExpiring, ConditionOverdue, ConditionFailing, ConditionStuck, ConditionUnretired, ConditionSurveyStale)
	add(ConditionQuarantined, ConditionExpiring, ConditionOverdue)
	add(ConditionDrift, ConditionExpiring, ConditionOverdue, ConditionOccupied, ConditionFailing, ConditionStuck, ConditionUnretired)
	add(ConditionStopped, ConditionExpiring, ConditionOverdue)
	add(ConditionFailing, ConditionExpiring, ConditionOverdue, ConditionStuck)
	add(ConditionStuck, ConditionExpiring, ConditionOverdue)
	add(ConditionOccupied, ConditionExpiring, ConditionOverdue)
	add(ConditionExpiring, ConditionOverdue)
	add(ConditionHeld, ConditionExpiring, ConditionOverdue)
	add(ConditionBudget, ConditionSpike)
	return out
}

// hide finds for each holding the cause that hides it, by key, and makes each cause as
// severe as the worst it hides. It is pure but for the holdings' severity and effects.
func hide(all map[string]*holding) map[string]string {
	causes := map[Condition][]Condition{}
	for _, i := range inhibitions() {
		causes[i.effect] = append(causes[i.effect], i.cause)
	}
	direct, known := map[string]string{}, kindsByCondition()
	order := sortedHoldings(all)
	for _, effect := range order {
		if cause := causeOf(effect, causes[effect.condition], all, known); cause != nil {
			direct[effect.key()] = cause.key()
		}
	}
	out := map[string]string{}
	for _, effect := range order {
		root := direct[effect.key()]
		for direct[root] != "" { // the table has no circle
			root = direct[root]
		}
		if root == "" {
			continue
		}
		out[effect.key()] = root
		cause := all[root]
		cause.severity = worst(cause.severity, effect.severity)
		cause.hidden = append(cause.hidden, effect)
	}
	return out
}

// causeOf an effect: the first of the table's that holds on what the effect depends on.
func causeOf(effect *holding, causes []Condition, all map[string]*holding, known map[Condition]kind) *holding {
	for _, c := range causes {
		var on []string
		switch known[c].subject {
		case SubjectCredential:
			on = []string{effect.subject}
		case SubjectPortal:
			on = []string{effect.portal}
		case SubjectSink:
			on = effect.sinks
		case SubjectDaemon:
		}
		for _, subject := range on {
			if h := all[keyOf(c, subject)]; h != nil && h != effect && !h.foresees && (!effect.broken || c == ConditionCutOff || c == ConditionDead) {
				return h
			}
		}
	}
	return nil
}
