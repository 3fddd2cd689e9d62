package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"rotatord/internal/alert/slack/slacktest"
	"rotatord/internal/rotate"
)

// desk is the engine and the daemon as an Actor sees them. The real ones are driven in
// cmd/rotatord's test.
type desk struct {
	mu      sync.Mutex
	deeds   []string
	refuse  error
	resolve bool
	done    chan struct{}
}

func (d *desk) note(format string, args ...any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() { d.done <- struct{}{} }()
	if d.refuse != nil {
		return d.refuse
	}
	d.deeds = append(d.deeds, fmt.Sprintf(format, args...))
	return nil
}

func (d *desk) OpenSince(string) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return page().Message.Since, !d.resolve
}

func (d *desk) Acknowledge(_ context.Context, key, by string) error {
	return d.note("acknowledge %s by %s", key, by)
}

func (d *desk) Snooze(_ context.Context, key, by string, until time.Time) error {
	return d.note("snooze %s by %s for %s", key, by, time.Until(until).Round(time.Minute))
}

func (d *desk) Order(_ context.Context, name rotate.Name, cmd rotate.Command) error {
	until := ""
	if !cmd.Until.IsZero() {
		until = " for " + time.Until(cmd.Until).Round(time.Minute).String()
	}
	return d.note("%s %s%s by %s: %s", cmd.Kind, name, until, cmd.By, cmd.Text)
}

