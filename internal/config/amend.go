package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v4"

	"rotatord/internal/credspec"
)

// Amendment is what is put below a credential's name.
type Amendment struct {
	Item   ItemID  // "" adds none
	Create *Create // nil adds none
	// Again: the create that is there is replaced, with the comments in it.
	Again bool
}

// ErrCannotAmend: an entry is written in a form that cannot be extended without losing
// comments, or has the key already.
var ErrCannotAmend = errors.New("the entry must be indented lines of key: value, without the key that is to be added")

// Amend writes item, create or both below the names of credentials. Every byte that is
// there stays; what results was parsed, and says what was meant.
func Amend(name string, src []byte, add map[Name]Amendment) ([]byte, error) {
	c, err := Parse(name, src)
	if err != nil {
		return nil, err
	}
	list := c.doc.credentialNodes()
	lines := bytes.SplitAfter(src, []byte("\n"))
	found := 0
	for i, cr := range slices.Backward(c.Credentials) { // from the end, so that lines keep their numbers
		a, wanted := add[cr.Name]
		if !wanted {
			continue
		}
		found++
		at, indent, ok := below(list[i])
		if !ok || (a.Item != "" && cr.Item != "") || (a.Create != nil && cr.Create != nil && !a.Again) {
			return nil, fmt.Errorf("amend credential %s in line %d of %s: %w", cr.Name, list[i].Line, name, ErrCannotAmend)
		}
		text := a.text(indent)
		if a.Create != nil && cr.Create != nil {
			at = cutCreate(lines, list[i], len(indent))
		}
		if at > len(lines) || !bytes.HasSuffix(lines[at-1], []byte("\n")) {
			text = append([]byte("\n"), bytes.TrimSuffix(text, []byte("\n"))...)
		}
		lines[at-1] = append(bytes.Clone(lines[at-1]), text...)
	}
	if found != len(add) {
		return nil, fmt.Errorf("amend %s: %d of %d credentials are not in it", name, len(add)-found, len(add))
	}
	out := bytes.Join(lines, nil)
	if err := c.checkAmended(name, out, add); err != nil {
		return nil, err
	}
	return out, nil
}

// checkAmended reads the result again.
func (c *Config) checkAmended(name string, out []byte, add map[Name]Amendment) error {
	after, err := Parse(name, out)
	if err != nil {
		return fmt.Errorf("amend %s: %w", name, err)
	}
	for i, cr := range after.Credentials {
		was := c.Credentials[i]
		a := add[cr.Name]
		wantItem, wantCreate := was.Item, was.Create != nil
		if a.Create != nil && (cr.Create == nil || cr.Create.Text("") != a.Create.Text("")) {
			return fmt.Errorf("amend credential %s of %s: %w", was.Name, name, ErrCannotAmend)
		}
		if a.Item != "" {
			wantItem = a.Item
		}
		if cr.Name != was.Name || cr.Item != wantItem || (cr.Create != nil) != (wantCreate || a.Create != nil) {
			return fmt.Errorf("amend credential %s of %s: %w", was.Name, name, ErrCannotAmend)
		}
	}
	return nil
}

// credentialNodes of a parsed document, in the order of Config.Credentials.
func (d *document) credentialNodes() []*yaml.Node {
	for i := 0; i+1 < len(d.root.Content); i += 2 {
		if d.root.Content[i].Value == "credentials" {
			return d.root.Content[i+1].Content
		}
	}
	return nil
}

// below finds the line of an entry's name, counted from 1, and how far its keys are indented.
func below(entry *yaml.Node) (line int, indent string, ok bool) {
	if entry.Kind != yaml.MappingNode || entry.Style&yaml.FlowStyle != 0 {
		return 0, "", false
	}
	for i := 0; i+1 < len(entry.Content); i += 2 {
		if k, v := entry.Content[i], entry.Content[i+1]; k.Value == "name" {
			return v.Line, strings.Repeat(" ", k.Column-1), v.Line == k.Line && v.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0
		}
	}
	return 0, "", false
}

