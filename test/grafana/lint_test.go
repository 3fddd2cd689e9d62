package grafana

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestPanels: what Grafana needs to show a dashboard, and what a person needs to read it.
func TestPanels(t *testing.T) {
	for _, d := range All() {
		ids, titles := map[int]bool{}, map[string]bool{}
		taken := map[[2]int]string{}
		for _, p := range d.Panels {
			where := d.UID + ": " + p.Title
			if p.ID == 0 || ids[p.ID] || p.Title == "" || titles[p.Title] {
				t.Errorf("%s: id %d or title is missing or there twice", where, p.ID)
			}
			ids[p.ID], titles[p.Title] = true, true
			if g := p.GridPos; g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
				t.Errorf("%s reaches beyond the 24 columns: %+v", where, g)
			}
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other, ok := taken[[2]int{x, y}]; ok {
						t.Fatalf("%s lies on %s", where, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			if p.Type != "row" {
				checkPanel(t, where, p)
			}
		}
	}
}

func checkPanel(t *testing.T, where string, p Panel) {
	t.Helper()
	if len(p.Description) < 5 || !strings.HasSuffix(strings.TrimSpace(p.Description), ".") {
		t.Errorf("%s: no description: %q", where, p.Description)
	}
	if p.Datasource == nil || *p.Datasource != prometheus() || len(p.Targets) == 0 {
		t.Errorf("%s: no data source, or no query", where)
	}
	if p.FieldConfig.Defaults.NoValue == "" {
		t.Errorf("%s does not say what it means to be empty", where)
	}
	refs := map[string]bool{}
	for _, q := range p.Targets {
		if q.RefID == "" || refs[q.RefID] || q.Datasource != prometheus() || q.Instant == q.Range {
			t.Errorf("%s: query %q is badly made", where, q.RefID)
		}
		refs[q.RefID] = true
		if strings.Contains(q.Expr, "rate(") && !strings.Contains(q.Expr, "[$__rate_interval]") {
			t.Errorf("%s: a rate over a fixed time misses scrapes when zoomed out: %s", where, q.Expr)
		}
		if strings.Contains(q.Expr, "_total{") && !regexp.MustCompile(`(rate|increase)\(`).MatchString(q.Expr) {
			t.Errorf("%s shows a counter without rate or increase: %s", where, q.Expr)
		}
		if p.Type == "timeseries" && q.LegendFormat == "" {
			t.Errorf("%s: a line without a name", where)
		}
	}
}

// TestTenThousand: on the boards of many, no chart has a line for each credential, and every
// list of them is cut.
func TestTenThousand(t *testing.T) {
	for _, d := range []Dashboard{fleetBoard(), usageBoard()} {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				named := strings.Contains(q.LegendFormat, "credential")
				if p.Type != "bargauge" && named {
					t.Errorf("%s: %s has a line for each credential", d.UID, p.Title)
				}
				lists := p.Type == "table" && slices.ContainsFunc(p.FieldConfig.Overrides, func(o Override) bool { return o.Matcher.Options == "Credential" })
				if (lists || named) && !regexp.MustCompile(`(topk|bottomk)\(\d+, `).MatchString(q.Expr) && p.Title != "Cut off by a budget" { // few, or nobody sleeps
					t.Errorf("%s: %s lists every credential there is: %s", d.UID, p.Title, q.Expr)
				}
			}
		}
	}
}

// TestVariables: each one that is used is there, and each that is there is used.
func TestVariables(t *testing.T) {
	used := regexp.MustCompile(`\$\{?([a-z_]+)`)
	for _, d := range All() {
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, v := range d.Templating.List {
			there[v.Name] = true
			if v.Description == "" || v.Label == "" {
				t.Errorf("%s: variable %s has no label or description", d.UID, v.Name)
			}
		}
		seen := map[string]bool{}
		for _, m := range used.FindAllStringSubmatch(string(text), -1) {
			seen[m[1]] = true
			if !there[m[1]] && !strings.HasPrefix(m[1], "__") {
				t.Errorf("%s uses $%s, which is no variable", d.UID, m[1])
			}
		}
		for name := range there {
			if !seen[name] {
				t.Errorf("%s: nothing uses $%s", d.UID, name)
			}
		}
		if strings.Contains(string(text), ":regex}") {
			t.Errorf("%s: the regex format is no valid PromQL string; the data source escapes by itself", d.UID)
		}
		// A variable with several values is only good for =~, one with a single value for =.
		for _, v := range d.Templating.List {
			if v.Type == "query" && strings.Contains(string(text), v.Name+map[bool]string{true: `=\"$`, false: `=~\"$`}[v.Multi]+v.Name) {
				t.Errorf("%s: $%s is compared the wrong way", d.UID, v.Name)
			}
		}
	}
}

// TestLinks lead to dashboards that are there, or to the status page by its variable.
func TestLinks(t *testing.T) {
	uids := map[string]bool{}
	for _, d := range All() {
		uids[d.UID] = true
	}
	if !uids["rotatord-fleet"] || !uids["rotatord-credential"] || !uids["rotatord-usage"] || !uids["rotatord-daemon"] || len(uids) != 4 {
		t.Errorf("the uids are in people's bookmarks: %v", uids)
	}
	link := regexp.MustCompile(`"url":"([^"]*)"`)
	for _, d := range All() {
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			to := strings.ReplaceAll(m[1], `\u0026`, "&")
			uid, internal := strings.CutPrefix(to, "/d/")
			uid, _, _ = strings.Cut(uid, "?")
			switch {
			case to == "" || strings.HasPrefix(to, "${status_url}/") || strings.HasPrefix(to, "${__data.fields["):
			case internal && uids[uid]:
			default:
				t.Errorf("%s links to %s", d.UID, to)
			}
		}
	}
}

// TestColours: those that judge differ in lightness by enough to be told apart without
// colour, each from the next.
func TestColours(t *testing.T) {
	for _, pair := range [][2]string{{notice, warning}, {warning, critical}, {calm, warning}, {calm, notice}} {
		if c := contrast(t, pair[0], pair[1]); c < 1.4 {
			t.Errorf("%s and %s have a contrast of %.2f only", pair[0], pair[1], c)
		}
	}
}
