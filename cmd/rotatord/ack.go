package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/daemon"
	"rotatord/internal/quiet"
	"rotatord/internal/rotate"
)

func (c *cli) ackCmd() *cobra.Command {
	var a quiet.Ack
	var fingerprint string
	cmd := &cobra.Command{Use: "ack NAME --consumer X --generation N", Short: "Say which key a consumer runs, so that the old one can be retired",
		Long: "Says that a consumer runs the key of a generation, a fingerprint, or both; it binds to the key that has the generation now.\n" +
			"Where quiet.acks names consumers, the old key is retired only when each of them runs the live one. What a consumer said\n" +
			"last counts. A key that rotatord does not know is noted as such, and ends with 3.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.Name, a.Fingerprint, a.By = rotate.Name(args[0]), rotate.Fingerprint(fingerprint), daemon.Actor()
			if err := a.Check(); err != nil {
				return usage("ack: %w", err)
			}
			return c.ack(cmd.Context(), a)
		}}
	f := cmd.Flags()
	f.StringVar(&a.Consumer, "consumer", "", "who runs it, as in quiet.acks of the config")
	f.Int64Var(&a.Generation, "generation", 0, "the key's generation `N`, from status or beside the key in its sink")
	f.StringVar(&fingerprint, "fingerprint", "", "the key's `FINGERPRINT`; alone, or to be checked against the generation")
	return cmd
}

func (c *cli) ack(ctx context.Context, a quiet.Ack) (err error) {
	s, err := c.connect(ctx, "ack")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	res, err := s.Ack(ctx, a)
	if err != nil {
		return explain(err)
	}
	if c.json {
		err = c.printJSON(res)
	} else {
		err = c.print("%s: %s runs %s%s\n", res.Name, res.Consumer, res.State.Says(), ackedKey(res.Generation, res.Fingerprint))
	}
	if err != nil {
		return err
	}
	return c.afterAck(ctx, s, res)
}

// afterAck says what a person should know about an acknowledgement that was stored.
func (c *cli) afterAck(ctx context.Context, s *session, res quiet.Receipt) error {
	if !res.Expected {
		hint := ""
		if all, err := s.Acks(ctx, res.Name); err == nil {
			var known []string
			for _, one := range all.Consumers {
				if one.Expected {
					known = append(known, one.Consumer)
				}
			}
			if guess := nearest(res.Consumer, known); guess != "" {
				hint = "; did you mean " + guess + "?"
			}
		}
		c.say("no gate of %s waits for consumer %s%s", res.Name, res.Consumer, hint)
	}
	if len(res.Missing) > 0 {
		c.say("still missing: %s", strings.Join(res.Missing, ", "))
	}
	if res.State.Odd() {
		c.say("it was kept, but it does not count for the live key; see rotatord acks %s", res.Name)
		return &exitError{code: exitAttention}
	}
	return nil
}

func ackedKey(generation int64, f rotate.Fingerprint) string {
	var parts []string
	if generation > 0 {
		parts = append(parts, fmt.Sprintf("generation %d", generation))
	}
	if f != "" {
		parts = append(parts, string(f))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func (c *cli) acksCmd() *cobra.Command {
	return &cobra.Command{Use: "acks NAME", Short: "Show which consumer runs which key, and who keeps the old one in use",
		Long: "Shows what each consumer acknowledged last, and what the gates say that only need to read. Gates that run a program or call a\n" +
			"service are named and not asked: only a rotation asks them.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.acks(cmd.Context(), rotate.Name(args[0])) }}
}

func (c *cli) acks(ctx context.Context, name rotate.Name) (err error) {
	s, err := c.connect(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	all, err := s.Acks(ctx, name)
	if err != nil {
		return explain(err)
	}
	if c.json {
		return c.printJSON(all)
	}
	now := time.Now()
	if err := c.print("%s", acksHead(all, now)); err != nil || len(all.Consumers) == 0 {
		return err
	}
	rows := make([][]string, len(all.Consumers))
	for i, one := range all.Consumers {
		generation := "-"
		if one.Generation > 0 {
			generation = fmt.Sprint(one.Generation)
		}
		waited := "no"
		if one.Expected {
			waited = "yes"
		}
		rows[i] = []string{one.Consumer, waited, string(one.State), generation, orDash(string(one.Fingerprint)), stamp(one.At, now), orDash(one.By)}
	}
	return c.printTable([]string{"consumer", "waited for", "runs", "generation", "key", "acknowledged", "by"}, rows)
}

// acksHead is everything but the table.
func acksHead(all daemon.Acks, now time.Time) string {
	var b strings.Builder
	line := func(label, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-14s %s\n", label, value)
		}
	}
	line("name", string(all.Name))
	line("live key", keyText(all.Live, now))
	line("previous key", keyText(all.Previous, now))
	if all.Previous.Fingerprint != "" && !all.RetireAt.IsZero() {
		line("retire at", stamp(all.RetireAt, now))
	}
	for _, g := range all.Gates {
		said := "not quiet"
		switch {
		case !g.Asked:
			said = "asked by a rotation only"
		case g.Error != "":
			said = "unknown: " + g.Error
		case g.Quiet:
			said = "quiet"
		}
		line("gate", g.Gate+": "+cmp.Or(strings.TrimSuffix(said+": "+g.Detail, ": "), said))
	}
	if len(all.Gates) == 0 {
		line("gate", "none; an old key is retired when its overlap is over")
	}
	return b.String()
}
