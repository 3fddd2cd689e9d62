package deploy

import (
	"encoding/json"
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

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ Type, UID string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct {
		Expr       string
		Datasource struct{ UID string }
	}
}

type dashboard struct {
	SchemaVersion int
	UID           string
	Panels        []panel
	Annotations   struct{ List []struct{ Expr string } }
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
}

func expiryDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, "deploy/grafana/rotatord-expiry.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// queries of the dashboard, as Prometheus gets them.
func (d dashboard) queries() []string {
	grafana := strings.NewReplacer("$__rate_interval", "5m", "$__range", "30d", "$__interval", "1m",
		"$credential", ".*", "$portal", ".*", "$environment", ".*", "$owner", ".*")
	var all []string
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all = append(all, grafana.Replace(q.Expr))
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			all = append(all, grafana.Replace(a.Expr))
		}
	}
	for _, v := range d.Templating.List {
		if inner, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			all = append(all, grafana.Replace(inner[:strings.LastIndex(inner, ",")]))
		}
	}
	return all
}

var metricName = regexp.MustCompile(`\brotatord_[a-z_]+`)

// TestNamesExist holds rules and dashboard to what the daemon really exposes, by
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
	for _, q := range expiryDashboard(t).queries() {
		check("dashboard", q)
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

func TestDashboard(t *testing.T) {
	d := expiryDashboard(t)
	if d.SchemaVersion != 42 || d.UID == "" {
		t.Errorf("schema version %d and uid %q; want 42 and a stable one", d.SchemaVersion, d.UID)
	}
	if len(d.Templating.List) == 0 || d.Templating.List[0].Type != "datasource" {
		t.Error("the first variable is not the data source")
	}
	ids, titles := map[int]bool{}, map[string]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || titles[p.Title] {
			t.Errorf("panel %q: its id %d or its title is there twice", p.Title, p.ID)
		}
		ids[p.ID], titles[p.Title] = true, true
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q is wider than the page", p.Title)
		}
		if p.Type != "row" {
			p.check(t)
		}
	}
	for i, p := range d.Panels {
		for _, q := range d.Panels[:i] {
			if p.overlaps(q) {
				t.Errorf("panels %q and %q overlap", p.Title, q.Title)
			}
		}
	}
}

func (p panel) check(t *testing.T) {
	t.Helper()
	if p.Description == "" || len(p.Targets) == 0 {
		t.Errorf("panel %q has no description or no query", p.Title)
	}
	if p.Datasource.UID != "${datasource}" {
		t.Errorf("panel %q has its own data source %q", p.Title, p.Datasource.UID)
	}
	if p.FieldConfig.Defaults.Unit == "" && p.Type != "table" && p.Type != "state-timeline" {
		t.Errorf("panel %q has no unit", p.Title)
	}
	for _, q := range p.Targets {
		if q.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q asks its own data source %q", p.Title, q.Datasource.UID)
		}
		if counter := regexp.MustCompile(`_total\b`); counter.MatchString(q.Expr) && !regexp.MustCompile(`(rate|increase)\(`).MatchString(q.Expr) {
			t.Errorf("panel %q shows a counter without rate or increase: %s", p.Title, q.Expr)
		}
	}
}

func (p panel) overlaps(q panel) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}
