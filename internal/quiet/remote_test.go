package quiet

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

// tlsServer and a file with its authority.
func tlsServer(t *testing.T, h http.HandlerFunc) (url, caFile string) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	s.Config.ErrorLog = nil
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return s.URL, caFile
}

func tokenOf(text string) func(context.Context) (rotate.Secret, error) {
	return func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(text), nil }
}

func TestRemoteAnswers(t *testing.T) {
	elsewhere := 0
	url, ca := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		case "/elsewhere":
			elsewhere++
			fmt.Fprint(w, `{"quiet":true,"allow":true}`)
		case "/long":
			fmt.Fprint(w, `{"quiet":true,"allow":true,"detail":"`+strings.Repeat("x", maxAnswer)+`"}`)
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"quiet":true,"allow":true}`)
		case "/503":
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"quiet":true,"allow":true}`)
		default:
			fmt.Fprint(w, r.URL.Query().Get("say"))
		}
	})
	for _, tt := range []struct {
		name, path string
		yes        bool
		detail     string
		unknown    string
	}{
		{name: "yes", path: `/?say={"quiet":true,"allow":true,"detail":"nobody"}`, yes: true, detail: "nobody"},
		{name: "no", path: `/?say={"quiet":false,"allow":false,"detail":"two%0Alines"}`, detail: "two\nlines", unknown: "not the JSON"},
		{name: "no in two lines", path: `/?say={"quiet":false,"allow":false,"detail":"two\nlines","more":1}`, detail: "two lines"},
		{name: "a key by mistake", path: `/?say={"quiet":false,"allow":false,"detail":"` + canary + `"}`, detail: "[hidden]"},
		{name: "no field", path: `/?say={"detail":"x"}`, unknown: "has no field"},
		{name: "null", path: `/?say={"quiet":null,"allow":null}`, unknown: "has no field"},
		{name: "a word", path: `/?say={"quiet":"true","allow":"true"}`, unknown: "not the JSON"},
		{name: "nothing", path: `/?say=`, unknown: "not the JSON"},
		{name: "no JSON", path: `/?say=` + canary, unknown: "not the JSON"},
		{name: "two values", path: `/?say={"quiet":true,"allow":true}{}`, unknown: "not the JSON"},
		{name: "redirect", path: "/moved", unknown: "HTTP 307"},
		{name: "too long", path: "/long", unknown: "longer than 64 KiB"},
		{name: "cut off", path: "/cut", unknown: "it closed the connection"},
		{name: "error", path: "/503", unknown: "HTTP 503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{URL: url + strings.ReplaceAll(tt.path, " ", "+"), CAFile: ca}
			got, err := mustGate(t, o).Ask(t.Context(), asked())
			hookErr := mustHook(t, o).Call(t.Context(), called())
			if tt.unknown != "" {
				if err == nil || got.Quiet || !strings.Contains(err.Error(), tt.unknown) || strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "say=") {
					t.Errorf("answer = %+v, %v, want unknown: %q", got, err, tt.unknown)
				}
				if hookErr == nil {
					t.Error("the hook allows")
				}
				return
			}
			if err != nil || got != (rotate.QuietAnswer{Quiet: tt.yes, Detail: tt.detail}) {
				t.Errorf("answer = %+v, %v", got, err)
			}
			if veto, is := errors.AsType[*VetoError](hookErr); is == tt.yes || (is && veto.Detail != tt.detail) {
				t.Errorf("hook = %v", hookErr)
			}
		})
	}
	if elsewhere > 0 {
		t.Error("a redirect was followed")
	}
}

// What a server sees of us, and that the answer to the other kind of question is none.
func TestRemoteSees(t *testing.T) {
	var header http.Header
	var body map[string]any
	url, ca := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		raw, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(raw, &body) != nil || r.Method != http.MethodPost {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, `{"%s":true}`, body["ask"])
	})
	o := Options{URL: url, CAFile: ca, Token: tokenOf("a-token-of-the-hook")}
	if err := mustHook(t, o).Call(t.Context(), called()); err != nil {
		t.Fatal(err)
	}
	if header.Get("Authorization") != "Bearer a-token-of-the-hook" || header.Get("Content-Type") != "application/json" || body["point"] != "before_retiring" {
		t.Errorf("header %v, body %v", header, body)
	}
	if a, err := mustGate(t, o).Ask(t.Context(), asked()); err != nil || !a.Quiet || body["credential"] != "web" {
		t.Errorf("answer = %+v, %v to %v", a, err, body)
	}
	other, ca := tlsServer(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"allow":true}`) })
	if a, err := mustGate(t, Options{URL: other, CAFile: ca}).Ask(t.Context(), asked()); !errors.Is(err, errNoBool) || a.Quiet {
		t.Errorf("a gate takes a hook's answer: %+v, %v", a, err)
	}
}

// A server that gives the token back, by any part of its answer, finds it in no error and
// no detail.
func TestRemoteGivesTheTokenBack(t *testing.T) {
	const secret = "g4te-t0ken-0123456789abcdef"
	for _, answer := range []string{
		"HTTP/1.1 302 Found\r\nLocation: http://[SECRET\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: SECRET://SECRET\r\n\r\n",
		"HTTP/1.1 SECRET SECRET\r\n\r\n", "SECRET\r\n\r\n", "HTTP/1.1 200 OK\r\nSECRET\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: SECRET\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: SECRET\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nSECRET\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nSECRET", "HTTP/1.1 500 SECRET\r\n\r\nSECRET",
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"quiet\":false,\"detail\":\"you sent SECRET\"}",
	} {
		url, ca := tlsServer(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, strings.ReplaceAll(answer, "SECRET", secret))
			_ = conn.Close()
		})
		a, err := mustGate(t, Options{URL: url, CAFile: ca, Token: tokenOf(secret)}).Ask(t.Context(), asked())
		if strings.Contains(fmt.Sprint(a, err), secret) || a.Quiet || (err == nil && a.Detail != "you sent [hidden]") {
			t.Errorf("%q gave %+v, %v", answer, a, err)
		}
	}
}

func TestRemoteNotReached(t *testing.T) {
	url, ca := tlsServer(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then is the client's end noticed
		<-r.Context().Done()
	})
	slow := Options{URL: url + "/?x=hidden-part", CAFile: ca, Timeout: 200 * time.Millisecond}
	noToken := Options{URL: url, CAFile: ca, Token: func(context.Context) (rotate.Secret, error) { return rotate.Secret{}, errors.New("no such file") }}
	for name, tt := range map[string]struct {
		o    Options
		says string
	}{
		"slow":              {slow, "no answer within 200ms"},
		"unknown authority": {Options{URL: url}, "certificate"},
		"refused":           {Options{URL: "https://127.0.0.1:1/"}, "refused"},
		"no token":          {noToken, "no such file"},
		"odd token":         {Options{URL: url, CAFile: ca, Token: tokenOf("a\nb" + canary)}, "Authorization"},
	} {
		a, err := mustGate(t, tt.o).Ask(t.Context(), asked())
		if err == nil || a.Quiet || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "hidden-part") || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: answer = %+v, %v, want unknown: %q", name, a, err, tt.says)
		}
	}
}
