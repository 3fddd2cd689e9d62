package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
	used "rotatord/internal/usage"
)

// usageReport is what is known of one credential's use.
type usageReport struct {
	used.Finding
	MissingText string     `json:"missing_text,omitempty"`
	Days        []usageDay `json:"days"`
	ClientID    string     `json:"client_id,omitempty"`
}

// usageDay is one day of one credential. A day that was never read is absent.
type usageDay struct {
	Day      used.Day  `json:"day"`
	Requests float64   `json:"requests"`
	Credits  float64   `json:"credits"`
	Services []used.Of `json:"services,omitempty"`
}

func (c *cli) usageCmd() *cobra.Command {
	var days int
	cmd := &cobra.Command{Use: "usage [NAME]", Short: "Show what credentials are used for, and what is left of their budgets",
		Long: "Shows requests and credits of the last full UTC day, what the key's own history makes of it, and the budgets. With a name\n" +
			"also its days and services. Figures come from the portal, hourly, or from a file; where there are none it says why\n" +
			"and where Esri shows them.",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if days < 1 || days > used.BackfillDays {
				return usage("--days: want 1 to %d", used.BackfillDays)
			}
			return c.usage(cmd.Context(), args, days)
		}}
	cmd.Flags().IntVar(&days, "days", 14, "with a name, the last `N` days")
	cmd.AddCommand(c.usageImportCmd())
	return cmd
}

// usageReports of the named credentials; of all where none is named.
func usageReports(ctx context.Context, store used.Store, desk *usageDesk, names []rotate.Name) ([]usageReport, error) {
	known := make([]rotate.Name, len(desk.targets))
	for i, t := range desk.targets {
		known[i] = t.Name
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, &daemon.NotFoundError{Name: name, Known: known}
		}
	}
	learnt := map[rotate.Name]used.Finding{}
	if desk.runner != nil {
		for _, f := range desk.runner.Findings() {
			learnt[f.Credential] = f
		}
	}
	now := time.Now()
	out := []usageReport{}
	for _, t := range desk.targets {
		if len(names) > 0 && !slices.Contains(names, t.Name) {
			continue
		}
		f, there := learnt[t.Name]
		if !there {
			var err error
			if f, err = used.Look(ctx, store, t, now); err != nil {
				return nil, err
			}
		}
		r := usageReport{Finding: f, MissingText: f.Missing.Sentence()}
		if len(names) > 0 {
			rows, err := store.Rows(ctx, t.Name, used.DayOf(now)-used.BackfillDays)
			if err != nil {
				return nil, err
			}
			r.Days = usageDays(rows)
		}
		client, err := used.ClientOf(ctx, store, t.Name)
		if err != nil {
			return nil, err
		}
		r.ClientID = client
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b usageReport) int { return cmp.Compare(a.Credential, b.Credential) })
	return out, nil
}

// usageDays of rows, which are sorted by day and service.
func usageDays(rows []used.Row) []usageDay {
	out := []usageDay{}
	for _, row := range rows {
		if len(out) == 0 || out[len(out)-1].Day != row.Day {
			out = append(out, usageDay{Day: row.Day})
		}
		if row.Service == "" {
			continue
		}
		d := &out[len(out)-1]
		d.Requests, d.Credits = d.Requests+row.Requests, d.Credits+row.Credits
		d.Services = append(d.Services, used.Of{Service: row.Service, Requests: row.Requests, Credits: row.Credits})
	}
	return out
}

// askUsage the daemon, or the journal where none runs.
func (c *cli) askUsage(ctx context.Context, s *session, names []rotate.Name) (out []usageReport, err error) {
	if s.app == nil {
		q := map[string][]string{}
		for _, n := range names {
			q["name"] = append(q["name"], string(n))
		}
		err = s.client.Ask(ctx, http.MethodGet, "/v1/usage", q, nil, &out)
		return out, explain(err)
	}
	out, err = usageReports(ctx, usageStore{s.app.db}, &usageDesk{targets: usageTargets(s.app.cfg, nil)}, names)
	return out, explain(err)
}

