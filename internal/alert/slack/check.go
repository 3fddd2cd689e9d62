package slack

import (
	"context"
	"errors"
	"slices"
	"strings"

	slackgo "github.com/slack-go/slack"

	"rotatord/internal/rotate"
)

// Check implements alert.Notifier: it tries the webhook, the tokens, their scopes and the
// channel. Nobody sees anything of it.
func (n *Notifier) Check(ctx context.Context) error {
	if n.bot == nil {
		return n.checkWebhook(ctx)
	}
	errs := []error{n.checkBot(ctx)}
	if n.actions {
		errs = append(errs, n.checkApp(ctx))
	}
	return errors.Join(errs...)
}

// checkWebhook posts a message that has nothing in it. Slack looks at the address first,
// and refuses the message only if that is good.
func (n *Notifier) checkWebhook(ctx context.Context) error {
	err := n.post(ctx, &slackgo.WebhookMessage{})
	if code := codeOf(err); code == "no_text" || code == "invalid_payload" {
		return nil
	}
	return err
}

func (n *Notifier) checkBot(ctx context.Context) error {
	if err := n.signIn(ctx); err != nil {
		return err
	}
	who, err := n.bot.api().AuthTestContext(ctx)
	if err != nil {
		return n.wire.errorOf("check the bot token", false, err)
	}
	if who.BotID == "" {
		return n.trouble("check the bot token", "not_allowed_token_type", "it is no bot token, so that messages would come from a person")
	}
	scopes := strings.FieldsFunc(who.Header.Get("X-Oauth-Scopes"), func(r rune) bool { return r == ',' || r == ' ' })
	private := strings.HasPrefix(n.bot.channel, "G")
	channel, err := n.bot.api().GetConversationInfoContext(ctx, &slackgo.GetConversationInfoInput{ChannelID: n.bot.channel})
	switch {
	case len(scopes) > 0 && !slices.Contains(scopes, "chat:write"):
		return n.trouble("check the scopes", "missing_scope", "the app lacks the scope chat:write, with which it posts")
	case err != nil:
		return n.wire.errorOf("look at the channel", false, err)
	case channel.IsArchived:
		return n.trouble("look at the channel", "is_archived", "")
	case !channel.IsMember && !channel.IsIM:
		return n.trouble("look at the channel", "not_in_channel", "")
	}
	history := "channels:history"
	if private || channel.IsPrivate {
		history = "groups:history"
	}
	if len(scopes) > 0 && !slices.Contains(scopes, history) {
		return n.trouble("check the scopes", "missing_scope", "the app lacks the scope "+history+
			", with which it looks whether a message whose outcome is unknown was posted; without it one may be posted twice")
	}
	return nil
}

// checkApp asks for a connection, which is not opened.
func (n *Notifier) checkApp(ctx context.Context) error {
	if n.options.AppToken == nil {
		return nil
	}
	token, err := n.wire.read(ctx, "app token", n.options.AppToken)
	if err != nil {
		return err
	}
	_, _, err = n.wire.api(n.options, "", slackgo.OptionAppLevelToken(token)).StartSocketModeContext(ctx)
	if err == nil {
		return nil
	}
	err = n.wire.errorOf("check the app token", false, err)
	if t, ok := errors.AsType[*Trouble](err); ok {
		switch t.Code {
		case "invalid_auth", "not_authed", "token_revoked", "missing_scope", "not_allowed_token_type":
			t.Fix = "make an app-level token (xapp-…) with the scope connections:write on the app's page Basic Information, " +
				"store it where alerts.slack.actions.app_token points, and switch Socket Mode on"
		}
	}
	return err
}

func (n *Notifier) trouble(op, code, sentence string) error {
	known := refusals()[code]
	if sentence == "" {
		sentence = known.sentence
	}
	return &rotate.Error{Op: op + " at Slack", Kind: known.kind, Err: &Trouble{Code: code, Sentence: sentence, Fix: known.fix}}
}
