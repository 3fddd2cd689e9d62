package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/slack"
	"rotatord/internal/alert/slack/slacktest"
	"rotatord/internal/config"
	"rotatord/internal/testkit"
)

func slackConfig(t *testing.T, text string, args ...any) *config.Config {
	t.Helper()
	minimal, err := os.ReadFile(filepath.Join(testkit.Root(t), "internal", "config", "testdata", "minimal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("config.yaml", fmt.Appendf(minimal, text, args...))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func slackSecret(t *testing.T, value string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + name
}

// TestSlackOfTheConfig: check-config --online has Slack's own sentence and cure, and every
// condition's sample is taken by a Slack that is strict.
func TestSlackOfTheConfig(t *testing.T) {
	s := slacktest.New(t)
	s.Links = []string{"Runbook", "Dashboard", "Status page"}
	cfg := slackConfig(t, "\nalerts:\n  runbook_url: https://wiki.acme.example/keys\n  slack: {webhook: '%s', mention: <!here>}\n",
		slackSecret(t, s.URL+slacktest.Hook))
	if found := checkSlack(t.Context(), cfg); len(found) != 0 {
		t.Errorf("findings %+v of a webhook in order", found)
	}
	s.Next("webhook", slacktest.Fault{Code: "channel_is_archived"})
	found := checkSlack(t.Context(), cfg)
	if len(found) != 1 || found[0].Notifier != "slack" || !strings.Contains(found[0].Sentence, "archived") || !strings.Contains(found[0].Cure, "unarchive") {
		t.Errorf("findings %+v, want that the channel is archived, and the cure", found)
	}
	n, err := newSlack(t.Context(), cfg.Alerts.Slack, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	engine, err := alert.New(alert.Options{Store: readStore{}, Notifiers: []alert.Notifier{n}, RepeatEvery: time.Hour, RepeatCritical: time.Hour,
		Links: alert.Links{Runbook: string(cfg.Alerts.RunbookURL)}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := chosenConditions(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if _, err := n.Tell(t.Context(), engine.Sample(c, time.Now())); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	messages := s.Messages()
	if len(messages) != len(all) {
		t.Fatalf("%d samples stand, want %d", len(messages), len(all))
	}
	for _, m := range messages {
		if text := m.Text + slacktest.Read(m.Blocks); strings.Contains(text, "<!here>") || !strings.Contains(m.Text, "Sample: ") || strings.Contains(text, "[Acknowledge]") {
			t.Errorf("a sample calls somebody, is not marked or has buttons:\n%s", text)
		}
	}
	if _, err := chosenConditions([]string{"expirng"}); err == nil || !strings.Contains(err.Error(), "expiring") {
		t.Errorf("a slip gave %v", err)
	}
}

// TestSlackAppOfTheConfig: what the config says of the app reaches it, without a word to
// anybody.
func TestSlackAppOfTheConfig(t *testing.T) {
	cfg := slackConfig(t, "\nalerts:\n  slack:\n    bot_token: '%s'\n    channel: C0ALERTS01\n    mentions: [{owner: maps, severities: [warning], who: <!subteam^S0MAPS0001>}]\n"+
		"    actions: {app_token: '%s', users: [U0ADA00001]}\n", slackSecret(t, slacktest.BotToken), slackSecret(t, slacktest.AppToken))
	n, err := newSlack(t.Context(), cfg.Alerts.Slack, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := &process{app: &app{cfg: cfg}, people: &talker{slack: n}}
	if a, err := p.newActor(t.Context()); err != nil || a == nil {
		t.Errorf("newActor = %v, %v", a, err)
	}
	cfg.Alerts.Slack.Actions = nil
	if a, err := p.newActor(t.Context()); err != nil || a != nil {
		t.Errorf("newActor without actions = %v, %v", a, err)
	}
	var _ slack.Alerts = slackDesk{}
}
