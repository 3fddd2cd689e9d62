package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"rotatord/internal/rotate"
)

//go:embed assets
var assets embed.FS

// Options of New. Functions must not block on a portal, a sink or the daemon's loop.
type Options struct {
	// Snapshot returns every configured credential once, by name.
	Snapshot func(now time.Time) []Credential
	// Status is what `rotatord status --json` prints.
	Status func(now time.Time) any
	// History returns the newest events of a credential, oldest first; nil: none.
	History func(ctx context.Context, name rotate.Name, limit int) ([]Event, error)
	// Usage of a credential; nil: it is not read.
	Usage func(ctx context.Context, name rotate.Name) (Usage, error)
	// Settings tells how what the portal has of a credential compares with the config; nil, as its answer: the config states none.
	Settings func(name rotate.Name) *Settings
	// Acks tells which consumer runs which key; nil: nobody is asked.
	Acks func(ctx context.Context, name rotate.Name) ([]Ack, error)
	// Forecast returns what was last foretold of the fleet, and nil while nothing is. It may
	// wait for a moment. Nil: the calendar has what the records foretell.
	Forecast func(ctx context.Context) *Forecast
	// Daemon says how the process itself does; nil: nothing is said.
	Daemon func() Daemon

	Protocol   string       // docs/protocol.md, which explains every word
	Runbook    string       // docs/runbook.md, which is served as a page
	RunbookURL string       // the reader's own runbook, linked in its place; "": none
	Log        *slog.Logger // nil: none
}

// Daemon is the process behind the page.
type Daemon struct {
	Version  string
	Instance string
	Started  time.Time
	// Problems of the process itself, worst first: what follows may be stale.
	Problems []string
}

// Event is one line of a credential's history with its number.
type Event struct {
	Seq int64
	rotate.Event
}

// Ack is what one consumer last said about the key that it runs.
type Ack struct {
	Consumer    string
	Expected    bool   // a gate waits for it
	State       string // in words
	Fingerprint rotate.Fingerprint
	Generation  int64
	At          time.Time
	By          string // who said so
}

// Usage is what a credential's key was used for.
type Usage struct {
	Rows  []UsageRow // the newest day first
	Facts []string   // sentences: totals, budgets
	Wants []string   // sentences that want a person: a spike, a budget that is spent
	Note  string     // why there are no rows, or what they leave out
	Link  Link       // the portal's own page; zero: none
}

// UsageRow is one service on one UTC day.
type UsageRow struct {
	Day      time.Time
	Service  string
	Requests float64
	Credits  float64
}

// Settings of a credential, as they were compared last.
type Settings struct {
	Says      string
	CheckedAt time.Time // zero: never
	Differ    bool      // something is neither as the config says nor taken as meant
	Diff      string    // line by line; "" if nothing differs
	Adopted   string    // likewise, of what was taken as meant
}

// Link to another site.
type Link struct{ Text, URL string }

// Site serves the pages. It is safe for concurrent use.
type Site struct {
	o         Options
	templates *template.Template
	words     dictionary
	runbook   []section
	files     map[string]file // by path under the root
	style     string          // path of the style sheet with its hash
}

// file is one embedded asset.
type file struct {
	kind string
	data []byte
	tag  string
}

