package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"rotatord/internal/alert"
	"rotatord/internal/alert/notifytest"
	"rotatord/internal/config"
	"rotatord/internal/testkit"
)

// TestNotifiersOfTheConfig: what the config names is made as it says, reaches who it is for, and
// check-config --online says which of them would not.
func TestNotifiersOfTheConfig(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization")+" "+string(body))
		mu.Unlock()
		if r.URL.Path == "/api/v2/status" {
			_, _ = io.WriteString(w, `{"versionInfo":{"version":"0.25.0"}}`)
		}
	}))
	defer srv.Close()
	dir := t.TempDir()
	secret := func(name, value string) string {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return "file:" + filepath.Join(dir, name)
	}
	minimal, err := os.ReadFile(filepath.Join(testkit.Root(t), "internal", "config", "testdata", "minimal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("config.yaml", fmt.Appendf(minimal, `
alerts:
  to: [slack, webhook, alertmanager, email]
  slack: {webhook: '%s'}
  webhook: {url: '%s', secrets: ['%s']}
  alertmanager: {urls: ['%s'], token: '%s', keep: 1h}
  email: {smarthost: '127.0.0.1:1', from: rotatord@acme.example, to: [keys@acme.example], username: u, password: '%s'}
`, secret("slack", "https://hooks.slack.com/services/T0/B0/x"), secret("url", srv.URL+"/hook/s3cret-part"), secret("sign", strings.Repeat("k", 32)), srv.URL,
		secret("token", "t0ken-of-am"), secret("password", "c0rrect-h0rse")))
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	all, err := newNotifiers(cfg, "01JINSTANCE", log)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range all {
		names = append(names, n.Name())
		if _, err := n.Tell(t.Context(), notifytest.Notice()); (err != nil) != (n.Name() == "email") {
			t.Errorf("%s: %v", n.Name(), err)
		}
	}
	if want := []string{"webhook", "alertmanager", "email"}; !slices.Equal(names, want) {
		t.Errorf("notifiers %q, want %q", names, want)
	}
	if r, ok := all[1].(alert.Refresher); !ok || r.RefreshEvery().Minutes() != 15 {
		t.Error("keep does not reach the Alertmanager notifier")
	}
	mu.Lock()
	told := strings.Join(asked, "\n")
	mu.Unlock()
	for _, want := range []string{"POST /hook/s3cret-part ", `"source":"urn:rotatord:01JINSTANCE"`, "POST /api/v2/alerts Bearer t0ken-of-am "} {
		if !strings.Contains(told, want) {
			t.Errorf("%q was not sent: %s", want, told)
		}
	}
	// Files that are written anew count from the next message on.
	secret("url", srv.URL+"/hook/s3cret-part-2")
	secret("token", "t0ken-of-am-2")
	for _, n := range all[:2] {
		if _, err := n.Tell(t.Context(), notifytest.Notice()); err != nil {
			t.Errorf("%s: %v", n.Name(), err)
		}
	}
	mu.Lock()
	told = strings.Join(asked, "\n")
	mu.Unlock()
	for _, want := range []string{"POST /hook/s3cret-part-2 ", "POST /api/v2/alerts Bearer t0ken-of-am-2 "} {
		if !strings.Contains(told, want) {
			t.Errorf("%q was not sent: %s", want, told)
		}
	}
	found := checkNotifiers(t.Context(), cfg, log)
	if len(found) != 1 || found[0].Notifier != "email" || !strings.Contains(found[0].Sentence, "connection refused") {
		t.Errorf("findings %+v, want that of email", found)
	}
	srv.Close()
	found = checkNotifiers(t.Context(), cfg, log)
	if len(found) != 3 {
		t.Errorf("findings %+v, want one of each", found)
	}
	for _, s := range []string{"s3cret-part", "t0ken-of-am", "c0rrect-h0rse", "kkkk"} {
		if strings.Contains(fmt.Sprint(found)+logged.String(), s) {
			t.Errorf("%q is in findings or log", s)
		}
	}
}
