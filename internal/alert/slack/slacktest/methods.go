package slacktest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

type answer map[string]any

func refuse(code string) answer { return answer{"ok": false, "error": code} }

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, method, body string, fault Fault) {
	form, err := url.ParseQuery(body)
	if err != nil {
		form = url.Values{}
	}
	token := form.Get("token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = bearer
	}
	want := s.Bot
	if method == "apps.connections.open" {
		want = s.App
	}
	var out answer
	switch {
	case r.URL.RawQuery != "":
		s.refused = append(s.refused, method+": a query in the address, which is logged by proxies")
		out = refuse("invalid_arguments")
	case token != want:
		out = refuse("invalid_auth")
	case fault.Code != "" && !fault.Late:
		out = refuse(fault.Code)
		if fault.Needs != "" {
			out["needed"], out["provided"] = fault.Needs, s.Scopes
		}
	default:
		out = s.call(method, form, body)
	}
	if fault.Late {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-OAuth-Scopes", s.Scopes)
	_ = json.NewEncoder(w).Encode(out)
}

func (s *Server) call(method string, form url.Values, body string) answer {
	switch method {
	case "auth.test":
		return answer{"ok": true, "url": s.URL, "team": "Acme", "user": "rotatord", "team_id": "T1", "user_id": "U0BOT", "bot_id": "B0BOT"}
	case "apps.connections.open":
		return answer{"ok": true, "url": strings.Replace(s.URL, "http", "ws", 1) + "/socket?ticket=" + ticket}
	case "views.open":
		return s.openView(body)
	}
	switch {
	case form.Get("channel") != Channel:
		return refuse("channel_not_found")
	case method == "conversations.info":
		if !s.allowed("channels:read", "groups:read") {
			return answer{"ok": false, "error": "missing_scope", "needed": "channels:read", "provided": s.Scopes}
		}
		return answer{"ok": true, "channel": answer{"id": Channel, "is_archived": s.Archived, "is_member": !s.Absent, "is_private": s.Private}}
	case s.Archived:
		return refuse("is_archived")
	case s.Absent:
		return refuse("not_in_channel")
	}
	switch method {
	case "chat.postMessage":
		return s.postMessage(form)
	case "chat.update":
		return s.update(form)
	case "chat.postEphemeral":
		return s.ephemeral(form)
	case "conversations.history":
		return s.history(form)
	}
	s.refused = append(s.refused, "unknown method "+method)
	return refuse("unknown_method")
}

func (s *Server) allowed(scopes ...string) bool {
	return slices.ContainsFunc(scopes, func(one string) bool { return slices.Contains(strings.Split(s.Scopes, ","), one) })
}

var metadataName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// known refuses a form with a field that the method does not document.
func (s *Server) known(method string, form url.Values, fields ...string) bool {
	for _, f := range slices.Sorted(maps.Keys(form)) {
		if f != "token" && f != "channel" && !slices.Contains(fields, f) {
			s.refused = append(s.refused, method+": field "+f+"="+form.Get(f))
			return false
		}
	}
	return true
}

func (s *Server) checked(method string, form url.Values, fields ...string) (Call, string) {
	c := Call{Method: method, Text: form.Get("text"), RawBlocks: form.Get("blocks"), Thread: form.Get("thread_ts"), TS: form.Get("ts"),
		User: form.Get("user"), Metadata: form.Get("metadata"), Broadcast: form.Get("reply_broadcast") == "true"}
	if !s.known(method, form, fields...) {
		return c, "invalid_arguments"
	}
	if !s.allowed("chat:write") {
		return c, "missing_scope"
	}
	if c.Text == "" {
		s.refused = append(s.refused, method+": no text for a notification")
		return c, "no_text"
	}
	blocks, problem := s.message(c.Text, c.RawBlocks)
	if problem != "" {
		s.refused = append(s.refused, method+": "+problem)
		return c, "invalid_blocks"
	}
	c.Blocks = blocks
	if c.Metadata != "" {
		var m struct {
			Type    string         `json:"event_type"`
			Payload map[string]any `json:"event_payload"`
		}
		if err := json.Unmarshal([]byte(c.Metadata), &m); err != nil || !metadataName.MatchString(m.Type) || len(m.Payload) == 0 {
			s.refused = append(s.refused, method+": metadata "+c.Metadata)
			return c, "invalid_metadata_format"
		}
	}
	return c, ""
}

func (s *Server) postMessage(form url.Values) answer {
	c, code := s.checked("chat.postMessage", form, "text", "blocks", "thread_ts", "reply_broadcast", "metadata", "unfurl_links", "unfurl_media")
	switch parent := s.find(c.Thread); {
	case code != "":
		return refuse(code)
	case c.Thread != "" && (parent == nil || parent.Deleted):
		return refuse("thread_not_found")
	}
	m := &Message{Call: c}
	s.post(m)
	return answer{"ok": true, "channel": Channel, "ts": m.TS}
}

func (s *Server) update(form url.Values) answer {
	c, code := s.checked("chat.update", form, "text", "blocks", "ts", "metadata")
	if code != "" {
		return refuse(code)
	}
	m := s.find(c.TS)
	if m == nil || m.Deleted {
		return refuse("message_not_found")
	}
	s.calls = append(s.calls, c)
	m.Text, m.Blocks, m.RawBlocks, m.Metadata = c.Text, c.Blocks, c.RawBlocks, c.Metadata
	return answer{"ok": true, "channel": Channel, "ts": c.TS, "text": c.Text}
}

func (s *Server) ephemeral(form url.Values) answer {
	c, code := s.checked("chat.postEphemeral", form, "text", "user")
	if code != "" {
		return refuse(code)
	}
	s.calls = append(s.calls, c)
	return answer{"ok": true, "message_ts": "1772366400.999999"}
}

func (s *Server) history(form url.Values) answer {
	if !s.allowed("channels:history", "groups:history") {
		return answer{"ok": false, "error": "missing_scope", "needed": "channels:history", "provided": s.Scopes}
	}
	s.calls = append(s.calls, Call{Method: "conversations.history"})
	out := []answer{}
	for _, m := range slices.Backward(s.messages) {
		if m.Deleted || m.Thread != "" || m.TS < form.Get("oldest") {
			continue
		}
		one := answer{"type": "message", "ts": m.TS, "text": m.Text}
		if m.Metadata != "" && form.Get("include_all_metadata") == "1" {
			one["metadata"] = json.RawMessage(m.Metadata)
		}
		out = append(out, one)
	}
	return answer{"ok": true, "messages": out, "has_more": false}
}

func (s *Server) openView(body string) answer {
	var p struct {
		Trigger string `json:"trigger_id"`
		View    struct {
			Type     string          `json:"type"`
			Title    *Text           `json:"title"`
			Submit   *Text           `json:"submit"`
			Close    *Text           `json:"close"`
			Blocks   json.RawMessage `json:"blocks"`
			Private  string          `json:"private_metadata"`
			Callback string          `json:"callback_id"`
		} `json:"view"`
	}
	err := json.Unmarshal([]byte(body), &p)
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	for _, t := range []*Text{p.View.Title, p.View.Submit, p.View.Close} {
		if bad := s.plain(t, titleMost); problem == "" && bad != "" {
			problem = bad
		}
	}
	if size(p.View.Private) > metadataMost {
		problem = "private_metadata is too long"
	}
	blocks, bad := s.parseBlocks(string(p.View.Blocks), true)
	if problem == "" {
		problem = bad
	}
	if problem != "" {
		s.refused = append(s.refused, "views.open: "+problem)
		return refuse("invalid_arguments")
	}
	s.calls = append(s.calls, Call{Method: "views.open", Trigger: p.Trigger, View: p.View.Private, Blocks: blocks, RawBlocks: string(p.View.Blocks)})
	return answer{"ok": true, "view": answer{"id": "V1"}}
}
