package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"rotatord/internal/alert"
	"rotatord/internal/alert/alertmanager"
	"rotatord/internal/alert/email"
	"rotatord/internal/alert/webhook"
	"rotatord/internal/alert/wire"
	"rotatord/internal/config"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

// newNotifiers makes the config's ways of telling people beside Slack. instance is which
// rotatord this is; "" before it has one.
func newNotifiers(cfg *config.Config, instance string, log *slog.Logger) ([]alert.Notifier, error) {
	var out []alert.Notifier
	for _, name := range cfg.Alerts.Notifiers() {
		n, err := newNotifier(name, &cfg.Alerts, instance, log)
		if err != nil {
			return nil, fmt.Errorf("alerts.%s: %w", name, err)
		}
		if n != nil {
			out = append(out, n)
		}
	}
	return out, nil
}

// newNotifier by its name in the config; nil for Slack, which is made with its actions.
func newNotifier(name string, a *config.Alerts, instance string, log *slog.Logger) (alert.Notifier, error) {
	switch name {
	case "slack":
		return nil, nil
	case "webhook":
		c := a.Webhook
		o := webhook.Options{URL: c.URL.Resolve, Source: instance, TLS: wireTLS(c.TLS), Proxy: string(c.Proxy), Timeout: c.Timeout.Std()}
		for _, s := range c.Secrets {
			o.Secrets = append(o.Secrets, s.Resolve)
		}
		return webhook.New(o)
	case "alertmanager":
		c := a.Alertmanager
		o := alertmanager.Options{Token: sourceOf(c.Token), Username: c.Username, Password: sourceOf(c.Password), TLS: wireTLS(c.TLS), Proxy: string(c.Proxy),
			Timeout: c.Timeout.Std(), Keep: c.Keep.Std(), Log: log}
		o.TLS.CertFile, o.TLS.KeyFile = string(c.CertFile), string(c.KeyFile)
		for _, u := range c.URLs {
			o.URLs = append(o.URLs, string(u))
		}
		return alertmanager.New(o)
	case "email":
		c := a.Email
		return email.New(email.Options{Smarthost: c.Smarthost, Security: email.Security(c.Security), TLS: wireTLS(c.TLS), From: c.From, To: c.To,
			Username: c.Username, Password: sourceOf(c.Password), Auth: email.Auth(c.Auth), Hello: c.Hello, Timeout: c.Timeout.Std(), Log: log})
	}
	return nil, errors.New("rotatord knows no such notifier")
}

func wireTLS(t config.TLS) wire.TLS {
	return wire.TLS{CAFile: string(t.CAFile), ServerName: t.ServerName}
}

// sourceOf a reference; nil for none.
func sourceOf(r config.SecretRef) wire.Source {
	if r.IsZero() {
		return nil
	}
	return r.Resolve
}

// checkNotifiers asks each whether it could tell, and tells nobody.
func checkNotifiers(ctx context.Context, cfg *config.Config, log *slog.Logger) []finding {
	var out []finding
	for _, name := range cfg.Alerts.Notifiers() {
		n, err := newNotifier(name, &cfg.Alerts, "", log)
		if err == nil && n != nil {
			err = n.Check(ctx)
		}
		if err == nil {
			continue
		}
		cure := "See alerts." + name + " and docs/notifiers.md."
		if rotate.KindOf(err) == rotate.KindTransient {
			cure = "It may pass; if it stays, see alerts." + name + " and docs/notifiers.md."
		}
		out = append(out, finding{Severity: string(portal.SeverityError), Notifier: name, Cure: cure,
			Sentence: "Nobody would be told: " + strings.ReplaceAll(err.Error(), "\n", "; ") + "."})
	}
	return out
}
