package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

func (c *cli) historyCmd() *cobra.Command {
	var verify bool
	var limit int
	cmd := &cobra.Command{Use: "history NAME", Short: "Show what happened to a credential, and who asked for it",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if verify {
				return c.verify(cmd.Context(), rotate.Name(args[0]))
			}
			return c.history(cmd.Context(), daemon.HistoryQuery{Name: rotate.Name(args[0]), Limit: limit})
		}}
	cmd.Flags().BoolVar(&verify, "verify", false, "check that no event was changed or removed")
	cmd.Flags().IntVar(&limit, "limit", 100, "the newest `N` events; 0 is all")
	return cmd
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
