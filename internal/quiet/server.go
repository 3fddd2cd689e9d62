package quiet

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"rotatord/internal/rotate"
)

// ServerOptions of NewServer.
type ServerOptions struct {
	Listen            string // host:port
	CertFile, KeyFile string // PEM; read again when they change
	Consumers         *Consumers
	// Store an acknowledgement and say what it means.
	Store func(context.Context, Ack) (Receipt, error)
	Log   *slog.Logger // nil: none
}

// Server takes acknowledgements over TLS: POST /v1/ack, and nothing else.
type Server struct {
	o         ServerOptions
	consumers atomic.Pointer[Consumers]
	listener  net.Listener
	server    *http.Server
	conns     atomic.Int64
	refused   limitedLog
}

const (
	requestTimeout = 10 * time.Second // for reading, storing and answering, each
	idleTimeout    = time.Minute
	drainTimeout   = 5 * time.Second
	maxHeader      = 8 << 10
	maxBody        = 4 << 10
	maxConns       = 512
)

// NewServer reads the certificate and binds the address. Close it if Run is never called.
func NewServer(o ServerOptions) (*Server, error) {
	if o.Consumers == nil || o.Store == nil {
		return nil, errors.New("make listener of acknowledgements: consumers and a store are needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	cert, err := newCertificate(o.CertFile, o.KeyFile, o.Log)
	if err != nil {
		return nil, fmt.Errorf("make listener of acknowledgements: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", o.Listen) // at once, or not
	if err != nil {
		return nil, fmt.Errorf("listen for acknowledgements: %w", err)
	}
	s := &Server{o: o, listener: l}
	s.consumers.Store(o.Consumers)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/ack", s.ack)
	mux.HandleFunc("/v1/ack", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", http.MethodPost)
		s.fail(w, http.StatusMethodNotAllowed, "an acknowledgement is posted")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		s.fail(w, http.StatusNotFound, "there is nothing here but /v1/ack")
	})
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: requestTimeout, ReadTimeout: requestTimeout, WriteTimeout: 2 * requestTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ConnState: s.count, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get}}
	return s, nil
}

// Use other consumers from now on.
func (s *Server) Use(c *Consumers) { s.consumers.Store(c) }

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close frees the address of a server that was never run.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until ctx ends, then lets requests in flight finish for a short time.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.server.ServeTLS(s.listener, "", "") }()
	select {
	case err := <-served:
		return fmt.Errorf("serve acknowledgements on %s: %w", s.Addr(), errors.Join(err, s.listener.Close()))
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := s.server.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if err != nil {
		return fmt.Errorf("stop the listener of acknowledgements: %w", err)
	}
	return nil
}

// count connections, and close those above the limit before their handshake costs anything.
func (s *Server) count(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if s.conns.Add(1) > maxConns {
			_ = c.Close() // it was of no use yet
		}
	case http.StateClosed, http.StateHijacked:
		s.conns.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

// ackRequest is the body. Whose word it is, the token says.
type ackRequest struct {
	Credential  rotate.Name        `json:"credential"`
	Generation  int64              `json:"generation"`
	Fingerprint rotate.Fingerprint `json:"fingerprint"`
}

// ackAnswer tells a consumer about itself and about nobody else.
type ackAnswer struct {
	Credential  rotate.Name        `json:"credential"`
	Consumer    string             `json:"consumer"`
	Fingerprint rotate.Fingerprint `json:"fingerprint,omitempty"`
	Generation  int64              `json:"generation,omitempty"`
	State       State              `json:"state"`
	Expected    bool               `json:"expected"`
	Detail      string             `json:"detail"`
}

func (s *Server) ack(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	who, ok := s.authenticate(ctx, w, r)
	if !ok {
		return
	}
	req, status, err := readAck(w, r)
	if err != nil {
		s.fail(w, status, err.Error())
		return
	}
	a := Ack{Name: req.Credential, Consumer: who.Name, Fingerprint: req.Fingerprint, Generation: req.Generation, At: time.Now().UTC(),
		By: "consumer " + who.Name + " at " + host(r.RemoteAddr)}
	if err := a.Check(); err != nil {
		s.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if !slices.Contains(who.Credentials, a.Name) {
		s.deny(ctx, w, r, http.StatusForbidden, who.Name, "it may not acknowledge this credential")
		return
	}
	receipt, err := s.o.Store(ctx, a)
	if err != nil {
		s.o.Log.LogAttrs(ctx, slog.LevelError, "acknowledgement not stored", slog.String("credential", string(a.Name)),
			slog.String("consumer", a.Consumer), slog.Any("err", err))
		s.fail(w, http.StatusServiceUnavailable, "it could not be stored; try again")
		return
	}
	s.answer(w, http.StatusOK, ackAnswer{Credential: a.Name, Consumer: a.Consumer, Fingerprint: receipt.Fingerprint, Generation: receipt.Generation,
		State: receipt.State, Expected: receipt.Expected, Detail: who.Name + " runs " + receipt.State.Says()})
}

// authenticate by the bearer token.
func (s *Server) authenticate(ctx context.Context, w http.ResponseWriter, r *http.Request) (*Consumer, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		token = ""
	}
	who, troubles, err := s.consumers.Load().whose(ctx, strings.TrimSpace(token), time.Now())
	if troubles != nil && s.refused.may(time.Now()) {
		s.o.Log.LogAttrs(ctx, slog.LevelError, "tokens of consumers not usable", slog.Any("err", troubles))
	}
	switch {
	case who == nil:
		w.Header().Set("WWW-Authenticate", "Bearer")
		s.deny(ctx, w, r, http.StatusUnauthorized, "", "the bearer token is missing or nobody's")
		return nil, false
	case err != nil:
		w.Header().Set("Retry-After", "5")
		s.deny(ctx, w, r, http.StatusTooManyRequests, who.Name, err.Error())
		return nil, false
	}
	return who, true
}

// readAck reads one JSON object. Errors do not quote it.
func readAck(w http.ResponseWriter, r *http.Request) (req ackRequest, status int, err error) {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err = dec.Decode(&req)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return req, http.StatusRequestEntityTooLarge, fmt.Errorf("the body is longer than %d bytes", maxBody)
	}
	if err != nil {
		return req, http.StatusBadRequest, errors.New(`the body is not {"credential": "…", "generation": 7, "fingerprint": "AT1_…"}`)
	}
	return req, 0, nil
}

// deny and note who was denied.
func (s *Server) deny(ctx context.Context, w http.ResponseWriter, r *http.Request, status int, who, why string) {
	if s.refused.may(time.Now()) {
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "acknowledgement refused", slog.String("consumer", who), slog.String("from", host(r.RemoteAddr)),
			slog.Int("status", status), slog.String("why", why))
	}
	s.fail(w, status, why)
}

func (s *Server) fail(w http.ResponseWriter, status int, why string) {
	s.answer(w, status, struct {
		Error string `json:"error"`
	}{why})
}

func (s *Server) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.o.Log.LogAttrs(context.Background(), slog.LevelDebug, "answer not sent", slog.Any("err", err))
	}
}

func host(addr string) string {
	h, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return h
}

// limitedLog keeps somebody who knocks all day from filling the log.
type limitedLog struct{ last atomic.Int64 }

// logEvery is the least time between two such lines.
const logEvery = 10 * time.Second

func (l *limitedLog) may(now time.Time) bool {
	last := l.last.Load()
	return now.Unix()-last >= int64(logEvery/time.Second) && l.last.CompareAndSwap(last, now.Unix())
}
