package slack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/slack/slacktest"
	"rotatord/internal/rotate"
)

// TestRefusals: each of Slack's refusals has its kind, its sentence and its cure.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		method string
		fault  slacktest.Fault
		kind   rotate.Kind
		wait   time.Duration
		says   string
	}{
		{"chat.postMessage", slacktest.Fault{Wait: 30}, rotate.KindRateLimited, 30 * time.Second, "rate_limited"},
		{"chat.postMessage", slacktest.Fault{Code: "ratelimited"}, rotate.KindRateLimited, 0, "too many messages"},
		{"chat.postMessage", slacktest.Fault{Code: "invalid_auth"}, rotate.KindAuth, 0, "alerts.slack.bot_token"},
		{"chat.postMessage", slacktest.Fault{Code: "token_revoked"}, rotate.KindAuth, 0, "was revoked"},
		{"chat.postMessage", slacktest.Fault{Code: "account_inactive"}, rotate.KindAuth, 0, "removed from the workspace"},
		{"chat.postMessage", slacktest.Fault{Code: "missing_scope", Needs: "chat:write"}, rotate.KindAuth, 0, "lacks the scope chat:write"},
		{"chat.postMessage", slacktest.Fault{Code: "channel_not_found"}, rotate.KindAuth, 0, "alerts.slack.channel"},
		{"chat.postMessage", slacktest.Fault{Code: "not_in_channel"}, rotate.KindAuth, 0, "/invite"},
		{"chat.postMessage", slacktest.Fault{Code: "is_archived"}, rotate.KindAuth, 0, "unarchive"},
		{"chat.postMessage", slacktest.Fault{Code: "restricted_action"}, rotate.KindAuth, 0, "restrict who may post"},
		{"chat.postMessage", slacktest.Fault{Code: "service_unavailable"}, rotate.KindTransient, 0, "Slack has trouble"},
		{"chat.postMessage", slacktest.Fault{Code: "something_new"}, rotate.KindPermanent, 0, "something_new"},
		{"chat.postMessage", slacktest.Fault{Code: "<script>"}, rotate.KindPermanent, 0, "without one of Slack's codes"},
		{"chat.postMessage", slacktest.Fault{Code: "x", Late: true}, rotate.KindTransient, 0, ""},
		{"webhook", slacktest.Fault{Wait: 30}, rotate.KindRateLimited, 30 * time.Second, ""},
		{"webhook", slacktest.Fault{Code: "no_service"}, rotate.KindAuth, 0, "was deleted"},
		{"webhook", slacktest.Fault{Code: "channel_is_archived"}, rotate.KindAuth, 0, "archived"},
		{"webhook", slacktest.Fault{Code: "action_prohibited"}, rotate.KindAuth, 0, "restricts who may post"},
		{"webhook", slacktest.Fault{Code: "x", Late: true}, rotate.KindTransient, 0, ""},
	} {
		t.Run(tt.method+" "+tt.fault.Code, func(t *testing.T) {
			s := newServer(t)
			options := byToken(s)
			if tt.method == "webhook" {
				options = byHook(s)
			}
			s.Next(tt.method, tt.fault)
			_, err := notifier(t, options).Tell(t.Context(), page())
			if rotate.KindOf(err) != tt.kind || rotate.WaitOf(err) != tt.wait || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("Tell = %v (wait %s), want kind %s, wait %s and %q", err, rotate.WaitOf(err), tt.kind, tt.wait, tt.says)
			}
		})
	}
	for name, r := range refusals() {
		if r.sentence == "" || (r.kind == rotate.KindAuth && r.fix == "") {
			t.Errorf("%s has no sentence or no cure", name)
		}
	}
}

