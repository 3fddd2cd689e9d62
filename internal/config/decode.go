package config

import (
	"bytes"
	"encoding"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v4"
)

// document is one configuration text with the places of all its keys. The YAML
// library parses; decoding into the structs is done here and not by the library,
// because its type errors quote values, name Go types and carry no path.
type document struct {
	name        string
	lines       []string
	src         []byte
	root        *yaml.Node
	problems    []Problem
	places      map[string]place // by path, of every key and list entry that is there
	broken      map[string]bool  // paths whose value could not be read
	brokenBelow map[string]bool  // and all that lie above them
	hide        []*yaml.Node     // values that no excerpt may show
	infos       map[reflect.Type]structInfo
}

// place of a key and of its value; for list entries they are the same.
type place struct{ key, value mark }

func newDocument(name string, src []byte) *document {
	return &document{name: name, src: src, lines: strings.Split(strings.ReplaceAll(string(src), "\r\n", "\n"), "\n"),
		places: map[string]place{}, broken: map[string]bool{}, brokenBelow: map[string]bool{}, infos: map[reflect.Type]structInfo{}}
}

// load parses the text; nil if it is no single YAML document with keys.
func (d *document) load() *yaml.Node {
	if len(d.src) > maxSize {
		d.add(mark{}, "", "split the credentials over several daemons", "is larger than %d MiB", maxSize>>20)
		return nil
	}
	if at, ok := badCharacter(d.src); ok {
		d.add(at, "", "remove it; save the file as UTF-8 text", "holds a character that YAML does not allow")
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(d.src), yaml.WithV4Defaults())
	if err != nil {
		d.add(mark{}, "", "", "is not YAML")
		return nil
	}
	var doc yaml.Node
	if err := loader.Load(&doc); err != nil {
		d.syntax(err)
		return nil
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		d.add(mark{doc.Line, doc.Column}, "", "start from config.example.yaml", "has no keys at its top level")
		return nil
	}
	var second yaml.Node
	if err := loader.Load(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			d.syntax(err)
			return nil
		}
		d.add(mark{second.Line, second.Column}, "", "put everything into one document and remove the line ---", "starts a second YAML document")
	}
	d.root = doc.Content[0]
	return d.root
}

// syntax notes what the YAML library said. The composer's words quote the text, so
// they are replaced.
func (d *document) syntax(err error) {
	const cure = "check indentation, quotes and colons at and above this line"
	le, ok := errors.AsType[*yaml.LoadError](err)
	switch {
	case errors.Is(err, io.EOF):
		d.add(mark{}, "", "start from config.example.yaml", "is empty")
	case !ok:
		d.add(mark{}, "", cure, "is not valid YAML")
	case le.Stage == yaml.ScannerStage || le.Stage == yaml.ParserStage:
		msg := le.Message
		if le.ContextMsg != "" {
			msg = le.ContextMsg + ": " + msg
			if le.ContextMark.Line > 0 && le.ContextMark.Line != le.Mark.Line {
				msg += " (it starts in line " + strconv.Itoa(le.ContextMark.Line) + ")"
			}
		}
		d.add(mark{le.Mark.Line, le.Mark.Column}, "", cure, "is not valid YAML: %s", msg)
	default:
		d.add(mark{le.Mark.Line, le.Mark.Column}, "", "write the value out, in quotes if it starts with * or &", "is not valid YAML: an alias or anchor cannot be resolved")
	}
}

// badCharacter finds the first byte that is no UTF-8 or a control character.
func badCharacter(src []byte) (mark, bool) {
	at := mark{1, 1}
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		switch {
		case r == utf8.RuneError && n == 1, r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
			return at, true
		case r == '\n':
			at = mark{at.line + 1, 1}
		default:
			at.col++
		}
		i += n
	}
	return mark{}, false
}

// decode reads a node into v and notes every problem under path.
func (d *document) decode(n *yaml.Node, v reflect.Value, path string, f field) {
	at := mark{n.Line, n.Column}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fail(n, path, "write the value out; what credentials share goes to defaults", "uses a YAML anchor or alias, which are not accepted here")
		return
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.fail(n, path, "remove it", "has a YAML tag, which is not accepted here")
		return
	}
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		v.Set(reflect.New(t.Elem()))
		d.decode(n, v.Elem(), path, f)
		if d.broken[path] && t.Elem().Kind() != reflect.Struct {
			v.SetZero()
		}
		return
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		d.decodeText(n, u, path, f)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		if d.wantKind(n, yaml.MappingNode, path) {
			d.decodeStruct(n, v, path)
		}
	case reflect.Map:
		if d.wantKind(n, yaml.MappingNode, path) {
			d.decodeMap(n, v, path)
		}
	case reflect.Slice:
		if w, ok := reflect.TypeAssert[interface{ takeWord(s string) bool }](v.Addr()); ok && n.Kind == yaml.ScalarNode && w.takeWord(n.Value) {
			return
		}
		if !d.wantKind(n, yaml.SequenceNode, path) {
			return
		}
		v.Set(reflect.MakeSlice(t, len(n.Content), len(n.Content)))
		for i, c := range n.Content {
			p := path + "[" + strconv.Itoa(i) + "]"
			d.places[p] = place{mark{c.Line, c.Column}, mark{c.Line, c.Column}}
			d.decode(c, v.Index(i), p, field{})
		}
	default:
		d.decodeScalar(n, v, path, at, f)
	}
}

