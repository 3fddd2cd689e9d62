package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"rotatord/internal/rotate"
)

// AdminOptions of an Admin.
type AdminOptions struct {
	Socket string
	Group  string   // may use the reading verbs; "": the daemon's own
	Users  []string // may also use the changing verbs, beside root and the daemon's own user
	More   []Extra  // verbs besides those of Service
	Log    *slog.Logger
}

// Extra is a verb of another package than this one.
type Extra struct {
	Pattern string // "GET /v1/usage"
	Changes bool   // who may only read may not use it
	// Serve returns what to answer as JSON. Body is capped.
	Serve func(ctx context.Context, actor string, q url.Values, body io.Reader) (any, error)
}

// BadRequest is an Extra's error where the caller is to blame.
func BadRequest(why string) error { return &badRequestError{why} }

const maxExtra = 64 << 20

// Admin serves a Service over a unix socket.
type Admin struct {
	o        AdminOptions
	service  Service
	listener net.Listener
	server   *http.Server
}

const (
	adminHeaderTimeout = 10 * time.Second
	adminStopTimeout   = 5 * time.Second
	maxCommand         = 1 << 20
)

// NewAdmin opens the socket; Serve answers on it.
func NewAdmin(ctx context.Context, s Service, o AdminOptions) (*Admin, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l, err := listen(ctx, o.Socket, o.Group)
	if err != nil {
		return nil, err
	}
	a := &Admin{o: o, service: s, listener: l}
	a.server = &http.Server{Handler: a.routes(), ConnContext: withPeer, ReadHeaderTimeout: adminHeaderTimeout,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)}
	return a, nil
}

// Serve until ctx ends; answers under way are finished first.
func (a *Admin) Serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- a.server.Serve(a.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve admin socket: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminStopTimeout)
	defer cancel()
	err := a.server.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		err = a.server.Close() // what is left waits for a daemon that has ended
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("stop admin socket: %w", err)
	}
	return nil
}

// verb is what a request runs: it returns what to answer as JSON.
type verb func(r *http.Request, p peer) (any, error)

func (a *Admin) routes() http.Handler {
	mux := http.NewServeMux()
	read := func(pattern string, v verb) { mux.Handle(pattern, a.handle(v, false)) }
	change := func(pattern string, v verb) { mux.Handle(pattern, a.handle(v, true)) }
	read("GET /v1/status", func(r *http.Request, _ peer) (any, error) { return a.service.Status(r.Context(), namesOf(r)...) })
	read("GET /v1/plan", func(r *http.Request, _ peer) (any, error) { return a.service.Plan(r.Context(), namesOf(r)...) })
	read("GET /v1/history", a.history)
	read("GET /v1/export", a.export)
	read("GET /v1/verify", func(r *http.Request, _ peer) (any, error) {
		return a.service.Verify(r.Context(), rotate.Name(r.URL.Query().Get("name")))
	})
	read("GET /v1/health", func(r *http.Request, _ peer) (any, error) { return a.service.Health(r.Context()) })
	read("GET /v1/metrics", a.metrics)
	change("GET /v1/backup", a.backup)
	change("POST /v1/command", a.command)
	change("POST /v1/ack", a.ack)
	read("GET /v1/acks", func(r *http.Request, _ peer) (any, error) {
		return a.service.Acks(r.Context(), rotate.Name(r.URL.Query().Get("name")))
	})
	change("POST /v1/reload", a.reload)
	for _, x := range a.o.More {
		mux.Handle(x.Pattern, a.handle(func(r *http.Request, p peer) (any, error) {
			return x.Serve(r.Context(), p.String(), r.URL.Query(), http.MaxBytesReader(nil, r.Body, maxExtra))
		}, x.Changes))
	}
	return mux
}

func namesOf(r *http.Request) []rotate.Name {
	var names []rotate.Name
	for _, n := range r.URL.Query()["name"] {
		names = append(names, rotate.Name(n))
	}
	return names
}

func historyQuery(r *http.Request) (HistoryQuery, error) {
	values := r.URL.Query()
	q := HistoryQuery{Name: rotate.Name(values.Get("name"))}
	var err error
	if limit := values.Get("limit"); limit != "" {
		if q.Limit, err = strconv.Atoi(limit); err != nil || q.Limit < 0 {
			return q, &badRequestError{"limit is no count"}
		}
	}
	for _, at := range []struct {
		key  string
		into *time.Time
	}{{"since", &q.Since}, {"until", &q.Until}} {
		if text := values.Get(at.key); text != "" {
			if *at.into, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return q, &badRequestError{at.key + " is no time"}
			}
		}
	}
	return q, nil
}

