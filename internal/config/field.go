package config

import (
	"encoding"
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v4"
)

// field is what a struct's tags say about one key.
type field struct {
	index    int
	required bool
	zeroOK   bool // a duration of 0 has a meaning
	text     bool // free text
	enum     []string
	def      string
	hasDef   bool
	min, max float64
	doc      string
}

// yamlKey of a struct field; "" if it has none.
func yamlKey(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return key
}

// structInfo is what the tags of one struct say.
type structInfo struct {
	keys    []string // in the order of the struct
	fields  map[string]field
	secrets bool // one of its own keys is a secret
}

// info of a struct, remembered: ten thousand credentials share three structs.
func (d *document) info(t reflect.Type) structInfo {
	si, ok := d.infos[t]
	if !ok {
		si = infoOf(t)
		d.infos[t] = si
	}
	return si
}

func infoOf(t reflect.Type) structInfo {
	si := structInfo{fields: map[string]field{}}
	for i := range t.NumField() {
		sf := t.Field(i)
		key := yamlKey(sf)
		if key == "" {
			continue
		}
		f := field{index: i, doc: sf.Tag.Get("doc"), zeroOK: sf.Tag.Get("zero") == "ok", text: sf.Type.Kind() == reflect.String, min: math.Inf(-1), max: math.Inf(1)}
		for word := range strings.SplitSeq(sf.Tag.Get("jsonschema"), ",") {
			name, val, _ := strings.Cut(word, "=")
			switch name {
			case "required":
				f.required = true
			case "enum":
				f.enum = append(f.enum, val)
			case "default":
				f.def, f.hasDef = val, true
			case "minimum":
				f.min = number(val)
			case "maximum":
				f.max = number(val)
			}
		}
		si.keys = append(si.keys, key)
		si.fields[key] = f
		si.secrets = si.secrets || sf.Type == reflect.TypeFor[SecretRef]()
	}
	return si
}

// number of a tag; a tag that is none bounds nothing, which a test forbids.
func number(s string) float64 {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return math.NaN()
	}
	return n
}

// decodeText reads a scalar into a type that parses itself.
func (d *document) decodeText(n *yaml.Node, u encoding.TextUnmarshaler, path string, f field) {
	if _, secret := u.(*SecretRef); secret {
		d.hide = append(d.hide, n)
	}
	if !d.scalar(n, path) {
		return
	}
	err := u.UnmarshalText([]byte(n.Value))
	if dv, ok := u.(*Duration); ok && err == nil && *dv == 0 && !f.zeroOK {
		err = badValue("write a duration above zero, or leave the key out", "must be above zero")
	}
	if err == nil {
		return
	}
	d.markBroken(path)
	ve, ok := errors.AsType[*valueError](err)
	if !ok {
		ve = &valueError{msg: "cannot be read"}
	}
	d.add(mark{n.Line, n.Column}, path, ve.cure, "%s", ve.msg)
}

// scalar checks that the node is one value and not empty.
func (d *document) scalar(n *yaml.Node, path string) bool {
	if n.Kind != yaml.ScalarNode {
		d.wantKind(n, yaml.ScalarNode, path)
		return false
	}
	if n.Tag == "!!null" || n.Value == "" {
		d.markBroken(path)
		d.add(mark{n.Line, n.Column}, path, "write a value, or remove the key", "has no value")
		return false
	}
	return true
}

// decodeScalar reads text, numbers, and true or false.
func (d *document) decodeScalar(n *yaml.Node, v reflect.Value, path string, at mark, f field) {
	if !d.scalar(n, path) {
		return
	}
	bad := func(cure, format string, args ...any) {
		d.markBroken(path)
		d.add(at, path, cure, format, args...)
	}
	switch v.Kind() {
	case reflect.String:
		if len(f.enum) > 0 && !slices.Contains(f.enum, n.Value) {
			bad(suggest(n.Value, f.enum), "%s is not one of %s", shown(n.Value), strings.Join(f.enum, ", "))
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Tag != "!!bool" {
			bad("write true or false", "%s is neither true nor false", shown(n.Value))
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if err != nil {
			bad("write digits only", "%s is no whole number", shown(n.Value))
			return
		}
		if !inRange(float64(i), f) {
			bad(rangeCure(f), "%d is out of range", i)
			return
		}
		v.SetInt(int64(i))
	case reflect.Float64:
		x, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			bad("write a number such as 0.5 or 10", "%s is no number", shown(n.Value))
			return
		}
		if !inRange(x, f) {
			bad(rangeCure(f), "%v is out of range", x)
			return
		}
		v.SetFloat(x)
	default: // a struct with a field of another kind; TestTags decodes each kind
		bad("", "cannot be read")
	}
}

func inRange(x float64, f field) bool { return x >= f.min && x <= f.max }

func rangeCure(f field) string {
	if math.IsInf(f.max, 1) {
		return "write a number from " + strconv.FormatFloat(f.min, 'g', -1, 64) + " on"
	}
	return "write a number from " + strconv.FormatFloat(f.min, 'g', -1, 64) + " to " + strconv.FormatFloat(f.max, 'g', -1, 64)
}

// suggest the nearest of a closed set.
func suggest(s string, known []string) string {
	if near := nearest(s, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "write one of " + strings.Join(known, ", ")
}

// fill sets the defaults of keys that are not there. Defaults are left alone: what
// they do not say is filled in at each credential.
func (d *document) fill(v reflect.Value, path string) {
	si := d.info(v.Type())
	for _, key := range si.keys {
		f := si.fields[key]
		p, e := join(path, key), v.Field(f.index)
		if f.hasDef && e.IsZero() {
			if _, there := d.places[p]; !there {
				d.setDefault(e, p, f)
			}
			continue
		}
		if p != "defaults" {
			d.fillBelow(e, p)
		}
	}
}

func (d *document) fillBelow(e reflect.Value, path string) {
	switch e.Kind() {
	case reflect.Struct:
		d.fill(e, path)
	case reflect.Pointer:
		if !e.IsNil() {
			d.fillBelow(e.Elem(), path)
		}
	case reflect.Map:
		for _, k := range e.MapKeys() {
			d.fillBelow(e.MapIndex(k), join(path, k.String()))
		}
	case reflect.Slice:
		for i := range e.Len() {
			d.fillBelow(e.Index(i), path+"["+strconv.Itoa(i)+"]")
		}
	default:
	}
}

// setDefault decodes the tag's text as if it stood in the file.
func (d *document) setDefault(e reflect.Value, path string, f field) {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: f.def, Tag: "!!str"}
	if e.Kind() == reflect.Bool {
		n.Tag = "!!bool"
	}
	d.decode(n, e, path, f)
}
