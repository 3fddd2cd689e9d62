package config

import (
	"regexp"
	"strings"

	yaml "go.yaml.in/yaml/v4"
)

const hiddenText = "[hidden]"

// secretForms are values that are secrets wherever they stand: API keys, Vault
// tokens, Slack tokens and webhooks, passwords in addresses.
var secretForms = regexp.MustCompile(`AAPT[A-Za-z0-9._-]{8,}|\bhv[sb]\.[A-Za-z0-9._-]{8,}|\bxox[a-z]-[A-Za-z0-9-]{8,}|\bxapp-[A-Za-z0-9-]{8,}|\bwhsec_[A-Za-z0-9+/=]{8,}|hooks\.slack\.com/\S+|://[^\s/@]*:\S*@|[?&](?i:token|key|apikey|api_key|access_token|password)=\S+`)

// secretKeys finds, in text that is no valid YAML, keys whose value may be secret.
var secretKeys = regexp.MustCompile(`(?i)(pas\w*|\w*secret\w*|\w*token\w*|api_?key|webhook|url)["']?\s*:[ \t]*`)

// anyKey is a line that begins another key, or an element of a list of them.
var anyKey = regexp.MustCompile(`^(- )?["']?[A-Za-z0-9_.-]{1,64}["']?\s*:(\s|$)`)

// hiddenFrom maps a line to the column from which it must not be shown.
func (d *document) hiddenFrom() map[int]int {
	if d.root == nil {
		return d.hiddenByText()
	}
	hidden := map[int]int{}
	secret := map[*yaml.Node]bool{}
	for _, n := range d.hide {
		secret[n] = true
	}
	var order []*yaml.Node
	sizes := map[*yaml.Node]int{}
	var walk func(n *yaml.Node) int
	walk = func(n *yaml.Node) int {
		order = append(order, n)
		size := 1
		for _, c := range n.Content {
			size += walk(c)
		}
		sizes[n] = size
		return size
	}
	walk(d.root)
	for i, n := range order {
		if !secret[n] {
			continue
		}
		hideFrom(hidden, n.Line, n.Column)
		if !manyLines(n) {
			continue
		}
		end := len(d.lines) + 1
		if next := i + sizes[n]; next < len(order) {
			end = order[next].Line
		}
		for line := n.Line + 1; line < end; line++ {
			hideFrom(hidden, line, 1)
		}
	}
	return hidden
}

// manyLines tells whether a value can reach into the lines below it.
func manyLines(n *yaml.Node) bool {
	const spread = yaml.LiteralStyle | yaml.FoldedStyle | yaml.DoubleQuotedStyle
	return n.Kind != yaml.ScalarNode || n.Style&spread != 0 || strings.ContainsAny(n.Value, " \n")
}

func hideFrom(hidden map[int]int, line, col int) {
	if was, ok := hidden[line]; !ok || col < was {
		hidden[line] = col
	}
}

// hiddenByText guesses, where the text is no valid YAML and has no structure: what
// follows a key with a secret's name, lines indented deeper below it, and after an
// unclosed quote everything.
func (d *document) hiddenByText() map[int]int {
	hidden := map[int]int{}
	// The indentation of the last secret key; inside an unclosed quote; below a key whose
	// value is still to come, where somebody who forgot to indent wrote the secret.
	deeper, open, awaited := -1, false, false
	for i, line := range d.lines {
		n := i + 1
		text := strings.TrimLeft(line, " \t")
		indent := len(line) - len(text)
		if open || (deeper >= 0 && (text == "" || indent > deeper)) || (awaited && !anyKey.MatchString(text)) {
			hidden[n] = 1
			continue
		}
		deeper, awaited = -1, false
		loc := secretKeys.FindStringIndex(line)
		if loc == nil {
			continue
		}
		hidden[n] = len([]rune(line[:loc[1]])) + 1
		deeper = indent
		rest := strings.TrimSpace(line[loc[1]:])
		awaited = rest == "" || rest[0] == '|' || rest[0] == '>'
		for _, q := range []string{`"`, `'`} {
			open = open || strings.Count(rest, q)%2 == 1
		}
	}
	return hidden
}

// hideInComment hides a literal that somebody has commented out.
func hideInComment(line string) string {
	i := strings.Index(line, "#")
	if i < 0 {
		return line
	}
	loc := secretKeys.FindStringIndex(line[i:])
	if loc == nil || strings.TrimSpace(line[i+loc[1]:]) == "" {
		return line
	}
	return line[:i+loc[1]] + hiddenText
}

// visible is a line without what must be hidden and without control characters.
func (d *document) visible(n int, hidden map[int]int) string {
	line := []rune(hideInComment(d.lines[n-1]))
	if col, ok := hidden[n]; ok && col <= len(line) {
		rest := strings.TrimSpace(string(line[col-1:]))
		line = line[:col-1]
		if rest != "" {
			line = append(line, []rune(hiddenText)...)
		}
	}
	const widest = 160 // more helps nobody to find the place
	if len(line) > widest {
		line = append(line[:widest:widest], []rune(" …")...)
	}
	for i, r := range line {
		if r != '\t' && (r < ' ' || r == 0x7f) {
			line[i] = '�'
		}
	}
	return secretForms.ReplaceAllString(string(line), hiddenText)
}
