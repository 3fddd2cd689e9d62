package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"rotatord/internal/daemon"
	"rotatord/internal/journal"
	"rotatord/internal/rotate"
)

// historyFlags of the history command.
type historyFlags struct {
	verify, export     bool
	from, since, until string
	limit              int
}

func (c *cli) historyCmd() *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{Use: "history [NAME]", Short: "Show what happened to a credential, and who asked for it",
		Long: "--export writes the history of NAME, or of all, as JSON lines that anybody can verify without this journal (docs/journal.md);\n" +
			"--verify checks the journal's own history of NAME, or of all, and --verify --from FILE such an export, without config or\n" +
			"journal. It ends with 1 where an event was changed, added or removed.",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.runHistory(cmd, f, namesFrom(args)) }}
	cmd.Flags().BoolVar(&f.verify, "verify", false, "check that no event was changed or removed")
	cmd.Flags().StringVar(&f.from, "from", "", "verify the export in `FILE`, - is standard input")
	cmd.Flags().BoolVar(&f.export, "export", false, "write JSON lines with the hash of every event")
	cmd.Flags().StringVar(&f.since, "since", "", "from `TIME` on: 2026-03-01, 2026-03-01T09:00:00Z, or 30d ago as 30d")
	cmd.Flags().StringVar(&f.until, "until", "", "what was before `TIME`")
	cmd.Flags().IntVar(&f.limit, "limit", 100, "the newest `N` events; 0 is all")
	return cmd
}

func (c *cli) runHistory(cmd *cobra.Command, f historyFlags, names []rotate.Name) error {
	span := f.since != "" || f.until != ""
	switch {
	case f.verify && f.export:
		return usage("history: --verify and --export are two steps; export to a file first")
	case f.from != "" && !f.verify:
		return usage("history: --from names an export to check; add --verify")
	case f.from != "" && len(names) > 0, f.verify && span:
		return usage("history: --verify checks a history from its first event to its last, and --from all of a file; leave the rest out")
	case f.export && cmd.Flags().Changed("limit"):
		return usage("history: an export has no --limit; use --since and --until")
	case f.from != "":
		return c.verifyFile(f.from)
	}
	q := daemon.HistoryQuery{Limit: f.limit}
	if len(names) > 0 {
		q.Name = names[0]
	}
	now := time.Now()
	var err error
	if q.Since, err = parseWhen("--since", f.since, now); err != nil {
		return err
	}
	if q.Until, err = parseWhen("--until", f.until, now); err != nil {
		return err
	}
	switch {
	case f.export:
		return c.export(cmd.Context(), q, c.out)
	case f.verify && q.Name == "":
		return c.verifyAll(cmd.Context())
	case f.verify:
		return c.verify(cmd.Context(), q.Name)
	case q.Name == "":
		return usage("history: name a credential; --export and --verify take all of them")
	}
	return c.history(cmd.Context(), q)
}

// parseWhen reads a time, a day, or how long ago; "" is the zero time.
func parseWhen(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at.UTC(), nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day, nil
	}
	if d, err := model.ParseDuration(text); err == nil && d > 0 {
		return now.Add(-time.Duration(d)).UTC(), nil
	}
	return time.Time{}, usage("history: %s %q is no time; write 2026-03-01, 2026-03-01T09:00:00Z, or 30d for 30 days ago", flag, text)
}

func (c *cli) history(ctx context.Context, q daemon.HistoryQuery) (err error) {
	s, err := c.connect(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	entries, err := s.History(ctx, q)
	if err != nil {
		return explain(err)
	}
	if c.json {
		return c.printJSON(entries)
	}
	rows := make([][]string, len(entries))
	for i, e := range entries {
		what := string(e.Kind)
		if e.Effect != "" {
			what = string(e.Effect) + ": " + string(e.Result)
		}
		detail := e.Detail
		if e.Sink != "" {
			detail = strings.TrimSpace("sink " + e.Sink + " " + detail)
		}
		if e.Error != "" {
			detail = e.Error
		}
		rows[i] = []string{e.At.UTC().Format(time.RFC3339), what, string(e.Phase), orDash(string(e.Reason)), e.Slot.String(),
			orDash(string(e.Fingerprint)), orDash(e.Actor), detail}
	}
	return c.printTable([]string{"at", "what", "phase", "reason", "slot", "key", "actor", "detail"}, rows)
}

func (c *cli) verify(ctx context.Context, name rotate.Name) (err error) {
	s, err := c.connect(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	n, err := s.Verify(ctx, name)
	if err != nil {
		return explain(err)
	}
	if c.json {
		return c.printJSON(map[string]any{"name": name, "events": n, "whole": true})
	}
	return c.print("%s: %s, none changed or removed\n", name, plural(int(n), "event"))
}

func (c *cli) export(ctx context.Context, q daemon.HistoryQuery, to io.Writer) (err error) {
	s, err := c.connect(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Export(ctx, q, to); err != nil {
		return explain(err)
	}
	return nil
}

// verifyAll goes the way of an outsider: what is exported is what is checked.
func (c *cli) verifyAll(ctx context.Context) error {
	var b bytes.Buffer
	if err := c.export(ctx, daemon.HistoryQuery{}, &b); err != nil {
		return err
	}
	return c.verifyExport("the journal", &b)
}

func (c *cli) verifyFile(path string) error {
	if path == "-" {
		return c.verifyExport("standard input", c.in)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("verify exported history: %w", err)
	}
	defer f.Close()
	return c.verifyExport(path, f)
}

func (c *cli) verifyExport(what string, r io.Reader) error {
	got, err := journal.VerifyExport(r)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if c.json {
		return c.printJSON(got)
	}
	scope := "whole histories"
	if got.Part {
		scope = "a span of time, so no event before or after it"
	}
	rows := make([][]string, len(got.Credentials))
	for i, h := range got.Credentials {
		rows[i] = []string{string(h.Name), strconv.FormatInt(h.Events, 10), strconv.FormatInt(h.LastSeq, 10), h.Head}
	}
	if err := c.printTable([]string{"credential", "events", "last", "head"}, rows); err != nil {
		return err
	}
	return c.print("%s: none changed or removed (%s)\n", what, scope)
}
