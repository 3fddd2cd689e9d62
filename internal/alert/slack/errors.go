package slack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	slackgo "github.com/slack-go/slack"

	"rotatord/internal/rotate"
)

// Trouble is a refusal by Slack, in words.
type Trouble struct {
	Code     string // Slack's
	Sentence string
	Fix      string
}

func (t *Trouble) Error() string {
	text := t.Code + ": " + t.Sentence
	if t.Fix != "" {
		text += "; " + t.Fix
	}
	return text
}

// Cure is what to do about it.
func (t *Trouble) Cure() string { return t.Fix }

// refusal is one of Slack's codes: what it is about, and in words.
type refusal struct {
	kind          rotate.Kind
	sentence, fix string
}

const (
	fixToken   = "copy the Bot User OAuth Token (xoxb-…) of the app's page OAuth & Permissions into alerts.slack.bot_token"
	fixChannel = "copy the id at the foot of the channel's details (C…) into alerts.slack.channel"
	fixInvite  = "write /invite @rotatord in the channel"
	fixWebhook = "make a new one on the app's page Incoming Webhooks, and store it where alerts.slack.webhook points"
	fixAdmin   = "ask an administrator of the workspace, or choose another channel"
	fixArchive = "unarchive it, or choose another channel"
	fixReport  = "rotatord made a message that Slack does not take: please report this with the code"
)

// refusals are the codes that Slack documents for the methods that are called here
// (docs.slack.dev/reference/methods/chat.postMessage, chat.update, conversations.info,
// apps.connections.open, and messaging/sending-messages-using-incoming-webhooks).
func refusals() map[string]refusal {
	auth, message, later := rotate.KindAuth, rotate.KindPermanent, rotate.KindTransient
	return map[string]refusal{
		"invalid_auth":           {auth, "Slack does not know the token", fixToken},
		"not_authed":             {auth, "Slack got no token", fixToken},
		"token_revoked":          {auth, "the token was revoked", "install the app to the workspace again, and " + fixToken},
		"token_expired":          {auth, "the token has expired: the app has token rotation switched on, which rotatord does not do", "make the app anew from the manifest in docs/slack.md, which has it off"},
		"account_inactive":       {auth, "the app was removed from the workspace, or its workspace was deleted", "install the app again, and " + fixToken},
		"not_allowed_token_type": {auth, "it is a token of another kind", "a bot token begins with xoxb-, an app token with xapp-"},
		"no_permission":          {auth, "the app lacks a right", "compare its scopes with the manifest in docs/slack.md, and install it again"},
		"missing_scope":          {auth, "the app lacks a scope", "add it on the app's page OAuth & Permissions, and install the app again"},
		"access_denied":          {auth, "the workspace refuses the app", fixAdmin},
		"org_login_required":     {auth, "the workspace moves to an Enterprise organisation", "try again when that is done"},
		"ekm_access_denied":      {auth, "the workspace's key management refuses", fixAdmin},
		"team_access_not_granted": {auth, "the app is not approved for this workspace of the organisation",
			"ask an administrator of the organisation to add it"},
		"channel_not_found":                        {auth, "there is no such channel, or it is private and the app is not in it", fixChannel + "; in a private one, " + fixInvite},
		"not_in_channel":                           {auth, "the app is not in the channel", fixInvite},
		"is_archived":                              {auth, "the channel is archived", fixArchive},
		"channel_is_archived":                      {auth, "the webhook's channel is archived", "unarchive it, or " + fixWebhook},
		"is_inactive":                              {auth, "the channel is frozen", fixAdmin},
		"action_prohibited":                        {auth, "an administrator restricts who may post there", fixAdmin},
		"restricted_action":                        {auth, "the workspace's settings restrict who may post there", fixAdmin},
		"restricted_action_read_only":              {auth, "the channel is read only", fixAdmin},
		"restricted_action_thread_only_channel":    {auth, "the channel takes replies only", fixAdmin},
		"restricted_action_non_threadable_channel": {auth, "the channel takes no replies", "choose another channel"},
		"restricted_action_thread_locked":          {message, "the thread is locked", ""},
		"posting_to_general_channel_denied":        {auth, "posting to the general channel is restricted", fixAdmin},
		"no_service":                               {auth, "the webhook was deleted or never was", fixWebhook},
		"no_service_id":                            {auth, "the webhook's address is not whole", fixWebhook},
		"no_team":                                  {auth, "the webhook's workspace is gone", fixWebhook},
		"team_disabled":                            {auth, "the webhook's workspace is disabled", fixWebhook},
		"no_active_hooks":                          {auth, "the webhook is disabled", fixWebhook},
		"invalid_token":                            {auth, "the webhook's address is wrong or was revoked", fixWebhook},
		"msg_too_long":                             {message, "the message is too long", fixReport},
		"no_text":                                  {message, "the message has no text", fixReport},
		"invalid_blocks":                           {message, "Slack does not take the message's blocks", fixReport},
		"invalid_blocks_format":                    {message, "Slack does not take the message's blocks", fixReport},
		"invalid_payload":                          {message, "Slack does not take the message", fixReport},
		"message_not_found":                        {message, "somebody deleted the message", ""},
		"cant_update_message":                      {message, "the message is not ours to change", ""},
		"edit_window_closed":                       {message, "the workspace lets nobody change a message so old", ""},
		"thread_not_found":                         {message, "somebody deleted the message", ""},
		"ratelimited":                              {rotate.KindRateLimited, "too many messages", ""},
		"rate_limited":                             {rotate.KindRateLimited, "too many messages", ""},
		"message_limit_exceeded":                   {auth, "the workspace's plan takes no more messages", fixAdmin},
		"internal_error":                           {later, "Slack has trouble", ""},
		"fatal_error":                              {later, "Slack has trouble", ""},
		"service_unavailable":                      {later, "Slack has trouble", ""},
		"request_timeout":                          {later, "Slack got half of the message", ""},
		"team_added_to_org":                        {later, "the workspace moves to an Enterprise organisation", "nothing: it is tried again"},
		"accesslimited":                            {later, "Slack limits access for a while", ""},
	}
}