func (a *Admin) history(r *http.Request, _ peer) (any, error) {
	q, err := historyQuery(r)
	if err != nil {
		return nil, err
	}
	return a.service.History(r.Context(), q)
}

func (a *Admin) export(r *http.Request, _ peer) (any, error) {
	q, err := historyQuery(r)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = a.service.Export(r.Context(), q, &b)
	return body{"application/jsonl", b.Bytes()}, err
}

// body is an answer that is no JSON.
type body struct {
	kind string
	data []byte
}

func (a *Admin) metrics(r *http.Request, _ peer) (any, error) {
	var b bytes.Buffer
	err := a.service.Metrics(r.Context(), &b)
	return body{"text/plain; version=0.0.4", b.Bytes()}, err
}

func (a *Admin) backup(r *http.Request, _ peer) (any, error) {
	var b bytes.Buffer
	err := a.service.Backup(r.Context(), &b)
	return body{"application/octet-stream", b.Bytes()}, err
}

// commandRequest is the body of POST /v1/command. No name: all credentials.
type commandRequest struct {
	Names   []rotate.Name  `json:"names,omitempty"`
	Command rotate.Command `json:"command"`
}

func (a *Admin) command(r *http.Request, p peer) (any, error) {
	var req commandRequest
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxCommand))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return nil, &badRequestError{"the command cannot be read"}
	}
	if err := slip(req.Command, req.Names); err != nil {
		return nil, err
	}
	req.Command.By = p.String() // who asks is the kernel's word, not the caller's
	a.o.Log.LogAttrs(r.Context(), slog.LevelInfo, "command received", slog.String("command", string(req.Command.Kind)),
		slog.String("actor", req.Command.By), slog.Any("credentials", req.Names))
	return a.service.Command(r.Context(), req.Command, req.Names...)
}

// reload goes on to its end though the caller leaves: what was given up half-way would
// count as a refused config.
func (a *Admin) reload(r *http.Request, p peer) (any, error) {
	a.o.Log.LogAttrs(r.Context(), slog.LevelInfo, "reload asked for", slog.String("actor", p.String()))
	return a.service.Reload(WithActor(context.WithoutCancel(r.Context()), p.String()))
}

type badRequestError struct{ why string }

func (e *badRequestError) Error() string { return e.why }

// failure is the body of every answer that is no success.
type failure struct {
	Error string        `json:"error"`
	Cure  string        `json:"cure,omitempty"`
	Name  rotate.Name   `json:"name,omitempty"`  // that is not in the config
	Known []rotate.Name `json:"known,omitempty"` // which are
}

func (a *Admin) handle(v verb, changes bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := peerOf(r.Context())
		if err != nil {
			a.answer(w, http.StatusForbidden, failure{Error: err.Error()})
			return
		}
		if changes && !a.may(p) {
			a.answer(w, http.StatusForbidden, failure{Error: fmt.Sprintf("%s may read, not change", p),
				Cure: "use sudo, or have " + p.name + " added to admin.users in the config"})
			return
		}
		out, err := v(r, p)
		if err != nil {
			status, f := failureOf(err)
			a.answer(w, status, f)
			return
		}
		if b, ok := out.(body); ok {
			w.Header().Set("Content-Type", b.kind)
			w.Header().Set("Content-Length", strconv.Itoa(len(b.data)))
			_, _ = w.Write(b.data) // a client that left needs no answer
			return
		}
		a.answer(w, http.StatusOK, out)
	})
}

func (a *Admin) may(p peer) bool { return p.trusted() || slices.Contains(a.o.Users, p.name) }

func failureOf(err error) (int, failure) {
	f := failure{Error: err.Error()}
	if e, ok := errors.AsType[*NotFoundError](err); ok {
		f.Name, f.Known = e.Name, e.Known
		return http.StatusNotFound, f
	}
	if _, ok := errors.AsType[*badRequestError](err); ok {
		return http.StatusBadRequest, f
	}
	if _, ok := errors.AsType[*ConfigError](err); ok {
		return http.StatusUnprocessableEntity, f
	}
	if errors.Is(err, errStopped) {
		return http.StatusServiceUnavailable, f
	}
	return http.StatusInternalServerError, f
}

func (a *Admin) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		a.o.Log.LogAttrs(context.Background(), slog.LevelDebug, "answer not sent", slog.Any("err", err))
	}
}