func (c *cli) usage(ctx context.Context, args []string, days int) (err error) {
	s, err := c.connect(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	reports, err := c.askUsage(ctx, s, namesFrom(args))
	if err != nil {
		return err
	}
	first := used.DayOf(time.Now()) - used.Day(days) + 1
	for i := range reports {
		reports[i].Days = slices.DeleteFunc(reports[i].Days, func(d usageDay) bool { return d.Day < first })
	}
	if c.json {
		return c.printJSON(reports)
	}
	if len(args) == 1 && len(reports) == 1 {
		return c.printUsageOf(reports[0])
	}
	rows := make([][]string, len(reports))
	for i, r := range reports {
		rows[i] = usageLine(r)
	}
	return c.printTable([]string{"credential", "last full day", "requests", "median", "credits", "credits this month", "budget in credits", "note"}, rows)
}

// amount for people: at most two decimals, none where it is whole.
func amount(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), ".")
}

func usageLine(r usageReport) []string {
	day, requests, median, credits, month := "-", "-", "-", "-", "-"
	if r.HasDay {
		day, requests, credits = r.LastFull.String(), amount(r.All.Requests), amount(r.All.Credits)
	}
	if r.All.HasMedian {
		median = amount(r.All.MedianRequests)
	}
	if !r.Until.IsZero() {
		month = amount(r.All.MonthCredits)
	}
	var budgets []string
	for _, s := range r.Spent {
		budgets = append(budgets, fmt.Sprintf("%.0f%% of %s %s", s.Share*100, amount(s.Budget), periodText(s)))
	}
	return []string{string(r.Credential), day, requests, median, credits, month, orDash(strings.Join(budgets, ", ")), orDash(usageNote(r))}
}

// periodText of a budget: today, this month, or the day of before that is told late.
func periodText(s used.Spent) string {
	switch {
	case s.Period == used.PeriodMonth:
		return "this month"
	case s.From == used.DayOf(time.Now()):
		return "today"
	}
	return "on " + s.From.String()
}

// usageNote is what a person should know first.
func usageNote(r usageReport) string {
	var notes []string
	if r.CutOff != nil {
		notes = append(notes, cutOffText(r.CutOff))
	}
	if r.Spike {
		notes = append(notes, "spike")
	}
	if r.Silent {
		notes = append(notes, "silent, though it is a busy key")
	}
	if r.Missing != used.MissingNothing {
		notes = append(notes, r.Missing.Sentence())
	}
	return strings.Join(notes, "; ")
}

func cutOffText(c *used.CutOff) string {
	text := "budget is spent: "
	switch c.Stage {
	case used.StageHolding, used.StageInvalidating:
		text += "its keys are being invalidated"
	case used.StageDone:
		text += "its keys are invalidated until " + c.Until.Start().Format(time.RFC3339)
	case used.StageLifted:
		text += "resumed by a person, not cut off again before " + c.Until.String()
	case used.StageStuck:
		text += "its keys could not be invalidated"
	case used.StageBlocked:
		text += "not cut off"
	}
	if c.Why != "" {
		text += " (" + c.Why + ")"
	}
	return text
}

func (c *cli) printUsageOf(r usageReport) error {
	now := time.Now()
	lines := [][2]string{{"data until", stamp(r.Until, now)}}
	if r.Source != "" {
		lines = append(lines, [2]string{"source", string(r.Source)})
	}
	if note := usageNote(r); note != "" {
		lines = append(lines, [2]string{"note", note})
	}
	for _, s := range r.Spent {
		lines = append(lines, [2]string{"budget", fmt.Sprintf("%s of %s credits %s (%.0f%%)", amount(s.Used), amount(s.Budget), periodText(s), s.Share*100)})
	}
	if r.All.HasMedian {
		lines = append(lines, [2]string{"median day", amount(r.All.MedianRequests) + " requests, " + amount(r.All.MedianCredits) + " credits"})
	}
	lines = append(lines, [2]string{"Esri's page", orDash(r.Page)})
	if err := c.print("%s\n", r.Credential); err != nil {
		return err
	}
	for _, l := range lines {
		if err := c.print("  %-20s %s\n", l[0], l[1]); err != nil {
			return err
		}
	}
	if len(r.Days) == 0 {
		return nil
	}
	var rows [][]string
	for _, d := range slices.Backward(r.Days) {
		rows = append(rows, []string{d.Day.String(), "all", amount(d.Requests), amount(d.Credits)})
		for _, s := range d.Services {
			rows = append(rows, []string{"", s.Service, amount(s.Requests), amount(s.Credits)})
		}
	}
	if err := c.print("\n"); err != nil {
		return err
	}
	return c.printTable([]string{"day", "service", "requests", "credits"}, rows)
}