// TestCheck says what would not work, and shows nobody anything.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name  string
		world func(*slacktest.Server, *Options)
		says  string // "" is fine
	}{
		{"fine", func(*slacktest.Server, *Options) {}, ""},
		{"wrong token", func(_ *slacktest.Server, o *Options) { o.BotToken = fixed("xoxb-other-CaNaRy") }, "does not know the token"},
		{"wrong app token", func(_ *slacktest.Server, o *Options) { o.AppToken = fixed("xapp-other-CaNaRy") }, "connections:write"},
		{"no scope to post", func(s *slacktest.Server, _ *Options) { s.Scopes = "channels:read,channels:history" }, "the scope chat:write"},
		{"no scope to look at the channel", func(s *slacktest.Server, _ *Options) { s.Scopes = "chat:write" }, "the scope channels:read"},
		{"no scope to look back", func(s *slacktest.Server, _ *Options) { s.Scopes = "chat:write,channels:read" }, "the scope channels:history"},
		{"private, no scope to look back", func(s *slacktest.Server, _ *Options) {
			s.Scopes, s.Private = "chat:write,groups:read,channels:history", true
		}, "the scope groups:history"},
		{"unknown channel", func(_ *slacktest.Server, o *Options) { o.Channel = "C0OTHER" }, "no such channel"},
		{"not in the channel", func(s *slacktest.Server, _ *Options) { s.Absent = true }, "/invite"},
		{"archived", func(s *slacktest.Server, _ *Options) { s.Archived = true }, "is archived"},
		{"webhook, fine", func(s *slacktest.Server, o *Options) { *o = byHook(s) }, ""},
		{"webhook gone", func(s *slacktest.Server, o *Options) {
			*o = byHook(s)
			o.Webhook = fixed(s.URL + slacktest.Hook + "x")
		}, "the webhook was deleted"},
		{"webhook's channel archived", func(s *slacktest.Server, o *Options) {
			*o = byHook(s)
			s.Next("webhook", slacktest.Fault{Code: "channel_is_archived"})
		}, "archived"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			o := byToken(s)
			tt.world(s, &o)
			err := notifier(t, o).Check(t.Context())
			if (err == nil) != (tt.says == "") || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("Check = %v, want %q", err, tt.says)
			}
			if len(s.Messages()) != 0 {
				t.Error("somebody was told something")
			}
		})
	}
}

func TestOptions(t *testing.T) {
	hook, token := fixed("https://hooks.slack.com"+slacktest.Hook), fixed(slacktest.BotToken)
	for _, tt := range []struct {
		name string
		o    Options
		says string
	}{
		{"no URL", Options{Webhook: fixed("https://hooks.slack.com" + slacktest.Hook + "%zz"), Timeout: 1}, "no URL"},
		{"http", Options{Webhook: fixed("http://hooks.slack.com" + slacktest.Hook), Timeout: 1}, "no https URL"},
		{"no path", Options{Webhook: fixed("https://hooks.slack.com/"), Timeout: 1}, "no path"},
		{"neither", Options{Timeout: 1}, "a webhook or a bot token"},
		{"both", Options{Webhook: hook, BotToken: token, Channel: "C0123", Timeout: 1}, "not both"},
		{"a channel's name", Options{BotToken: token, Channel: "#alerts", Timeout: 1}, "no channel's id"},
		{"actions by webhook", Options{Webhook: hook, Actions: true, Timeout: 1}, "actions want a bot token"},
		{"mention by name", Options{Webhook: hook, Mention: "@maps-team", Timeout: 1}, "mention"},
		{"mention of an owner by name", Options{Webhook: hook, Mentions: []Mention{{Owner: "x", Who: "maps"}}, Timeout: 1}, "mention"},
		{"no timeout", Options{Webhook: hook}, "timeout"},
		{"an empty token", Options{BotToken: fixed(""), Channel: "C0123", Timeout: 1}, "the bot token for Slack: auth: it is empty"},
		{"an unreadable app token", Options{BotToken: token, AppToken: unreadable, Channel: "C0123", Timeout: 1}, "the app token for Slack: auth: no such file"},
	} {
		n, err := New(tt.o)
		if err == nil {
			err = n.Read(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: New gave %v, want %q", tt.name, err, tt.says)
		}
		for _, secret := range slacktest.Secrets() {
			if strings.Contains(fmt.Sprint(err), secret) {
				t.Errorf("%s: %v shows a secret", tt.name, err)
			}
		}
	}
	if _, err := New(Options{Webhook: hook, Mention: "<!here> <@U012AB3CD>", Timeout: 1}); err != nil {
		t.Errorf("good options gave %v", err)
	}
	var _ alert.Notifier = &Notifier{}
}
