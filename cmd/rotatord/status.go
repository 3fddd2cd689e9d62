package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

const watchEvery = 2 * time.Second

func (c *cli) statusCmd() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{Use: "status [NAME]", Short: "Show every credential: phase, key, and what happens next",
		Long: "Shows every credential, or one in detail. Ends with 3 where a credential needs attention.",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if watch {
				return c.watchStatus(cmd.Context(), args)
			}
			return c.status(cmd.Context(), args)
		}}
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again every 2 seconds")
	return cmd
}

func namesFrom(args []string) []rotate.Name {
	var names []rotate.Name
	for _, a := range args {
		names = append(names, rotate.Name(a))
	}
	return names
}

func (c *cli) status(ctx context.Context, args []string) (err error) {
	s, err := c.connect(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	all, err := s.Status(ctx, namesFrom(args)...)
	if err != nil {
		return explain(err)
	}
	if err := c.showStatus(all, len(args) == 1); err != nil {
		return err
	}
	return attentionOf(all)
}

// attentionOf is exit code 3 where somebody should look.
func attentionOf(all []daemon.Status) error {
	for _, s := range all {
		if s.Attention != "" {
			return &exitError{code: exitAttention}
		}
	}
	return nil
}

func (c *cli) watchStatus(ctx context.Context, args []string) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if isTerminal(c.out) && !c.json {
			if err := c.print("\x1b[H\x1b[2J"); err != nil {
				return err
			}
		}
		err := c.status(ctx, args)
		if e, ok := errors.AsType[*exitError](err); err != nil && (!ok || e.code != exitAttention) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *cli) showStatus(all []daemon.Status, detail bool) error {
	if c.json {
		return c.printJSON(all)
	}
	now := time.Now()
	if detail {
		return c.print("%s", statusDetail(all[0], now))
	}
	rows := make([][]string, len(all))
	for i, s := range all {
		rows[i] = []string{string(s.Name), string(s.Portal), string(s.Phase), s.Live.Slot.String(), expiresIn(s.Live.Expires, now),
			orDash(string(s.Due)), orDash(string(s.Blocked)), nextIn(s.NextAt, now), s.Attention}
	}
	return c.printTable([]string{"name", "portal", "phase", "slot", "expires", "due", "waits for", "next look", "attention"}, rows)
}

func expiresIn(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04Z") + " (" + distance(t, now) + ")"
}

func nextIn(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return distance(t, now)
}

// statusDetail is everything about one credential, for people.
func statusDetail(s daemon.Status, now time.Time) string {
	var b strings.Builder
	line := func(label, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-14s %s\n", label, value)
		}
	}
	at := func(label string, t time.Time) {
		if !t.IsZero() {
			line(label, stamp(t, now))
		}
	}
	line("name", string(s.Name))
	line("portal item", string(s.Portal)+"/"+string(s.Item))
	line("owner", s.Owner)
	line("environment", s.Environment)
	line("consumers", strings.Join(s.Consumers, ", "))
	line("mode", string(s.Mode))
	at("adopted", s.AdoptedAt)
	line("phase", string(s.Phase))
	line("rotation", s.RotationID)
	line("live key", keyText(s.Live, now))
	line("previous key", keyText(s.Previous, now))
	line("replaced", formerText(s.Former, now))
	for i, slot := range s.Slots {
		line(fmt.Sprintf("slot %d", i+1), slotText(slot, now))
	}
	at("promoted", s.PromotedAt)
	at("retire at", s.RetireAt)
	line("due", string(s.Due))
	at("due at", s.DueAt)
	line("waits for", string(s.Blocked))
	line("detail", s.Detail)
	at("next look", s.NextAt)
	statusTroubles(s, now, line, at)
	if s.Settings != nil {
		line("settings", s.Settings.Says)
		at("compared", s.Settings.CheckedAt)
	}
	at("surveyed", s.SurveyedAt)
	at("probed", s.ProbedAt)
	line("attention", s.Attention)
	line("do", s.Cure)
	return b.String()
}

// statusTroubles is what was asked for, what stands against it, and what went wrong.
func statusTroubles(s daemon.Status, now time.Time, line func(label, value string), at func(label string, t time.Time)) {
	if s.Request != nil {
		line("request", fmt.Sprintf("%s by %s, %s", s.Request.Kind, s.Request.By, stamp(s.Request.At, now)))
	}
	if h := s.Hold; h != nil {
		since := ""
		if !h.Since.IsZero() { // the config does not say
			since = " since " + stamp(h.Since, now)
		}
		line("held", fmt.Sprintf("by %s%s: %s", h.By, since, h.Reason))
		at("held until", s.Hold.Until)
	}
	if s.Quarantine != nil {
		line("quarantined", stamp(s.Quarantine.Since, now)+": "+s.Quarantine.Reason)
	}
	if s.Drift != "" {
		line("drift", string(s.Drift)+" since "+stamp(s.DriftSince, now)+": "+s.DriftSays)
	}
	if s.Attempts > 0 {
		line("failures", fmt.Sprintf("%d in a row; last: %s", s.Attempts, s.LastError))
	}
	if s.Revoke.Attempts > 0 {
		line("revocation", fmt.Sprintf("failed %d times since %s; next %s; last: %s", s.Revoke.Attempts, stamp(s.Revoke.Since, now), nextIn(s.Revoke.RetryAt, now), s.Revoke.Error))
	}
	at("proof failed", s.ProofFail)
	line("dates differ", s.Dates)
	for _, o := range s.Orphans {
		fate := "only reported"
		if !o.RetireAt.IsZero() {
			fate = "retired " + stamp(o.RetireAt, now)
		}
		line("orphan", fmt.Sprintf("slot %s %s since %s: %s", o.Slot, orDash(string(o.Fingerprint)), stamp(o.Since, now), fate))
	}
}

func keyText(k rotate.KeyFacts, now time.Time) string {
	if k.Fingerprint == "" {
		return ""
	}
	text := fmt.Sprintf("%s, slot %s, generation %d", k.Fingerprint, k.Slot, k.Generation)
	if !k.Expires.IsZero() {
		text += ", expires " + stamp(k.Expires, now)
	}
	return text
}

func slotText(s daemon.SlotStatus, now time.Time) string {
	text := orDash(string(s.Use))
	if s.Key.Fingerprint != "" {
		text += " " + string(s.Key.Fingerprint)
	}
	if s.Active {
		text += ", flag true"
	}
	if !s.Expires.IsZero() {
		text += ", item date " + stamp(s.Expires, now)
	}
	return text
}

// formerText says what is left of the item that was replaced.
func formerText(f *daemon.FormerStatus, now time.Time) string {
	if f == nil {
		return ""
	}
	text := "item " + string(f.Item) + " of " + string(f.Portal)
	if f.Serves {
		return text + "; its key is served until this item has one (rotatord cancel gives it up)"
	}
	text += "; its keys go " + stamp(f.RetireAt, now)
	if f.Keep {
		return text + ", the item stays"
	}
	return text + ", then the item"
}
