package slack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"unicode/utf16"
)

// payload is what our messages may consist of; an unknown field is refused.
type payload struct {
	Text            string  `json:"text"`
	Blocks          []block `json:"blocks"`
	UnfurlLinks     *bool   `json:"unfurl_links"`
	UnfurlMedia     *bool   `json:"unfurl_media"`
	ReplaceOriginal bool    `json:"replace_original"`
	DeleteOriginal  bool    `json:"delete_original"`
}

type block struct {
	Type     string       `json:"type"`
	BlockID  string       `json:"block_id"`
	Text     *textObject  `json:"text"`
	Fields   []textObject `json:"fields"`
	Elements []textObject `json:"elements"`
}

type textObject struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	Emoji *bool  `json:"emoji"`
}

// check answers as Slack documents (docs.slack.dev, Block Kit reference and incoming
// webhooks): status and the one-word code, here with a reason for the test's reader.
func check(r *http.Request, body []byte) (int, string) {
	switch {
	case r.Method != http.MethodPost:
		return http.StatusMethodNotAllowed, "method_not_allowed"
	case r.URL.Path != path:
		return http.StatusNotFound, "no_service"
	case r.Header.Get("Content-Type") != "application/json":
		return http.StatusBadRequest, "invalid_payload: content type " + r.Header.Get("Content-Type")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	var p payload
	if err := dec.Decode(&p); err != nil {
		return http.StatusBadRequest, "invalid_payload: " + err.Error()
	}
	if p.Text == "" {
		return http.StatusBadRequest, "no_text: nothing for a notification"
	}
	if problem := controls(p.Text); problem != "" {
		return http.StatusBadRequest, "invalid_payload: " + problem
	}
	if len(p.Blocks) > 50 {
		return http.StatusBadRequest, fmt.Sprintf("invalid_blocks: %d blocks", len(p.Blocks))
	}
	for i, b := range p.Blocks {
		if problem := b.problem(); problem != "" {
			return http.StatusBadRequest, fmt.Sprintf("invalid_blocks: block %d: %s", i, problem)
		}
	}
	return http.StatusOK, "ok"
}

func (b block) problem() string {
	switch b.Type {
	case "header":
		if b.Text == nil || b.Text.Type != "plain_text" {
			return "a header wants plain_text"
		}
		return b.Text.problem(150)
	case "section":
		return b.sectionProblem()
	case "context":
		if len(b.Elements) == 0 || len(b.Elements) > 10 {
			return fmt.Sprintf("%d elements", len(b.Elements))
		}
		for _, e := range b.Elements {
			if p := e.problem(3000); p != "" {
				return p
			}
		}
		return ""
	}
	return "unknown type " + b.Type
}

func (b block) sectionProblem() string {
	if b.Text == nil && len(b.Fields) == 0 {
		return "a section wants text or fields"
	}
	if b.Text != nil {
		if p := b.Text.problem(3000); p != "" {
			return p
		}
	}
	if len(b.Fields) > 10 {
		return fmt.Sprintf("%d fields", len(b.Fields))
	}
	for _, f := range b.Fields {
		if p := f.problem(2000); p != "" {
			return p
		}
	}
	return ""
}

func (o textObject) problem(most int) string {
	n := len(utf16.Encode([]rune(o.Text)))
	switch {
	case n == 0:
		return "empty text"
	case n > most:
		return fmt.Sprintf("text of %d characters, at most %d", n, most)
	case o.Type == "plain_text":
		return ""
	case o.Type == "mrkdwn":
		return controls(o.Text)
	}
	return "unknown text type " + o.Type
}

var (
	control = regexp.MustCompile(`<[^<>]*>?`)
	entity  = regexp.MustCompile(`&(amp;|lt;|gt;)?`)
	ours    = regexp.MustCompile(`^<(!subteam\^S012AB3CD|https://wiki\.example/[^<>|]*\|Runbook)>$`)
)

// controls finds a mention, a link or an escape in marked-up text that we did not
// put there, and an escape that was cut in two.
func controls(text string) string {
	for _, c := range control.FindAllString(text, -1) {
		if !ours.MatchString(c) {
			return "unescaped " + c
		}
	}
	if slices.Contains(entity.FindAllString(text, -1), "&") {
		return "unescaped & in " + text[:min(len(text), 80)]
	}
	return ""
}
