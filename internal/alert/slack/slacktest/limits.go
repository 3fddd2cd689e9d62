package slacktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"unicode/utf16"
)

// Block is what a block of ours may consist of; an unknown field is refused.
type Block struct {
	Type     string    `json:"type"`
	BlockID  string    `json:"block_id"`
	Text     *Text     `json:"text"`
	Fields   []Text    `json:"fields"`
	Elements []Element `json:"elements"`
	Label    *Text     `json:"label"`
	Element  *Element  `json:"element"`
	Optional bool      `json:"optional"`
}

// Text is a text object.
type Text struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Emoji    *bool  `json:"emoji"`
	Verbatim bool   `json:"verbatim"`
}

// Element of a block: a text of a context, a button, a menu, an input.
type Element struct {
	Type        string          `json:"type"`
	Raw         json.RawMessage `json:"text"` // a context's text is a string, a button's an object
	ActionID    string          `json:"action_id"`
	Value       string          `json:"value"`
	Verbatim    bool            `json:"verbatim"`
	Emoji       *bool           `json:"emoji"`
	Confirm     *Confirm        `json:"confirm"`
	Options     []Option        `json:"options"`
	Placeholder *Text           `json:"placeholder"`
	MaxLength   int             `json:"max_length"`
}

// Option of a menu.
type Option struct {
	Text  *Text  `json:"text"`
	Value string `json:"value"`
}

// Confirm dialog.
type Confirm struct {
	Title   *Text `json:"title"`
	Text    *Text `json:"text"`
	Confirm *Text `json:"confirm"`
	Deny    *Text `json:"deny"`
}

// Limits as docs.slack.dev/reference/block-kit documents them.
const (
	blocksMost   = 50
	modalMost    = 100
	headerMost   = 150
	sectionMost  = 3000
	fieldsMost   = 10
	fieldMost    = 2000
	contextMost  = 10
	actionsMost  = 25
	buttonMost   = 75
	valueMost    = 2000
	optionMost   = 150
	idMost       = 255
	textMost     = 40000
	titleMost    = 24
	metadataMost = 3000
)

// parseBlocks says what Slack would refuse, or "".
func (s *Server) parseBlocks(raw string, modal bool) ([]Block, string) {
	if raw == "" {
		return nil, ""
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(raw)))
	dec.DisallowUnknownFields()
	var blocks []Block
	if err := dec.Decode(&blocks); err != nil {
		return nil, err.Error()
	}
	most := blocksMost
	if modal {
		most = modalMost
	}
	if len(blocks) > most {
		return nil, fmt.Sprintf("%d blocks, at most %d", len(blocks), most)
	}
	var ids []string
	for i, b := range blocks {
		p := s.block(b)
		if b.BlockID != "" && slices.Contains(ids, b.BlockID) {
			p = "its id is there twice"
		}
		ids = append(ids, b.BlockID)
		if n := size(b.BlockID); n > idMost {
			p = fmt.Sprintf("an id of %d characters", n)
		}
		if p != "" {
			return nil, fmt.Sprintf("block %d (%s): %s", i, b.Type, p)
		}
	}
	return blocks, ""
}

func (s *Server) block(b Block) string {
	switch b.Type {
	case "header":
		return s.plain(b.Text, headerMost)
	case "section":
		return s.section(b)
	case "context":
		if len(b.Elements) == 0 || len(b.Elements) > contextMost {
			return fmt.Sprintf("%d elements", len(b.Elements))
		}
		for _, e := range b.Elements {
			text, err := e.String()
			if err != nil {
				return err.Error()
			}
			if p := s.text(Text{Type: e.Type, Text: text}, sectionMost); p != "" {
				return p
			}
		}
		return ""
	case "actions":
		return s.actions(b)
	case "input":
		if p := s.plain(b.Label, fieldMost); p != "" {
			return p
		}
		if b.Element == nil || b.Element.Type != "plain_text_input" {
			return "an input wants an element"
		}
		if b.Element.Placeholder != nil {
			return s.plain(b.Element.Placeholder, 150)
		}
		return ""
	}
	return "unknown type"
}

// String is a context's text, or a button's.
func (e Element) String() (string, error) {
	var text string
	if json.Unmarshal(e.Raw, &text) == nil {
		return text, nil
	}
	var o Text
	err := json.Unmarshal(e.Raw, &o)
	return o.Text, err
}

