package notifytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rotatord/internal/testkit"
)

// Hook is what an Alertmanager's receiver was told, oldest first.
type Hook struct {
	mu   sync.Mutex
	told []Group
	rang chan struct{}
}

// Group is the body that Alertmanager posts to a webhook receiver.
type Group struct {
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

// ServeHTTP implements http.Handler.
func (h *Hook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var g Group
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

// Told is all of it.
func (h *Hook) Told() []Group {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Group(nil), h.told...)
}

// Await a group that fits.
func (h *Hook) Await(t *testing.T, what string, fits func(Group) bool) Group {
	t.Helper()
	late := time.NewTimer(serverPatience)
	defer late.Stop()
	for {
		told := h.Told()
		for _, g := range told {
			if fits(g) {
				return g
			}
		}
		select {
		case <-h.rang:
		case <-late.C:
			t.Fatalf("nobody was told %s; told was %+v", what, told)
		}
	}
}

// StartAlertmanager starts Debian's with a config whose %HOOK% is the receiver.
func StartAlertmanager(t *testing.T, config string, flags ...string) (url string, h *Hook) {
	t.Helper()
	bin := Program(t, "prometheus-alertmanager", "alertmanager")
	h = &Hook{rang: make(chan struct{}, 1)}
	receiver := httptest.NewServer(h)
	t.Cleanup(receiver.Close)
	StartServer(t, func() (*exec.Cmd, string) {
		dir := t.TempDir()
		file := filepath.Join(dir, "alertmanager.yml")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "%HOOK%", receiver.URL)), 0o600); err != nil {
			t.Fatal(err)
		}
		address := fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(t, 1))
		url = "http://" + address
		cmd := exec.Command(bin, append([]string{"--config.file=" + file, "--storage.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address,
			"--cluster.listen-address="}, flags...)...)
		cmd.Dir = dir
		return cmd, address
	})
	return url, h
}

// Program of Alertmanager's package, wherever Debian or a developer has it.
func Program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	testkit.Need(t, false, names[0], "apt-get install prometheus-alertmanager, or test/scripts/setup.sh")
	return ""
}
