package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"rotatord/internal/testkit"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testkit.Root(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/prometheus/rotatord.rules.yml")), &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("no rules")
	}
	return all
}

var metricName = regexp.MustCompile(`\brotatord_[a-z_]+`)

// TestNamesExist holds the rules to what the daemon really exposes, by
// the golden file of its metrics.
func TestNamesExist(t *testing.T) {
	exposed := map[string]bool{}
	for line := range strings.Lines(read(t, "internal/metrics/testdata/metrics.golden")) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[1] == "TYPE" {
			exposed[fields[2]] = true
		}
	}
	if len(exposed) == 0 {
		t.Fatal("the golden file has no metric")
	}
	check := func(where, text string) {
		// The recorded series has colons in its name and is no metric of ours.
		text = strings.ReplaceAll(text, "credential:rotatord_renewal_window_used:ratio", "")
		for _, name := range metricName.FindAllString(text, -1) {
			if !exposed[name] {
				t.Errorf("%s uses %s, which rotatord does not expose", where, name)
			}
		}
	}
	for _, r := range rules(t) {
		check(r.Alert, r.Expr+r.Annotations["description"])
	}
}

func TestAlertsAndRunbookMatch(t *testing.T) {
	sections := map[string]bool{}
	for line := range strings.Lines(read(t, "docs/runbook.md")) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			sections[strings.TrimSpace(title)] = false
		}
	}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		if want := "docs/runbook.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url is %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
		}
		if _, ok := sections[r.Alert]; !ok {
			t.Errorf("%s has no section in docs/runbook.md", r.Alert)
		}
		sections[r.Alert] = true
		if !slices.Contains([]string{"critical", "warning", "info", "none"}, r.Labels["severity"]) {
			t.Errorf("%s: severity is %q", r.Alert, r.Labels["severity"])
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.For == "" {
			t.Errorf("%s: summary, description or for is missing", r.Alert)
		}
	}
	for title, used := range sections {
		if !used {
			t.Errorf("docs/runbook.md has a section %s for no alert", title)
		}
	}
}
