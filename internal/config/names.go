package config

import (
	"bytes"
	"fmt"
	"slices"

	yaml "go.yaml.in/yaml/v4"
)

// Without is the config as if it had none of these credentials.
func (c *Config) Without(names map[Name]bool) *Config {
	if len(names) == 0 {
		return c
	}
	less := *c
	less.Credentials = slices.DeleteFunc(slices.Clone(c.Credentials), func(cr *Credential) bool { return names[cr.Name] })
	return &less
}

// Rename gives a credential another name. Its paths stay: where a sink's template uses the
// name, path_name keeps the former one. Every other byte stays too; what results was
// parsed, and says what was meant.
func Rename(name string, src []byte, from, to Name) ([]byte, error) {
	c, err := Parse(name, src)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(c.Credentials, func(cr *Credential) bool { return cr.Name == from })
	if i < 0 {
		return nil, fmt.Errorf("rename %s in %s: no such credential", from, name)
	}
	if own := c.Credentials[i].ownKey; own != "" {
		return nil, fmt.Errorf("rename %s in %s: portal %s signs in with its key; change portals.%s.identity.own_key with it, by hand", from, name, own, own)
	}
	entry := c.doc.credentialNodes()[i]
	out, err := renamed(src, entry, from, to, false)
	if err != nil {
		return nil, fmt.Errorf("rename %s in line %d of %s: %w", from, entry.Line, name, err)
	}
	after, err := Parse(name, out)
	if err == nil && !samePaths(c.Credentials[i], after.Credentials[i]) {
		if out, err = renamed(src, entry, from, to, true); err != nil {
			return nil, fmt.Errorf("rename %s in line %d of %s: %w", from, entry.Line, name, err)
		}
		after, err = Parse(name, out)
	}
	if err != nil {
		return nil, err
	}
	return out, c.checkRenamed(after, i, to)
}

// checkRenamed compares what the two come to.
func (c *Config) checkRenamed(after *Config, renamed int, to Name) error {
	for i, was := range c.Credentials {
		is, want := after.Credentials[i], was.Name
		if i == renamed {
			want = to
		}
		if is.Name != want || is.Item != was.Item || is.Portal != was.Portal || !samePaths(was, is) {
			return fmt.Errorf("rename %s in %s: %w", was.Name, c.Name(), ErrCannotAmend)
		}
	}
	return nil
}

func samePaths(a, b *Credential) bool {
	return slices.EqualFunc(a.targets, b.targets, func(x, y Target) bool { return x.Sink == y.Sink && x.Path == y.Path })
}

// renamed replaces the word, in the quotes that it has.
func renamed(src []byte, entry *yaml.Node, from, to Name, keepPath bool) ([]byte, error) {
	v := nodeUnder(entry, "name")
	lines := bytes.SplitAfter(src, []byte("\n"))
	if v == nil || v.Line > len(lines) || v.Column > len(lines[v.Line-1]) {
		return nil, ErrCannotAmend
	}
	line, at := lines[v.Line-1], v.Column-1
	for _, quote := range []string{"", "'", `"`} {
		old := quote + string(from) + quote
		if !bytes.HasPrefix(line[at:], []byte(old)) {
			continue
		}
		word := quote + string(to) + quote
		if keepPath && entry.Style&yaml.FlowStyle != 0 {
			word += ", path_name: " + string(from)
		}
		lines[v.Line-1] = slices.Concat(line[:at], []byte(word), line[at+len(old):])
		if keepPath && entry.Style&yaml.FlowStyle == 0 {
			return withPathName(lines, entry, from)
		}
		return bytes.Join(lines, nil), nil
	}
	return nil, ErrCannotAmend
}

// withPathName adds the line below the name.
func withPathName(lines [][]byte, entry *yaml.Node, from Name) ([]byte, error) {
	at, indent, ok := below(entry)
	if !ok {
		return nil, ErrCannotAmend
	}
	text := indent + "path_name: " + string(from) + "\n"
	if !bytes.HasSuffix(lines[at-1], []byte("\n")) {
		text = "\n" + text[:len(text)-1]
	}
	lines[at-1] = slices.Concat(lines[at-1], []byte(text))
	return bytes.Join(lines, nil), nil
}

func nodeUnder(entry *yaml.Node, key string) *yaml.Node {
	if entry.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(entry.Content); i += 2 {
		if entry.Content[i].Value == key {
			return entry.Content[i+1]
		}
	}
	return nil
}
