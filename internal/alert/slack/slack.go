// Package slack tells people in Slack what the alert engine decided to tell.
//
// By an incoming webhook it can only post: what asks for attention is one message, and
// nothing is changed afterwards. With a bot token each alert is one message, which is
// brought up to date through its life, with its story in the thread; and with an app
// token people can act from there (Actor).
//
// Contract: tokens and the webhook's address are read at each use, and are in no error and no log; a message stays
// inside Block Kit's documented limits whatever is in it; what comes from elsewhere is
// escaped and mentions nobody; a 429's Retry-After is handed on.
//
// A repetition is possible in one place: a line in a thread whose outcome nobody knows,
// since its request was cut off, is sent again. A message itself is looked for in the
// channel's history before it is posted a second time, if the token may read that.
package slack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	slackgo "github.com/slack-go/slack"

	"rotatord/internal/alert"
	said "rotatord/internal/alert/wire"
	"rotatord/internal/rotate"
)

// Mention is whom to call.
type Mention struct {
	Owner      string           // of the alerts; "" is everybody who has no line of their own
	Severities []alert.Severity // none: critical
	Who        string           // as in <!subteam^S012AB3CD>
}

// Options of New. There is a Webhook, or a BotToken and a Channel.
type Options struct {
	Webhook  said.Source // https, or http to this machine
	BotToken said.Source
	AppToken said.Source // for Check and an Actor
	Channel  string      // its id
	// Mention is whom to call in what is critical if no line of Mentions says otherwise.
	Mention   string
	Mentions  []Mention
	Actions   bool // the messages have buttons
	Timeout   time.Duration
	Transport http.RoundTripper // nil: a proxy-aware one of its own
	API       string            // Slack's, for tests; "" is https://slack.com/api/
	Started   time.Time         // of this process: what began before may have been posted by an earlier one
}

// Notifier posts to one channel. It is safe for concurrent use.
type Notifier struct {
	wire     *wire
	bot      *bot // nil: by webhook
	mentions []Mention
	actions  bool
	options  Options
}

var _ alert.Notifier = (*Notifier)(nil)

var (
	mentionForm = regexp.MustCompile(`^(<(@[A-Z0-9]+|!subteam\^[A-Z0-9]+|!here|!channel|!everyone)> ?)*$`)
	channelForm = regexp.MustCompile(`^[CGD][A-Z0-9]{2,}$`)
)

// New checks the options. It reads and sends nothing.
func New(o Options) (*Notifier, error) {
	byWebhook, byBot := o.Webhook != nil, o.BotToken != nil
	switch {
	case byWebhook == byBot:
		return nil, errors.New("configure Slack: want a webhook or a bot token, and not both")
	case byBot && !channelForm.MatchString(o.Channel):
		return nil, fmt.Errorf("configure Slack: channel %q is no channel's id; %s", o.Channel, fixChannel)
	case o.Actions && !byBot:
		return nil, errors.New("configure Slack: actions want a bot token; a webhook's messages cannot be answered")
	case o.Timeout <= 0:
		return nil, errors.New("configure Slack: timeout must be above zero")
	}
	mentions := slices.Clone(o.Mentions)
	if o.Mention != "" && !slices.ContainsFunc(mentions, func(m Mention) bool { return m.Owner == "" }) {
		mentions = append(mentions, Mention{Who: o.Mention})
	}
	for _, m := range mentions {
		if !mentionForm.MatchString(m.Who) {
			return nil, fmt.Errorf("configure Slack: mention %q is not of the form <@U012AB3CD>, <!subteam^S012AB3CD>, <!here> or <!channel>", m.Who)
		}
	}
	n := &Notifier{wire: newWire(o), mentions: mentions, actions: o.Actions, options: o}
	if byBot {
		n.bot = newBot(o)
	}
	return n, nil
}

// Read the secrets, and say which of them cannot be used.
func (n *Notifier) Read(ctx context.Context) error {
	if n.bot == nil {
		_, err := n.hook(ctx)
		return err
	}
	errs := []error{n.signIn(ctx)}
	if n.options.AppToken != nil {
		_, err := n.wire.read(ctx, "app token", n.options.AppToken)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Name implements alert.Notifier.
func (n *Notifier) Name() string { return "slack" }

// Tell implements alert.Notifier.
func (n *Notifier) Tell(ctx context.Context, o alert.Notice) (string, error) {
	o = said.Clean(o) // an error that it quotes may hold what it should not
	if n.bot != nil {
		if err := n.signIn(ctx); err != nil {
			return o.Ref, err
		}
		return n.tellByBot(ctx, o)
	}
	return n.tellByWebhook(ctx, o)
}

// tellByWebhook posts what asks for attention and drops the rest: what was posted cannot
// be changed.
func (n *Notifier) tellByWebhook(ctx context.Context, o alert.Notice) (string, error) {
	if !o.Loud && o.Kind != alert.NoticeSample && o.Kind != alert.NoticeDigest {
		return o.Ref, nil
	}
	m := n.render(o, n.mention(o))
	off := false
	msg := &slackgo.WebhookMessage{Text: m.text, Blocks: &slackgo.Blocks{BlockSet: m.blocks}, UnfurlLinks: &off, UnfurlMedia: &off}
	err := n.post(ctx, msg)
	if rotate.KindOf(err) == rotate.KindPermanent { // better plain than untold
		msg.Blocks = nil
		err = n.post(ctx, msg)
	}
	return o.Ref, err
}

func (n *Notifier) post(ctx context.Context, msg *slackgo.WebhookMessage) error {
	address, err := n.hook(ctx)
	if err != nil {
		return err
	}
	seen := &codeReader{next: n.wire.client.Transport}
	client := *n.wire.client
	client.Transport = seen
	err = slackgo.PostWebhookCustomHTTPContext(ctx, address.Reveal(), &client, msg)
	switch {
	case err == nil && seen.code == "ok":
		return nil
	case err == nil:
		return &rotate.Error{Op: "post to the webhook at Slack", Kind: rotate.KindTransient, Err: errors.New("the answer is not Slack's; is there a proxy in between?")}
	}
	if _, limited := errors.AsType[*slackgo.RateLimitedError](err); !limited && seen.code != "" {
		err = slackgo.SlackErrorResponse{Err: seen.code}
	}
	return n.wire.errorOf("post to the webhook", true, err)
}

// mention is whom the notice calls, in one line; "" is nobody.
func (n *Notifier) mention(o alert.Notice) string {
	if o.Kind != alert.NoticeAlert || o.State != alert.StateOpen || resolved(o) {
		return ""
	}
	pick := func(owner string) (who []string, named bool) {
		for _, m := range n.mentions {
			if m.Owner != owner {
				continue
			}
			named = true
			calls := m.Severities
			if len(calls) == 0 {
				calls = []alert.Severity{alert.SeverityCritical}
			}
			for w := range strings.FieldsSeq(strings.ReplaceAll(m.Who, "><", "> <")) {
				if slices.Contains(calls, o.Message.Severity) && !slices.Contains(who, w) {
					who = append(who, w)
				}
			}
		}
		return who, named
	}
	who, named := pick(o.Message.Owner)
	if !named || o.Message.Owner == "" {
		who, _ = pick("")
	}
	return strings.Join(who, " ")
}
