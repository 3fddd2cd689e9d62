package slack

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	slackgo "github.com/slack-go/slack"

	"rotatord/internal/alert"
)

// bot is the way with a token.
type bot struct {
	channel string
	started time.Time

	mu     sync.Mutex
	token  string          // guarded by mu: of client
	client *slackgo.Client // guarded by mu; nil before signIn
	posted map[string]ref  // guarded by mu: by key, of what does not end; the engine may not know yet
	unsure map[string]bool // guarded by mu: keys whose post has an unknown outcome
}

func newBot(o Options) *bot {
	return &bot{channel: o.Channel, started: o.Started, posted: map[string]ref{}, unsure: map[string]bool{}}
}

// signIn reads the token, so that one that was changed counts from the next message on.
func (n *Notifier) signIn(ctx context.Context) error {
	token, err := n.wire.read(ctx, "bot token", n.options.BotToken)
	if err != nil {
		return err
	}
	b := n.bot
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client == nil || b.token != token {
		b.token, b.client = token, n.wire.api(n.options, token)
	}
	return nil
}

// api is for who has signed in.
func (b *bot) api() *slackgo.Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.client
}

// ref finds a message again, and tells what was told last.
type ref struct {
	channel, ts string
	severity    alert.Severity
	since       string // of the alert
	opening     bool   // its opening was not told to the end: the message is there, and the rest is due
}

func (r ref) String() string { return r.channel + "/" + r.ts + "/" + string(r.severity) }

var tsForm = regexp.MustCompile(`^\d{1,12}\.\d{1,9}$`)

func parseRef(s string) (ref, bool) {
	channel, rest, _ := strings.Cut(s, "/")
	ts, severity, ok := strings.Cut(rest, "/")
	return ref{channel: channel, ts: ts, severity: alert.Severity(severity)}, ok && channelForm.MatchString(channel) && tsForm.MatchString(ts)
}

// tellByBot brings the one message of the notice's key up to date, or posts it, and adds
// what is new to its thread. The thread comes last, so that what is told twice is a line
// at most.
func (n *Notifier) tellByBot(ctx context.Context, o alert.Notice) (string, error) {
	at, err := n.standing(ctx, o)
	if err != nil {
		return o.Ref, err
	}
	post := at.ts == ""
	if !post {
		now, err := n.update(ctx, at, o)
		switch {
		case err != nil:
			return o.Ref, err
		case now != kept && (resolved(o) || (now == closed && !o.Loud)):
			return o.Ref, nil // nobody looks for the end of what they deleted
		}
		post = now != kept
	} else if !wanted(o) {
		return "", nil
	}
	rose := level(o.Message.Severity) > level(at.severity)
	fresh := post || (at.opening && !rose)
	if post {
		if at, err = n.first(ctx, o); err != nil {
			return o.Ref, err
		}
	}
	if err := n.reply(ctx, at, o, fresh, rose || o.Message.Severity == alert.SeverityCritical); err != nil {
		return o.Ref, err
	}
	at.severity, at.since, at.opening = o.Message.Severity, since(o), false
	n.bot.settle(o, at)
	return at.String(), nil
}

func level(s alert.Severity) int {
	switch s {
	case alert.SeverityCritical:
		return 2
	case alert.SeverityWarning:
		return 1
	case alert.SeverityInfo:
	}
	return 0
}

// wanted: what is quiet has nothing to bring up to date, and what has ended was not told.
func wanted(o alert.Notice) bool {
	switch o.Kind {
	case alert.NoticeRoutine, alert.NoticeDigest, alert.NoticeSample:
		return true
	case alert.NoticeAlert:
	}
	return o.Loud
}

// note a message whose opening is not told to the end.
func (b *bot) note(key string, at ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.posted[key] = at
}

func (b *bot) settle(o alert.Notice, at ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.unsure, o.Key)
	if o.Kind == alert.NoticeAlert && !resolved(o) {
		b.posted[o.Key] = at
	} else {
		delete(b.posted, o.Key)
	}
}

// standing finds the notice's message: by what the engine kept, by what an attempt that
// failed halfway left, or in the channel's history. No ts: there is none.
func (n *Notifier) standing(ctx context.Context, o alert.Notice) (ref, error) {
	b := n.bot
	at, ok := parseRef(o.Ref)
	b.mu.Lock()
	if mine, there := b.posted[o.Key]; !ok && there && mine.since == since(o) {
		at, ok = mine, true
	}
	look := !ok && o.Kind != alert.NoticeSample && (b.unsure[o.Key] || o.Message.Since.Before(b.started))
	b.mu.Unlock()
	switch {
	case ok && at.channel != b.channel && o.Loud && !resolved(o):
		return ref{}, nil // the config names another channel: who reads that must see it
	case !look || !wanted(o):
		return at, nil
	}
	return n.find(ctx, o)
}

