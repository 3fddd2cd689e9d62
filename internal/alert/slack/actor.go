package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	slackgo "github.com/slack-go/slack"

	said "rotatord/internal/alert/wire"
	"rotatord/internal/rotate"
)

// deedTimeout bounds one order; what it asked for goes on without it.
const deedTimeout = 30 * time.Second

// take decides what an interaction is answered with at once, and what is done after that.
func (a *Actor) take(ctx context.Context, c slackgo.InteractionCallback) (answer any, deed func()) {
	switch c.Type {
	case slackgo.InteractionTypeBlockActions:
		if len(c.ActionCallback.BlockActions) != 1 {
			return nil, nil
		}
		press := c.ActionCallback.BlockActions[0]
		return nil, func() { a.pressed(ctx, c, press) }
	case slackgo.InteractionTypeViewSubmission:
		if c.View.CallbackID == askCompromised {
			return a.submitted(ctx, c)
		}
	default:
	}
	return nil, nil
}

// may tells whether a user is on the list.
func (a *Actor) may(user string) bool { return slices.Contains(a.o.Users, user) }

const notListed = "You are not on the list of those who may act from here (alerts.slack.actions.users in rotatord's config)."

// actor is a person as the history names them.
func actor(u slackgo.User) string {
	name := u.Name
	if name == "" {
		name = u.RealName
	}
	name = strings.Map(func(r rune) rune {
		if r == '(' || r == ')' || plain(r) == "" || r == '\n' || r == '\t' {
			return -1
		}
		return r
	}, name)
	if name == "" {
		return "slack:" + u.ID
	}
	return "slack:" + u.ID + " (" + clip(name, nameMost, plain) + ")"
}

// pressed carries out one button.
func (a *Actor) pressed(ctx context.Context, c slackgo.InteractionCallback, press *slackgo.BlockAction) {
	ctx, cancel := context.WithTimeout(ctx, deedTimeout)
	defer cancel()
	at := where{Channel: c.Container.ChannelID, Message: c.Container.MessageTs}
	value := press.Value
	if press.ActionID == pressMore {
		_, value, _ = strings.Cut(press.BlockID, ":")
	}
	log := a.o.Log.With(slog.String("button", press.ActionID), slog.String("user", c.User.ID))
	if err := a.o.Notifier.signIn(ctx); err != nil {
		log.ErrorContext(ctx, "a button was pressed, and nobody can be answered", slog.Any("err", err))
		return
	}
	if err := json.Unmarshal([]byte(value), &at.Target); err != nil || at.Target.Key == "" {
		log.WarnContext(ctx, "a button of another version was pressed")
		a.whisper(ctx, c.User.ID, at, "This button is of another version of rotatord. Use the command of the message.")
		return
	}
	log = log.With(slog.String("alert", at.Target.Key))
	if !a.may(c.User.ID) {
		log.WarnContext(ctx, "somebody who may not act pressed a button")
		a.whisper(ctx, c.User.ID, at, notListed)
		return
	}
	if why := a.stale(at.Target); why != "" {
		a.whisper(ctx, c.User.ID, at, why)
		return
	}
	if press.ActionID == pressMore {
		a.ask(ctx, c, at)
		return
	}
	said, err := a.do(ctx, press.ActionID, at.Target, actor(c.User))
	a.answer(ctx, log, c.User, at, said, err)
}

// stale says why a button means nothing any more, or "".
func (a *Actor) stale(t target) string {
	since, open := a.o.Alerts.OpenSince(t.Key)
	switch {
	case !open:
		return "This alert is resolved; nothing was done."
	case t.Since != 0 && !since.IsZero() && since.Unix() != t.Since:
		return "This message is about an earlier alert, which is resolved. There is a newer message; nothing was done."
	}
	return ""
}

// do is what the buttons do. It returns what the thread is told; "" is what the engine
// tells itself.
func (a *Actor) do(ctx context.Context, id string, t target, by string) (string, error) {
	name, now := rotate.Name(t.Credential), time.Now().UTC()
	switch id {
	case pressAck:
		return "", a.o.Alerts.Acknowledge(ctx, t.Key, by)
	case pressSnooze:
		return "", a.o.Alerts.Snooze(ctx, t.Key, by, now.Add(snoozeFor).Truncate(time.Second))
	}
	if name == "" {
		return "", errors.New("the message is about several credentials; use the command of the message")
	}
	switch id {
	case pressHold:
		until := now.Add(holdFor).Truncate(time.Second)
		cmd := rotate.Command{Kind: rotate.CommandHold, Text: "from Slack, on its alert", Until: until, By: by}
		return "⏸️ Held until " + date(until), a.o.Order(ctx, name, cmd)
	case pressResume:
		return "▶️ Resumed", a.o.Order(ctx, name, rotate.Command{Kind: rotate.CommandResume, By: by})
	case pressRotate:
		return "🔄 Rotation asked for", a.o.Order(ctx, name, rotate.Command{Kind: rotate.CommandRotate, Text: "from Slack, on its alert", By: by})
	}
	return "", errors.New("this button is of another version of rotatord")
}

