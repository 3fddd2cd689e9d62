package notifytest

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// Server is an HTTPS server that answers as it is told, for rigs of notifiers that post.
type Server struct {
	URL    string
	CAFile string // its own authority
	// accept is what it does while it Takes: it writes the answer, and returns what a
	// reader is told, "" for nothing.
	accept func(w http.ResponseWriter, r *http.Request, body []byte) string

	mu     sync.Mutex
	answer Answer
	told   []string
}

// NewServer begins with Takes and is closed with the test.
func NewServer(t *testing.T, accept func(w http.ResponseWriter, r *http.Request, body []byte) string) *Server {
	t.Helper()
	s := &Server{answer: Takes, accept: accept}
	stop := make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, stop) }))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(func() { close(stop); srv.Close() })
	s.URL = srv.URL
	s.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(s.CAFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// Answer sets what it does from now on.
func (s *Server) Answer(a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = a
}

// Told is what it took.
func (s *Server) Told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.told...)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, stop chan struct{}) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	switch answer {
	case Takes:
		told := s.accept(w, r, body)
		if told == "" {
			return
		}
		s.mu.Lock()
		s.told = append(s.told, told)
		s.mu.Unlock()
	case RefusesIt:
		w.WriteHeader(http.StatusUnprocessableEntity)
	case RefusesUs:
		w.WriteHeader(http.StatusUnauthorized)
	case Busy:
		w.WriteHeader(http.StatusInternalServerError)
	case Limits:
		w.Header().Set("Retry-After", strconv.Itoa(int(LimitWait.Seconds())))
		w.WriteHeader(http.StatusServiceUnavailable)
	case Hangs:
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	case Closes:
		hijack(w, "")
	case Garbles:
		hijack(w, "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"+r.URL.String()+"\r\n")
	case Echoes:
		echo(w, r, body, http.StatusBadRequest)
	case EchoesAsBusy:
		echo(w, r, body, http.StatusBadGateway)
	}
}

// hijack the connection, say something on it and close it.
func hijack(w http.ResponseWriter, say string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2 has no connection to give away
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(conn, say)
	_ = conn.Close()
}

// echo gives back all that was sent, wherever an error might pick it up.
func echo(w http.ResponseWriter, r *http.Request, body []byte, status int) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL)
	_ = r.Header.Write(&b)
	b.Write(body)
	w.Header().Set("X-Reason", r.URL.String())
	w.Header().Set("Location", "https://elsewhere.example"+r.URL.String())
	w.Header().Set("Www-Authenticate", r.Header.Get("Authorization"))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}
