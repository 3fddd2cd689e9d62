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
	s := a.cfg.Alerts.Slack
	if s == nil {
		return nil, nil
	}
	webhook, err := s.Webhook.Resolve(context.Background())
	if err != nil {
		return nil, fmt.Errorf("alerts.slack.webhook: %w", err)
	}
	sender, err := slack.New(slack.Options{Webhook: webhook, Mention: s.Mention, Timeout: s.Timeout.Std()})
	if err != nil {
		return nil, err
	}
	o := alert.Options{Store: a.db.AlertState(), Sender: sender, Links: alert.Links{Runbook: string(a.cfg.Alerts.RunbookURL)},
		RepeatEvery: a.cfg.Alerts.RepeatEvery.Std(), ReportDone: s.ReportDone, Log: a.log,
		OnDelivery: func(d alert.Delivery) { a.metrics.Notification(metrics.Delivery(d)) }}
	for _, d := range a.cfg.Alerts.WarnBefore {
		o.WarnBefore = append(o.WarnBefore, d.Std())
	}
	alerter, err := alert.New(o)
	if err != nil {
		return nil, err
	}
	return &talker{alerter}, nil
}

func (t *talker) run(ctx context.Context) error { return t.Run(ctx) }

func (t *talker) check(now time.Time, views []daemon.View) {
	out := make([]alert.View, len(views))
	for i, v := range views {
		due, _ := rotate.DueAt(v.Record, v.Policy)
		out[i] = alert.View{Name: v.Name, Portal: v.ID.Portal, Item: v.ID.Item, Owner: v.Owner, Environment: v.Environment,
			Consumers: v.Consumers, Mode: v.Mode, Record: v.Record, DueAt: due,
			ConfigHold: v.Hold, CriticalBefore: v.Policy.CriticalBefore}
	}
	t.Check(now, out)
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
