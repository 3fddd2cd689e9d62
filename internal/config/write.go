package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	yaml "go.yaml.in/yaml/v4"

	"rotatord/internal/rotate"
)

// Found is a credential that a portal holds and no configuration names yet.
type Found struct {
	Portal  string
	Item    string
	Title   string
	Owner   string // the item's owner at the portal
	Expires time.Time
	Note    string // one more sentence for a person
}

// ErrCannotAppend: the list of credentials is written in a form that cannot be
// extended without losing comments.
var ErrCannotAppend = errors.New("credentials must be an indented list with a dash for each entry")

// AppendCredentials adds what was found to a configuration, in watch mode, after the
// credentials that are there; comments and layout stay. What it names already is
// left out. The result is returned with the number of entries added.
func AppendCredentials(name string, src []byte, found []Found) ([]byte, int, error) {
	c, err := Parse(name, src)
	if err != nil {
		return nil, 0, err
	}
	taken, items := map[string]bool{}, map[string]bool{}
	for _, cr := range c.Credentials {
		taken[string(cr.Name)] = true
		items[cr.Portal+"\x00"+string(cr.Item)] = true
	}
	at, err := c.appendAt()
	if err != nil {
		return nil, 0, fmt.Errorf("append to %s: %w", name, err)
	}
	var add bytes.Buffer
	n := 0
	for _, f := range found {
		key := f.Portal + "\x00" + strings.ToLower(f.Item)
		if items[key] {
			continue
		}
		items[key] = true
		f.write(&add, at.indent, freeName(f, taken))
		n++
	}
	if n == 0 {
		return src, 0, nil
	}
	out := at.insert(src, add.Bytes())
	if _, err := Parse(name, out); err != nil {
		return nil, 0, fmt.Errorf("append to %s: %w", name, err)
	}
	return out, n, nil
}

// spot is where new entries go.
type spot struct {
	after  int    // lines before them
	indent string // of their dashes
	head   string // line to write first
	drop   bool   // the last line before them is replaced by head
}

func (s spot) insert(src, add []byte) []byte {
	lines := bytes.SplitAfter(src, []byte("\n"))
	n := min(s.after, len(lines))
	keep := n
	if s.drop {
		keep--
	}
	out := bytes.Join(lines[:keep], nil)
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\n")) {
		out = append(out, '\n')
	}
	out = append(out, s.head...)
	out = append(out, add...)
	return append(out, bytes.Join(lines[n:], nil)...)
}

// emptyList is the key with nothing or [] behind it.
var emptyList = regexp.MustCompile(`^credentials:\s*(\[\s*\])?\s*(#.*)?$`)

func (c *Config) appendAt() (spot, error) {
	content := c.doc.root.Content
	end := func(i int) int { // last line before the top-level key after key i
		if i+2 < len(content) {
			return content[i+2].Line - 1
		}
		return len(c.doc.lines)
	}
	for i := 0; i+1 < len(content); i += 2 {
		if content[i].Value != "credentials" {
			continue
		}
		list := content[i+1]
		if len(list.Content) == 0 {
			if line := content[i].Line; emptyList.MatchString(c.doc.lines[line-1]) {
				return spot{after: line, indent: "  ", head: "credentials:\n", drop: true}, nil
			}
			return spot{}, ErrCannotAppend
		}
		if list.Style&yaml.FlowStyle != 0 {
			return spot{}, ErrCannotAppend
		}
		n := end(i)
		for n > list.Line && blank(c.doc.lines[n-1]) {
			n--
		}
		return spot{after: n, indent: strings.Repeat(" ", list.Column-1)}, nil
	}
	if c.doc.root.Style&yaml.FlowStyle != 0 {
		return spot{}, ErrCannotAppend
	}
	n := len(c.doc.lines)
	for n > 0 && blank(c.doc.lines[n-1]) {
		n--
	}
	return spot{after: n, indent: "  ", head: "\ncredentials:\n"}, nil
}

func blank(line string) bool {
	t := strings.TrimSpace(line)
	return t == "" || t == "..." || strings.HasPrefix(t, "#")
}

// WriteCredentials is the list entries for what was found, to be put under
// credentials by hand.
func WriteCredentials(found []Found) []byte {
	var b bytes.Buffer
	taken := map[string]bool{}
	for _, f := range found {
		f.write(&b, "  ", freeName(f, taken))
	}
	return b.Bytes()
}

// write one entry. Titles and owners come from the portal and may hold anything, so
// they are quoted, on one line, in comments.
func (f Found) write(b *bytes.Buffer, indent, name string) {
	expires := "unknown"
	if !f.Expires.IsZero() {
		expires = f.Expires.UTC().Format(time.RFC3339)
	}
	fmt.Fprintf(b, "%s# title %s, owner %s, expires %s\n", indent, quoted(f.Title), quoted(f.Owner), expires)
	if f.Note != "" {
		fmt.Fprintf(b, "%s# %s\n", indent, oneLine(f.Note))
	}
	fmt.Fprintf(b, "%s- name: %q\n%s  portal: %q\n%s  item: %q\n%s  mode: %s\n", indent, name, indent, f.Portal, indent, f.Item, indent, rotate.ModeWatch)
}

func quoted(s string) string { return `"` + strings.ReplaceAll(oneLine(s), `"`, "'") + `"` }

// oneLine makes a comment of any text: at most 120 characters, none of them a
// control character or a line break of any kind.
func oneLine(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > 120 {
			b.WriteString("...")
			break
		}
		if !unicode.IsPrint(r) || r == '\ufeff' {
			r = ' '
		}
		b.WriteRune(r)
	}
	return secretForms.ReplaceAllString(b.String(), hiddenText)
}

// freeName makes a name of the title: lower case, dashes for the rest, and the
// beginning of the item id where that is taken or empty.
func freeName(f Found, taken map[string]bool) string {
	var b strings.Builder
	for _, r := range strings.ToLower(oneLine(f.Title)) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	base := strings.Trim(b.String()[:min(b.Len(), 40)], "-")
	name := base
	if name == "" {
		name = "item-" + strings.ToLower(f.Item[:min(len(f.Item), 8)])
	}
	if taken[name] {
		name = strings.Trim(base+"-"+strings.ToLower(f.Item[:min(len(f.Item), 16)]), "-")
	}
	for i := 2; taken[name]; i++ {
		name = fmt.Sprintf("%s-%d", strings.Trim(base+"-"+f.Item[:min(len(f.Item), 8)], "-"), i)
	}
	taken[name] = true
	return name
}
