package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/slack"
	"rotatord/internal/daemon"
	"rotatord/internal/metrics"
	"rotatord/internal/rotate"
)

// talker tells people.
type talker struct{ *alert.Alerter }

// newTalker makes one as the config says; nil if nobody is to be told.
func newTalker(a *app) (*talker, error) {
	o := alert.Options{Store: a.db.AlertState(), Links: alert.Links{Runbook: string(a.cfg.Alerts.RunbookURL)},
		RepeatEvery: a.cfg.Alerts.RepeatEvery.Std(), Log: a.log,
		OnDelivery: func(d alert.Delivery) { a.metrics.Notification(metrics.Delivery(d)) }}
	if err := notifiers(a, &o); err != nil || len(o.Notifiers) == 0 {
		return nil, err
	}
	for _, d := range a.cfg.Alerts.WarnBefore {
		o.WarnBefore = append(o.WarnBefore, d.Std())
	}
	alerter, err := alert.New(o)
	if err != nil {
		return nil, err
	}
	return &talker{alerter}, nil
}

// notifiers of the config.
func notifiers(a *app, o *alert.Options) error {
	if s := a.cfg.Alerts.Slack; s != nil {
		webhook, err := s.Webhook.Resolve(context.Background())
		if err != nil {
			return fmt.Errorf("alerts.slack.webhook: %w", err)
		}
		sender, err := slack.New(slack.Options{Webhook: webhook, Mention: s.Mention, Timeout: s.Timeout.Std()})
		if err != nil {
			return err
		}
		o.Notifiers = append(o.Notifiers, alert.Plain("slack", sender))
		if !s.ReportDone {
			o.Quiet = append(o.Quiet, "slack")
		}
	}
	return nil
}

func (t *talker) run(ctx context.Context) error { return t.Run(ctx) }

func (t *talker) check(now time.Time, views []daemon.View) {
	out := make([]alert.View, len(views))
	for i, v := range views {
		due, _ := rotate.DueAt(v.Record, v.Policy)
		out[i] = alert.View{Name: v.Name, Portal: v.ID.Portal, Item: v.ID.Item, Owner: v.Owner, Environment: v.Environment,
			Consumers: v.Consumers, Mode: v.Mode, Record: v.Record, Detail: v.Detail, DueAt: due,
			ConfigHold: v.Hold, CriticalBefore: v.Policy.CriticalBefore}
		for _, s := range v.Managed.Sinks {
			out[i].Sinks = append(out[i].Sinks, s.Name())
		}
	}
	t.Check(now, alert.Scene{Credentials: out})
}

// withoutURL is an HTTP client's error without the address, which may hold a token, and
// without what an answer said, which may repeat it.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*url.Error](err); ok && e.Timeout() {
		return context.DeadlineExceeded
	}
	return errors.New("no answer that can be read")
}

// productLabel is a config's product as metrics and emulators write it.
func productLabel(product string) string { return strings.ReplaceAll(product, "-", "_") }
