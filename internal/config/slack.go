package config

import (
	"regexp"
	"slices"
	"strconv"
)

// Slack by an incoming webhook, or by an app with a bot token.
type Slack struct {
	Webhook    SecretRef      `yaml:"webhook,omitempty" doc:"Reference to an incoming webhook's address, which is a secret: the simple way, which can only post. Either this or bot_token."`
	BotToken   SecretRef      `yaml:"bot_token,omitempty" doc:"Reference to the app's bot token (xoxb-…): one message an alert, which is kept up to date."`
	Channel    string         `yaml:"channel,omitempty" doc:"Id of the channel, as in C012AB3CD, at the foot of its details; with bot_token."`
	Mention    string         `yaml:"mention,omitempty" doc:"Whom to mention in what is critical, as in <!subteam^S012AB3CD> or <!here>, unless mentions has a line without owner."`
	Mentions   []SlackMention `yaml:"mentions,omitempty" doc:"Whom to mention by owner and severity. An owner's own lines are taken instead of those without owner."`
	Actions    *SlackActions  `yaml:"actions,omitempty" doc:"Buttons on the messages; with bot_token. None if left out."`
	ReportDone bool           `yaml:"report_done" jsonschema:"default=true" doc:"Also report rotations that went well: one quiet message a day, with bot_token."`
	Timeout    Duration       `yaml:"timeout,omitempty" jsonschema:"default=10s" doc:"Longest time for one message."`
}

// SlackMention is whom to mention.
type SlackMention struct {
	Owner      string   `yaml:"owner,omitempty" doc:"Owner of the alerts, as the credentials name it. Every owner without a line of its own, if left out."`
	Severities []string `yaml:"severities,omitempty" jsonschema:"enum=critical,enum=warning,enum=info" doc:"In what. critical if left out."`
	Who        string   `yaml:"who" jsonschema:"required" doc:"Whom, as in <!subteam^S012AB3CD> or <@U012AB3CD>."`
}

// SlackActions lets people act from Slack.
type SlackActions struct {
	AppToken SecretRef `yaml:"app_token" jsonschema:"required" doc:"Reference to the app-level token (xapp-…) for Socket Mode, with the scope connections:write."`
	Users    []string  `yaml:"users" jsonschema:"required" doc:"Ids of those who may act, as in U012AB3CD, from their profiles. Nobody else may."`
}

var (
	slackMention = regexp.MustCompile(`^(<(@[A-Z0-9]+|!subteam\^[A-Z0-9]+|!here|!channel|!everyone)> ?)+$`)
	slackChannel = regexp.MustCompile(`^[CGD][A-Z0-9]{2,}$`)
	slackUser    = regexp.MustCompile(`^[UW][A-Z0-9]{2,}$`)
)

func severities() []string { return []string{"critical", "warning", "info"} }

// slack checks the section.
func (k *checker) slack(s *Slack) {
	const at = "alerts.slack"
	k.oneOf(at, "give webhook for the simple way, or bot_token and channel for the full one; see docs/slack.md", "webhook", "bot_token")
	bot := k.has(at + ".bot_token")
	switch {
	case k.broken[at]:
		return
	case bot && !k.has(at+".channel"):
		k.bad(at+".bot_token", "add channel with the channel's id", "stands without channel")
	case !bot && k.has(at+".channel"):
		k.bad(at+".channel", "remove it: a webhook has its own channel", "stands without bot_token")
	}
	if s.Channel != "" && !slackChannel.MatchString(s.Channel) {
		k.bad(at+".channel", "copy the id (C…) at the foot of the channel's details in Slack", "%s is no channel's id", shown(s.Channel))
	}
	k.slackMention(at+".mention", s.Mention)
	for i, m := range s.Mentions {
		place := at + ".mentions[" + strconv.Itoa(i) + "]"
		k.slackMention(place+".who", m.Who)
		for j, text := range m.Severities {
			if !slices.Contains(severities(), text) {
				k.bad(place+".severities["+strconv.Itoa(j)+"]", suggest(text, severities()), "%s is no severity", shown(text))
			}
		}
	}
	a := s.Actions
	if a == nil {
		return
	}
	if !bot {
		k.bad(at+".actions", "use bot_token and channel: a webhook's messages cannot be answered", "stands without bot_token")
	}
	if p := at + ".actions.users"; k.has(p) && len(a.Users) == 0 && !k.broken[p] {
		k.bad(p, "name those who may act, or remove actions", "is empty")
	}
	for i, u := range a.Users {
		if u != "" && !slackUser.MatchString(u) {
			k.bad(at+".actions.users["+strconv.Itoa(i)+"]", "copy the member ID (U…) from their profile in Slack", "%s is no user's id", shown(u))
		}
	}
}

func (k *checker) slackMention(place, text string) {
	if text != "" && !slackMention.MatchString(text) && !k.anyBroken(place) {
		k.bad(place, "write <@U012AB3CD> for a person, <!subteam^S012AB3CD> for a group, or <!here>", "%s is no mention by id", shown(text))
	}
}

// slackFiles looks at the section's secrets.
func (f *fileChecker) slackFiles(s *Slack) {
	if !s.Webhook.IsZero() {
		f.secret("alerts.slack.webhook", s.Webhook)
	}
	if !s.BotToken.IsZero() {
		f.secret("alerts.slack.bot_token", s.BotToken)
	}
	if s.Actions != nil {
		f.secret("alerts.slack.actions.app_token", s.Actions.AppToken)
	}
}