// wantKind checks the node's kind. A missing value is an empty mapping, whose
// required keys are missing, or an empty list.
func (d *document) wantKind(n *yaml.Node, want yaml.Kind, path string) bool {
	if n.Kind == want {
		return true
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Value == "" && want != yaml.ScalarNode && !strings.HasSuffix(path, "]") {
		return true
	}
	word, cure := kindWords(want)
	got, _ := kindWords(n.Kind)
	d.fail(n, path, cure, "must be %s, not %s", word, got)
	return false
}

// kindWords name a kind of node for people, and say how it is written.
func kindWords(k yaml.Kind) (name, cure string) {
	switch k {
	case yaml.MappingNode:
		return "keys with values", "write indented lines of key: value below it"
	case yaml.SequenceNode:
		return "a list", "write each entry on its own line after a dash, or [a, b]"
	default:
		return "a single value", "write one value on the same line"
	}
}

// fail marks the value as unreadable and hides it: what stands in the wrong place
// may be anything.
func (d *document) fail(n *yaml.Node, path, cure, format string, args ...any) {
	d.markBroken(path)
	d.hide = append(d.hide, n)
	d.add(mark{n.Line, n.Column}, path, cure, format, args...)
}

func (d *document) decodeStruct(n *yaml.Node, v reflect.Value, path string) {
	si := d.info(v.Type())
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		at := mark{k.Line, k.Column}
		name, ok := d.keyName(k, val, path)
		if !ok {
			continue
		}
		f, known := si.fields[name]
		if !known {
			d.hide = append(d.hide, val)
			cure := "known here: " + strings.Join(si.keys, ", ")
			if near := nearest(name, si.keys); near != "" {
				cure = "did you mean " + near + "? " + cure
				d.markBroken(join(path, near)) // so that it is not missed as well
			}
			d.add(at, join(path, name), cure, "is not a known key")
			continue
		}
		if si.secrets && f.text { // a user who swaps name and password shows neither
			d.hide = append(d.hide, val)
		}
		if d.twice(seen, name, at, path) {
			d.hide = append(d.hide, val)
			continue
		}
		p := join(path, name)
		d.places[p] = place{at, mark{val.Line, val.Column}}
		d.decode(val, v.Field(f.index), p, f)
	}
	for _, key := range si.keys {
		if si.fields[key].required && !seen[key] && !d.broken[join(path, key)] {
			d.add(mark{n.Line, n.Column}, join(path, key), "add "+key+": "+si.fields[key].doc, "is missing")
		}
	}
}

func (d *document) decodeMap(n *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		at := mark{k.Line, k.Column}
		name, ok := d.keyName(k, val, path)
		if !ok {
			continue
		}
		if d.twice(seen, name, at, path) {
			d.hide = append(d.hide, val)
			continue
		}
		if !nameForm.MatchString(name) {
			d.add(at, path, nameCure, "%s is no usable name", shown(name))
		}
		p := join(path, name)
		d.places[p] = place{at, mark{val.Line, val.Column}}
		e := reflect.New(v.Type().Elem()).Elem()
		d.decode(val, e, p, field{})
		if e.IsNil() { // the value could not be read; its name is still known
			e.Set(reflect.New(e.Type().Elem()))
		}
		v.SetMapIndex(reflect.ValueOf(name), e)
	}
}

// keyName is the text of a key, if it is a plain one.
func (d *document) keyName(k, val *yaml.Node, path string) (string, bool) {
	if k.Kind == yaml.ScalarNode && k.Tag != "!!merge" && k.Style&yaml.TaggedStyle == 0 && k.Anchor == "" {
		return k.Value, true
	}
	d.hide = append(d.hide, k, val)
	d.add(mark{k.Line, k.Column}, path, "write plain keys; what credentials share goes to defaults", "has a key that is no plain word, or a YAML merge, which are not accepted here")
	return "", false
}

// twice notes a key that is there again.
func (d *document) twice(seen map[string]bool, name string, at mark, path string) bool {
	if !seen[name] {
		seen[name] = true
		return false
	}
	d.add(at, join(path, name), "remove one of the two", "is there twice, first in line %d", d.places[join(path, name)].key.line)
	return true
}

// join a path and a key; a name with a dot is quoted, so that paths stay unique.
func join(path, key string) string {
	if strings.ContainsAny(key, `.[]"`) {
		return path + "[" + strconv.Quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// parent of a path; "" at the top.
func parent(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if strings.HasSuffix(path, `"]`) {
		i = strings.LastIndex(path, `["`)
	}
	return path[:max(i, 0)]
}

// markBroken notes that the value at path could not be read.
func (d *document) markBroken(path string) {
	d.broken[path] = true
	for p := parent(path); p != "" && !d.brokenBelow[p]; p = parent(p) {
		d.brokenBelow[p] = true
	}
}
