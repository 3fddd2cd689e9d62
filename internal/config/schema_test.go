package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	yaml "go.yaml.in/yaml/v4"
)

const example = "../../config.example.yaml"

func TestSchemaGolden(t *testing.T) {
	s, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "../../docs/config.schema.json", string(s))
}

// The example and every problem-free file fits the schema; misspelt keys, literals
// and missing keys do not.
func TestSchemaJudgesAsParseDoes(t *testing.T) {
	src, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("rotatord.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("rotatord.json")
	if err != nil {
		t.Fatal(err)
	}
	for file, valid := range map[string]bool{
		example: true, "testdata/minimal.yaml": true, "testdata/bad/unknown_key.yaml": false, "testdata/bad/unknown_section.yaml": false,
		"testdata/bad/missing_keys.yaml": false, "testdata/bad/literal_password.yaml": false, "testdata/bad/enum.yaml": false,
		"testdata/bad/item_shape.yaml": false, "testdata/bad/name_shape.yaml": false, "testdata/bad/path_relative.yaml": false,
		"testdata/bad/out_of_range.yaml": false, "testdata/bad/duration_fraction.yaml": false, "testdata/bad/renew_share.yaml": false,
		"testdata/bad/wrong_kind_map.yaml": false, "testdata/bad/wrong_kind_list.yaml": false,
	} {
		var v any
		if err := yaml.Load(read(t, file), &v); err != nil {
			t.Fatal(err)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		inst, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(inst); (err == nil) != valid {
			t.Errorf("%s: valid %v, want %v: %v", file, err == nil, valid, err)
		}
	}
}

func TestExampleIsValid(t *testing.T) {
	c, err := Load(example)
	if err != nil {
		t.Fatalf("example:\n%v", err)
	}
	if len(c.Portals) != 3 || len(c.Sinks) != 2 || len(c.Credentials) < 3 || c.Vault == nil {
		t.Errorf("the example has %d portals, %d sinks, %d credentials", len(c.Portals), len(c.Sinks), len(c.Credentials))
	}
	for _, cr := range c.Credentials {
		if err := c.RotatePolicy(cr).Validate(); err != nil {
			t.Errorf("%s: %v", cr.Name, err)
		}
	}
	if !bytes.HasPrefix(read(t, example), []byte("# yaml-language-server: $schema=docs/config.schema.json\n")) {
		t.Error("the example does not begin with the editor's modeline")
	}
}

// keyPaths are all keys of the structs, with * for names of the user's own.
func keyPaths(t reflect.Type, path string, visit func(path string, f reflect.StructField)) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		keyPaths(t.Elem(), path, visit)
	case reflect.Map:
		keyPaths(t.Elem(), path+".*", visit)
	case reflect.Struct:
		for f := range t.Fields() {
			if key := yamlKey(f); key != "" {
				p := strings.TrimPrefix(path+"."+key, ".")
				visit(p, f)
				keyPaths(f.Type, p, visit)
			}
		}
	default:
	}
}

