package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

func (c *cli) orphansCmd() *cobra.Command {
	var offline bool
	cmd := &cobra.Command{Use: "orphans", Short: "List valid keys that no sink serves, and credentials that were never adopted",
		Long: "Lists two things. Keys of ours that are valid at their portal while no sink serves them, with what the policy does with\n" +
			"each: retired after policy.orphan_delay, or only reported. And what the portals hold that this rotatord never adopted,\n" +
			"with its dates: nobody here renews those, and rotatord never touches them. Ends with 3 where there is an orphan.",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return c.orphans(cmd.Context(), offline) }}
	cmd.Flags().BoolVar(&offline, "offline", false, "ask no portal; show what the journal knows")
	return cmd
}

// orphanKey is an orphan with its credential.
type orphanKey struct {
	Credential rotate.Name     `json:"credential"`
	Portal     rotate.PortalID `json:"portal"`
	rotate.Orphan
}

// orphanReport is what the command shows.
type orphanReport struct {
	Orphans []orphanKey `json:"orphans"`
	// Unadopted is what the portals hold and this rotatord never adopted; absent where no portal was asked.
	Unadopted []found `json:"unadopted,omitempty"`
}

func (c *cli) orphans(ctx context.Context, offline bool) (err error) {
	s, err := c.connect(ctx, "")
	if err != nil {
		return err
	}
	all, err := s.Status(ctx)
	if err = errors.Join(err, s.Close()); err != nil {
		return explain(err)
	}
	report := orphanReport{Orphans: orphansOf(all)}
	if !offline {
		a, err := c.openAdapters()
		if err != nil {
			return err
		}
		defer a.close()
		seen, err := a.discover(ctx, slices.Sorted(maps.Keys(a.portals)))
		if err != nil {
			return err
		}
		report.Unadopted = unadopted(seen, all)
	}
	if err := c.showOrphans(report, offline); err != nil {
		return err
	}
	if len(report.Orphans) > 0 {
		return &exitError{exitAttention, errors.New(plural(len(report.Orphans), "valid key") + " of ours without a sink that serves it")}
	}
	return nil
}

func orphansOf(all []daemon.Status) []orphanKey {
	out := []orphanKey{}
	for _, s := range all {
		for _, o := range s.Orphans {
			out = append(out, orphanKey{s.Name, s.Portal, o})
		}
	}
	return out
}

// unadopted leaves what is adopted out of a listing.
func unadopted(seen []found, all []daemon.Status) []found {
	adopted := map[rotate.ID]bool{}
	for _, s := range all {
		adopted[rotate.ID{Portal: s.Portal, Item: s.Item}] = !s.AdoptedAt.IsZero()
	}
	return slices.DeleteFunc(slices.Clone(seen), func(f found) bool {
		return adopted[rotate.ID{Portal: rotate.PortalID(f.Portal), Item: f.Item}]
	})
}

func (c *cli) showOrphans(report orphanReport, offline bool) error {
	if c.json {
		return c.printJSON(report)
	}
	now := time.Now()
	rows := make([][]string, len(report.Orphans))
	for i, o := range report.Orphans {
		fate := "only reported; rotatord invalidate " + string(o.Credential) + " --slot " + o.Slot.String()
		if !o.RetireAt.IsZero() {
			fate = "retired " + stamp(o.RetireAt, now)
		}
		rows[i] = []string{string(o.Credential), string(o.Portal), o.Slot.String(), orDash(string(o.Fingerprint)), stamp(o.Since, now), stamp(o.Expires, now), fate}
	}
	if len(rows) == 0 {
		c.say("no orphan: every valid key of ours is served")
	} else if err := c.printTable([]string{"credential", "portal", "slot", "key", "unserved since", "expires", "what happens"}, rows); err != nil {
		return err
	}
	switch {
	case offline:
		return nil
	case len(report.Unadopted) == 0:
		c.say("nothing unadopted: the portals show no other credential or legacy key")
		return nil
	}
	if len(rows) > 0 {
		if err := c.print("\n"); err != nil {
			return err
		}
	}
	c.say("never adopted, and never touched:")
	return c.showFound(report.Unadopted)
}
