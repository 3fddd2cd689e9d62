package grafana

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rotatord/internal/testkit"
)

// known is every metric that a query may name, with its labels and their values.
type known map[string]map[string][]string

var sample = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? \S+`)

var pair = regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)

// metrics are those of the golden file, and what Prometheus and its rules add.
func metrics(t *testing.T) known {
	t.Helper()
	root := testkit.Root(t)
	text, err := os.ReadFile(filepath.Join(root, "internal/metrics/testdata/metrics.golden"))
	if err != nil {
		t.Fatal(err)
	}
	k := known{"up": {}, "scrape_duration_seconds": {}, "scrape_samples_scraped": {}, "process_start_time_seconds": {}, "process_cpu_seconds_total": {},
		"process_resident_memory_bytes": {}, "process_open_fds": {}, "go_goroutines": {}, "go_memstats_heap_inuse_bytes": {},
		"ALERTS": {"alertname": nil, "alertstate": nil, "severity": nil, "credential": nil}}
	for line := range strings.Lines(string(text)) {
		m := sample.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if k[m[1]] == nil {
			k[m[1]] = map[string][]string{}
		}
		for _, l := range pair.FindAllStringSubmatch(m[2], -1) {
			k[m[1]][l[1]] = append(k[m[1]][l[1]], l[2])
		}
	}
	if len(k) < 60 {
		t.Fatalf("the golden file has %d metrics only", len(k))
	}
	rules, err := os.ReadFile(filepath.Join(root, "deploy/prometheus/rotatord.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, labels := range map[string][]string{"credential:rotatord:info": {"credential", "portal", "owner", "environment"},
		"credential:rotatord_renewal_window_used:ratio": {"credential"},
		"service:rotatord_usage_day_requests:sum":       {"portal", "environment", "owner", "service"},
		"service:rotatord_usage_day_credits:sum":        {"portal", "environment", "owner", "service"}} {
		if !strings.Contains(string(rules), "- record: "+name+"\n") {
			t.Errorf("no rule records %s", name)
		}
		k[name] = map[string][]string{}
		for _, l := range labels {
			k[name][l] = nil
		}
	}
	for _, labels := range k {
		labels["job"], labels["instance"] = nil, nil
	}
	return k
}

var (
	quoted   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	grouping = regexp.MustCompile(`\b(by|on|without|ignoring|group_left|group_right) ?\(([^)]*)\)`)
	selector = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\}|\(|)`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"`)
	made     = regexp.MustCompile(`(?:count_values\(|label_replace\([^"]*(?:"[^"]*"[^"]*)*?, )"([a-z]+)"`)
)

// words of PromQL that are neither functions nor metrics.
var keywords = []string{"and", "or", "unless", "on", "by", "without", "ignoring", "group_left", "group_right", "bool", "offset"}

// everyQuery of a dashboard: of panels, annotations and variables.
func everyQuery(d Dashboard, do func(where, expr string)) {
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			do(d.UID+": "+p.Title+" "+q.RefID, q.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			do(d.UID+": annotation "+a.Name, a.Expr)
		}
	}
	for _, v := range d.Templating.List {
		if expr, ok := variableExpr(v); ok {
			do(d.UID+": variable "+v.Name, expr)
		}
	}
}

// variableExpr is the selector whose labels a variable offers.
func variableExpr(v Variable) (string, bool) {
	inner, ok := strings.CutPrefix(v.Definition, "label_values(")
	if !ok {
		return "", false
	}
	return inner[:strings.LastIndex(inner, ",")], true
}

// TestQueriesNameWhatExists: every metric, label, and value of a label. A real Prometheus
// answers a question about something that does not exist with nothing, and without a word.
func TestQueriesNameWhatExists(t *testing.T) {
	k := metrics(t)
	asked := 0
	for _, d := range All() {
		everyQuery(d, func(where, expr string) {
			asked++
			labels := map[string]bool{"le": true, "week": true, "i": true}
			for _, m := range made.FindAllStringSubmatch(expr, -1) {
				labels[m[1]] = true
			}
			for _, name := range metricsIn(expr) {
				if k[name] == nil {
					t.Errorf("%s names %s, which does not exist", where, name)
				}
				for l := range k[name] {
					labels[l] = true
				}
			}
			for _, m := range selector.FindAllStringSubmatch(expr, -1) {
				if k[m[1]] != nil {
					checkMatchers(t, where, m[1], m[2], k[m[1]])
				}
			}
			for _, g := range grouping.FindAllStringSubmatch(quoted.ReplaceAllString(expr, `""`), -1) {
				for l := range strings.SplitSeq(g[2], ",") {
					if l = strings.TrimSpace(l); l != "" && !labels[l] {
						t.Errorf("%s: no metric in it has the label %s: %s", where, l, expr)
					}
				}
			}
		})
	}
	if asked < 100 {
		t.Errorf("only %d queries: the search is broken", asked)
	}
}

// metricsIn a query: names that are no function, keyword, label or text.
func metricsIn(expr string) []string {
	bare := grouping.ReplaceAllString(quoted.ReplaceAllString(expr, `""`), " ")
	bare = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`).ReplaceAllString(bare, "")
	var out []string
	for _, m := range selector.FindAllStringSubmatch(bare, -1) {
		if m[2] != "(" && !slices.Contains(keywords, m[1]) {
			out = append(out, m[1])
		}
	}
	return out
}

func checkMatchers(t *testing.T, where, metric, matchers string, labels map[string][]string) {
	t.Helper()
	for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
		values, ok := labels[m[1]]
		if !ok {
			t.Errorf("%s: %s has no label %s", where, metric, m[1])
		}
		if strings.HasPrefix(m[3], "$") || m[3] == "" || len(values) == 0 {
			continue
		}
		for want := range strings.SplitSeq(m[3], "|") {
			if !slices.Contains(values, want) {
				t.Errorf("%s: %s never has %s=%q", where, metric, m[1], want)
			}
		}
	}
}

// contrast of two colours by WCAG: 1 is none.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	light := func(hex string) float64 {
		var sum float64
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			c := float64(n) / 255
			if c <= 0.03928 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			sum += weight * c
		}
		return sum
	}
	x, y := light(a)+0.05, light(b)+0.05
	return max(x, y) / min(x, y)
}