// first posts the message.
func (n *Notifier) first(ctx context.Context, o alert.Notice) (ref, error) {
	mention := ""
	if o.Loud {
		mention = n.mention(o)
	}
	b := n.bot
	channel, ts, err := n.write(n.render(o, mention), func(options []slackgo.MsgOption) (string, string, error) {
		return b.api().PostMessageContext(ctx, b.channel, append(options, metadata(o), slackgo.MsgOptionDisableLinkUnfurl(), slackgo.MsgOptionDisableMediaUnfurl())...)
	}, "post a message")
	if err != nil {
		if unsure(err) {
			b.mu.Lock()
			b.unsure[o.Key] = true
			b.mu.Unlock()
		}
		return ref{}, err
	}
	at := ref{channel: channel, ts: ts, severity: o.Message.Severity, since: since(o), opening: true}
	b.note(o.Key, at)
	return at, nil
}

// write sends a message, and as plain text if its blocks are refused: better plain than
// untold.
func (n *Notifier) write(m shown, send func([]slackgo.MsgOption) (string, string, error), op string) (channel, ts string, err error) {
	text := slackgo.MsgOptionText(m.text, false)
	channel, ts, err = send([]slackgo.MsgOption{text, slackgo.MsgOptionBlocks(m.blocks...)})
	err = n.errorOf(op, err)
	switch codeOf(err) {
	case "invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long":
		channel, ts, err = send([]slackgo.MsgOption{text})
		err = n.errorOf(op, err)
	}
	return channel, ts, err
}

func (n *Notifier) errorOf(op string, err error) error {
	if err == nil {
		return nil
	}
	return n.wire.errorOf(op, true, err)
}

// fate of a message that was to be changed.
type fate int

const (
	kept    fate = iota
	deleted      // by a person, or its channel is not ours any more
	closed       // it stands, and cannot be changed
)

// update brings the message up to date. Whom it calls is shown and not called again:
// Slack tells nobody of a change.
func (n *Notifier) update(ctx context.Context, at ref, o alert.Notice) (fate, error) {
	_, _, err := n.write(n.render(o, n.mention(o)), func(options []slackgo.MsgOption) (string, string, error) {
		channel, ts, _, err := n.bot.api().UpdateMessageContext(ctx, at.channel, at.ts, append(options, metadata(o))...)
		return channel, ts, err
	}, "update a message")
	switch codeOf(err) {
	case "message_not_found":
		return deleted, nil
	case "cant_update_message", "edit_window_closed":
		return closed, nil
	case "channel_not_found", "not_in_channel", "is_archived":
		if at.channel != n.bot.channel {
			return deleted, nil
		}
	}
	return kept, err
}

// reply adds what is new to the thread. What is urgent, or got so, is shown in the channel
// too: a thread of yesterday is out of sight.
func (n *Notifier) reply(ctx context.Context, at ref, o alert.Notice, fresh, worse bool) error {
	mention := ""
	if o.Loud && !fresh {
		mention = n.mention(o)
	}
	text := thread(o, fresh, mention)
	if text == "" {
		return nil
	}
	options := []slackgo.MsgOption{slackgo.MsgOptionText(text, false), slackgo.MsgOptionTS(at.ts),
		slackgo.MsgOptionDisableLinkUnfurl(), slackgo.MsgOptionDisableMediaUnfurl()}
	if o.Loud && !fresh && worse && !resolved(o) {
		options = append(options, slackgo.MsgOptionBroadcast())
	}
	_, _, err := n.bot.api().PostMessageContext(ctx, at.channel, options...)
	err = n.errorOf("post to a thread", err)
	if codeOf(err) == "thread_not_found" || codeOf(err) == "restricted_action_thread_locked" {
		return nil // the message says how it stands
	}
	return err
}

const eventType = "rotatord_alert"

// metadata is what a message is found by.
func metadata(o alert.Notice) slackgo.MsgOption {
	payload := map[string]any{"key": o.Key, "since": since(o)}
	if o.Message.RotationID != "" {
		payload["rotation_id"] = o.Message.RotationID
	}
	return slackgo.MsgOptionMetadata(slackgo.SlackMetadata{EventType: eventType, EventPayload: payload})
}

// since tells one life of an alert from the next of the same key.
func since(o alert.Notice) string {
	if o.Message.Since.IsZero() {
		return ""
	}
	return strconv.FormatInt(o.Message.Since.Unix(), 10)
}

// find looks for the message among the channel's last hundred. A token that may not read
// them finds nothing.
func (n *Notifier) find(ctx context.Context, o alert.Notice) (ref, error) {
	const newest = 100
	params := &slackgo.GetConversationHistoryParameters{ChannelID: n.bot.channel, Limit: newest, IncludeAllMetadata: true, Oldest: since(o)}
	page, err := n.bot.api().GetConversationHistoryContext(ctx, params)
	if err != nil {
		err = n.wire.errorOf("look for a message", false, err)
		if codeOf(err) == "missing_scope" {
			return ref{}, nil
		}
		return ref{}, err
	}
	for _, m := range page.Messages {
		p := m.Metadata.EventPayload
		if m.Metadata.EventType == eventType && p["key"] == o.Key && p["since"] == since(o) {
			return ref{channel: n.bot.channel, ts: m.Timestamp, severity: o.Message.Severity, since: since(o), opening: true}, nil
		}
	}
	return ref{}, nil
}
