package alert

import (
	"slices"
	"time"
)

// Subject is the closed set of what an alert is about.
type Subject string

// The subjects.
const (
	SubjectCredential Subject = "credential"
	SubjectPortal     Subject = "portal"
	SubjectSink       Subject = "sink"
	SubjectDaemon     Subject = "daemon"
)

// kind is what holds for every alert of a condition. The table of docs/alerts.md is
// compared with it.
type kind struct {
	condition Condition
	subject   Subject
	// after is how long the condition must hold before it is told, if that is longer
	// than the waiting time of its severity: what the condition itself does not measure.
	after  time.Duration
	anchor string // the runbook's section
	// rules are the Prometheus alerts on the same fault. They are for whoever is not
	// told by a notifier.
	rules []string
}

// kinds of alerts, the most urgent first: news is told in that order.
func kinds() []kind {
	const hour, day = time.Hour, 24 * time.Hour
	return []kind{
		{ConditionDead, SubjectCredential, 0, "rotatordkeydead", []string{"RotatordKeyDead", "RotatordTooManyDeaths"}},
		{ConditionExpiring, SubjectCredential, 0, "rotatordkeyexpiresunrotated",
			[]string{"RotatordKeyExpiresUnrotated", "RotatordKeyExpired", "RotatordCredentialsExpiring"}},
		{ConditionCutOff, SubjectCredential, 0, "rotatordcutoff", []string{"RotatordCutOff"}},
		{ConditionUnreachable, SubjectPortal, 10 * time.Minute, "rotatordportalunreachable", []string{"RotatordPortalUnreachable"}},
		{ConditionSinkFailing, SubjectSink, 15 * time.Minute, "rotatordsinkfailing", []string{"RotatordSinkFailing"}},
		{ConditionVaultToken, SubjectSink, 0, "rotatordvaulttokenexpiring", []string{"RotatordVaultTokenExpiring"}},
		{ConditionIdentity, SubjectPortal, 0, "rotatordidentityexpiring", []string{"RotatordIdentityExpiring", "RotatordIdentityEnding"}},
		{ConditionHeld, SubjectCredential, 0, "rotatordheldlong", []string{"RotatordHeldLong"}},
		{ConditionStopped, SubjectCredential, 0, "rotatordfleetstopped", []string{"RotatordFleetStopped"}},
		{ConditionQuarantined, SubjectCredential, 0, "rotatordquarantined", []string{"RotatordQuarantined"}},
		{ConditionFailing, SubjectCredential, 0, "rotatordrotationfailing", []string{"RotatordRotationFailing"}},
		{ConditionStuck, SubjectCredential, hour, "rotatordstuckinphase", []string{"RotatordStuckInPhase"}},
		{ConditionDrift, SubjectCredential, 0, "rotatorddrift", []string{"RotatordDrift"}},
		{ConditionOccupied, SubjectCredential, 0, "rotatordslotoccupied", []string{"RotatordSlotOccupied"}},
		{ConditionOverdue, SubjectCredential, 0, "rotatordrotationoverdue", []string{"RotatordRotationOverdue", "RotatordRotationOverdueExpiryUnknown"}},
		{ConditionStraggling, SubjectCredential, 0, "rotatordoldkeynotretired", nil}, // the same rule as unretired
		{ConditionUnretired, SubjectCredential, 0, "rotatordoldkeynotretired", []string{"RotatordOldKeyNotRetired"}},
		{ConditionClock, SubjectPortal, 15 * time.Minute, "rotatordclockoff", []string{"RotatordClockOff"}},
		{ConditionSurveyStale, SubjectPortal, 0, "rotatordsurveystale", []string{"RotatordSurveyStale"}},
		{ConditionBudget, SubjectCredential, 0, "rotatordbudgetspent", []string{"RotatordBudgetWarning", "RotatordBudgetSpent"}},
		{ConditionSpike, SubjectCredential, 0, "rotatordusagespike", []string{"RotatordUsageSpike"}},
		{ConditionSilent, SubjectCredential, 0, "rotatordusagesilence", []string{"RotatordUsageSilence"}},
		{ConditionSettings, SubjectCredential, hour, "rotatordsettingsdrift",
			[]string{"RotatordSettingsDrift", "RotatordSettingsDiffer", "RotatordCredentialsSettingsDrift"}},
		{ConditionReload, SubjectDaemon, 0, "rotatordconfigreloadfailed", []string{"RotatordConfigReloadFailed"}},
		{ConditionOrphan, SubjectCredential, 0, "rotatordorphan", []string{"RotatordOrphan"}},
		{ConditionUnadopted, SubjectCredential, day, "rotatordunadopted", []string{"RotatordUnadopted", "RotatordCredentialsNeedAttention"}},
		{ConditionCrashed, SubjectDaemon, 0, "rotatordrestarting", []string{"RotatordRestarting"}},
	}
}

// OwnRules are the Prometheus alerts that no notifier tells: the daemon cannot tell of
// its own death, of a pass that hangs or of messages that do not get out; and some that
// count over time what no condition does.
func OwnRules() []string {
	return []string{"RotatordAbsent", "RotatordDown", "RotatordPassStalled", "RotatordNoHealthyPass", "RotatordNotificationsFailing",
		"RotatordHeartbeatFailing", "RotatordWatchdog", "RotatordPortalFailing", "RotatordPortalThrottled", "RotatordReadBackWrong", "RotatordUsageUnread",
		"RotatordJournalFailing", "RotatordVaultSecretIDExpiring", "RotatordVaultSecretIDEnding"}
}

// Conditions lists every condition that is an alert, the most urgent first.
func Conditions() []Condition {
	var out []Condition
	for _, k := range kinds() {
		out = append(out, k.condition)
	}
	return out
}

// RulesOf a condition: the Prometheus alerts on the same fault.
func RulesOf(c Condition) []string {
	k, _ := kindOf(c)
	return k.rules
}

// kindsByCondition is for who asks often.
func kindsByCondition() map[Condition]kind {
	out := map[Condition]kind{}
	for _, k := range kinds() {
		out[k.condition] = k
	}
	return out
}

func kindOf(c Condition) (kind, bool) {
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.condition == c })
	if i < 0 {
		return kind{}, false
	}
	return all[i], true
}

// level orders severities.
func level(s Severity) int {
	switch s {
	case SeverityCritical:
		return 2
	case SeverityWarning:
		return 1
	case SeverityInfo:
	}
	return 0
}

func worst(a, b Severity) Severity {
	if level(b) > level(a) {
		return b
	}
	return a
}