// stage is a connected Actor and a message with buttons.
type stage struct {
	*slacktest.Server
	desk *desk
	conn *websocket.Conn
	ts   string
	by   map[string]slacktest.Element
	menu string // the block's id
	log  *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

const ada = "U0ADA00001"

func newStage(t *testing.T) *stage {
	t.Helper()
	g := &stage{Server: newServer(t), desk: &desk{done: make(chan struct{}, 16)}, by: map[string]slacktest.Element{}, log: &safeBuffer{}}
	n := notifier(t, byToken(g.Server))
	tell(t, n, page())
	message := g.Calls()[0]
	g.ts = message.TS
	for _, b := range message.Blocks {
		if b.Type == "actions" {
			g.menu = b.BlockID
			for _, e := range b.Elements {
				g.by[e.ActionID] = e
			}
		}
	}
	a, err := NewActor(ActorOptions{Notifier: n, Users: []string{ada}, Alerts: g.desk,
		Order: g.desk.Order, Log: slog.New(slog.NewJSONHandler(g.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
		for _, secret := range slacktest.Secrets() {
			if strings.Contains(g.log.String(), secret) {
				t.Errorf("the log shows a secret:\n%s", g.log.String())
			}
		}
	})
	g.conn = g.Socket(t)
	return g
}

func (g *stage) press(t *testing.T, user, id, action string) {
	t.Helper()
	p := slacktest.Press(user, "trigger-"+id, action, g.by[action].Value, g.menu, g.ts)
	g.Push(t, g.conn, id, p)
}

// wait for one deed at the desk.
func (g *stage) wait(t *testing.T) {
	t.Helper()
	select {
	case <-g.desk.done:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was done")
	}
}

// said waits for a call to Slack of a method.
func (g *stage) said(t *testing.T, method string) slacktest.Call {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		for _, c := range g.Calls() {
			if c.Method == method {
				return c
			}
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("Slack got no %s", method)
		}
	}
}

func (g *stage) done() []string {
	g.desk.mu.Lock()
	defer g.desk.mu.Unlock()
	return g.desk.deeds
}

func TestButtons(t *testing.T) {
	for _, tt := range []struct{ action, want, thread string }{
		{pressAck, "acknowledge expiring/store-locator by slack:U0ADA00001 (ada)", ""},
		{pressSnooze, "snooze expiring/store-locator by slack:U0ADA00001 (ada) for 4h0m0s", ""},
		{pressHold, "hold store-locator for 24h0m0s by slack:U0ADA00001 (ada): from Slack, on its alert", "⏸️ Held until"},
		{pressRotate, "rotate store-locator by slack:U0ADA00001 (ada): from Slack, on its alert", "🔄 Rotation asked for by ada"},
	} {
		t.Run(tt.action, func(t *testing.T) {
			g := newStage(t)
			g.press(t, ada, "e1", tt.action)
			g.wait(t)
			if got := g.done(); len(got) != 1 || got[0] != tt.want {
				t.Errorf("did %q, want %q", got, tt.want)
			}
			if tt.thread != "" {
				if c := g.said(t, "chat.postMessage"); c.Thread != g.ts || !strings.HasPrefix(c.Text, tt.thread) {
					t.Errorf("thread got %q, want %q", c.Text, tt.thread)
				}
			}
		})
	}
	g := newStage(t)
	if g.by[pressRotate].Confirm == nil {
		t.Error("Rotate now does not ask back")
	}
}

// TestRefusedButtons: nothing is done, and only the one who pressed is told why.
func TestRefusedButtons(t *testing.T) {
	for _, tt := range []struct {
		name, user string
		desk       func(*desk)
		says       string
	}{
		{"a stranger", "U0EVE00001", func(*desk) {}, "not on the list"},
		{"resolved", ada, func(d *desk) { d.resolve = true }, "is resolved"},
		{"the daemon says no", ada, func(d *desk) {
			d.refuse = &rotate.RefusedError{Command: rotate.CommandRotate, Why: "it was never <adopted>", Cure: "run `rotatord adopt store-locator` first"}
		}, "never &lt;adopted&gt;. run `rotatord adopt"},
		{"the daemon is late", ada, func(d *desk) { d.refuse = context.DeadlineExceeded }, "took too long"},
		{"something else", ada, func(d *desk) { d.refuse = errors.New("journal is full") }, "journal is full"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newStage(t)
			g.desk.mu.Lock()
			tt.desk(g.desk)
			g.desk.mu.Unlock()
			g.press(t, tt.user, "e1", pressRotate)
			c := g.said(t, "chat.postEphemeral")
			if c.User != tt.user || !strings.Contains(c.Text, tt.says) || len(g.done()) != 0 {
				t.Errorf("%s was told %q after %q, want %q", c.User, c.Text, g.done(), tt.says)
			}
		})
	}
}

// TestEarlierAlert: a button of an earlier alert of the same key.
func TestEarlierAlert(t *testing.T) {
	g := newStage(t)
	old := targetOf(page())
	old.Since--
	g.Push(t, g.conn, "e1", slacktest.Press(ada, "t1", pressRotate, old.encode(), g.menu, g.ts))
	if c := g.said(t, "chat.postEphemeral"); !strings.Contains(c.Text, "earlier alert") || len(g.done()) != 0 {
		t.Errorf("was told %q after %q", c.Text, g.done())
	}
	g.Push(t, g.conn, "e2", slacktest.Press(ada, "t2", pressRotate, "{", g.menu, g.ts))
	if c := g.said(t, "chat.postEphemeral"); !strings.Contains(c.Text, "another version") {
		t.Errorf("a button that means nothing was answered %q", c.Text)
	}
}

// TestTwice: an envelope that comes again, and the same press in another envelope.
func TestTwice(t *testing.T) {
	g := newStage(t)
	g.press(t, ada, "e1", pressRotate)
	g.wait(t)
	g.press(t, ada, "e1", pressRotate)
	again := slacktest.Press(ada, "trigger-e1", pressRotate, g.by[pressRotate].Value, g.menu, g.ts)
	g.Push(t, g.conn, "e2", again)
	g.press(t, ada, "e3", pressAck) // whatever the two had begun has begun before this one
	g.wait(t)
	if got := g.done(); len(got) != 2 {
		t.Errorf("did %q, want one rotation and one acknowledgement", got)
	}
}

// TestReconnects: Slack asks for a new connection, and drops one; buttons work on.
func TestReconnects(t *testing.T) {
	g := newStage(t)
	if err := g.conn.WriteJSON(map[string]any{"type": "disconnect", "reason": "refresh_requested"}); err != nil {
		t.Fatal(err)
	}
	g.conn = g.Socket(t)
	g.press(t, ada, "e1", pressAck)
	g.wait(t)
	if err := g.conn.Close(); err != nil {
		t.Fatal(err)
	}
	g.conn = g.Socket(t)
	g.press(t, ada, "e2", pressAck)
	g.wait(t)
}

// TestCompromised wants the credential's name typed.
func TestCompromised(t *testing.T) {
	g := newStage(t)
	open := slacktest.Press(ada, "t1", pressMore, "", g.menu, g.ts)
	g.Push(t, g.conn, "e1", open)
	view := g.said(t, "views.open")
	if view.Trigger != "t1" || len(g.done()) != 0 {
		t.Fatalf("dialog for %q after %q", view.Trigger, g.done())
	}
	golden(t, "compromised.reads.txt", slacktest.Read(view.Blocks))

	submit := func(id, user, name string) slacktest.Envelope {
		return g.Push(t, g.conn, id, slacktest.Submit(user, id, askCompromised, view.View, map[string]string{inputName: name, inputWhy: "in a public repo"}))
	}
	for id, tt := range map[string]struct{ user, name, says string }{
		"e2": {ada, "store", "not its name"}, "e3": {"U0EVE00001", "store-locator", "not on the list"},
	} {
		var answer struct {
			Action string            `json:"response_action"`
			Errors map[string]string `json:"errors"`
		}
		if err := json.Unmarshal(submit(id, tt.user, tt.name).Payload, &answer); err != nil {
			t.Fatal(err)
		}
		if answer.Action != "errors" || !strings.Contains(answer.Errors[inputName], tt.says) {
			t.Errorf("%s by %s was answered %+v, want %q", tt.name, tt.user, answer, tt.says)
		}
	}
	submit("e4", ada, " store-locator ")
	g.wait(t)
	if got := strings.Join(g.done(), "\n"); got != "compromised store-locator by slack:U0ADA00001 (ada): in a public repo" {
		t.Errorf("did %q", got)
	}
	if c := g.said(t, "chat.postMessage"); c.Thread != g.ts {
		t.Errorf("the thread was not told: %+v", c)
	}
}

// TestPacedConnections: a Slack that drops every connection is not hammered.
func TestPacedConnections(t *testing.T) {
	p, at := &paced{}, now()
	var waits []string
	for range 4 {
		w := p.wait(at)
		waits = append(waits, w.String())
		at = at.Add(w)
	}
	if got := strings.Join(waits, " "); got != "0s 1s 2s 4s" {
		t.Errorf("connections that do not last are opened after %s", got)
	}
	if w := p.wait(at.Add(time.Hour)); w != 0 {
		t.Errorf("one that lasted an hour is opened again after %s", w)
	}
}
