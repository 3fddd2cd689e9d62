package sinks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// format finds the key in a file's content (nil: no file) and puts another in its
// place, keeping the rest as it is. An empty key stands for none. Errors do not quote
// the content.
type format interface {
	key(content []byte) (string, error)
	with(content []byte, key string) ([]byte, error)
}

var variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func newFormat(kind FileFormat, field string) (format, error) {
	switch kind {
	case FormatDotenv:
		if field == "" {
			field = DefaultVariable
		}
		if !variableForm.MatchString(field) {
			return nil, fmt.Errorf("%q is no name of a variable", field)
		}
		return dotenv{name: field}, nil
	case FormatJSON:
		if field == "" {
			field = DefaultKeyField
		}
		return jsonObject{field: field}, nil
	case FormatBare:
		if field != "" {
			return nil, errors.New("a bare key has no field")
		}
		return bare{}, nil
	}
	return nil, fmt.Errorf("unknown format %q", kind)
}

// plain tells whether every reader of dotenv files, with or without quoting rules,
// reads the value as it stands. A portal's keys are.
func plain(value string) bool {
	return strings.IndexFunc(value, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'\#$`+"`", r) }) < 0
}

var errNotPlain = errors.New("the key has characters that this format cannot carry")

// dotenv is a file of NAME=value lines, comments and whatever else.
type dotenv struct{ name string }

// line splits a content's line that assigns the variable: head up to and including
// "=" and an opening quote, the value, and the tail from a closing quote on.
func (f dotenv) line(text string) (head, value, tail string, ok bool, err error) {
	name, rest, found := strings.Cut(text, "=")
	fields := strings.Fields(name)
	if len(fields) == 2 && fields[0] == "export" {
		fields = fields[1:]
	}
	if !found || len(fields) != 1 || fields[0] != f.name {
		return "", "", "", false, nil
	}
	body := strings.TrimLeft(rest, " \t")
	head = text[:len(text)-len(body)]
	end := strings.IndexAny(body, " \t\r\n")
	if quote := strings.IndexAny(body, `"'`); quote == 0 {
		head += body[:1]
		quoteMark := body[:1]
		body = body[1:]
		if end = strings.Index(body, quoteMark); end < 0 {
			return "", "", "", true, fmt.Errorf("the value of %s has no closing quote", f.name)
		}
	}
	if end < 0 {
		end = len(body)
	}
	value, tail = body[:end], body[end:]
	if after := strings.TrimLeft(strings.TrimSpace(tail), `"'`); !plain(value) || (after != "" && !strings.HasPrefix(strings.TrimSpace(after), "#")) {
		return "", "", "", true, fmt.Errorf("the value of %s is not a single plain word", f.name)
	}
	return head, value, tail, true, nil
}

func (f dotenv) key(content []byte) (string, error) {
	key, seen := "", false
	for text := range strings.Lines(string(content)) {
		_, value, _, ok, err := f.line(text)
		if err != nil {
			return "", err
		}
		if ok && seen {
			return "", fmt.Errorf("%s is assigned more than once", f.name)
		}
		if ok {
			key, seen = value, true
		}
	}
	return key, nil
}

func (f dotenv) with(content []byte, key string) ([]byte, error) {
	if !plain(key) {
		return nil, errNotPlain
	}
	var b strings.Builder
	done := key == ""
	for text := range strings.Lines(string(content)) {
		head, _, tail, ok, err := f.line(text)
		switch {
		case err != nil:
			return nil, err
		case ok && key == "": // the line goes
		case ok:
			b.WriteString(head + key + tail)
			done = true
		default:
			b.WriteString(text)
		}
	}
	if !done {
		if b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
			b.WriteByte('\n')
		}
		b.WriteString(f.name + "=" + key + "\n")
	}
	if content == nil && key == "" {
		return nil, nil
	}
	return []byte(b.String()), nil
}

// jsonObject is a file with one JSON object. Order and values of other fields stay;
// white space becomes two spaces of indentation.
type jsonObject struct{ field string }

type member struct {
	name  string
	value json.RawMessage
}

var errNoObject = errors.New("the content is not one JSON object with distinct fields")

func (f jsonObject) parse(content []byte) ([]member, error) {
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(content))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errNoObject
	}
	var members []member
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok || seen[name] {
			return nil, errNoObject
		}
		seen[name] = true
		m := member{name: name}
		if err := dec.Decode(&m.value); err != nil {
			return nil, errNoObject
		}
		members = append(members, m)
	}
	if _, err := dec.Token(); err != nil {
		return nil, errNoObject
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNoObject
	}
	return members, nil
}

func (f jsonObject) key(content []byte) (string, error) {
	members, err := f.parse(content)
	if err != nil {
		return "", err
	}
	for _, m := range members {
		if m.name == f.field {
			return stringField(fields{m.name: m.value}, m.name)
		}
	}
	return "", nil
}

func (f jsonObject) with(content []byte, key string) ([]byte, error) {
	members, err := f.parse(content)
	if err != nil || (content == nil && key == "") {
		return nil, err
	}
	value, err := json.Marshal(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	var kept []member
	done := key == ""
	for _, m := range members {
		switch {
		case m.name != f.field:
			kept = append(kept, m)
		case key != "":
			kept = append(kept, member{m.name, value})
			done = true
		}
	}
	if !done {
		kept = append(kept, member{f.field, value})
	}
	return printObject(kept)
}

func printObject(members []member) ([]byte, error) {
	var b, out bytes.Buffer
	b.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, fmt.Errorf("encode field name: %w", err)
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	if err := json.Indent(&out, b.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("format object: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// bare is a file that holds nothing but the key. It is written without a line end and
// read with one.
type bare struct{}

func (bare) key(content []byte) (string, error) {
	key := strings.TrimRight(string(content), "\r\n")
	if !plain(key) {
		return "", errors.New("the content is not a single plain word")
	}
	return key, nil
}

func (bare) with(content []byte, key string) ([]byte, error) {
	if !plain(key) {
		return nil, errNotPlain
	}
	if key == "" && content == nil {
		return nil, nil
	}
	return []byte(key), nil
}