// cutCreate empties the lines of an entry's create, and gives the number of the line before them.
// Whatever belongs to it is indented deeper than its key.
func cutCreate(lines [][]byte, entry *yaml.Node, indent int) (at int) {
	for i := 0; i+1 < len(entry.Content); i += 2 {
		if k := entry.Content[i]; k.Value == "create" {
			at = k.Line - 1
		}
	}
	end := at + 1
	for n := end; n < len(lines); n++ {
		text := bytes.TrimRight(lines[n], " \r\n")
		if len(text) == 0 {
			continue // within a text, or after the last line
		}
		if len(text)-len(bytes.TrimLeft(text, " ")) <= indent {
			break
		}
		end = n + 1
	}
	for n := at; n < end; n++ {
		lines[n] = nil
	}
	return at
}

func (a Amendment) text(indent string) []byte {
	var b bytes.Buffer
	if a.Item != "" {
		fmt.Fprintf(&b, "%sitem: %q\n", indent, string(a.Item))
	}
	if a.Create != nil {
		a.Create.write(&b, indent)
	}
	return b.Bytes()
}

// CreateOf is a specification as the config has it.
func CreateOf(s *credspec.Spec) *Create {
	n := &Create{Use: string(s.Use), Title: s.Title, Folder: s.Folder, Tags: s.Tags, Snippet: s.Snippet, Description: s.Description,
		Privileges: s.Privileges, Referrers: s.Referrers, Protect: s.Protect, Sharing: string(s.Sharing), ItemsSearch: s.ItemsSearch,
		ItemsGroup: ItemID(s.ItemsGroup), Items: make([]ItemID, len(s.Items))}
	for i, id := range s.Items {
		n.Items[i] = ItemID(id)
	}
	if s.AcknowledgePersonal {
		n.Acknowledge = "personal"
	}
	return n
}

// Text is the key create with all that is below it, to be put into a credential.
func (n *Create) Text(indent string) string {
	var b bytes.Buffer
	n.write(&b, indent)
	return b.String()
}

// write every key that says something. Texts come from the portal and may hold anything, so they are quoted, on one line.
func (n *Create) write(b *bytes.Buffer, indent string) {
	fmt.Fprintf(b, "%screate:\n", indent)
	indent += "  "
	one := func(key, value string) {
		if value != "" {
			fmt.Fprintf(b, "%s%s: %q\n", indent, key, value)
		}
	}
	list := func(key string, values []string) {
		if len(values) == 0 {
			fmt.Fprintf(b, "%s%s: []\n", indent, key)
			return
		}
		fmt.Fprintf(b, "%s%s:\n", indent, key)
		for _, v := range values {
			fmt.Fprintf(b, "%s  - %q\n", indent, v)
		}
	}
	fmt.Fprintf(b, "%suse: %s\n", indent, n.Use)
	one("title", n.Title)
	one("folder", n.Folder)
	list("tags", n.Tags)
	one("snippet", n.Snippet)
	one("description", n.Description)
	list("privileges", n.Privileges)
	items := make([]string, len(n.Items))
	for i, id := range n.Items {
		items[i] = string(id)
	}
	if len(items) > 0 || n.ItemsSearch == "" && n.ItemsGroup == "" {
		list("items", items)
	}
	one("items_search", n.ItemsSearch)
	one("items_group", string(n.ItemsGroup))
	if len(n.Referrers) == 1 && n.Referrers[0] == credspec.AnyReferrer {
		fmt.Fprintf(b, "%sreferrers: %s\n", indent, credspec.AnyReferrer)
	} else if n.Referrers != nil {
		list("referrers", n.Referrers)
	}
	fmt.Fprintf(b, "%sprotect: %t\n", indent, n.Protect)
	if n.Sharing != "" {
		fmt.Fprintf(b, "%ssharing: %s\n", indent, n.Sharing)
	}
	if n.Acknowledge != "" {
		fmt.Fprintf(b, "%sacknowledge: %s\n", indent, n.Acknowledge)
	}
}
