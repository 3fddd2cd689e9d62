package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

// explain adds a guess at what was meant to an error about an unknown name.
func explain(err error) error {
	e, ok := errors.AsType[*daemon.NotFoundError](err)
	if !ok {
		return err
	}
	known := make([]string, len(e.Known))
	for i, n := range e.Known {
		known[i] = string(n)
	}
	if guess := nearest(string(e.Name), known); guess != "" {
		return &exitError{exitUsage, fmt.Errorf("%w; did you mean %s?", err, guess)}
	}
	return &exitError{exitUsage, err}
}

// nearest of the known words, if one is near enough to be meant.
func nearest(word string, known []string) string {
	best, bestAt := "", max(2, len(word)/3)+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := editDistance(word, k); d < bestAt {
			best, bestAt = k, d
		}
	}
	return best
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// completeNames offers the config's credentials, with when each key ends.
func (c *cli) completeNames(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cfg, err := config.Load(c.configPath)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		about := map[rotate.Name]string{}
		client := daemon.NewClient(string(cfg.Admin.Socket))
		defer client.Close()
		if all, err := client.Status(cmd.Context()); err == nil {
			for _, s := range all {
				about[s.Name] = expiryOf(s, time.Now())
			}
		}
		var out []cobra.Completion
		for _, cr := range cfg.Credentials {
			out = append(out, cobra.CompletionWithDesc(string(cr.Name), cmp.Or(about[rotate.Name(cr.Name)], cr.Portal)))
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// completePortals offers the config's portals.
func (c *cli) completePortals(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	cfg, err := config.Load(c.configPath)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []cobra.Completion
	for name, p := range cfg.Portals {
		out = append(out, cobra.CompletionWithDesc(name, string(p.URL)))
	}
	slices.Sort(out)
	return out, cobra.ShellCompDirectiveNoFileComp
}

func expiryOf(s daemon.Status, now time.Time) string {
	if s.Live.Expires.IsZero() {
		return "no key yet"
	}
	return "key expires " + distance(s.Live.Expires, now)
}
