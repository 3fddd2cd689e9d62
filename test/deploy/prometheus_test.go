package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/testkit"
)

// prometheusServer scrapes our golden metrics, as from the daemon.
type prometheusServer struct{ url string }

func startPrometheus(t *testing.T) *prometheusServer {
	t.Helper()
	bin, err := exec.LookPath("prometheus")
	testkit.Need(t, err == nil, "prometheus", "make setup")
	metrics := read(t, "internal/metrics/testdata/metrics.golden")
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, metrics)
	}))
	t.Cleanup(target.Close)

	dir := t.TempDir()
	conf := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: rotatord
    static_configs: [{targets: [%q]}]
`, filepath.Join(testkit.Root(t), "deploy/prometheus/rotatord.rules.yml"), target.Listener.Addr())
	confFile := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(confFile, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(t, 1))
	// The test's context ends just before its cleanups run, and kills the server.
	cmd := exec.CommandContext(t.Context(), bin, "--config.file="+confFile, "--storage.tsdb.path="+filepath.Join(dir, "data"),
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
	return &prometheusServer{url: "http://" + addr}
}

// query returns how many series the expression has now.
func (p *prometheusServer) query(ctx context.Context, expr string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		return 0, err
	}
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var reply struct {
		Error string
		Data  struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		return 0, err
	}
	if reply.Error != "" {
		return 0, fmt.Errorf("%s", reply.Error)
	}
	return len(reply.Data.Result), nil
}

// await waits until a query has a series: the first scrape is in.
func (p *prometheusServer) await(t *testing.T, expr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := p.query(ctx, expr)
		if err == nil && n > 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s has no series: %v", expr, err)
		}
	}
}

// TestOnARealPrometheus runs every rule on a
// Prometheus that scraped our metrics: a join that does not match or matches twice
// fails only when it runs.
func TestOnARealPrometheus(t *testing.T) {
	t.Parallel()
	p := startPrometheus(t)
	p.await(t, "rotatord_build_info")
	p.await(t, "credential:rotatord_renewal_window_used:ratio")
	for _, r := range rules(t) {
		if _, err := p.query(t.Context(), r.Expr); err != nil {
			t.Errorf("rule %s: %v", r.Alert, err)
		}
	}
}
