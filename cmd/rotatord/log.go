package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"

	"rotatord/internal/config"
	"rotatord/internal/rotate"
)

func terminal(fd uintptr) bool { return isatty.IsTerminal(fd) }

// colour is wanted on a terminal, unless NO_COLOR says otherwise (no-color.org).
func colour(stream any) bool { return isTerminal(stream) && os.Getenv("NO_COLOR") == "" }

// newLogger writes text with colour on a terminal, text with systemd's priorities into the system journal, and JSON
// anywhere else.
func newLogger(w io.Writer, level slog.Leveler, format string) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	switch {
	case format == "json":
		return slog.New(slog.NewJSONHandler(w, opts))
	case format == "text" || isTerminal(w):
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, NoColor: !colour(w)}))
	case w == io.Writer(os.Stderr) && inSystemJournal():
		return slog.New(newJournalHandler(w, level))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func inSystemJournal() bool {
	ok, err := journal.StderrIsJournalStream()
	return err == nil && ok
}

// logger of a command.
func (c *cli) logger(cfg *config.Config) (*slog.Logger, error) {
	level, err := c.level(cfg)
	if err != nil {
		return nil, err
	}
	c.levels.Set(level)
	format := "auto"
	if cfg != nil {
		format = cfg.Log.Format
	}
	return newLogger(c.err, &c.levels, format), nil
}

// journalHandler puts systemd's priority before each line, and leaves the time to systemd (sd-daemon(3)).
type journalHandler struct {
	slog.Handler // writes one line into line
	out          io.Writer
	mu           *sync.Mutex // guards line
	line         *bytes.Buffer
}

func newJournalHandler(w io.Writer, level slog.Leveler) *journalHandler {
	line := &bytes.Buffer{}
	noTime := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	return &journalHandler{Handler: slog.NewTextHandler(line, &slog.HandlerOptions{Level: level, ReplaceAttr: noTime}), out: w,
		mu: &sync.Mutex{}, line: line}
}

// Handle implements slog.Handler.
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line.Reset()
	h.line.WriteString(priority(r.Level))
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.Write(h.line.Bytes())
	return err
}

// WithAttrs implements slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithAttrs(attrs)
	return &c
}

// WithGroup implements slog.Handler.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithGroup(name)
	return &c
}

func priority(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

// eventLog writes each of the domain's events as one line.
type eventLog struct{ log *slog.Logger }

// Observe implements rotate.Observer.
func (l eventLog) Observe(e rotate.Event) {
	level := slog.LevelInfo
	switch e.Kind {
	case rotate.EventEffect:
		level = slog.LevelDebug
		if e.Result != rotate.ResultOK {
			level = slog.LevelWarn
		}
	case rotate.EventKeyLost, rotate.EventAborted, rotate.EventOrphan, rotate.EventRebuilt, rotate.EventRefused, rotate.EventBlocked:
		level = slog.LevelWarn
	case rotate.EventKeyDead, rotate.EventDrift, rotate.EventQuarantined:
		level = slog.LevelError
	default: // good news
	}
	attrs := []slog.Attr{slog.String("event", string(e.Kind)), slog.String("credential", string(e.Name))}
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	text("portal", string(e.Portal))
	text("rotation_id", e.RotationID)
	text("phase", string(e.Phase))
	text("effect", string(e.Effect))
	text("result", string(e.Result))
	text("reason", string(e.Reason))
	text("drift", string(e.Drift))
	if e.Slot.Valid() {
		text("slot", e.Slot.String())
	}
	text("fingerprint", string(e.Fingerprint))
	text("sink", e.Sink)
	text("actor", e.Actor)
	text("detail", e.Detail)
	text("err", e.Error)
	if !e.Expires.IsZero() {
		attrs = append(attrs, slog.Time("expires", e.Expires))
	}
	if e.Took > 0 {
		attrs = append(attrs, slog.Duration("took", e.Took))
	}
	l.log.LogAttrs(context.Background(), level, "credential event", attrs...)
}

// observers tells several; the order is that of the list.
type observers []rotate.Observer

// Observe implements rotate.Observer.
func (all observers) Observe(e rotate.Event) {
	for _, o := range all {
		o.Observe(e)
	}
}
