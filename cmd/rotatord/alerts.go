package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"rotatord/internal/alert"
	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

// alertOrder is the body of POST /v1/alerts.
type alertOrder struct {
	ID    string    `json:"id"`
	Verb  string    `json:"verb"` // ack, snooze or unsnooze
	Until time.Time `json:"until,omitzero"`
}

// The verbs of alertOrder.
const (
	verbAck      = "ack"
	verbSnooze   = "snooze"
	verbUnsnooze = "unsnooze"
)

var errNobodyTold = daemon.BadRequest("no notifier is configured, so there are no alerts; see alerts in docs/config.md")

func (c *cli) alertsCmd() *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "alerts", Short: "Show what people are told of, and take it over or put it off",
		Long: "Shows every alert that holds, with its state and whom it was told by. One that waits is not told yet: it may heal, a cause\n" +
			"hides it, or the hours are quiet. With --all also those that have ended lately.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.alerts(cmd.Context(), all) }}
	cmd.Flags().BoolVar(&all, "all", false, "also alerts that have ended lately")
	var lasts string
	snooze := &cobra.Command{Use: "snooze ID --for 4h", Short: "Keep an alert quiet for a while, unless it gets more severe", Args: cobra.ExactArgs(1),
		ValidArgsFunction: c.completeAlerts,
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := model.ParseDuration(lasts)
			if err != nil || d <= 0 {
				return usage("alerts snooze: --for %q is no duration; write it as 4h or 2d", lasts)
			}
			return c.orderAlert(cmd.Context(), alertOrder{ID: args[0], Verb: verbSnooze, Until: time.Now().Add(time.Duration(d)).UTC().Round(time.Second)})
		}}
	snooze.Flags().StringVar(&lasts, "for", "", "how long, as in 4h or 2d")
	order := func(verb, short string) *cobra.Command {
		return &cobra.Command{Use: verb + " ID", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeAlerts,
			RunE: func(cmd *cobra.Command, args []string) error {
				return c.orderAlert(cmd.Context(), alertOrder{ID: args[0], Verb: verb})
			}}
	}
	cmd.AddCommand(order(verbAck, "Acknowledge an alert: you work on it, and it is not repeated"), snooze,
		order(verbUnsnooze, "Take an acknowledgement or a snooze back"))
	return cmd
}