// New checks the options and compiles the templates.
func New(o Options) (*Site, error) {
	if o.Snapshot == nil || o.Status == nil {
		return nil, errors.New("make status page: a snapshot and a status are needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Site{o: o, words: readWords(o.Protocol), runbook: readPage(o.Runbook), files: map[string]file{}}
	for name, kind := range map[string]string{"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"} {
		data, err := assets.ReadFile("assets/" + name)
		if err != nil {
			return nil, fmt.Errorf("make status page: %w", err)
		}
		s.files["/"+name] = file{kind: kind, data: data, tag: tagOf(data)}
	}
	s.style = "style.css?v=" + s.files["/style.css"].tag
	var err error
	if s.templates, err = template.New("").Funcs(s.funcs()).ParseFS(assets, "assets/*.html"); err != nil {
		return nil, fmt.Errorf("make status page: %w", err)
	}
	return s, nil
}

// tagOf content: short, and another one where the content is another.
func tagOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// Root is the first page, for "/".
func (s *Site) Root() http.Handler { return s.page("fleet.html", s.fleet) }

// Handlers are all others, by ServeMux pattern. "GET" takes HEAD too; ServeMux refuses
// every other method.
func (s *Site) Handlers() map[string]http.Handler {
	all := map[string]http.Handler{
		"GET /timeline":    s.page("timeline.html", s.timeline),
		"GET /calendar":    s.page("calendar.html", s.calendar),
		"GET /credential":  s.page("credential.html", s.credential),
		"GET /runbook":     s.page("runbook.html", s.runbookPage),
		"GET /status.json": http.HandlerFunc(s.machine),
	}
	for path, f := range s.files {
		all["GET "+path] = f
	}
	return all
}

// policy of the pages: one style sheet and one icon of our own, a form that leads back
// here, and nothing else.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard sets what every answer carries.
func guard(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// notFoundError is answered with 404.
type notFoundError struct{ what string }

func (e *notFoundError) Error() string { return e.what }

// page answers with a template over what its model makes of a request.
func (s *Site) page(file string, model func(r *http.Request, now time.Time) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		guard(w.Header())
		w.Header().Set("Cache-Control", "no-store") // what is shown is true for a moment
		m, err := model(r, time.Now().UTC())
		name, status := file, http.StatusOK
		if e, ok := errors.AsType[*notFoundError](err); ok {
			name, status = "error.html", http.StatusNotFound
			m, err = s.failure(r, status, e.what), nil
		}
		var body bytes.Buffer
		if err == nil {
			err = s.templates.ExecuteTemplate(&body, name, m)
		}
		if err != nil {
			s.o.Log.LogAttrs(r.Context(), slog.LevelError, "status page not made", slog.String("path", r.URL.Path), slog.Any("err", err))
			http.Error(w, "The page cannot be made: "+err.Error()+"\nTry `rotatord status`.", http.StatusInternalServerError)
			return
		}
		if f, ok := m.(interface{ again() string }); ok && f.again() != "" {
			w.Header().Set("Refresh", f.again())
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write(body.Bytes()) // a reader that left needs no answer
	})
}

// machine answers with the status as JSON, as the command prints it.
func (s *Site) machine(w http.ResponseWriter, r *http.Request) {
	guard(w.Header())
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s.o.Status(time.Now().UTC())); err != nil {
		s.o.Log.LogAttrs(r.Context(), slog.LevelError, "status not encoded", slog.Any("err", err))
		http.Error(w, "the status cannot be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-cache") // may be kept, is asked for again each time
	file{kind: "application/json", data: body.Bytes(), tag: tagOf(body.Bytes())}.ServeHTTP(w, r)
}

// ServeHTTP answers with the file, or 304 to who has it.
func (f file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	guard(w.Header())
	if r.URL.Query().Get("v") == f.tag {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // another content has another address
	} else if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "no-cache")
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("ETag", `"`+f.tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}

// frame is what every page's head and foot show.
type frame struct {
	Title   string
	Here    string // path of the page, for the navigation
	Style   string
	Now     time.Time
	Daemon  Daemon
	Broken  int    // credentials in the state broken, for the title
	Wants   int    // that want a person, broken ones included
	Refresh string // seconds until the browser loads it anew; "": never
}

func (f frame) again() string { return f.Refresh }

func (s *Site) frame(title, here string, now time.Time, rows []row) frame {
	f := frame{Title: title, Here: here, Style: s.style, Now: now}
	if s.o.Daemon != nil {
		f.Daemon = s.o.Daemon()
	}
	for _, r := range rows {
		if r.State == stateBroken {
			f.Broken++
		}
		if r.Attention != "" {
			f.Wants++
		}
	}
	return f
}

// failure is the model of error.html.
func (s *Site) failure(r *http.Request, status int, what string) any {
	return struct {
		frame
		Status int
		What   string
	}{s.frame("Not found", r.URL.Path, time.Now().UTC(), nil), status, what}
}
