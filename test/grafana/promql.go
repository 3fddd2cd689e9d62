package grafana

import (
	"fmt"
	"strings"
)

// Pieces of queries. Grafana's Prometheus data source escapes each value of a variable
// with several values for a regular expression and joins them by "|": =~"$owner" is right
// for an owner called "R&D (maps)". ${owner:regex} is not: its single backslashes are
// invalid in a PromQL string.
const (
	job = `job=~"$job"`
	// each identifies a credential: one config is one instance.
	each = `job, instance, credential`
	// chosen are the credentials that the variables leave, with whose they are. The recording
	// rule bridges a failed scrape and is there once for each credential.
	chosen = `credential:rotatord:info{job=~"$job",portal=~"$portal",environment=~"$environment",owner=~"$owner"}`

	liveExpiry = `min by (job, instance, credential) (rotatord_key_expiration_timestamp_seconds{job=~"$job",role="live"})`
	due        = `max by (job, instance, credential) (rotatord_credential_rotation_due_timestamp_seconds{job=~"$job"})`
	// window is 0 when a rotation becomes due and 1 when the live key expires: the one measure
	// that suits every policy, where days that are left suit only one.
	window = `max by (job, instance, credential) (credential:rotatord_renewal_window_used:ratio{job=~"$job"})`
)

// only what belongs to a chosen credential.
func only(expr string) string {
	return fmt.Sprintf("%s and on (%s) %s", expr, each, chosen)
}

// whose adds portal, environment and owner.
func whose(expr string) string {
	return fmt.Sprintf("(%s) * on (%s) group_left (portal, environment, owner) %s", expr, each, chosen)
}

// howMany credentials; 0 only where credentials are known: without any the panel has to
// say that it is blind, not that all is well.
func howMany(expr string) string {
	return fmt.Sprintf("count(%s) or 0 * count(%s)", only(expr), chosen)
}

// having is one series for each credential with one of the conditions.
func having(conditions string) string {
	return fmt.Sprintf(`max by (%s) (rotatord_credential_attention{%s,condition=~"%s"}) == 1`, each, job, conditions)
}

// first of what is chosen, by the smallest value.
func first(n int, expr string) string {
	return fmt.Sprintf("bottomk(%d, %s)", n, only(expr))
}

// ofThose gives another value of the credentials that a query picked.
func ofThose(expr, picked string) string {
	return fmt.Sprintf("(%s) and on (%s) %s", expr, each, picked)
}

// filled says "nothing" where a label is empty, which a legend would leave out.
func filled(expr, label string) string {
	return fmt.Sprintf(`label_replace(%s, "%s", "nothing", "%s", "")`, expr, label, label)
}

// quantile of a duration's classic buckets, by the labels.
func quantile(q float64, metric, matchers, by string) string {
	if by != "" {
		by = ", " + by
	}
	return fmt.Sprintf("histogram_quantile(%g, sum by (le%s) (rate(%s_bucket{%s}[$__rate_interval])))", q, by, metric, matchers)
}

// phases in the order of a rotation. Their place is their number in a chart of states.
func phases() []string {
	return []string{"idle", "claiming", "dating", "minting", "proving", "publishing", "overlap", "retiring"}
}

// phaseNumber makes one series of the state set.
func phaseNumber(matchers string) string {
	var terms []string
	for i, p := range phases() {
		terms = append(terms, fmt.Sprintf(`%d * (rotatord_credential_phase{%s,phase="%s"} == 1)`, i, matchers, p))
	}
	return fmt.Sprintf("max by (%s) (%s)", each, strings.Join(terms, " or "))
}

// Weeks begin on Mondays. 1970 began on a Thursday, so the first Monday was four days later.
const (
	day      = 86400
	week     = weekdays * day
	monday   = 4 * day
	weeks    = 14 // this one and those that hold the coming 90 days
	weekdays = 7
)

// weekOf a moment in seconds: the beginning of its week, in milliseconds.
func weekOf(moment string) string {
	return fmt.Sprintf("1000 * (floor((%s - %d) / %d) * %d + %d)", moment, monday, week, week, monday)
}

// emptyWeeks has a series for each week that is shown, so that a week without a key has
// its row: a gap that is left out looks like none.
func emptyWeeks() string {
	var terms []string
	for i := range weeks {
		terms = append(terms, fmt.Sprintf(`label_replace(vector(%d), "i", "%02d", "", "")`, i, i))
	}
	thisWeek := fmt.Sprintf("time() - (time() - %d) %% %d", monday, week)
	return fmt.Sprintf(`0 * count_values("week", 1000 * (%d * (%s) + %s))`, week, strings.Join(terms, " or "), thisWeek)
}

// coming leaves moments from now to the end of what is shown.
func coming(moment string) string {
	return fmt.Sprintf("((%s) > time() < time() + %d)", only(moment), (weeks-1)*week)
}

// byWeek counts moments by week; those weeks without any have 0.
func byWeek(moment string) string {
	return fmt.Sprintf(`count_values("week", %s) or %s`, weekOf(coming(moment)), emptyWeeks())
}

// onWeekday counts moments on a day of the week (0 is Monday), by week.
func onWeekday(d int, moment string) string {
	m := coming(moment)
	return fmt.Sprintf(`count_values("week", %s and on (%s) (day_of_week(%s) == %d)) or %s`, weekOf(m), each, m, (d+1)%weekdays, emptyWeeks())
}
