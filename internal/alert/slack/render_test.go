package slack

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/slack/slacktest"
)

// notices are one of each kind of message.
func notices() map[string]alert.Notice {
	out := map[string]alert.Notice{"critical": page(), "routine": routine()}
	with := func(name string, change func(*alert.Notice)) {
		o := page()
		change(&o)
		out[name] = o
	}
	with("warning", func(o *alert.Notice) {
		o.Message.Severity, o.Message.Condition, o.Message.Title = alert.SeverityWarning, alert.ConditionFailing, "store-locator: rotation keeps failing (4 times)"
	})
	with("acknowledged", func(o *alert.Notice) {
		o.State, o.By, o.Loud = alert.StateAcknowledged, "slack:U0ADA00001 (ada)", false
	})
	with("snoozed", func(o *alert.Notice) {
		o.State, o.By, o.Until, o.Loud = alert.StateSnoozed, "uid 1000 (grace)", now().Add(4*time.Hour), false
	})
	with("resolved", func(o *alert.Notice) {
		o.State = alert.StateResolved
		o.Message = alert.Message{Condition: alert.ConditionDead, Severity: alert.SeverityInfo, Resolved: true, Title: "store-locator: resolved, no longer dead",
			Credential: "store-locator", Owner: "Team Maps", Environment: "prod", Portal: "esri", Since: now().Add(-3 * time.Hour), At: now()}
	})
	with("several", func(o *alert.Notice) {
		o.Key = "group/drift/2026-03-01T12:00:00Z"
		o.Message = alert.Message{Condition: alert.ConditionDrift, Severity: alert.SeverityWarning, Title: "7 credentials: drift", Owner: "Team Maps",
			Command: "rotatord status", Others: []string{"a (Team A)", "b", "c", "d", "e", "f", "g"}, Since: now().Add(-time.Hour), At: now()}
	})
	with("digest", func(o *alert.Notice) {
		*o = alert.Notice{Key: "digest", Kind: alert.NoticeDigest, State: alert.StateOpen, Loud: true, Message: alert.Message{
			Condition: alert.ConditionDigest, Severity: alert.SeverityInfo, Title: "1 needs a person · 3 rotated · 2 coming", At: now(), Since: now().Add(-7 * 24 * time.Hour),
			Links: []alert.Link{{Text: "Status page", URL: "https://rotatord.example/"}},
			Sections: []alert.Section{
				{Title: "Needs a person", Lines: []string{"critical: store-locator: key expires in 23 hours, since 2026-02-28T11:00:00Z"}},
				{Title: "Rotated", Lines: []string{"mobile on 2026-02-27T03:00:00Z: expiring", "geocoder, twice"}},
				{Title: "Coming", Lines: []string{"web-shop is due at 2026-03-04T03:00:00Z (in 2 days)"}}}}}
	})
	with("sample", func(o *alert.Notice) { o.Kind = alert.NoticeSample })
	return out
}

// TestGolden keeps each message as Slack gets it, and as it reads.
func TestGolden(t *testing.T) {
	for name, o := range notices() {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			tell(t, notifier(t, byToken(s)), o)
			calls := s.Calls()
			for len(calls) > 1 && calls[0].Method == "conversations.history" {
				calls = calls[1:]
			}
			if len(calls) == 0 {
				// What is quiet has a message already.
				n := notifier(t, byToken(s))
				loud := o
				loud.Loud, loud.State = true, alert.StateOpen
				o.Ref = tell(t, n, loud)
				s.Calls()
				tell(t, n, o)
				calls = s.Calls()
			}
			var body bytes.Buffer
			if err := json.Indent(&body, []byte(calls[0].RawBlocks), "", "  "); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".golden.json", body.String()+"\n")
			golden(t, name+".reads.txt", "On a phone: "+calls[0].Text+"\n\n"+slacktest.Read(calls[0].Blocks))
		})
	}
}

// TestLimits: whatever is in a message, Slack takes it, and it mentions nobody.
func TestLimits(t *testing.T) {
	for name, fill := range map[string]string{
		"long": strings.Repeat("x", 9000), "escapes": strings.Repeat("<&>", 3000), "backticks": strings.Repeat("`", 9000), "emoji": strings.Repeat("🔑", 5000),
		"lines": strings.Repeat("a\n", 4000), "mention": "<!channel> <@U123> <https://evil.example|click> <!date^1^x|y>", "broken UTF-8": "a\xffb",
		"times": strings.Repeat("2026-03-01T12:00:00Z ", 400), "backwards": "\u202eyek\u202c", "bars": strings.Repeat("|", 4000),
	} {
		for _, by := range []string{"webhook", "token"} {
			t.Run(name+" by "+by, func(t *testing.T) {
				s := newServer(t)
				options := byToken(s)
				if by == "webhook" {
					options = byHook(s)
				}
				o := page()
				m := &o.Message
				for _, f := range []*string{&m.Title, &m.Credential, &m.Owner, &m.Environment, &m.Portal, &m.Breaks, &m.Phase, &m.Reason, &m.LastError,
					&m.NextAttempt, &m.Command, &m.RotationID, &o.By} {
					*f = fill
				}
				m.Runbook = "https://wiki.example/" + fill
				m.Links[0].URL = m.Runbook
				for range 20 {
					m.Others = append(m.Others, fill)
					o.Story = append(o.Story, alert.StoryLine{At: now(), Text: fill, By: fill})
				}
				for range 40 {
					m.Sections = append(m.Sections, alert.Section{Title: "s", Lines: []string{"a"}})
				}
				for i := range 4 {
					m.Sections[i].Title, m.Sections[i].Lines = fill, []string{fill, fill}
				}
				tell(t, notifier(t, options), o)
				if len(s.Messages()) == 0 {
					t.Error("nothing arrived")
				}
			})
		}
	}
}

func TestClip(t *testing.T) {
	for _, tt := range []struct {
		text string
		most int
		want string
	}{
		{"abcde", 5, "abcde"},
		{"abcdef", 5, "abcd…"},
		{"a<b", 6, "a&lt;b"},
		{"a<b", 5, "a…"}, // an escape is not cut in two
		{"🔑🔑🔑", 6, "🔑🔑🔑"},
		{"🔑🔑🔑", 5, "🔑🔑…"},
		{"", 5, ""},
	} {
		if got := clip(tt.text, tt.most, escape); got != tt.want {
			t.Errorf("clip(%q, %d) = %q, want %q", tt.text, tt.most, got, tt.want)
		}
	}
}