// codeOf what Slack refused; "" is anything else.
func codeOf(err error) string {
	if t, ok := errors.AsType[*Trouble](err); ok {
		return t.Code
	}
	return ""
}

var (
	codeForm  = regexp.MustCompile(`^[a-z_]{1,64}$`)
	scopeForm = regexp.MustCompile(`^[a-z.:_, -]{1,200}$`)
)

// errorOf turns what went wrong with a call into an error that says why and holds no
// secret. Writes tells that the call may have had its effect although no answer came.
func (w *wire) errorOf(op string, writes bool, err error) error {
	out := &rotate.Error{Op: op + " at Slack", Kind: rotate.KindTransient}
	if limited, ok := errors.AsType[*slackgo.RateLimitedError](err); ok {
		out.Kind, out.Wait = rotate.KindRateLimited, limited.RetryAfter
		return out
	}
	if _, ok := errors.AsType[*strconv.NumError](err); ok { // a Retry-After that is no number of seconds
		out.Kind = rotate.KindRateLimited
		return out
	}
	if refused, ok := errors.AsType[slackgo.SlackErrorResponse](err); ok {
		out.Kind, out.Err = w.refused(refused)
		return out
	}
	if status, ok := errors.AsType[slackgo.StatusCodeError](err); ok {
		out.Kind = rotate.KindAuth
		switch {
		case status.Code == http.StatusTooManyRequests:
			out.Kind = rotate.KindRateLimited
		case status.Code >= http.StatusInternalServerError:
			out.Kind = rotate.KindTransient
		}
		out.Err = fmt.Errorf("HTTP %d", status.Code)
		if writes && out.Kind == rotate.KindTransient {
			out.Err = &unsureError{out.Err}
		}
		return out
	}
	if u, ok := errors.AsType[*url.Error](err); ok { // its text is the address and the cause's
		err = u.Err
	}
	out.Err = w.scrub(err)
	if dial, ok := errors.AsType[*net.OpError](err); writes && (!ok || dial.Op != "dial") {
		out.Err = &unsureError{out.Err}
	}
	return out
}

// unsureError is a write's whose effect nobody knows. Told twice does little harm, so its
// kind is transient.
type unsureError struct{ error }

func (e *unsureError) Unwrap() error { return e.error }

func unsure(err error) bool {
	_, ok := errors.AsType[*unsureError](err)
	return ok
}

func (w *wire) refused(r slackgo.SlackErrorResponse) (rotate.Kind, error) {
	if !codeForm.MatchString(r.Err) {
		return rotate.KindPermanent, errors.New("it was refused, without one of Slack's codes")
	}
	known, ok := refusals()[r.Err]
	if !ok {
		known = refusal{rotate.KindPermanent, "Slack refused", "see the method's errors on docs.slack.dev"}
	}
	t := &Trouble{Code: r.Err, Sentence: known.sentence, Fix: known.fix}
	if r.Err == "missing_scope" && scopeForm.MatchString(r.Needed) {
		t.Sentence = "the app lacks the scope " + r.Needed
	}
	return known.kind, t
}

// scrub keeps an error only if its text shows none of the secrets and no address but a
// host.
func (w *wire) scrub(err error) error {
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	text := err.Error()
	if strings.Contains(text, "://") {
		return errors.New("the cause is withheld, its text has an address in it")
	}
	if w.shows(text) {
		return errors.New("the cause is withheld, its text has a secret in it")
	}
	return err
}
