// Package slacktest is a Slack for tests: it takes what Slack documents to take and
// refuses the rest, keeps messages that can be changed, and speaks Socket Mode.
// slack-go's own slacktest has no chat.update and checks nothing.
package slacktest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// What the server knows. The secrets are such that a test can look for them.
const (
	BotToken = "xoxb-1234567890-CaNaRyBoTtOkEnCaNaRy"
	AppToken = "xapp-1-A012AB3CD-CaNaRyApPtOkEnCaNaRy"
	Hook     = "/services/T0CANARY01/B0CANARY02/CaNaRyCaNaRyCaNaRyCaNaRy"
	Channel  = "C0ALERTS01"
	ticket   = "CaNaRyTiCkEt"
)

// Secrets are what no error, log or message may show.
func Secrets() []string {
	return []string{BotToken, AppToken, "T0CANARY01", "B0CANARY02", "CaNaRy"}
}

// Call is one request as it came.
type Call struct {
	Method    string
	TS        string // of the message made or changed
	Thread    string
	User      string
	Text      string
	Blocks    []Block
	RawBlocks string
	Metadata  string
	Trigger   string
	View      string
	Broadcast bool
}

// Message that stands in the channel.
type Message struct {
	Call
	Deleted bool
}

// Fault changes the answer to the next call of a method.
type Fault struct {
	Code  string // of an answer with ok false; "" is none
	Late  bool   // the call has its effect all the same, and its answer is lost
	Wait  int    // seconds; above 0 is a 429
	Needs string // scope, of missing_scope
}

// Server is the workspace. Fields may be changed between calls with Lock held.
type Server struct {
	sync.Mutex
	URL      string
	Bot, App string // the tokens that are good
	Scopes   string
	Archived bool
	Absent   bool // the bot is not in the channel
	Private  bool
	Mentions []string // that texts may hold
	Links    []string // texts of the links that messages may hold

	faults   map[string][]Fault
	calls    []Call
	messages []*Message
	refused  []string
	next     int

	sockets socketSet
}

// New starts a server.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{Bot: BotToken, App: AppToken, Scopes: "chat:write,channels:read,channels:history,groups:read,groups:history", faults: map[string][]Fault{}}
	s.sockets.new = make(chan *websocket.Conn, 8)
	s.sockets.got = make(chan Envelope, 64)
	h := httptest.NewServer(s)
	s.URL = h.URL
	t.Cleanup(func() {
		s.sockets.closeAll()
		h.Close()
		for _, r := range s.Refused() {
			t.Errorf("Slack would refuse: %s", r)
		}
	})
	return s
}

// API is the address of the methods.
func (s *Server) API() string { return s.URL + "/api/" }

// Next sets what the next call of a method is answered with; more are queued.
func (s *Server) Next(method string, f ...Fault) {
	s.Lock()
	defer s.Unlock()
	s.faults[method] = append(s.faults[method], f...)
}

// Calls returns the calls since it was last called.
func (s *Server) Calls() []Call {
	s.Lock()
	defer s.Unlock()
	out := s.calls
	s.calls = nil
	return out
}

// Messages are all that were posted, in their present state.
func (s *Server) Messages() []Message {
	s.Lock()
	defer s.Unlock()
	var out []Message
	for _, m := range s.messages {
		out = append(out, *m)
	}
	return out
}

// Delete a message, as a person would.
func (s *Server) Delete(ts string) {
	s.Lock()
	defer s.Unlock()
	if m := s.find(ts); m != nil {
		m.Deleted = true
	}
}

// Refused takes what was sent and could not be taken.
func (s *Server) Refused() []string {
	s.Lock()
	defer s.Unlock()
	out := s.refused
	s.refused = nil
	return out
}

func (s *Server) find(ts string) *Message {
	i := slices.IndexFunc(s.messages, func(m *Message) bool { return m.TS == ts })
	if i < 0 {
		return nil
	}
	return s.messages[i]
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/socket" {
		s.serveSocket(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.Lock()
	defer s.Unlock()
	method, isAPI := strings.CutPrefix(r.URL.Path, "/api/")
	if !isAPI {
		method = "webhook"
	}
	var fault Fault
	if queue := s.faults[method]; len(queue) > 0 {
		fault, s.faults[method] = queue[0], queue[1:]
	}
	if fault.Wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(fault.Wait))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	if isAPI {
		s.serveAPI(w, r, method, string(body), fault)
	} else {
		s.serveHook(w, r, body, fault)
	}
}

func (s *Server) serveHook(w http.ResponseWriter, r *http.Request, body []byte, fault Fault) {
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, code)
	}
	var p struct {
		Text        string          `json:"text"`
		Blocks      json.RawMessage `json:"blocks"`
		Unfurl      *bool           `json:"unfurl_links"`
		UnfurlMedia *bool           `json:"unfurl_media"`
		Replace     bool            `json:"replace_original"`
		Delete      bool            `json:"delete_original"`
	}
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	switch err := dec.Decode(&p); {
	case r.URL.Path != Hook:
		refuse(http.StatusNotFound, "no_service")
		return
	case fault.Code != "" && !fault.Late:
		status := http.StatusBadRequest
		switch fault.Code {
		case "no_service", "no_team":
			status = http.StatusNotFound
		case "channel_is_archived":
			status = http.StatusGone
		case "action_prohibited", "invalid_token":
			status = http.StatusForbidden
		}
		refuse(status, fault.Code)
		return
	case err != nil || r.Header.Get("Content-Type") != "application/json":
		s.refused = append(s.refused, fmt.Sprintf("payload: %v", err))
		refuse(http.StatusBadRequest, "invalid_payload")
		return
	case p.Text == "" && len(p.Blocks) == 0:
		refuse(http.StatusBadRequest, "no_text")
		return
	}
	blocks, problem := s.message(p.Text, string(p.Blocks))
	if problem != "" {
		s.refused = append(s.refused, problem)
		refuse(http.StatusBadRequest, "invalid_blocks")
		return
	}
	s.post(&Message{Call: Call{Method: "webhook", Text: p.Text, Blocks: blocks, RawBlocks: string(p.Blocks)}})
	if fault.Late {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, "ok")
}

func (s *Server) message(text, rawBlocks string) ([]Block, string) {
	if n := size(text); n > textMost {
		return nil, fmt.Sprintf("text of %d characters", n)
	}
	if p := s.controls(text); p != "" {
		return nil, p
	}
	return s.parseBlocks(rawBlocks, false)
}

func (s *Server) post(m *Message) {
	s.next++
	m.TS = fmt.Sprintf("1772370000.%06d", s.next)
	s.messages = append(s.messages, m)
	s.calls = append(s.calls, m.Call)
}
