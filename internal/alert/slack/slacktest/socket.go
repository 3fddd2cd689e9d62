package slacktest

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Envelope is what the client sends back: the id it acknowledges, and an answer.
type Envelope struct {
	ID      string          `json:"envelope_id"`
	Payload json.RawMessage `json:"payload"`
}

type socketSet struct {
	new chan *websocket.Conn
	got chan Envelope

	mu  sync.Mutex
	all []*websocket.Conn // guarded by mu
}

func (s *socketSet) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.all {
		_ = c.Close()
	}
}

// Revoke the tokens, as an administrator does: others are good from now on, and who is
// connected is cut off.
func (s *Server) Revoke(bot, app string) {
	s.Lock()
	s.Bot, s.App = bot, app
	s.Unlock()
	s.sockets.closeAll()
}

func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("ticket") != ticket {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.sockets.mu.Lock()
	s.sockets.all = append(s.sockets.all, conn)
	s.sockets.mu.Unlock()
	if err := conn.WriteJSON(map[string]any{"type": "hello", "num_connections": 1}); err != nil {
		return
	}
	s.sockets.new <- conn
	gone := make(chan struct{})
	defer close(gone)
	go ping(conn, gone)
	for {
		var e Envelope
		if err := conn.ReadJSON(&e); err != nil {
			return
		}
		s.sockets.got <- e
	}
}

// ping as Slack does: a client that hears nothing for half a minute connects anew.
func ping(conn *websocket.Conn, gone chan struct{}) {
	const every = 5 * time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-gone:
			return
		case now := <-tick.C:
			if err := conn.WriteControl(websocket.PingMessage, []byte("Ping from rotatord's test"), now.Add(every)); err != nil {
				return
			}
		}
	}
}

// Socket waits for a connection of the client.
func (s *Server) Socket(t testing.TB) *websocket.Conn {
	t.Helper()
	const long = 20 * time.Second
	late := time.NewTimer(long)
	defer late.Stop()
	select {
	case c := <-s.sockets.new:
		return c
	case <-late.C:
		t.Fatal("nobody connected")
		return nil
	}
}

// Push sends an interaction and waits until it is acknowledged, which Slack wants within
// three seconds.
func (s *Server) Push(t testing.TB, c *websocket.Conn, id string, payload any) Envelope {
	t.Helper()
	frame := map[string]any{"type": "interactive", "envelope_id": id, "payload": payload, "accepts_response_payload": true}
	if err := c.WriteJSON(frame); err != nil {
		t.Fatal(err)
	}
	const prompt = 3 * time.Second
	late := time.NewTimer(prompt)
	defer late.Stop()
	select {
	case e := <-s.sockets.got:
		if e.ID != id {
			t.Fatalf("envelope %s was acknowledged, want %s", e.ID, id)
		}
		return e
	case <-late.C:
		t.Fatalf("envelope %s was not acknowledged within three seconds", id)
		return Envelope{}
	}
}

// Press is the payload of a pressed button of a message.
func Press(user, trigger, action, value, blockID, ts string) map[string]any {
	return map[string]any{
		"type": "block_actions", "trigger_id": trigger, "response_url": "https://hooks.slack.example/actions/CaNaRy",
		"user": map[string]any{"id": user, "name": "ada", "username": "ada"}, "channel": map[string]any{"id": Channel},
		"container": map[string]any{"type": "message", "channel_id": Channel, "message_ts": ts},
		"actions":   []any{map[string]any{"action_id": action, "block_id": blockID, "value": value, "type": "button", "action_ts": "1"}},
	}
}

// Submit is the payload of a sent dialog.
func Submit(user, trigger, callback, private string, values map[string]string) map[string]any {
	state := map[string]any{}
	for name, v := range values {
		state[name] = map[string]any{name: map[string]any{"type": "plain_text_input", "value": v}}
	}
	return map[string]any{
		"type": "view_submission", "trigger_id": trigger, "user": map[string]any{"id": user, "name": "ada"},
		"view": map[string]any{"id": "V1", "type": "modal", "callback_id": callback, "private_metadata": private, "state": map[string]any{"values": state}},
	}
}
