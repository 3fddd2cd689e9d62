package alertmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rotatord/internal/testkit"
)

// waits for something to come true.
const patience = 30 * time.Second

// running is an Alertmanager of Debian's package, and the receiver that it tells.
type running struct {
	t    *testing.T
	url  string
	log  string
	hook *hook
}

// hook is what Alertmanager tells, newest last.
type hook struct {
	mu   sync.Mutex
	told []group
	rang chan struct{}
}

// group is the body that Alertmanager posts to a webhook receiver.
type group struct {
	Receiver     string            `json:"receiver"`
	Status       string            `json:"status"`
	GroupLabels  map[string]string `json:"groupLabels"`
	CommonLabels map[string]string `json:"commonLabels"`
	Alerts       []struct {
		Status      string            `json:"status"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"alerts"`
}

func (h *hook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var g group
	if err := json.NewDecoder(r.Body).Decode(&g); err != nil {
		return
	}
	h.mu.Lock()
	h.told = append(h.told, g)
	h.mu.Unlock()
	select {
	case h.rang <- struct{}{}:
	default:
	}
}

// await a group that fits.
func (h *hook) await(t *testing.T, what string, fits func(group) bool) group {
	t.Helper()
	timeout := time.After(patience)
	for {
		h.mu.Lock()
		for _, g := range h.told {
			if fits(g) {
				h.mu.Unlock()
				return g
			}
		}
		told := fmt.Sprintf("%+v", h.told)
		h.mu.Unlock()
		select {
		case <-h.rang:
		case <-timeout:
			t.Fatalf("nobody was told %s; told was %s", what, told)
		}
	}
}

// program of the package, wherever Debian or a developer has it.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	testkit.Need(t, false, names[0], "apt-get install prometheus-alertmanager, or test/scripts/setup.sh")
	return ""
}

// startReal starts one with a config whose %HOOK% is the receiver.
func startReal(t *testing.T, config string, flags ...string) *running {
	t.Helper()
	bin := program(t, "prometheus-alertmanager", "alertmanager")
	dir := t.TempDir()
	h := &hook{rang: make(chan struct{}, 1)}
	receiver := httptest.NewServer(h)
	t.Cleanup(receiver.Close)
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "%HOOK%", receiver.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", testkit.FreePorts(t, 1)), log: filepath.Join(dir, "log"), hook: h}
	log, err := os.Create(r.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := append([]string{"--config.file=" + file, "--storage.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + strings.TrimPrefix(r.url, "http://"),
		"--cluster.listen-address="}, flags...)
	cmd := exec.Command(bin, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	r.ready(ended)
	return r
}

func (r *running) ready(ended chan struct{}) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(r.url, "http://")); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			text, _ := os.ReadFile(r.log)
			r.t.Fatalf("Alertmanager ended: %s", text)
		case <-ctx.Done():
			r.t.Fatal("Alertmanager does not listen")
		}
	}
}

// shown is an alert as the API shows it.
type shown struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Receivers    []struct {
		Name string `json:"name"`
	} `json:"receivers"`
	Status struct {
		State       string   `json:"state"`
		InhibitedBy []string `json:"inhibitedBy"`
	} `json:"status"`
}

// alerts that fire now, as GET /api/v2/alerts has them.
func (r *running) alerts() []shown {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+"/api/v2/alerts", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		r.t.Fatalf("alerts: %d %v %s", res.StatusCode, err, body)
	}
	var out []shown
	if err := json.Unmarshal(body, &out); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// await that what fires fits.
func (r *running) await(what string, fits func([]shown) bool) []shown {
	r.t.Helper()
	timeout := time.After(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		all := r.alerts()
		if fits(all) {
			return all
		}
		select {
		case <-tick.C:
		case <-timeout:
			r.t.Fatalf("%s never came; fires %+v", what, all)
		}
	}
}

// amtool asks as an operator does.
func (r *running) amtool(args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), program(r.t, "amtool"), append([]string{"--alertmanager.url=" + r.url}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("amtool %v: %v: %s", args, err, out)
	}
	return string(out)
}

func (r *running) notifier(change func(*Options)) (*Notifier, *bytes.Buffer) {
	r.t.Helper()
	var logged bytes.Buffer
	o := Options{URLs: []string{r.url}, Timeout: 20 * time.Second, Keep: 15 * time.Minute, Log: slog.New(slog.NewTextHandler(&logged, nil))}
	change(&o)
	n, err := New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	return n, &logged
}
