package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/slack"
	"rotatord/internal/alert/slack/slacktest"
	"rotatord/internal/alert/wire"
	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
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
	if a, err := p.newActor(); err != nil || a == nil {
		t.Errorf("newActor = %v, %v", a, err)
	}
	cfg.Alerts.Slack.Actions = nil
	if a, err := p.newActor(); err != nil || a != nil {
		t.Errorf("newActor without actions = %v, %v", a, err)
	}
	var _ slack.Alerts = slackDesk{}
}

// literal is a secret that never changes.
func literal(text string) wire.Source {
	return func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(text), nil }
}

// memory is a Store.
type memory struct {
	mu sync.Mutex
	kv map[string][]byte
}

func (m *memory) Values(context.Context) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.kv), nil
}

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kv[key] = value
	return nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kv, key)
	return nil
}

// awaitCall of a method whose text has a word.
func awaitCall(t *testing.T, s *slacktest.Server, method, word string) slacktest.Call {
	t.Helper()
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var seen []string
	for {
		for _, c := range s.Calls() {
			text := c.Text + slacktest.Read(c.Blocks)
			if c.Method == method && strings.Contains(text, word) {
				return c
			}
			seen = append(seen, c.Method+": "+c.Text)
		}
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("no %s with %q came, but %q", method, word, seen)
		}
	}
}

// TestActFromSlack: the real engine tells a strict Slack, somebody presses its buttons, and
// the message follows.
func TestActFromSlack(t *testing.T) {
	s := slacktest.New(t)
	s.Mentions = []string{"<!here>"}
	n, err := slack.New(slack.Options{BotToken: literal(slacktest.BotToken), AppToken: literal(slacktest.AppToken), Channel: slacktest.Channel, Mention: "<!here>", Actions: true,
		Timeout: 5 * time.Second, API: s.API(), Started: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := alert.New(alert.Options{Store: &memory{kv: map[string][]byte{}}, Notifiers: []alert.Notifier{n}, RepeatEvery: time.Hour, RepeatCritical: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	noted := make(chan rotate.Command, 8)
	people := &talker{Alerter: engine, slack: n, log: slog.New(slog.DiscardHandler),
		command: func(_ context.Context, cmd rotate.Command, _ ...rotate.Name) ([]daemon.CommandResult, error) {
			noted <- cmd
			return nil, nil
		}}
	ordered := make(chan rotate.Command, 1)
	actor, err := slack.NewActor(slack.ActorOptions{Notifier: n, Users: []string{"U0ADA00001"}, Alerts: slackDesk{people},
		Order: func(_ context.Context, _ rotate.Name, cmd rotate.Command) error { ordered <- cmd; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{engine.Run, actor.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); running.Wait() })

	began := time.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	dead := alert.View{Name: "store-locator", Record: rotate.Record{Name: "store-locator", AdoptedAt: began, DeadAt: began, Phase: rotate.PhaseIdle}}
	engine.Check(time.Now(), alert.Scene{Credentials: []alert.View{dead}})
	opened := awaitCall(t, s, "chat.postMessage", "the served key is dead")
	buttons := map[string]slacktest.Element{}
	for _, b := range opened.Blocks {
		for _, e := range b.Elements {
			buttons[e.ActionID] = e
		}
	}
	socket := s.Socket(t)
	press := func(id, action string) {
		t.Helper()
		s.Push(t, socket, id, slacktest.Press("U0ADA00001", "trigger "+id, action, buttons[action].Value, "", opened.TS))
	}
	press("e1", "rotatord_acknowledge")
	if c := awaitCall(t, s, "chat.update", "Acknowledged by ada"); c.TS != opened.TS {
		t.Errorf("another message was changed: %s", c.TS)
	}
	if cmd := <-noted; cmd.Kind != rotate.CommandAlert || cmd.Text != "alert dead/store-locator acknowledged" || cmd.By != "slack:U0ADA00001 (ada)" {
		t.Errorf("the history is told %+v", cmd)
	}
	press("e2", "rotatord_rotate")
	if cmd := <-ordered; cmd.Kind != rotate.CommandRotate || cmd.By != "slack:U0ADA00001 (ada)" {
		t.Errorf("ordered %+v", cmd)
	}
	awaitCall(t, s, "chat.postMessage", "Rotation asked for by ada")

	dead.Record.DeadAt = time.Time{}
	engine.Check(time.Now(), alert.Scene{Credentials: []alert.View{dead}})
	awaitCall(t, s, "chat.update", "resolved")
	press("e3", "rotatord_rotate")
	awaitCall(t, s, "chat.postEphemeral", "is resolved")
	select {
	case cmd := <-ordered:
		t.Errorf("a resolved alert's button ordered %+v", cmd)
	default:
	}
}
