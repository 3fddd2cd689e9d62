package config

import (
	"bytes"
	"fmt"
	"slices"

	yaml "go.yaml.in/yaml/v4"
)

// Retarget has a credential name another item, and another portal where that differs, in
// place of those that it names: nil where it names them already. Every other byte stays;
// what results was parsed, and says what was meant.
func Retarget(name string, src []byte, cred Name, portal string, item ItemID) ([]byte, error) {
	c, err := Parse(name, src)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(c.Credentials, func(cr *Credential) bool { return cr.Name == cred })
	if at < 0 {
		return nil, fmt.Errorf("retarget credential %s: it is not in %s", cred, name)
	}
	cr, node := c.Credentials[at], c.doc.credentialNodes()[at]
	if cr.Portal == portal && cr.Item == item {
		return nil, nil
	}
	lines := bytes.SplitAfter(src, []byte("\n"))
	for key, value := range map[string]string{"portal": portal, "item": string(item)} {
		if key == "portal" && cr.Portal == portal {
			continue
		}
		v := valueOf(node, key)
		if v == nil || !replaceScalar(lines, v, value) {
			return nil, fmt.Errorf("retarget credential %s in line %d of %s: write %s: %s yourself: %w", cred, node.Line, name, key, value, ErrCannotAmend)
		}
	}
	out := bytes.Join(lines, nil)
	after, err := Parse(name, out)
	if err != nil {
		return nil, fmt.Errorf("retarget %s: %w", name, err)
	}
	if got := after.Credentials[at]; got.Name != cred || got.Portal != portal || got.Item != item {
		return nil, fmt.Errorf("retarget credential %s of %s: %w", cred, name, ErrCannotAmend)
	}
	return out, nil
}

// valueOf a key that an entry has itself; nil if it has none.
func valueOf(entry *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(entry.Content); i += 2 {
		if k, v := entry.Content[i], entry.Content[i+1]; k.Value == key && v.Kind == yaml.ScalarNode && v.Anchor == "" {
			return v
		}
	}
	return nil
}

// replaceScalar writes another value over one that is on one line, in its own quotes.
func replaceScalar(lines [][]byte, v *yaml.Node, value string) bool {
	was := []byte(v.Value)
	switch {
	case v.Style&yaml.DoubleQuotedStyle != 0:
		was, value = []byte(`"`+v.Value+`"`), `"`+value+`"`
	case v.Style&yaml.SingleQuotedStyle != 0:
		was, value = []byte(`'`+v.Value+`'`), `'`+value+`'`
	case v.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return false
	}
	line := lines[v.Line-1]
	from := v.Column - 1
	if from > len(line) || !bytes.HasPrefix(line[from:], was) {
		return false
	}
	lines[v.Line-1] = slices.Concat(line[:from], []byte(value), line[from+len(was):])
	return true
}
