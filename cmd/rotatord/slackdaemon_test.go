package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"rotatord/internal/alert/notifytest"
	"rotatord/internal/alert/slack/slacktest"
	"rotatord/internal/daemon"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// slackWorld is a daemon whose alerts are in a Slack that is strict, with buttons.
type slackWorld struct {
	*world
	slack  *slacktest.Server
	daemon *started
	socket *websocket.Conn
	pushed int
}

const ada, eve = "U0ADA00001", "U0EVE00001"

func newSlackWorld(t *testing.T) *slackWorld {
	t.Helper()
	w := &slackWorld{world: newWorld(t), slack: slacktest.New(t)}
	w.slack.Mentions, w.slack.Links = []string{"<!here>"}, []string{"Item at the portal", "Runbook"}
	w.env = notifytest.Impersonate(t, "slack.com", w.slack)
	w.secret(t, "bot-token", slacktest.BotToken)
	w.secret(t, "app-token", slacktest.AppToken)
	w.withConfig(t, "limits: {per_second: 1000}", "limits: {per_second: 1000}\n    breaker: {failures: 1000, open_for: 1s}")
	w.withConfig(t, "renew_before: 10s, overlap: 2s, critical_before: 2s, lifetime: 20s", "renew_before: 10m, overlap: 2s, critical_before: 1m, lifetime: 1h")
	w.withConfig(t, "credentials:", strings.ReplaceAll(`alerts:
  runbook_url: https://wiki.acme.example/keys
  warn_before: [2h]
  wait: {warning: 0s}
  slack:
    bot_token: 'file:DIR/bot-token'
    channel: `+slacktest.Channel+`
    mention: <!here>
    actions: {app_token: 'file:DIR/app-token', users: [`+ada+`]}
credentials:`, "DIR", w.dir))
	w.daemon = w.start(t)
	w.socket = w.slack.Socket(t)
	return w
}

