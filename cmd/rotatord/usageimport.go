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
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
	used "rotatord/internal/usage"
)

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