// completeAlerts offers what can be named.
func (c *cli) completeAlerts(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	s, err := c.connect(cmd.Context(), "")
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer func() { _ = s.Close() }()
	list, err := c.askAlerts(cmd.Context(), s, false)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []cobra.Completion
	for _, a := range list {
		if a.Group == "" {
			out = append(out, cobra.CompletionWithDesc(a.Key, a.Title))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (c *cli) askAlerts(ctx context.Context, s *session, all bool) (out []alert.Listed, err error) {
	if s.app == nil {
		q := url.Values{}
		if all {
			q.Set("all", "1")
		}
		err = s.client.Ask(ctx, http.MethodGet, "/v1/alerts", q, nil, &out)
		return out, err
	}
	if s.app.db == nil {
		return []alert.Listed{}, nil
	}
	people, err := idleTalker(ctx, s.app)
	if err != nil {
		return nil, err
	}
	return people.List(all)
}

// idleTalker knows what was stored, and tells nothing.
func idleTalker(ctx context.Context, a *app) (*talker, error) {
	people, err := newTalker(a)
	switch {
	case err != nil:
		return nil, err
	case people == nil:
		return nil, errNobodyTold
	}
	return people, people.Load(ctx)
}

func (c *cli) alerts(ctx context.Context, all bool) (err error) {
	s, err := c.connect(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	list, err := c.askAlerts(ctx, s, all)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	if len(list) == 0 {
		c.say("nothing wants anybody")
		return nil
	}
	now := time.Now()
	rows := make([][]string, len(list))
	for i, a := range list {
		rows[i] = []string{a.Key, string(a.Severity), alertState(a, now), stamp(a.Since, now), orDash(a.Owner), a.Title}
	}
	return c.printTable([]string{"id", "severity", "state", "since", "owner", "what"}, rows)
}

// alertState in words.
func alertState(a alert.Listed, now time.Time) string {
	switch {
	case a.State == alert.StateResolved:
		return "resolved"
	case a.State == alert.StateAcknowledged:
		return "acknowledged by " + a.By
	case a.State == alert.StateSnoozed:
		return "snoozed by " + a.By + ", ends " + distance(a.Until, now)
	case a.Cause != "":
		return "part of " + a.Cause
	case a.Group != "":
		return "told as part of " + a.Group
	case a.Waiting && a.Gathered:
		return "waits for the end of quiet hours"
	case a.Waiting:
		return "waits"
	case a.Flapping:
		return "comes and goes"
	}
	var behind []string
	for _, t := range a.Told {
		if !t.Current {
			behind = append(behind, t.Way)
		}
	}
	switch {
	case len(a.Told) == 0:
		return "open, not told yet"
	case len(behind) > 0:
		return "open, not up to date: " + strings.Join(behind, ", ")
	}
	return "open"
}

func (c *cli) orderAlert(ctx context.Context, o alertOrder) (err error) {
	s, err := c.connect(ctx, "alerts")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var out alert.Alert
	if s.app == nil {
		err = s.client.Ask(ctx, http.MethodPost, "/v1/alerts", nil, o, &out)
	} else {
		var people *talker
		if people, err = idleTalker(ctx, s.app); err == nil {
			people.command = s.Command
			out, err = people.order(ctx, o, daemon.Actor())
		}
	}
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out)
	}
	return c.print("%s: %s\n", out.Key, alertState(alert.Listed{Alert: out, Told: []alert.Told{{Current: true}}}, time.Now()))
}

// order carries one out, in the name of who, and has it in the history.
func (t *talker) order(ctx context.Context, o alertOrder, who string) (alert.Alert, error) {
	out, err := t.change(ctx, o, who)
	if err != nil {
		return out, err
	}
	t.log.LogAttrs(ctx, slog.LevelInfo, "alert changed by a person", slog.String("alert", out.Key), slog.String("verb", o.Verb), slog.String("actor", who))
	if err := t.remember(ctx, out, o, who); err != nil {
		return out, fmt.Errorf("it counts, and is not in the history: %w", err)
	}
	return out, nil
}

// rememberFor is how long a person waits for the history: what the credential is busy
// with comes first, and a portal that hangs keeps it busy. The order stays queued.
const rememberFor = 5 * time.Second

// remember it in the history of each credential that the alert is about.
func (t *talker) remember(ctx context.Context, a alert.Alert, o alertOrder, who string) error {
	text := "alert " + a.Key + " "
	switch o.Verb {
	case verbAck:
		text += "acknowledged"
	case verbSnooze:
		text += "snoozed until " + o.Until.UTC().Format(time.RFC3339)
	default:
		text += "is open again"
	}
	ctx, cancel := context.WithTimeout(ctx, rememberFor)
	defer cancel()
	for names := a.Credentials(); len(names) > 0; {
		results, err := t.command(ctx, rotate.Command{Kind: rotate.CommandAlert, Text: text, By: who}, names...)
		if gone, ok := errors.AsType[*daemon.NotFoundError](err); ok { // it left the config meanwhile
			names = slices.DeleteFunc(names, func(n rotate.Name) bool { return n == gone.Name })
			continue
		}
		for _, r := range results {
			if r.Error != "" && ctx.Err() == nil {
				err = errors.Join(err, errors.New(r.Error))
			}
		}
		if ctx.Err() != nil {
			t.log.LogAttrs(ctx, slog.LevelWarn, "a credential is busy: the change of its alert is in its history later", slog.String("alert", a.Key))
			return nil
		}
		return err
	}
	return nil
}

// change the alert.
func (t *talker) change(ctx context.Context, o alertOrder, who string) (out alert.Alert, err error) {
	switch o.Verb {
	case verbAck:
		out, err = t.Acknowledge(ctx, o.ID, who)
	case verbSnooze:
		out, err = t.Snooze(ctx, o.ID, who, o.Until)
	case verbUnsnooze:
		out, err = t.Unsnooze(ctx, o.ID, who)
	default:
		return out, daemon.BadRequest("the order cannot be read")
	}
	if e, ok := errors.AsType[*alert.NotFoundError](err); ok {
		text := e.Error() + "; see rotatord alerts"
		if guess := nearest(e.ID, e.Known); guess != "" {
			text = fmt.Sprintf("%s; did you mean %s?", e, guess)
		}
		return out, daemon.BadRequest(text)
	}
	if e, ok := errors.AsType[*alert.StateError](err); ok {
		return out, daemon.BadRequest(e.Error())
	}
	return out, err
}

// alertVerbs of the admin socket.
func (p *process) alertVerbs() []daemon.Extra {
	return []daemon.Extra{
		{Pattern: "GET /v1/alerts", Serve: func(_ context.Context, _ string, q url.Values, _ io.Reader) (any, error) {
			if p.people == nil {
				return nil, errNobodyTold
			}
			return p.people.List(q.Get("all") != "")
		}},
		{Pattern: "POST /v1/alerts", Changes: true, Serve: func(ctx context.Context, actor string, _ url.Values, body io.Reader) (any, error) {
			if p.people == nil {
				return nil, errNobodyTold
			}
			var o alertOrder
			dec := json.NewDecoder(body)
			dec.DisallowUnknownFields()
			if err := dec.Decode(&o); err != nil {
				return nil, daemon.BadRequest("the order cannot be read")
			}
			return p.people.order(ctx, o, actor)
		}},
	}
}