func (s *Server) section(b Block) string {
	if b.Text == nil && len(b.Fields) == 0 {
		return "a section wants text or fields"
	}
	if b.Text != nil {
		if p := s.text(*b.Text, sectionMost); p != "" {
			return p
		}
	}
	if len(b.Fields) > fieldsMost {
		return fmt.Sprintf("%d fields", len(b.Fields))
	}
	for _, f := range b.Fields {
		if p := s.text(f, fieldMost); p != "" {
			return p
		}
	}
	return ""
}

func (s *Server) actions(b Block) string {
	if len(b.Elements) == 0 || len(b.Elements) > actionsMost {
		return fmt.Sprintf("%d elements", len(b.Elements))
	}
	var ids []string
	for _, e := range b.Elements {
		if e.ActionID == "" || size(e.ActionID) > idMost || slices.Contains(ids, e.ActionID) {
			return "an action's id is missing, too long or there twice"
		}
		ids = append(ids, e.ActionID)
		p := ""
		switch e.Type {
		case "button":
			p = s.button(e)
		case "overflow":
			p = s.overflow(e)
		default:
			p = "unknown element " + e.Type
		}
		if p == "" && e.Confirm != nil {
			p = s.confirm(*e.Confirm)
		}
		if p != "" {
			return p
		}
	}
	return ""
}

func (s *Server) button(e Element) string {
	text, err := e.String()
	if err != nil || text == "" || size(text) > buttonMost {
		return "a button's text is missing or too long"
	}
	if size(e.Value) > valueMost {
		return fmt.Sprintf("a button's value of %d characters", size(e.Value))
	}
	return ""
}

func (s *Server) overflow(e Element) string {
	if len(e.Options) == 0 || len(e.Options) > 5 {
		return fmt.Sprintf("%d options", len(e.Options))
	}
	for _, o := range e.Options {
		if p := s.plain(o.Text, buttonMost); p != "" {
			return p
		}
		if size(o.Value) > optionMost {
			return fmt.Sprintf("an option's value of %d characters", size(o.Value))
		}
	}
	return ""
}

func (s *Server) confirm(c Confirm) string {
	for _, t := range []struct {
		text *Text
		most int
	}{{c.Title, 100}, {c.Confirm, 30}, {c.Deny, 30}} {
		if p := s.plain(t.text, t.most); p != "" {
			return "confirm: " + p
		}
	}
	if c.Text == nil {
		return "confirm: no text"
	}
	return s.text(*c.Text, 300)
}

func (s *Server) plain(t *Text, most int) string {
	if t == nil || t.Type != "plain_text" {
		return "it wants plain_text"
	}
	return s.text(*t, most)
}

func (s *Server) text(t Text, most int) string {
	n := size(t.Text)
	switch {
	case n == 0:
		return "empty text"
	case n > most:
		return fmt.Sprintf("text of %d characters, at most %d", n, most)
	case t.Type == "plain_text":
		return ""
	case t.Type == "mrkdwn":
		return s.controls(t.Text)
	}
	return "unknown text type " + t.Type
}

// size of a text as Slack counts.
func size(s string) int { return len(utf16.Encode([]rune(s))) }

var (
	control = regexp.MustCompile(`<[^<>]*>?`)
	entity  = regexp.MustCompile(`&(amp;|lt;|gt;)?`)
	dates   = regexp.MustCompile(`^<!date\^(\d+)\^[^|^<>]*\|([^|<>]+)>$`)
	links   = regexp.MustCompile(`^<(https?://[^<>| ]*)\|([^<>|]+)>$`)
)

// controls finds a mention, a link or an escape in marked-up text that is not among
// those allowed, and an escape that was cut in two.
func (s *Server) controls(text string) string {
	for _, c := range control.FindAllString(text, -1) {
		if m := links.FindStringSubmatch(c); m != nil && slices.Contains(s.Links, m[2]) {
			continue
		}
		if !dates.MatchString(c) && !slices.Contains(s.Mentions, c) {
			return "unescaped " + c
		}
	}
	if slices.Contains(entity.FindAllString(text, -1), "&") {
		return "unescaped & in " + text[:min(len(text), 80)]
	}
	return ""
}