// Every key stands in the example, in use or behind a "#", and somewhere with a
// comment; what stands behind a "#" is known and readable too.
func TestExampleNamesEveryKey(t *testing.T) {
	src := regexp.MustCompile(`(?m)^(\s*)#([a-z].*)$`).ReplaceAll(read(t, example), []byte("$1$2"))
	d := newDocument("uncommented.yaml", src)
	root := d.load()
	var c Config
	if root != nil {
		d.decode(root, reflect.ValueOf(&c).Elem(), "", field{})
	}
	if len(d.problems) > 0 {
		t.Fatalf("example with every key:\n%v", d.sorted())
	}
	there, explained := map[string]bool{}, map[string]bool{}
	var walk func(n *yaml.Node, typ reflect.Type, path string)
	walk = func(n *yaml.Node, typ reflect.Type, path string) {
		for typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		switch {
		case n.Kind == yaml.SequenceNode:
			for _, e := range n.Content {
				walk(e, typ.Elem(), path)
			}
		case n.Kind == yaml.MappingNode && typ.Kind() == reflect.Map:
			for i := 1; i < len(n.Content); i += 2 {
				walk(n.Content[i], typ.Elem(), path+".*")
			}
		case n.Kind == yaml.MappingNode && typ.Kind() == reflect.Struct:
			for i := 0; i+1 < len(n.Content); i += 2 {
				k, v := n.Content[i], n.Content[i+1]
				p := strings.TrimPrefix(path+"."+k.Value, ".")
				there[p] = true
				explained[p] = explained[p] || k.HeadComment != "" || k.LineComment != "" || v.HeadComment != "" || v.LineComment != "" ||
					commentAt(d.lines, k.Line)
				walk(v, typ.Field(infoOf(typ).fields[k.Value].index).Type, p)
			}
		}
	}
	walk(root, reflect.TypeFor[Config](), "")
	keyPaths(reflect.TypeFor[Config](), "", func(p string, _ reflect.StructField) {
		// The policy of a credential is that of the defaults, and its gates and hooks are theirs; once is enough.
		if strings.HasPrefix(p, "credentials.policy.") || strings.HasPrefix(p, "defaults.quiet.") || strings.HasPrefix(p, "defaults.hooks.") {
			return
		}
		if !there[p] {
			t.Errorf("the example lacks %s", p)
		} else if !explained[p] {
			t.Errorf("the example does not explain %s", p)
		}
	})
}

// commentAt: on the line itself or on the one above.
func commentAt(lines []string, n int) bool {
	return strings.Contains(lines[n-1], " # ") || (n > 1 && strings.HasPrefix(strings.TrimSpace(lines[n-2]), "# "))
}

// Tags are code: their numbers parse, their defaults decode, each key is explained.
func TestTags(t *testing.T) {
	d := newDocument("tags", nil)
	count := 0
	keyPaths(reflect.TypeFor[Config](), "", func(p string, sf reflect.StructField) {
		count++
		if doc := sf.Tag.Get("doc"); !strings.HasSuffix(doc, ".") && !strings.HasSuffix(doc, "...") || len(doc) < 5 {
			t.Errorf("%s: its explanation %q is no sentence", p, doc)
		}
		f := field{}
		for _, x := range infoOf(reflect.StructOf([]reflect.StructField{{Name: sf.Name, Type: sf.Type, Tag: sf.Tag}})).fields {
			f = x
		}
		if math.IsNaN(f.min) || math.IsNaN(f.max) {
			t.Errorf("%s: a bound is no number", p)
		}
		if f.hasDef {
			d.setDefault(reflect.New(sf.Type).Elem(), p, f)
		}
		if sf.Type.Kind() == reflect.Bool && f.required {
			t.Errorf("%s: a required bool", p)
		}
	})
	if len(d.problems) > 0 {
		t.Errorf("defaults:\n%v", d.sorted())
	}
	if count < 120 {
		t.Errorf("only %d keys were found", count)
	}
}

// docs/config.md is made of the tags.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.Write(read(t, "testdata/config.head.md"))
	type section struct {
		path string
		typ  reflect.Type
	}
	queue := []section{{"", reflect.TypeFor[Config]()}}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		title := "Top level"
		if s.path != "" {
			title = "`" + strings.ReplaceAll(s.path, "*", "NAME") + "`"
		}
		fmt.Fprintf(&b, "\n## %s\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n", title)
		var below []section
		for sf := range s.typ.Fields() {
			key := yamlKey(sf)
			if key == "" {
				continue
			}
			f := infoOf(s.typ).fields[key]
			p := strings.TrimPrefix(s.path+"."+key, ".")
			kind, inner, sub := valueWords(sf.Type, f)
			if inner != nil && !slices.Contains([]string{"credentials.policy", "defaults.quiet", "defaults.hooks"}, p) {
				below = append(below, section{p + sub, inner})
			}
			def := "-"
			switch {
			case f.required:
				def = "required"
			case f.hasDef:
				def = "`" + f.def + "`"
			}
			doc := strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(f.doc)
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", key, kind, def, doc)
		}
		queue = append(below, queue...)
	}
	golden(t, "../../docs/config.md", b.String())
	keyPaths(reflect.TypeFor[Config](), "", func(p string, _ reflect.StructField) {
		if key := p[strings.LastIndex(p, ".")+1:]; !strings.Contains(b.String(), "| `"+key+"` |") {
			t.Errorf("docs/config.md lacks %s", p)
		}
	})
}

