package main

import (
	"context"
	"errors"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/slack"
	"rotatord/internal/config"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

// newSlack is the config's way of telling people in Slack.
func newSlack(ctx context.Context, s *config.Slack, started time.Time) (*slack.Notifier, error) {
	o := slack.Options{Channel: s.Channel, Mention: s.Mention, Timeout: s.Timeout.Std(), Started: started}
	for _, m := range s.Mentions {
		to := slack.Mention{Owner: m.Owner, Who: m.Who}
		for _, severity := range m.Severities {
			to.Severities = append(to.Severities, alert.Severity(severity))
		}
		o.Mentions = append(o.Mentions, to)
	}
	o.Webhook, o.BotToken = sourceOf(s.Webhook), sourceOf(s.BotToken)
	if s.Actions != nil {
		o.Actions, o.AppToken = true, sourceOf(s.Actions.AppToken)
	}
	n, err := slack.New(o)
	if err != nil {
		return nil, err
	}
	return n, n.Read(ctx)
}

// newActor is what carries out the buttons of messages; nil if there are none.
func (p *process) newActor() (*slack.Actor, error) {
	s := p.app.cfg.Alerts.Slack
	if p.people == nil || p.people.slack == nil || s == nil || s.Actions == nil {
		return nil, nil
	}
	return slack.NewActor(slack.ActorOptions{Notifier: p.people.slack, Users: s.Actions.Users, Alerts: slackDesk{p.people}, Log: p.app.log,
		Order: p.people.give})
}

// give an order on a credential, with the checks that one from the command line goes through.
func (t *talker) give(ctx context.Context, name rotate.Name, cmd rotate.Command) error {
	results, err := t.command(ctx, cmd, name)
	if err != nil {
		return err
	}
	for _, r := range results {
		switch {
		case r.Refused != "":
			return &rotate.RefusedError{Command: cmd.Kind, Why: r.Refused, Cure: r.Cure}
		case ctx.Err() != nil:
			return ctx.Err()
		case r.Error != "":
			return errors.New(r.Error)
		}
	}
	return nil
}

// slackDesk is the alert engine for buttons.
type slackDesk struct{ people *talker }

// OpenSince implements slack.Alerts.
func (d slackDesk) OpenSince(key string) (time.Time, bool) {
	list, err := d.people.List(false)
	if err != nil {
		return time.Time{}, false
	}
	for _, a := range list {
		if a.Key == key {
			return a.Since, true
		}
	}
	return time.Time{}, false
}

// Acknowledge implements slack.Alerts.
func (d slackDesk) Acknowledge(ctx context.Context, key, by string) error {
	_, err := d.people.order(ctx, alertOrder{ID: key, Verb: verbAck}, by)
	return err
}

// Snooze implements slack.Alerts.
func (d slackDesk) Snooze(ctx context.Context, key, by string, until time.Time) error {
	_, err := d.people.order(ctx, alertOrder{ID: key, Verb: verbSnooze, Until: until}, by)
	return err
}

// checkSlack asks Slack whether people could be told, and tells nobody.
func checkSlack(ctx context.Context, cfg *config.Config) []finding {
	s := cfg.Alerts.Slack
	if s == nil {
		return nil
	}
	n, err := newSlack(ctx, s, time.Now())
	if err == nil {
		err = n.Check(ctx)
	}
	var out []finding
	for _, one := range split(err) {
		f := finding{Severity: string(portal.SeverityError), Notifier: "slack", Cure: "See docs/slack.md.", Sentence: "Nobody would be told: " + one.Error() + "."}
		if t, ok := errors.AsType[*slack.Trouble](one); ok {
			f.Sentence = "Nobody would be told: " + t.Sentence + " (" + t.Code + ")."
			if t.Fix != "" {
				f.Cure = t.Fix + "."
			}
		} else if rotate.KindOf(one) == rotate.KindTransient {
			f.Cure = "It may pass; if it stays, see docs/slack.md."
		}
		out = append(out, f)
	}
	return out
}

// split a joined error into its parts.
func split(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}
