package config

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestNotifierFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"secret", "token", "hook"} {
		put(t, path(name), "x", 0o600)
	}
	put(t, path("open"), "x", 0o644)
	c := minimal(t, "/etc/rotatord/secrets/main", path("secret"), "/run/vault/token", path("token"), "defaults:\n", `alerts:
  webhook: {url: 'file:`+path("hook")+`', secrets: ['file:`+path("hook")+`', 'file:`+path("no-secret")+`'], tls: {ca_file: `+path("no-ca")+`}}
  alertmanager: {urls: ['https://am.example'], username: u, password: 'file:`+path("open")+`', cert_file: `+path("no-cert")+`, key_file: `+path("open")+`}
  email: {smarthost: 'mail.example:587', from: a@example.org, to: [b@example.org], username: u, password: 'file:`+path("no-password")+`', tls: {ca_file: `+path("open")+`}}
defaults:
`)
	var got []string
	for _, p := range c.CheckFiles() {
		got = append(got, p.Path)
	}
	slices.Sort(got)
	want := []string{"alerts.alertmanager.cert_file", "alerts.alertmanager.key_file", "alerts.alertmanager.password", "alerts.email.password", "alerts.webhook.secrets[1]", "alerts.webhook.tls.ca_file"}
	if !slices.Equal(got, want) {
		t.Errorf("problems at %q, want %q", got, want)
	}
	a := c.Alerts
	if !slices.Equal(a.Notifiers(), []string{"webhook", "alertmanager", "email"}) {
		t.Errorf("notifiers %q", a.Notifiers())
	}
	if a.Webhook.Timeout.Std() != 10*time.Second || a.Alertmanager.Keep.Std() != 15*time.Minute || a.Email.Security != "starttls" || a.Email.Auth != "any" || a.Email.Timeout.Std() != 30*time.Second {
		t.Errorf("defaults are %+v, %+v, %+v", a.Webhook, a.Alertmanager, a.Email)
	}
}

// Whoever tells, one fault is one page by default.
func TestWhoTells(t *testing.T) {
	slack, am, email, hook := &Slack{}, &Alertmanager{}, &Email{}, &Webhook{}
	for name, c := range map[string]struct {
		a    Alerts
		want []string
	}{
		"all":            {Alerts{Slack: slack, Alertmanager: am, Email: email, Webhook: hook}, []string{"slack"}},
		"no Slack":       {Alerts{Alertmanager: am, Email: email, Webhook: hook}, []string{"alertmanager"}},
		"mail and hook":  {Alerts{Email: email, Webhook: hook}, []string{"email"}},
		"a hook":         {Alerts{Webhook: hook}, []string{"webhook"}},
		"nobody":         {Alerts{}, nil},
		"as it is said":  {Alerts{Slack: slack, Email: email, To: []string{"email", "slack"}}, []string{"email", "slack"}},
		"with one route": {Alerts{Slack: slack, Email: email, Routes: []Route{{Conditions: []string{"drift"}, To: []string{"email"}}}}, []string{"slack"}},
	} {
		routes := c.a.RoutesOf()
		if got := routes["dead"]; !slices.Equal(got, c.want) || len(routes) != len(AlertConditions()) {
			t.Errorf("%s: %v for %d conditions, want %v", name, got, len(routes), c.want)
		}
		if drift := routes["drift"]; name == "with one route" && !slices.Equal(drift, []string{"email"}) {
			t.Errorf("%s: drift goes to %v", name, drift)
		}
	}
}
