package slack

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/alert"
	"rotatord/internal/alert/slack/slacktest"
	said "rotatord/internal/alert/wire"
	"rotatord/internal/rotate"
)

var updateGolden = flag.Bool("update", false, "rewrite the golden files")

const onCall, mapsTeam = "<!subteam^S0ONCALL01>", "<!subteam^S0MAPS0001>"

func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func newServer(t *testing.T) *slacktest.Server {
	t.Helper()
	s := slacktest.New(t)
	s.Mentions = []string{onCall, mapsTeam}
	s.Links = []string{"Runbook", "ArcGIS item", "Status page", "Dashboard"}
	return s
}

func byToken(s *slacktest.Server) Options {
	return Options{BotToken: fixed(slacktest.BotToken), AppToken: fixed(slacktest.AppToken), Channel: slacktest.Channel,
		Mention: onCall, Mentions: []Mention{{Owner: "Team Maps", Severities: []alert.Severity{alert.SeverityWarning, alert.SeverityCritical}, Who: mapsTeam},
			{Who: onCall}}, Actions: true, Timeout: 5 * time.Second, API: s.API(), Started: now()}
}

func byHook(s *slacktest.Server) Options {
	return Options{Webhook: fixed(s.URL + slacktest.Hook), Mention: onCall, Timeout: 5 * time.Second}
}

func fixed(text string) said.Source {
	return func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(text), nil }
}

func unreadable(context.Context) (rotate.Secret, error) {
	return rotate.Secret{}, errors.New("no such file")
}

func notifier(t *testing.T, o Options) *Notifier {
	t.Helper()
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.wire.client.CloseIdleConnections)
	return n
}

// page is an alert as the engine makes it, at its opening.
func page() alert.Notice {
	return alert.Notice{Key: "expiring/store-locator", Kind: alert.NoticeAlert, State: alert.StateOpen, Loud: true, Message: alert.Message{
		Condition: alert.ConditionExpiring, Severity: alert.SeverityCritical,
		Title: "store-locator: key expires in 23 hours and no rotation is on its way", Credential: "store-locator", Owner: "Team Maps",
		Environment: "prod", Portal: "esri", Breaks: "Breaks at 2026-03-02T11:00:00Z (in 23 hours): tile server, web shop", Phase: "idle", Reason: "hook",
		LastError:   "publish store-locator to vault: transient: dial tcp 10.0.0.1:8200: connection refused",
		NextAttempt: "2026-03-01T13:00:00Z (in 60 minutes)", Command: "rotatord plan store-locator", RotationID: "01JA0000000000000000000000",
		Runbook: "https://wiki.example/keys#rotatordkeyexpiresunrotated", Since: now().Add(time.Minute), At: now().Add(2 * time.Minute),
		Links: []alert.Link{{Text: "ArcGIS item", URL: "https://acme.maps.example/home/item.html?id=4f1c9e0b&x=1"},
			{Text: "Dashboard", URL: "https://grafana.example/d/rotatord"}, {Text: "Status page", URL: "https://rotatord.example/c/store-locator"}},
	}, Story: []alert.StoryLine{{At: now().Add(time.Minute), Text: "critical: key expires in 23 hours and no rotation is on its way"}}}
}

func line(after time.Duration, by, text string) alert.StoryLine {
	return alert.StoryLine{At: now().Add(after), Text: text, By: by}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *updateGolden {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; regenerate with -update):\n%s", file, diff)
	}
}
