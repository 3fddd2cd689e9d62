package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
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

func (c *cli) usageImportCmd() *cobra.Command {
	var credential, dates string
	cmd := &cobra.Command{Use: "import FILE", Short: "Take what credentials were used for from a CSV file",
		Long: "Reads a CSV file, as downloaded from Esri's usage page or made by hand, and feeds the same metrics and budgets as a portal\n" +
			"does. The first line names the columns, in any order and case; others are left out:\n\n" +
			"    date          2026-11-22; a UTC day\n" +
			"    credential    its name in the config, its item id or its client id; without it --credential\n" +
			"    service       as in geocode; optional\n" +
			"    requests      also called transactions or count\n" +
			"    credits       one of requests and credits must be there\n\n" +
			"Fields are separated by comma, semicolon or tab. Rows of one credential, day and service add up; what a file says of a\n" +
			"service on a day replaces what was known, so that the same file can be imported again. A file with a mistake is refused as\n" +
			"a whole, with line and column of each. - reads standard input.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			order := used.DateOrder(dates)
			if order != used.OrderISO && order != used.OrderMDY && order != used.OrderDMY {
				return usage("--dates %q: want mdy or dmy", dates)
			}
			return c.importUsage(cmd.Context(), args[0], used.FileOptions{Credential: rotate.Name(credential), Dates: order})
		}}
	cmd.Flags().StringVar(&credential, "credential", "", "`NAME` of the credential whose rows to take, or whose the whole file is")
	cmd.Flags().StringVar(&dates, "dates", "", "what 03/04/2026 means: `ORDER` mdy or dmy")
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

// importUsage parses here, where the file is, and has the daemon store it; without one it
// takes the journal's lock.
func (c *cli) importUsage(ctx context.Context, path string, o used.FileOptions) (err error) {
	in := c.in
	if o.Name = path; path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("import usage: %w", err)
		}
		defer f.Close()
		in = f
	}
	s, err := c.connect(ctx, "usage import")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	uses, err := c.parseUsage(ctx, s, in, o)
	if err != nil {
		return err
	}
	if s.app == nil {
		var n int
		err = s.client.Ask(ctx, http.MethodPost, "/v1/usage/import", nil, uses, &n)
	} else {
		err = importUsage(ctx, usageStore{s.app.db}, usageTargets(s.app.cfg, nil), uses)
	}
	if err != nil {
		return explain(err)
	}
	return c.reportImport(uses)
}

// parseUsage with the names, item ids and client ids of the credentials.
func (c *cli) parseUsage(ctx context.Context, s *session, in io.Reader, o used.FileOptions) (map[rotate.Name][]used.Use, error) {
	cfg, err := c.loadConfig()
	if err != nil {
		return nil, err
	}
	reports, err := c.askUsage(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	names := map[string]rotate.Name{}
	for _, r := range reports {
		if r.ClientID != "" {
			names[strings.ToLower(r.ClientID)] = r.Credential
		}
	}
	known := make([]rotate.Name, len(cfg.Credentials))
	for i, cr := range cfg.Credentials {
		known[i] = rotate.Name(cr.Name)
		names[strings.ToLower(string(cr.Item))] = known[i]
	}
	for _, name := range known {
		names[strings.ToLower(string(name))] = name
	}
	if o.Credential != "" && !slices.Contains(known, o.Credential) {
		return nil, explain(&daemon.NotFoundError{Name: o.Credential, Known: known})
	}
	o.Find = func(field string) (rotate.Name, bool) {
		name, ok := names[strings.ToLower(field)]
		return name, ok
	}
	return used.ParseFile(in, o)
}

func (c *cli) reportImport(uses map[rotate.Name][]used.Use) error {
	type imported struct {
		Credential rotate.Name `json:"credential"`
		From       used.Day    `json:"from"`
		Until      used.Day    `json:"until"`
		Requests   float64     `json:"requests"`
		Credits    float64     `json:"credits"`
	}
	out := []imported{}
	for name, list := range uses {
		r := used.Import(list, time.Now())
		one := imported{Credential: name, From: r.From, Until: r.Until}
		for _, u := range list {
			one.Requests, one.Credits = one.Requests+u.Requests, one.Credits+u.Credits
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b imported) int { return cmp.Compare(a.Credential, b.Credential) })
	if c.json {
		return c.printJSON(out)
	}
	if len(out) == 0 {
		c.say("the file has no rows for these credentials; nothing was changed")
	}
	for _, one := range out {
		if err := c.print("%s: %s requests, %s credits from %s to %s\n", one.Credential, amount(one.Requests), amount(one.Credits), one.From, one.Until); err != nil {
			return err
		}
	}
	return nil
}
