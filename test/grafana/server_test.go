package grafana

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"rotatord/internal/testkit"
)

// server is a real Prometheus with our rules, which do not wait: promtool tests
// their patience, and here one would outlast the test.
type server struct{ url string }

func startServer(t *testing.T, target string) *server {
	t.Helper()
	bin, err := exec.LookPath("prometheus")
	testkit.Need(t, err == nil, "prometheus", "make setup")
	dir := t.TempDir()
	rules, err := os.ReadFile(filepath.Join(testkit.Root(t), "deploy/prometheus/rotatord.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: rotatord
    static_configs: [{targets: [%q]}]
`, filepath.Join(dir, "rules.yml"), target)
	err = errors.Join(os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(conf), 0o600),
		os.WriteFile(filepath.Join(dir, "rules.yml"), regexp.MustCompile(`(?m)^(        for|    interval): .*$`).ReplaceAll(rules, []byte("$1: 1s")), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(t, 1))
	// The test's context ends just before its cleanups run, and kills the server.
	cmd := exec.CommandContext(t.Context(), bin, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=warn")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Wait() // its error is that it was killed
		if t.Failed() {
			t.Logf("prometheus said:\n%s", said.String())
		}
	})
	return &server{url: "http://" + addr}
}

// point of a series: seconds and value.
type point struct{ at, value float64 }

func (p *point) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &[]any{&p.at, &text}); err != nil {
		return err
	}
	var err error
	p.value, err = strconv.ParseFloat(text, 64)
	return err
}

// answer is one series.
type answer struct {
	Metric map[string]string
	Value  *point
	Values []point
}

// shows something: a series whose every value is no number draws nothing.
func (a answer) shows() bool {
	if a.Value != nil {
		return !math.IsNaN(a.Value.value)
	}
	for _, v := range a.Values {
		if !math.IsNaN(v.value) {
			return true
		}
	}
	return false
}

// ask as Grafana does: at one time, or over the last two minutes.
func (s *server) ask(ctx context.Context, expr string, instant bool) ([]answer, error) {
	now := time.Now()
	at := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
	path, form := "/api/v1/query_range", url.Values{"query": {expr}, "start": {at(now.Add(-2 * time.Minute))}, "end": {at(now)}, "step": {"2"}}
	if instant {
		path, form = "/api/v1/query", url.Values{"query": {expr}, "time": {at(now)}}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var reply struct {
		Error string
		Data  struct{ Result []answer }
	}
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		return nil, err
	}
	if reply.Error != "" {
		return nil, fmt.Errorf("%s", reply.Error)
	}
	var shown []answer
	for _, a := range reply.Data.Result {
		if a.shows() {
			shown = append(shown, a)
		}
	}
	return shown, nil
}

// choice is what somebody chose in the variables above a dashboard.
type choice map[string][]string

// put the choice into a query as Grafana's Prometheus data source does (escaping.ts,
// interpolateQueryExpr): values of a variable with several are escaped for a regular
// expression within a string and joined.
func (c choice) put(expr string) string {
	special := regexp.MustCompile(`[$^*{}\[\]+?.()|]`)
	pairs := []string{"$__rate_interval", "20s"}
	if names := c["credential"]; len(names) > 0 {
		pairs = append(pairs, `credential="$credential"`, `credential="`+names[0]+`"`) // a variable with one value
	}
	for _, name := range []string{"job", "instance", "portal", "environment", "owner", "credential"} {
		values, ok := c[name]
		text := ".*"
		if ok {
			var escaped []string
			for _, v := range values {
				v = special.ReplaceAllString(strings.ReplaceAll(v, `\`, `\\\\`), `\\$0`)
				escaped = append(escaped, v)
			}
			text = strings.Join(escaped, "|")
			if len(escaped) > 1 {
				text = "(" + text + ")"
			}
		}
		pairs = append(pairs, "$"+name, text)
	}
	return strings.NewReplacer(pairs...).Replace(expr)
}
