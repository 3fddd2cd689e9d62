package alert

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/testkit"
)

func page(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testkit.Root(t), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// table of a page: the cells of each row below a heading.
func table(t *testing.T, text, heading string) [][]string {
	t.Helper()
	_, after, found := strings.Cut(text, "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/alerts.md has no section %q", heading)
	}
	after, _, _ = strings.Cut(after, "\n## ")
	var rows [][]string
	for line := range strings.Lines(after) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		var row []string
		for cell := range strings.SplitSeq(strings.Trim(strings.TrimSpace(line), "|"), " | ") {
			row = append(row, strings.TrimSpace(cell))
		}
		rows = append(rows, row)
	}
	if len(rows) < 3 {
		t.Fatalf("section %q has no table", heading)
	}
	return rows[2:]
}

func wordsIn(cell string) []string {
	var out []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		out = append(out, m[1])
	}
	slices.Sort(out)
	return out
}

// TestDocsNameEveryCondition: subject, waiting time, runbook section, what hides it and
// the Prometheus alerts are those of the code, in its order.
func TestDocsNameEveryCondition(t *testing.T) {
	text := page(t, "docs/alerts.md")
	rows := table(t, text, "Conditions")
	hiddenBy := map[Condition][]string{}
	for _, i := range inhibitions() {
		hiddenBy[i.effect] = append(hiddenBy[i.effect], string(i.cause))
	}
	if len(rows) != len(kinds()) {
		t.Fatalf("the page has %d conditions, want %d", len(rows), len(kinds()))
	}
	for i, k := range kinds() {
		slices.Sort(hiddenBy[k.condition])
		want := []string{fmt.Sprintf("[`%s`](runbook.md#%s)", k.condition, k.anchor), string(k.subject), waitText(k.after), strings.Join(hiddenBy[k.condition], " ")}
		got := []string{rows[i][0], rows[i][1], rows[i][3], strings.Join(wordsIn(rows[i][4]), " ")}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("row of %s (-want +got):\n%s", k.condition, diff)
		}
		if len(rows[i][2]) < 10 {
			t.Errorf("%s: the page does not say when", k.condition)
		}
	}
	var rules []string
	for _, row := range table(t, text, "Or by Prometheus") {
		want := slices.Sorted(slices.Values(RulesOf(Condition(strings.Trim(row[0], "`")))))
		if row[0] == "none of them" {
			want = slices.Sorted(slices.Values(OwnRules()))
		}
		if diff := cmp.Diff(want, wordsIn(row[1])); diff != "" {
			t.Errorf("rules of %s (-want +got):\n%s", row[0], diff)
		}
		rules = append(rules, wordsIn(row[1])...)
	}
	all := OwnRules()
	for _, c := range Conditions() {
		all = append(all, RulesOf(c)...)
	}
	slices.Sort(all)
	slices.Sort(rules)
	if diff := cmp.Diff(all, rules); diff != "" {
		t.Errorf("rules of the page (-want +got):\n%s", diff)
	}
	states := []string{string(StateOpen), string(StateAcknowledged), string(StateSnoozed), string(StateResolved)}
	var documented []string
	for _, row := range table(t, text, "States") {
		documented = append(documented, strings.Trim(row[0], "`"))
	}
	if diff := cmp.Diff(states, documented); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func waitText(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}

// TestEveryRunbookSectionIsThere: a link from an alert leads to what to do.
func TestEveryRunbookSectionIsThere(t *testing.T) {
	there := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(page(t, "docs/runbook.md"), -1) {
		there[strings.ToLower(m[1])] = true
	}
	for _, k := range kinds() {
		if !there[k.anchor] {
			t.Errorf("%s leads to #%s, which docs/runbook.md lacks", k.condition, k.anchor)
		}
	}
}

// TestEveryRuleHasOneTeller: each Prometheus alert is either on a condition, which
// a notifier tells instead, or Alertmanager's own: so one fault is one page. And the
// example for Alertmanager keeps back exactly the first.
func TestEveryRuleHasOneTeller(t *testing.T) {
	teller := map[string]string{}
	for _, rule := range OwnRules() {
		teller[rule] = "Alertmanager"
	}
	var told []string
	for _, c := range Conditions() {
		for _, rule := range RulesOf(c) {
			if was := teller[rule]; was != "" {
				t.Errorf("%s is told by %s and by %s", rule, was, c)
			}
			teller[rule] = string(c)
			told = append(told, rule)
		}
	}
	var rules []string
	for _, m := range regexp.MustCompile(`(?m)- alert: (\w+)$`).FindAllStringSubmatch(page(t, "deploy/prometheus/rotatord.rules.yml"), -1) {
		rules = append(rules, m[1])
		if teller[m[1]] == "" {
			t.Errorf("nobody is named to tell %s: give it to a condition in kinds.go, or to OwnRules", m[1])
		}
		delete(teller, m[1])
	}
	if len(rules) < 40 {
		t.Fatalf("only %d rules were found: the search is broken", len(rules))
	}
	for rule, by := range teller {
		t.Errorf("%s, told by %s, is no Prometheus alert", rule, by)
	}
	kept := regexp.MustCompile(`alertname =~ "([\w|]+)"\]\n\s+receiver: told-by-rotatord`).FindStringSubmatch(page(t, "docs/alerts.md"))
	if kept == nil {
		t.Fatal("docs/alerts.md has no route to told-by-rotatord")
	}
	slices.Sort(told)
	if diff := cmp.Diff(strings.Join(told, "|"), kept[1]); diff != "" {
		t.Errorf("the route of docs/alerts.md (-want +got):\n%s", diff)
	}
}

// TestAlertmanagerKeepsBack has the real amtool read the route of docs/alerts.md: the rules on conditions
// go nowhere, Alertmanager's own and what rotatord sends go on.
func TestAlertmanagerKeepsBack(t *testing.T) {
	tool, err := exec.LookPath("amtool")
	testkit.Need(t, err == nil, "amtool", "apt-get install prometheus-alertmanager")
	var told []string
	for _, c := range Conditions() {
		told = append(told, RulesOf(c)...)
	}
	route := regexp.MustCompile(`(?m)^ {4}- matchers: .*\n\s+receiver: told-by-rotatord$`).FindString(page(t, "docs/alerts.md"))
	file := filepath.Join(t.TempDir(), "alertmanager.yml")
	body := "route:\n  receiver: people\n  routes:\n" + route + "\nreceivers:\n  - name: people\n  - name: told-by-rotatord\n"
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	for labels, want := range map[string]string{
		"alertname=" + told[0]:                              "told-by-rotatord",
		"alertname=" + told[len(told)-1]:                    "told-by-rotatord",
		"alertname=" + told[0] + " subject=dead/maps":       "people",
		"alertname=" + OwnRules()[0]:                        "people",
		"alertname=" + OwnRules()[0] + " severity=critical": "people",
	} {
		args := append([]string{"config", "routes", "test", "--config.file=" + file}, strings.Fields(labels)...)
		out, err := exec.CommandContext(t.Context(), tool, args...).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s goes to %q (%v), want %q", labels, got, err, want)
		}
	}
}
