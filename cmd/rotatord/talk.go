package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/slack"
	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/journal"
	"rotatord/internal/metrics"
	"rotatord/internal/rotate"
)

// talker tells people.
type talker struct {
	*alert.Alerter
	notifiers []alert.Notifier
	slack     *slack.Notifier // nil: not among them
	log       *slog.Logger
	// command is how what people do to alerts gets into the history; set before anybody acts.
	command func(context.Context, rotate.Command, ...rotate.Name) ([]daemon.CommandResult, error)
}

// newTalker makes one as the config says; nil if nobody is to be told.
func newTalker(a *app) (*talker, error) {
	o, err := alertOptions(a)
	if err != nil {
		return nil, err
	}
	if err := notifiers(a, &o); err != nil || len(o.Notifiers) == 0 {
		return nil, err
	}
	alerter, err := alert.New(o)
	if err != nil {
		return nil, err
	}
	t := &talker{Alerter: alerter, notifiers: o.Notifiers, log: a.log}
	for _, n := range o.Notifiers {
		if s, ok := n.(*slack.Notifier); ok {
			t.slack = s
		}
	}
	return t, nil
}

// readStore is the journal's, for a command that only reads.
type readStore struct{ journal.State }

func (readStore) Put(context.Context, string, []byte) error { return nil }
func (readStore) Delete(context.Context, string) error      { return nil }

func alertStore(a *app) alert.Store {
	if !a.writes {
		return readStore{a.db.AlertState()}
	}
	return a.db.AlertState()
}

// alertOptions of the config, without notifiers.
func alertOptions(a *app) (alert.Options, error) {
	c := &a.cfg.Alerts
	o := alert.Options{Store: alertStore(a), Links: alert.Links{Runbook: string(c.RunbookURL)}, Owner: c.Owner,
		Waits:       map[alert.Severity]time.Duration{alert.SeverityCritical: c.Wait.Critical.Std(), alert.SeverityWarning: c.Wait.Warning.Std(), alert.SeverityInfo: c.Wait.Info.Std()},
		RepeatEvery: c.RepeatEvery.Std(), RepeatCritical: c.RepeatCritical.Std(), FlapTimes: c.Flap.Times, FlapWindow: c.Flap.Within.Std(),
		Routes: map[alert.Condition][]string{}, Log: a.log,
		OnDelivery: func(d alert.Delivery) { a.metrics.Notification(metrics.Delivery(d)) }}
	for text, url := range map[string]config.URL{"Dashboard": c.DashboardURL, "Status page": c.StatusURL} {
		if url != "" {
			o.Links.Always = append(o.Links.Always, alert.Link{Text: text, URL: string(url)})
		}
	}
	slices.SortFunc(o.Links.Always, func(x, y alert.Link) int { return strings.Compare(x.Text, y.Text) })
	for condition, to := range c.RoutesOf() {
		o.Routes[alert.Condition(condition)] = to
	}
	for _, d := range c.WarnBefore {
		o.WarnBefore = append(o.WarnBefore, d.Std())
	}
	zone, err := a.cfg.AlertZone()
	if err != nil {
		return o, fmt.Errorf("alerts.time_zone: %w", err)
	}
	for _, q := range c.QuietHours {
		hours := alert.QuietHours{From: q.From.Std(), To: q.To.Std(), Zone: zone}
		for _, d := range q.Days {
			hours.Days = append(hours.Days, d.Std())
		}
		o.QuietHours = append(o.QuietHours, hours)
	}
	digest, err := a.cfg.DigestSchedule()
	if err != nil {
		return o, fmt.Errorf("alerts.digest: %w", err)
	}
	if digest != nil {
		o.Digest = digest
	}
	return o, nil
}

// notifiers of the config.
func notifiers(a *app, o *alert.Options) error {
	if s := a.cfg.Alerts.Slack; s != nil {
		n, err := newSlack(context.Background(), s, a.started)
		if err != nil {
			return err
		}
		o.Notifiers = append(o.Notifiers, n)
		if !s.ReportDone {
			o.Quiet = append(o.Quiet, "slack")
		}
	}
	others, err := newNotifiers(a.cfg, a.instance, a.log)
	o.Notifiers = append(o.Notifiers, others...)
	return err
}

// again tries now what was refused, with secrets as they are now.
func (t *talker) again(actor *slack.Actor) {
	t.Again()
	if actor != nil {
		actor.Again()
	}
}

func (t *talker) run(ctx context.Context) error { return t.Run(ctx) }

// begun notes that a daemon has started, and returns what notes that it stops. What
// cannot be noted, on a full disk say, is logged, and keeps nobody from rotating.
func (a *app) begun(ctx context.Context) func(context.Context) {
	note := func(err error) {
		if err != nil {
			a.log.LogAttrs(ctx, slog.LevelWarn, "start or stop was not noted for alerts", slog.Any("err", err))
		}
	}
	crashes, end, err := alert.Begin(ctx, a.db.AlertState(), time.Now().UTC())
	if err != nil {
		note(err)
		return func(context.Context) {}
	}
	a.adapters.troubles.mu.Lock()
	a.adapters.troubles.crashes = crashes
	a.adapters.troubles.mu.Unlock()
	return func(ctx context.Context) { note(end(ctx)) }
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
