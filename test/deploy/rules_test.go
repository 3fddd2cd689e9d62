package deploy

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"rotatord/internal/testkit"
)

// TestEveryAlertIsTested: each fires in some promtool test and is silent in another,
// which "make rules-check" runs.
func TestEveryAlertIsTested(t *testing.T) {
	type seen struct{ fires, silent bool }
	tested := map[string]*seen{}
	for _, r := range rules(t) {
		if r.Alert != "" {
			tested[r.Alert] = &seen{}
		}
	}
	for _, name := range []string{"deploy/prometheus/rotatord.rules_test.yml", "deploy/prometheus/rotatord.rules_slow_test.yml"} {
		var file struct {
			Tests []struct {
				Name  string
				Cases []struct {
					Alert string           `yaml:"alertname"`
					Fires []map[string]any `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		if err := yaml.Unmarshal([]byte(read(t, name)), &file); err != nil {
			t.Fatal(err)
		}
		for _, one := range file.Tests {
			for _, c := range one.Cases {
				s := tested[c.Alert]
				if s == nil {
					t.Errorf("%s: %q tests %s, which is no alert: it is silent for ever", name, one.Name, c.Alert)
					continue
				}
				s.fires = s.fires || len(c.Fires) > 0
				s.silent = s.silent || len(c.Fires) == 0
			}
		}
	}
	for alert, s := range tested {
		if !s.fires || !s.silent {
			t.Errorf("%s: a test in which it fires: %v; one in which it is silent: %v", alert, s.fires, s.silent)
		}
	}
}

// TestAlertsNameTheOwner: whatever speaks of one credential says whose it is, by label
// for Alertmanager's routes and in words for people.
func TestAlertsNameTheOwner(t *testing.T) {
	ofOne := regexp.MustCompile(`rotatord_credential_[a-z]|rotatord_key_expiration|rotatord_usage_[^r]|credential:rotatord_renewal`)
	others := regexp.MustCompile(`unless on \(job, instance\)\s+last_over_time\(rotatord_credential_info\[10m\]\)`)
	joined := 0
	for _, r := range rules(t) {
		if r.Alert == "" || !ofOne.MatchString(others.ReplaceAllString(r.Expr, "")) {
			continue
		}
		joined++
		if !strings.Contains(r.Expr, "* on (job, instance, credential) group_left (portal, owner, environment) credential:rotatord:info") {
			t.Errorf("%s does not join portal, owner and environment", r.Alert)
		}
		for _, label := range []string{"owner", "portal", "environment"} {
			if !strings.Contains(r.Annotations["description"], "{{ $labels."+label+" }}") {
				t.Errorf("%s: the description lacks the %s", r.Alert, label)
			}
		}
	}
	if joined < 15 {
		t.Errorf("only %d alerts speak of a credential: the search is broken", joined)
	}
}

// TestAlertmanagerExample asks the real amtool who would be told.
func TestAlertmanagerExample(t *testing.T) {
	tool, err := exec.LookPath("amtool")
	testkit.Need(t, err == nil, "amtool", "apt-get install prometheus-alertmanager")
	file := filepath.Join(testkit.Root(t), "deploy/prometheus/alertmanager.example.yml")
	if out, err := exec.CommandContext(t.Context(), tool, "check-config", file).CombinedOutput(); err != nil {
		t.Fatalf("amtool check-config: %v\n%s", err, out)
	}
	for labels, want := range map[string]string{
		"alertname=RotatordWatchdog severity=none":                                     "dead-mans-switch",
		"alertname=RotatordKeyDead severity=critical owner=maps environment=prod":      "on-call,owners",
		"alertname=RotatordKeyDead severity=critical owner=maps environment=test":      "owners",
		"alertname=RotatordDrift severity=warning owner=maps environment=prod":         "owners",
		"alertname=RotatordAbsent severity=critical":                                   "on-call",
		"alertname=RotatordSurveyStale severity=warning portal=esri":                   "rotatord-operators",
		"alertname=RotatordUnadopted severity=info owner=maps environment=prod":        "rotatord-operators",
		"alertname=RotatordBudgetWarning severity=warning owner=maps environment=prod": "owners",
	} {
		args := append([]string{"config", "routes", "test", "--config.file=" + file}, strings.Fields(labels)...)
		out, err := exec.CommandContext(t.Context(), tool, args...).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s goes to %q (%v), want %q", labels, got, err, want)
		}
	}
	known := map[string]bool{}
	for _, r := range rules(t) {
		known[r.Alert] = true
	}
	for _, name := range regexp.MustCompile(`alertname = (Rotatord\w+)`).FindAllStringSubmatch(read(t, "deploy/prometheus/alertmanager.example.yml"), -1) {
		if !known[name[1]] {
			t.Errorf("the example routes %s, which is no alert", name[1])
		}
	}
}
