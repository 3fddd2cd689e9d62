package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/prometheus/exporter-toolkit/web"
)

// ServerOptions of NewServer.
type ServerOptions struct {
	// Listen is host:port, or ListenSystemd for the socket that systemd hands over.
	Listen string
	// WebConfigFile switches on TLS and basic auth, in the exporter-toolkit's format.
	// It covers every path. Empty: neither.
	WebConfigFile string
	Metrics       http.Handler // of /metrics
	// Ready and Healthy say why rotatord is not; an upstream never flips either.
	Ready   func() error
	Healthy func() error
	// Root, if not nil, is served at / instead of a page of links.
	Root http.Handler
	// More handlers by ServeMux pattern, such as "GET /credentials/". They are behind the
	// same TLS and passwords. A pattern of this package's own paths is refused.
	More    map[string]http.Handler
	Version string
	Log     *slog.Logger // nil: none
}

// Server answers Prometheus and health checks. It changes nothing.
type Server struct {
	o        ServerOptions
	listener net.Listener
	server   *http.Server
	drain    time.Duration // how long requests in flight may take at the end
}

const (
	readTimeout  = 10 * time.Second
	writeTimeout = time.Minute // a scrape of 100,000 credentials takes seconds
	idleTimeout  = 2 * time.Minute
	drainTimeout = 5 * time.Second
	maxHeader    = 16 << 10
)

// NewServer checks the web config and binds the address, so that a taken port ends
// the start and not the run. Close it if Run is never called.
func NewServer(o ServerOptions) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := web.Validate(o.WebConfigFile); err != nil {
		return nil, fmt.Errorf("read web config %s: %w", o.WebConfigFile, err)
	}
	mux, err := newMux(o)
	if err != nil {
		return nil, err
	}
	l, err := listen(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP: %w", err)
	}
	return &Server{o: o, listener: l, drain: drainTimeout, server: &http.Server{
		Handler: mux, ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}}, nil
}

// ListenSystemd instead of an address takes the socket of a systemd socket unit, which
// can be a unix socket, a port below 1024, or open before the daemon is (sd_listen_fds(3)).
const ListenSystemd = "systemd"

func listen(address string) (net.Listener, error) {
	if address != ListenSystemd {
		return new(net.ListenConfig).Listen(context.Background(), "tcp", address) // at once, or not
	}
	all, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("take the socket from systemd: %w", err)
	}
	all = slices.DeleteFunc(all, func(l net.Listener) bool { return l == nil }) // a datagram socket
	if len(all) != 1 {
		err := fmt.Errorf("systemd handed %d sockets over, want one: start rotatord by a socket unit with one ListenStream", len(all))
		for _, l := range all {
			err = errors.Join(err, l.Close())
		}
		return nil, err
	}
	return all[0], nil
}

func newMux(o ServerOptions) (*http.ServeMux, error) {
	if o.Root == nil {
		page, err := web.NewLandingPage(web.LandingConfig{Name: "rotatord", Description: "Rotation of ArcGIS API keys", Version: o.Version, Profiling: "false",
			Links: []web.LandingLinks{{Address: "/metrics", Text: "Metrics"}, {Address: "/healthz", Text: "Health"}, {Address: "/readyz", Text: "Readiness"}}})
		if err != nil {
			return nil, fmt.Errorf("build the page of links: %w", err)
		}
		o.Root = page
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	mux.Handle("GET /healthz", state(o.Healthy))
	mux.Handle("GET /readyz", state(o.Ready))
	mux.Handle("GET /{$}", o.Root)
	for _, pattern := range slices.Sorted(maps.Keys(o.More)) {
		if err := handle(mux, pattern, o.More[pattern]); err != nil {
			return nil, err
		}
	}
	return mux, nil
}

// handle turns ServeMux's panic on a bad or taken pattern into an error.
func handle(mux *http.ServeMux, pattern string, h http.Handler) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("serve %q: %v", pattern, cause)
		}
	}()
	mux.Handle(pattern, h)
	return nil
}

// state answers 200 or 503 with the reason.
func state(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		text := "ok"
		if check != nil {
			if err := check(); err != nil {
				text = err.Error()
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}
		_, _ = fmt.Fprintln(w, text) // the client is gone; nobody to tell
	}
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close frees the address of a server that was never run.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until ctx ends, then lets requests in flight finish for a short time.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() {
		file := s.o.WebConfigFile
		served <- web.Serve(s.listener, s.server, &web.FlagConfig{WebConfigFile: &file}, s.o.Log)
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP on %s: %w", s.Addr(), errors.Join(err, s.listener.Close()))
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.drain)
	defer cancel()
	err := s.server.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		s.o.Log.WarnContext(drain, "cut HTTP requests that did not end", slog.Duration("after", s.drain))
		err = s.server.Close()
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if err != nil {
		return fmt.Errorf("stop HTTP on %s: %w", s.Addr(), err)
	}
	return nil
}
