package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/alert"
)

func (c *cli) notifyCmd() *cobra.Command {
	var test bool
	var conditions []string
	cmd := &cobra.Command{Use: "notify --test", Short: "Send a sample of each alert through every notifier",
		Long: "Sends a sample of each condition through every notifier of the config, marked as a sample; it mentions nobody and has no buttons.\n" +
			"Ends with 1 if one was not taken. check-config --online looks for the same trouble and sends nothing.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !test {
				return usage("notify: --test is needed; nothing else is sent by hand")
			}
			return c.notify(cmd.Context(), conditions)
		}}
	cmd.Flags().BoolVar(&test, "test", false, "send samples")
	cmd.Flags().StringArrayVar(&conditions, "condition", nil, "send only this `CONDITION`, by its word in docs/alerts.md; may be repeated")
	return cmd
}

// sent is one sample and what became of it.
type sent struct {
	Notifier  string          `json:"notifier"`
	Condition alert.Condition `json:"condition"`
	Error     string          `json:"error,omitempty"`
}

func (c *cli) notify(ctx context.Context, words []string) (err error) {
	conditions, err := chosenConditions(words)
	if err != nil {
		return err
	}
	a, err := c.openApp(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	people, err := newTalker(a)
	switch {
	case err != nil:
		return err
	case people == nil:
		return usage("notify: no notifier is configured; see alerts in docs/config.md")
	}
	var out []sent
	failed := 0
	for _, n := range people.notifiers {
		for i, condition := range conditions {
			if i > 0 && !pause(ctx, samplePace) {
				return ctx.Err()
			}
			one := sent{Notifier: n.Name(), Condition: condition}
			if _, err := n.Tell(ctx, people.Sample(condition, time.Now().UTC())); err != nil {
				one.Error = err.Error()
				failed++
			}
			if out = append(out, one); !c.json {
				if err := c.print("%s", one.text()); err != nil {
					return err
				}
			}
		}
	}
	if c.json {
		if err := c.printJSON(out); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d samples were not taken", failed, len(out))
	}
	return nil
}

func (s sent) text() string {
	if s.Error != "" {
		return fmt.Sprintf("%s: %s was not taken: %s\n", s.Notifier, s.Condition, s.Error)
	}
	return fmt.Sprintf("%s: %s was taken\n", s.Notifier, s.Condition)
}

// samplePace: Slack takes one message a second in a channel.
const samplePace = 1100 * time.Millisecond

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// chosenConditions are those of the words; none is all.
func chosenConditions(words []string) ([]alert.Condition, error) {
	all := alert.Conditions()
	if len(words) == 0 {
		return all, nil
	}
	var out []alert.Condition
	for _, w := range words {
		if !slices.Contains(all, alert.Condition(w)) {
			known := make([]string, len(all))
			for i, k := range all {
				known[i] = string(k)
			}
			if guess := nearest(w, known); guess != "" {
				return nil, usage("notify: %q is no condition; did you mean %s?", w, guess)
			}
			return nil, usage("notify: %q is no condition; they are %s", w, strings.Join(known, ", "))
		}
		out = append(out, alert.Condition(w))
	}
	return out, nil
}