// ask opens the dialog that wants the credential's name; Slack gives three seconds.
func (a *Actor) ask(ctx context.Context, c slackgo.InteractionCallback, at where) {
	view, err := compromisedView(at)
	if err == nil {
		_, err = a.o.Notifier.bot.api().OpenViewContext(ctx, c.TriggerID, view)
	}
	if err != nil {
		err = a.wire.errorOf("open a dialog", false, err)
		a.o.Log.WarnContext(ctx, "dialog was not opened", slog.Any("err", err))
		a.whisper(ctx, c.User.ID, at, "The dialog did not open. Run it where rotatord is: "+compromisedCommand(at.Target))
	}
}

func compromisedCommand(t target) string {
	return "`rotatord rotate --compromised " + clip(t.Credential, nameMost, escape) + "`"
}

// submitted checks the dialog; what is wrong is shown in it.
func (a *Actor) submitted(ctx context.Context, c slackgo.InteractionCallback) (answer any, deed func()) {
	refuseAt := func(input, why string) (any, func()) {
		return slackgo.NewErrorsViewSubmissionResponse(map[string]string{input: why}), nil
	}
	refuse := func(why string) (any, func()) { return refuseAt(inputName, why) }
	var at where
	if err := json.Unmarshal([]byte(c.View.PrivateMetadata), &at); err != nil || at.Target.Credential == "" {
		return refuse("This dialog is of another version of rotatord.")
	}
	if !a.may(c.User.ID) {
		a.o.Log.WarnContext(ctx, "somebody who may not act sent a dialog", slog.String("user", c.User.ID))
		return refuse(notListed)
	}
	var typed, why string
	if s := c.View.State; s != nil {
		typed, why = strings.TrimSpace(s.Values[inputName][inputName].Value), strings.TrimSpace(s.Values[inputWhy][inputWhy].Value)
	}
	if typed != at.Target.Credential {
		return refuse("That is not its name. Nothing was done.")
	}
	if said.Secret(why) {
		return refuseAt(inputWhy, "This has a key or a token in it, and would stay in the history. Say where it was seen.")
	}
	if why == "" {
		why = "compromised, from Slack"
	}
	cmd := rotate.Command{Kind: rotate.CommandCompromised, Text: clip(why, fieldMost, plain), By: actor(c.User)}
	return nil, func() {
		ctx, cancel := context.WithTimeout(ctx, deedTimeout)
		defer cancel()
		log := a.o.Log.With(slog.String("button", askCompromised), slog.String("user", c.User.ID), slog.String("alert", at.Target.Key))
		err := a.o.Notifier.signIn(ctx)
		if err != nil {
			log.ErrorContext(ctx, "a dialog was sent, and nobody can be answered", slog.Any("err", err))
			return
		}
		err = a.o.Order(ctx, rotate.Name(at.Target.Credential), cmd)
		a.answer(ctx, log, c.User, at, "🚨 Compromised: a new key is made, and every other one is revoked after it", err)
	}
}

// answer tells what came of an order: the thread if it was taken, only the person if not.
func (a *Actor) answer(ctx context.Context, log *slog.Logger, u slackgo.User, at where, said string, err error) {
	if err != nil {
		log.WarnContext(ctx, "an order from slack was not taken", slog.Any("err", err))
		a.whisper(ctx, u.ID, at, refusalText(err))
		return
	}
	log.InfoContext(ctx, "an order from slack was taken")
	if said == "" {
		return
	}
	text := said + " by " + person(actor(u))
	_, _, err = a.o.Notifier.bot.api().PostMessageContext(ctx, at.Channel, slackgo.MsgOptionText(text, false), slackgo.MsgOptionTS(at.Message))
	if err != nil {
		log.WarnContext(ctx, "the thread was not told of an order", slog.Any("err", a.wire.errorOf("post to a thread", true, err)))
	}
}

func refusalText(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "rotatord took too long to answer; `rotatord history` shows whether it was done."
	}
	if r, ok := errors.AsType[*rotate.RefusedError](err); ok {
		text := fmt.Sprintf("Refused: %s.", r.Why)
		if r.Cure != "" {
			text += " " + r.Cure + "."
		}
		return clip(text, textMost, escape)
	}
	return clip("Not done: "+err.Error(), textMost, escape)
}

// whisper is for one person's eyes.
func (a *Actor) whisper(ctx context.Context, user string, at where, text string) {
	_, err := a.o.Notifier.bot.api().PostEphemeralContext(ctx, at.Channel, user, slackgo.MsgOptionText(text, false))
	if err != nil {
		a.o.Log.WarnContext(ctx, "an answer was not shown", slog.Any("err", a.wire.errorOf("answer a person", true, err)))
	}
}
