package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/calendar"
	"rotatord/internal/config"
	"rotatord/internal/rotate"
	"rotatord/internal/simulate"
)

// longestSimulation is two lives of a key, and more than the windows look ahead.
const longestSimulation = 1500

func (c *cli) simulateCmd() *cobra.Command {
	var days int
	var cutOver time.Duration
	var ics string
	cmd := &cobra.Command{Use: "simulate", Short: "Show the coming rotations, and which keys would die before their turn",
		Long: "Runs the planner over the fleet as the journal has it, in fake time: when each key is rotated and retired, what that costs in\n" +
			"portal calls a day, and whether every key is replaced before it ends, given windows, freezes, stages and limits. It asks no\n" +
			"portal and changes nothing; in its world nothing fails, gates are quiet and hooks agree. Ends with 3 where a key would die.",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			if days < 1 || days > longestSimulation {
				return usage("simulate: --days wants 1 to %d", longestSimulation)
			}
			return c.simulate(cmd.Context(), simulate.Options{From: time.Now().UTC(), Days: days, CutOver: cutOver}, ics)
		}}
	cmd.Flags().IntVar(&days, "days", 400, "how far to look ahead")
	cmd.Flags().DurationVar(&cutOver, "cut-over", simulate.DefaultCutOver, "how long one rotation takes until its key is served")
	cmd.Flags().StringVar(&ics, "ics", "", "write the calendar to `FILE`, as iCalendar; - is standard output")
	return cmd
}

func (c *cli) simulate(ctx context.Context, o simulate.Options, ics string) (err error) {
	a, err := c.openApp(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	all, err := a.simulated(ctx)
	if err != nil {
		return err
	}
	o = simulatedOf(a.cfg).options(o)
	res := simulate.Run(all, o)
	switch {
	case ics == "-":
		err = calendar.WriteICS(c.out, "rotatord", o.From, icsOf(res))
	case ics != "":
		err = c.writeICS(ics, res)
	}
	if err == nil && ics != "-" {
		err = c.showSimulation(res, len(all))
	}
	if err != nil {
		return err
	}
	if len(res.Dying) > 0 {
		names := make([]string, len(res.Dying))
		for i, e := range res.Dying {
			names[i] = string(e.Name)
		}
		return &exitError{exitAttention, errors.New("would die unrotated: " + strings.Join(names, ", "))}
	}
	return nil
}

// simulated is the fleet as config and journal have it.
func (a *app) simulated(ctx context.Context) ([]simulate.Credential, error) {
	records, err := a.journal().List(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[rotate.Name]rotate.Record, len(records))
	for _, r := range records {
		known[r.Name] = r
	}
	of := simulatedOf(a.cfg)
	var all []simulate.Credential
	for i := range a.adapters.fleet.Credentials {
		m := &a.adapters.fleet.Credentials[i]
		all = append(all, of.credential(m, known[m.Name]))
	}
	return all, nil
}

func (c *cli) writeICS(path string, res simulate.Result) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // it is made to be read by others, and holds no secret
	if err != nil {
		return fmt.Errorf("write calendar: %w", err)
	}
	return errors.Join(calendar.WriteICS(f, "rotatord", res.From, icsOf(res)), f.Close())
}

func icsOf(res simulate.Result) []calendar.Entry {
	out := make([]calendar.Entry, len(res.Events))
	for i, e := range res.Events {
		out[i] = calendar.Entry{UID: fmt.Sprintf("%s-%s-%s-%s@rotatord", e.Portal, e.Name, e.What, e.At.UTC().Format(time.DateOnly)), At: e.At,
			Summary: string(e.Name) + ": " + eventText(e), Detail: strings.TrimPrefix(e.Detail+"; portal "+string(e.Portal), "; ")}
	}
	return out
}

func eventText(e simulate.Event) string {
	switch e.What {
	case simulate.Rotates:
		return "a new key in slot " + e.Slot.String()
	case simulate.Retires:
		return "the old key of slot " + e.Slot.String() + " is invalidated"
	default:
		return "THE KEY EXPIRES UNROTATED"
	}
}

func (c *cli) showSimulation(res simulate.Result, credentials int) error {
	if c.json {
		return c.printJSON(res)
	}
	if err := c.print("%s", simulationHead(res, credentials)); err != nil {
		return err
	}
	for _, part := range []struct {
		title string
		list  []simulate.Event
	}{{"These keys would die unrotated:", res.Dying}, {"These would be replaced only within critical_before of their end:", res.Late}} {
		if len(part.list) == 0 {
			continue
		}
		rows := make([][]string, len(part.list))
		for i, e := range part.list {
			why := e.Detail
			if e.What == simulate.Rotates {
				why = fmt.Sprintf("%s left", config.Duration(time.Duration(e.Left)*time.Second))
			}
			rows[i] = []string{string(e.Name), string(e.Portal), stamp(e.At, res.From), why}
		}
		if err := c.print("%s\n", part.title); err != nil {
			return err
		}
		if err := c.printTable([]string{"credential", "portal", "when", "why"}, rows); err != nil {
			return err
		}
	}
	return c.printTable([]string{"day", "rotates", "retires", "calls", "credentials"}, dayRows(res))
}

// simulationHead is the result in a few lines.
func simulationHead(res simulate.Result, credentials int) string {
	var b strings.Builder
	var rotates, retires, busiest int
	calls := make([]int, len(res.Days))
	for i, d := range res.Days {
		rotates, retires, calls[i] = rotates+d.Rotates, retires+d.Retires, d.Calls
		if d.Rotates > res.Days[busiest].Rotates {
			busiest = i
		}
	}
	fmt.Fprintf(&b, "%s, %s from %s: %s, %d retired", plural(credentials, "credential"), plural(len(res.Days), "day"), res.From.Format(time.DateOnly),
		plural(rotates, "rotation"), retires)
	if rotates > 0 {
		fmt.Fprintf(&b, ", most on %s (%d)", res.Days[busiest].Date, res.Days[busiest].Rotates)
	}
	slices.Sort(calls)
	fmt.Fprintf(&b, "\nportal calls a day: %d as a rule, %d at most; listings come on top\n", calls[len(calls)/2], calls[len(calls)-1])
	if len(res.Dying) == 0 {
		b.WriteString("every key whose end is known is replaced before it\n")
	}
	if len(res.Unknown) > 0 {
		fmt.Fprintf(&b, "of unknown end: %s\n", names(res.Unknown))
	}
	b.WriteByte('\n')
	return b.String()
}

func names(list []rotate.Name) string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = string(n)
	}
	return strings.Join(out, ", ")
}

// dayRows are the days on which something happens, with the first few names.
func dayRows(res simulate.Result) [][]string {
	const most = 4
	who := map[string][]string{}
	for _, e := range res.Events {
		date := e.At.UTC().Format(time.DateOnly)
		if e.What != simulate.Retires {
			who[date] = append(who[date], string(e.Name))
		}
	}
	var rows [][]string
	for _, d := range res.Days {
		if d.Rotates+d.Retires+d.Dies == 0 {
			continue
		}
		list := who[d.Date]
		text := strings.Join(list[:min(most, len(list))], ", ")
		if more := len(list) - most; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		rows = append(rows, []string{d.Date, fmt.Sprint(d.Rotates), fmt.Sprint(d.Retires), fmt.Sprint(d.Calls), cmp.Or(text, "-")})
	}
	return rows
}
