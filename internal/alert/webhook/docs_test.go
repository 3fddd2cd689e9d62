package webhook

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/alert/notifytest"
	"rotatord/internal/alert/wire"
	"rotatord/internal/testkit"
)

// block of a page in a language.
func block(t *testing.T, language string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "notifiers.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```"+language+"\n")
	code, _, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		t.Fatalf("docs/notifiers.md has no block of %s", language)
	}
	return code
}

// TestReceiverInDocs: the receiver that the page shows believes what we send with either
// secret, and nothing else.
func TestReceiverInDocs(t *testing.T) {
	python, err := exec.LookPath("python3")
	testkit.Need(t, err == nil, "python3", "apt-get install python3")
	type request struct {
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
		Secret  string            `json:"secret"`
	}
	var sent request
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		sent = request{Headers: map[string]string{}, Body: string(body)}
		for k := range r.Header {
			sent.Headers[strings.ToLower(k)] = r.Header.Get(k)
		}
	}))
	defer srv.Close()
	n, err := New(Options{URL: source(srv.URL), Secrets: []wire.Source{source(secretOne), source(secretTwo)}, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Tell(t.Context(), notifytest.Notice()); err != nil {
		t.Fatal(err)
	}
	genuine := func(r request) string {
		t.Helper()
		input, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), python, "-c", block(t, "python")+"\nimport json, sys\nr = json.load(sys.stdin)\nprint(genuine(r['headers'], r['body'].encode(), r['secret']))")
		cmd.Stdin = strings.NewReader(string(input))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for _, tc := range []struct {
		name, want string
		change     func(*request)
	}{
		{"the first secret", "True", func(r *request) { r.Secret = secretOne }},
		{"the second secret", "True", func(r *request) { r.Secret = secretTwo }},
		{"another secret", "False", func(r *request) { r.Secret = "a-secret-that-is-neither-of-them" }},
		{"another body", "False", func(r *request) { r.Secret, r.Body = secretOne, r.Body+" " }},
		{"an old message", "False", func(r *request) {
			r.Secret, r.Headers = secretOne, map[string]string{"webhook-id": "x", "webhook-timestamp": "1600000000", "webhook-signature": "v1,x"}
		}},
	} {
		r := sent
		tc.change(&r)
		if got := genuine(r); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

// TestSenderInDocs: what the page tries a receiver with is signed as ours is.
func TestSenderInDocs(t *testing.T) {
	for _, program := range []string{"sh", "openssl", "curl"} {
		_, err := exec.LookPath(program)
		testkit.Need(t, err == nil, program, "apt-get install "+program)
	}
	var problem error
	got := 0
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got++
		problem = receive(t, r, body, secretTwo)
	}))
	defer srv.Close()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", block(t, "sh"))
	cmd.Env = append(os.Environ(), "SECRET="+secretTwo, "URL="+srv.URL)
	if out, err := cmd.CombinedOutput(); err != nil || got != 1 || problem != nil {
		t.Errorf("%v, %d requests, %v: %s", err, got, problem, out)
	}
}
