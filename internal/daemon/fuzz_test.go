package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

// anyService answers everything, and notes what it was told to change.
type anyService struct {
	fakeService
	told []rotate.Command
}

func (s *anyService) Command(_ context.Context, cmd rotate.Command, names ...rotate.Name) ([]CommandResult, error) {
	s.told = append(s.told, cmd)
	return make([]CommandResult, len(names)), nil
}

// Whatever is sent to the admin socket: an answer that can be read comes, nobody changes
// anything who may not, who asked is the kernel's word, and a key in it is not logged.
func FuzzAdminRequest(f *testing.F) {
	f.Add("GET", "/v1/status?name=maps&name=nobody", []byte(nil), false)
	f.Add("GET", "/v1/history?limit=-1&since=2026-03-01T00:00:00Z", []byte(nil), false)
	f.Add("GET", "/v1/export?until=x", []byte(nil), false)
	f.Add("GET", "/v1/backup", []byte(nil), false)
	f.Add("POST", "/v1/command", []byte(`{"names":["maps"],"command":{"kind":"hold","text":"a release","by":"the queen"}}`), true)
	f.Add("POST", "/v1/command", []byte(`{"names":["AAPTq8dZkfPzW0r1LJm5xT9bYh.AT1_H4JC97kO"],"command":{"kind":"rotate"}}`), true)
	f.Add("POST", "/v1/command", []byte(`{"command":{"kind":"compromised","fingerprints":["AAPTq8dZkfPzW0r1LJm5xT9bYh.AT1_H4JC97kO"]}}`), false)
	f.Add("POST", "/v1/reload", []byte(`{`), true)
	f.Add("PUT", "/../v1//command", []byte(strings.Repeat("[", 10000)), true)
	f.Fuzz(func(t *testing.T, method, target string, body []byte, mayChange bool) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://rotatord"+target, bytes.NewReader(body))
		if err != nil || !strings.HasPrefix(target, "/") || req.URL.Host != "rotatord" {
			return
		}
		const stranger = 4_000_000_000
		who := peer{uid: stranger, name: "mallory"}
		if mayChange {
			who = peer{uid: uint32(os.Getuid()), name: "alice"}
		}
		var log bytes.Buffer
		service := &anyService{}
		a := &Admin{o: AdminOptions{Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, service: service}
		w := httptest.NewRecorder()
		start := time.Now()
		a.routes().ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), peerKey{}, peerResult{peer: who})))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
		if !slices.Contains([]int{200, 301, 307, 400, 403, 404, 405, 500, 503}, w.Code) {
			t.Errorf("status %d", w.Code)
		}
		if w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("the answer is no JSON: %q", w.Body)
		}
		if len(service.told) > 0 && !mayChange {
			t.Errorf("a stranger gave %+v", service.told)
		}
		for _, cmd := range service.told {
			if cmd.By != who.String() {
				t.Errorf("the history would say %q", cmd.By)
			}
			if keyLike.MatchString(cmd.Text) {
				t.Errorf("the history would have a key: %q", cmd.Text)
			}
		}
		if keyLike.Match(log.Bytes()) && !keyLike.MatchString(method) {
			t.Errorf("the log has a key: %s", log.Bytes())
		}
	})
}