// valueWords says what a key takes; inner is the struct below it, if any.
func valueWords(typ reflect.Type, f field) (words string, inner reflect.Type, sub string) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch typ {
	case reflect.TypeFor[Duration]():
		return "duration", nil, ""
	case reflect.TypeFor[Span]():
		return "duration or share", nil, ""
	case reflect.TypeFor[Share]():
		return "share", nil, ""
	case reflect.TypeFor[SecretRef]():
		return "secret reference", nil, ""
	case reflect.TypeFor[Path]():
		return "absolute path", nil, ""
	case reflect.TypeFor[URL](), reflect.TypeFor[ProxyURL]():
		return "address", nil, ""
	case reflect.TypeFor[FileMode]():
		return "octal mode", nil, ""
	case reflect.TypeFor[Name]():
		return "name", nil, ""
	case reflect.TypeFor[ItemID]():
		return "32 hex digits", nil, ""
	case reflect.TypeFor[When]():
		return "date or time", nil, ""
	case reflect.TypeFor[Referrers]():
		return "list of sites, or `any`", nil, ""
	case reflect.TypeFor[HookPoint]():
		return "point", nil, ""
	case reflect.TypeFor[Weekday]():
		return "day of the week", nil, ""
	case reflect.TypeFor[TimeOfDay]():
		return "time of day", nil, ""
	}
	if len(f.enum) > 0 {
		return "`" + strings.Join(f.enum, "`, `") + "`", nil, ""
	}
	switch typ.Kind() {
	case reflect.Struct:
		return "section", typ, ""
	case reflect.Map:
		return "sections by name", typ.Elem().Elem(), ".*"
	case reflect.Slice:
		w, in, _ := valueWords(typ.Elem(), field{})
		return "list of " + strings.Replace(w, "section", "sections", 1), in, "[]"
	case reflect.Bool:
		return "true or false", nil, ""
	case reflect.Int, reflect.Float64:
		return "number", nil, ""
	default:
		return "text", nil, ""
	}
}

// The library's own strict decoder agrees with ours about what is known.
func TestDecodesLikeTheLibrary(t *testing.T) {
	for _, file := range []string{example, "testdata/minimal.yaml"} {
		src := read(t, file)
		var theirs, ours Config
		if err := yaml.Load(src, &theirs, yaml.WithV4Defaults(), yaml.WithKnownFields()); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		d := newDocument(file, src)
		d.decode(d.load(), reflect.ValueOf(&ours).Elem(), "", field{})
		a, err := yaml.Dump(theirs)
		if err != nil {
			t.Fatal(err)
		}
		b, err := yaml.Dump(ours)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(a), string(b)); diff != "" {
			t.Errorf("%s (-library +ours):\n%s", file, diff)
		}
	}
}

func TestNearest(t *testing.T) {
	keys := []string{"overlap", "owner", "portal", "policy"}
	for word, want := range map[string]string{"overlp": "overlap", "ovrelap": "overlap", "ower": "owner", "polcy": "policy", "potral": "portal", "xyzzy": "", "": ""} {
		if got := nearest(word, keys); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
	if !slices.IsSorted([]int{editDistance("a", "a"), editDistance("ab", "ba"), editDistance("abc", "xyz")}) {
		t.Error("distances are out of order")
	}
}
