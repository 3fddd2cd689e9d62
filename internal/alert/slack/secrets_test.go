package slack

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"rotatord/internal/alert/slack/slacktest"
	"rotatord/internal/rotate"
)

// TestTokensAreReadAtEachUse: one that was revoked is replaced by writing its file. The
// connection for buttons comes back with the next try, which Again makes now.
func TestTokensAreReadAtEachUse(t *testing.T) {
	s := newServer(t)
	var bot, app atomic.Value
	bot.Store(slacktest.BotToken)
	app.Store(slacktest.AppToken)
	o := byToken(s)
	o.BotToken = func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(bot.Load().(string)), nil }
	o.AppToken = func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(app.Load().(string)), nil }
	n := notifier(t, o)
	log := &safeBuffer{}
	a, err := NewActor(ActorOptions{Notifier: n, Users: []string{ada}, Alerts: &desk{}, Order: (&desk{}).Order, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	}()
	s.Socket(t)
	tell(t, n, page())

	const newBot, newApp = "xoxb-2-CaNaRyNeWbOt", "xapp-2-CaNaRyNeWaPp"
	s.Revoke(newBot, newApp)
	_, err = n.Tell(t.Context(), page())
	if rotate.KindOf(err) != rotate.KindAuth || !strings.Contains(err.Error(), "does not know the token") {
		t.Errorf("Tell with a token of yesterday = %v", err)
	}
	bot.Store(newBot)
	app.Store(newApp)
	tell(t, n, page())
	a.Again()
	s.Socket(t)
	if err := n.Check(t.Context()); err != nil {
		t.Errorf("Check = %v", err)
	}
	if strings.Contains(log.String(), "CaNaRy") {
		t.Errorf("the log shows a token: %s", log.String())
	}
}
