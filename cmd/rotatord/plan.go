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
	"rotatord/internal/settings"
)

func (c *cli) planCmd() *cobra.Command {
	return &cobra.Command{Use: "plan [NAME]", Short: "Look at everything afresh and say what would be done, and why",
		Long: "A dry run: reads the portal, the sinks and the journal, and prints every step that would be taken, and how\n" +
			"the settings that the config states differ from what the portal has. It changes nothing.\n" +
			"Ends with 3 where something is wrong.",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.plan(cmd.Context(), args) }}
}

func (c *cli) plan(ctx context.Context, args []string) (err error) {
	s, err := c.connect(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	plans, err := s.Plan(ctx, namesFrom(args)...)
	if err != nil {
		return explain(err)
	}
	found, err := c.askSettings(ctx, s, namesFrom(args))
	if err != nil {
		return explain(err)
	}
	all := withFindings(plans, found)
	if c.json {
		err = c.printJSON(all)
	} else {
		err = c.print("%s", plansText(all, time.Now()))
	}
	if err != nil {
		return err
	}
	for _, p := range all {
		if f := p.Settings; f != nil && (f.Error != "" || len(f.Changes) > 0) {
			return &exitError{code: exitAttention}
		}
		if p.Error != "" || p.Forecast.Err != "" || p.Forecast.Drift != rotate.DriftNone {
			return &exitError{code: exitAttention}
		}
	}
	return nil
}

// planned is what would be done about a credential's keys, and how its settings compare.
type planned struct {
	daemon.Plan
	Settings *settings.Finding `json:"settings,omitempty"`
}

func withFindings(plans []daemon.Plan, found []settings.Finding) []planned {
	byName := make(map[rotate.Name]*settings.Finding, len(found))
	for i := range found {
		byName[found[i].Credential] = &found[i]
	}
	out := make([]planned, len(plans))
	for i, p := range plans {
		out[i] = planned{p, byName[p.Name]}
	}
	return out
}

func plansText(plans []planned, now time.Time) string {
	var b strings.Builder
	for i, p := range plans {
		if i > 0 {
			b.WriteByte('\n')
		}
		if p.Forecast == nil {
			fmt.Fprintf(&b, "%s: cannot be planned: %s\n", p.Name, p.Error)
		} else {
			planText(&b, p.Plan, now)
		}
		if p.Settings != nil {
			settingsPlan(&b, p.Settings, now)
		}
	}
	return b.String()
}

func planText(b *strings.Builder, p daemon.Plan, now time.Time) {
	f := p.Forecast
	fmt.Fprintf(b, "%s: %s\n", p.Name, verdict(*f, now))
	if f.Detail != "" {
		fmt.Fprintf(b, "  why: %s\n", f.Detail)
	}
	if f.Err != "" {
		fmt.Fprintf(b, "  error: %s\n", f.Err)
	}
	for _, s := range f.Seen.Sinks {
		state := orDash(string(s.Fingerprint))
		if s.Error != "" {
			state = s.Error
		}
		fmt.Fprintf(b, "  sink %s: %s\n", s.Name, state)
	}
	for _, slot := range rotate.Slots() {
		flag := "inactive"
		if f.Seen.Active[slot] {
			flag = "active"
		}
		fmt.Fprintf(b, "  slot %s: %s, item date %s\n", slot, flag, stamp(f.Seen.Dates[slot], now))
	}
	for i, s := range f.Steps {
		at := "now"
		if s.At.After(now.Add(time.Second)) {
			at = stamp(s.At, now)
		}
		slot := ""
		if s.Slot.Valid() {
			slot = " slot " + s.Slot.String()
		}
		fmt.Fprintf(b, "  %d. %s: %s%s: %s\n", i+1, at, s.Phase, slot, s.Detail)
	}
}

// verdict is the plan in one line.
func verdict(f rotate.Forecast, now time.Time) string {
	switch {
	case f.Step != rotate.StepNone && f.Due != "":
		return fmt.Sprintf("would %s now (due: %s)", f.Step, f.Due)
	case f.Step != rotate.StepNone:
		return fmt.Sprintf("would %s now", f.Step)
	case f.Due != "":
		return fmt.Sprintf("due (%s), waits for %s until %s", f.Due, orDash(string(f.Blocked)), stamp(f.Next, now))
	case !f.DueAt.IsZero():
		return fmt.Sprintf("nothing to do (%s); due %s", orDash(string(f.Blocked)), stamp(f.DueAt, now))
	}
	return fmt.Sprintf("nothing to do (%s)", orDash(string(f.Blocked)))
}