// secret in a file of the world's folder.
func (w *world) secret(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// shown waits for the newest message that says something and has a button.
func (w *slackWorld) shown(t *testing.T, says, action string) (out slacktest.Message, button slacktest.Element, menu string) {
	t.Helper()
	w.await(t, "a message with "+says+" and "+action, func(context.Context) bool {
		for _, m := range slices.Backward(w.slack.Messages()) {
			if !strings.Contains(m.Text+slacktest.Read(m.Blocks), says) {
				continue
			}
			for _, b := range m.Blocks {
				if i := slices.IndexFunc(b.Elements, func(e slacktest.Element) bool { return e.ActionID == action }); i >= 0 {
					out, button, menu = m, b.Elements[i], b.BlockID
					return true
				}
			}
		}
		return false
	})
	return out, button, menu
}

// press a button of the newest message that says something.
func (w *slackWorld) press(t *testing.T, user, says, action string) slacktest.Element {
	t.Helper()
	m, button, menu := w.shown(t, says, action)
	w.push(t, slacktest.Press(user, fmt.Sprint("trigger ", w.pushed), action, button.Value, menu, m.TS))
	return button
}

func (w *slackWorld) push(t *testing.T, payload any) slacktest.Envelope {
	t.Helper()
	w.pushed++
	return w.slack.Push(t, w.socket, fmt.Sprint("envelope ", w.pushed), payload)
}

// history as a person asks the daemon for it.
func (w *slackWorld) history(t *testing.T) []daemon.HistoryEntry {
	t.Helper()
	r := runCLI(t, "--config", w.config, "--json", "history", "app", "--limit", "0")
	var out []daemon.HistoryEntry
	if err := json.Unmarshal([]byte(r.out), &out); r.code != exitOK || err != nil {
		t.Fatalf("history: %d %v %s%s", r.code, err, r.out, r.err)
	}
	return out
}

// recorded waits until the history has an event of a kind that says something, and holds
// it to be ada's.
func (w *slackWorld) recorded(t *testing.T, kind rotate.EventKind, says string) {
	t.Helper()
	const who = "slack:" + ada + " (ada)"
	w.await(t, "the history tells "+string(kind)+" with "+says, func(context.Context) bool {
		return slices.ContainsFunc(w.history(t), func(e daemon.HistoryEntry) bool {
			return e.Kind == kind && strings.Contains(e.Detail, says) && e.Actor == who
		})
	})
}

// TestEveryButtonEndsInTheHistory: what is pressed in Slack is done by a running daemon,
// and stands in the chained history with the person's id; who is not listed is refused.
func TestEveryButtonEndsInTheHistory(t *testing.T) {
	t.Parallel()
	w := newSlackWorld(t)
	w.await(t, "the first key is published", func(ctx context.Context) bool { return w.daemon.status(ctx).Live.Generation == 1 })

	if _, err := w.emulator.Inject(portaltest.Fault{Op: portaltest.OpSetDate, Kind: portaltest.ServerError, Count: -1}); err != nil {
		t.Fatal(err)
	}
	if r := runCLI(t, "--config", w.config, "rotate", "app"); r.code == exitUsage {
		t.Fatal(r.err)
	}
	const failing = "rotation keeps failing"
	w.refuses(t, failing)
	w.press(t, ada, failing, "rotatord_acknowledge")
	w.recorded(t, rotate.EventAlert, "alert failing/app acknowledged")
	w.shown(t, "Acknowledged by ada", "rotatord_snooze")
	w.press(t, ada, failing, "rotatord_snooze")
	w.recorded(t, rotate.EventAlert, "alert failing/app snoozed until ")
	w.shown(t, "Snoozed until ", "rotatord_resume")

	if b := w.press(t, ada, failing, "rotatord_resume"); b.Confirm == nil {
		t.Error("Resume asks nothing back")
	}
	w.recorded(t, rotate.EventResumed, "resume")
	w.emulator.ClearFaults()
	awaitCall(t, w.slack, "chat.update", "resolved, no longer failing")
	w.await(t, "the rotation is done", func(ctx context.Context) bool {
		s := w.daemon.status(ctx)
		return s.Live.Generation == 2 && s.Phase == rotate.PhaseIdle
	})

	if r := runCLI(t, "--config", w.config, "hold", "app", "--reason", "a release"); r.code != exitOK {
		t.Fatal(r.err)
	}
	const expiring = "no rotation is on its way"
	w.press(t, ada, expiring, "rotatord_hold")
	w.recorded(t, rotate.EventHeld, "from Slack, on its alert")
	if b := w.press(t, ada, expiring, "rotatord_rotate"); b.Confirm == nil {
		t.Error("Rotate now asks nothing back")
	}
	w.recorded(t, rotate.EventRequested, "rotate: from Slack")
	w.compromised(t, expiring)
	w.sealed(t)
}

// refuses somebody who is not on the list: they are told, the log says who it was, and
// nothing is done.
func (w *slackWorld) refuses(t *testing.T, says string) {
	t.Helper()
	w.press(t, eve, says, "rotatord_resume")
	if c := awaitCall(t, w.slack, "chat.postEphemeral", "You are not on the list"); c.User != eve {
		t.Errorf("%s is told", c.User)
	}
	log, err := os.ReadFile(w.log)
	if err != nil || !strings.Contains(string(log), "somebody who may not act pressed a button") || !strings.Contains(string(log), eve) {
		t.Errorf("the log does not say that somebody tried, %v", err)
	}
}

// compromised wants the name typed, and refuses a reason with a key in it.
func (w *slackWorld) compromised(t *testing.T, says string) {
	t.Helper()
	stolen := w.served(t)
	w.press(t, ada, says, "rotatord_more")
	view := awaitCall(t, w.slack, "views.open", "")
	send := func(id, user, name, why string) string {
		return string(w.push(t, slacktest.Submit(user, id, "rotatord_compromised", view.View, map[string]string{"name": name, "why": why})).Payload)
	}
	if got := send("s1", ada, "ap", ""); !strings.Contains(got, "That is not its name") {
		t.Errorf("a wrong name is answered with %s", got)
	}
	if got := send("s2", eve, "app", ""); !strings.Contains(got, "You are not on the list") {
		t.Errorf("somebody else is answered with %s", got)
	}
	if got := send("s3", ada, "app", "I found "+stolen); !strings.Contains(got, "has a key or a token in it") {
		t.Errorf("a key in the reason is answered with %s", got)
	}
	if valid, why := w.emulator.KeyValid(stolen); !valid {
		t.Fatalf("the key is %s before anybody confirmed", why)
	}
	send("s4", ada, "app", "in a public gist")
	w.recorded(t, rotate.EventRequested, "compromised: in a public gist")
	w.await(t, "the compromised key is revoked", func(context.Context) bool {
		valid, _ := w.emulator.KeyValid(stolen)
		return !valid
	})
	if valid, why := w.emulator.KeyValid(w.served(t)); !valid {
		t.Errorf("the served key is %s", why)
	}
	awaitCall(t, w.slack, "chat.postMessage", "by ada")
	w.await(t, "the rotation is over", func(ctx context.Context) bool { return w.daemon.status(ctx).Phase == rotate.PhaseIdle })
	w.checkNoSecrets(t, stolen, slacktest.BotToken, slacktest.AppToken)
}

// sealed: the chain is whole, for rotatord and for an outsider with an export; nobody
// but ada did anything from Slack.
func (w *slackWorld) sealed(t *testing.T) {
	t.Helper()
	for _, e := range w.history(t) {
		if strings.Contains(e.Actor, eve) {
			t.Errorf("somebody who may not act did: %+v", e)
		}
	}
	export := filepath.Join(w.dir, "history.jsonl")
	r := runCLI(t, "--config", w.config, "history", "--export")
	if err := os.WriteFile(export, []byte(r.out), 0o600); err != nil || r.code != exitOK {
		t.Fatal(err, r.err)
	}
	for _, args := range [][]string{{"history", "app", "--verify"}, {"history", "--verify", "--from", export}} {
		if r := runCLI(t, append([]string{"--config", w.config}, args...)...); r.code != exitOK {
			t.Errorf("%v: %s%s", args, r.out, r.err)
		}
	}
	if n := strings.Count(r.out, "slack:"+ada); n < 6 {
		t.Errorf("the export has %d deeds of ada", n)
	}
	w.daemon.terminate(t)
}

// TestNewTokensCountAfterAReload: tokens that were revoked are replaced by writing their
// files; after a reload messages and buttons go on.
func TestNewTokensCountAfterAReload(t *testing.T) {
	t.Parallel()
	w := newSlackWorld(t)
	w.await(t, "the first key is published", func(ctx context.Context) bool { return w.daemon.status(ctx).Live.Generation == 1 })
	if r := runCLI(t, "--config", w.config, "hold", "app", "--reason", "a release"); r.code != exitOK {
		t.Fatal(r.err)
	}
	const expiring, newBot, newApp = "no rotation is on its way", "xoxb-2-CaNaRyNeWbOt", "xapp-2-CaNaRyNeWaPp"
	w.shown(t, expiring, "rotatord_acknowledge")
	w.slack.Revoke(newBot, newApp)
	if r := runCLI(t, "--config", w.config, "alerts", "ack", "expiring/app"); r.code != exitOK {
		t.Fatal(r.err)
	}
	w.await(t, "Slack refuses the old token", func(context.Context) bool {
		log, err := os.ReadFile(w.log)
		return err == nil && strings.Contains(string(log), "message was not delivered") && strings.Contains(string(log), "slack takes no connection for actions")
	})
	w.secret(t, "bot-token", newBot)
	w.secret(t, "app-token", newApp)
	if _, err := w.daemon.client.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.socket = w.slack.Socket(t)
	w.shown(t, "Acknowledged by ", "rotatord_snooze")
	w.press(t, ada, expiring, "rotatord_snooze")
	w.recorded(t, rotate.EventAlert, "alert expiring/app snoozed until ")
	w.daemon.terminate(t)
	w.checkNoSecrets(t, slacktest.BotToken, slacktest.AppToken, newBot, newApp)
}
