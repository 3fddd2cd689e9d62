package alertmanager

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"rotatord/internal/alert/notifytest"
)

// patience: waits for something to come true.
const patience = 30 * time.Second

// running is an Alertmanager of Debian's package, and the receiver that it tells.
type running struct {
	t    *testing.T
	url  string
	hook *notifytest.Hook
}

func startReal(t *testing.T, config string, flags ...string) *running {
	t.Helper()
	url, hook := notifytest.StartAlertmanager(t, config, flags...)
	return &running{t, url, hook}
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
	cmd := exec.CommandContext(r.t.Context(), notifytest.Program(r.t, "amtool"), append([]string{"--alertmanager.url=" + r.url}, args...)...)
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
