package docs

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"rotatord/internal/testkit"
)

// TestSeeds holds docs/seeds.md to the program: every step of Esri's tutorials has a key of the
// config or a command with its flags, and a test that is there.
func TestSeeds(t *testing.T) {
	all := pages(t)
	commands := commandFlags(all["commands.md"])
	schema := schemaOf(t)
	row := regexp.MustCompile("^\\| (.+) \\| `([^`]+)` \\| `([^`]+)` `([^`]+)` \\|$")
	steps := map[string]int{}
	tutorial := ""
	for line := range strings.Lines(all["seeds.md"]) {
		line = strings.TrimRight(line, "\n")
		if title, ok := strings.CutPrefix(line, "## "); ok {
			tutorial = title
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| step of") {
			continue
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("a step without a key or command, or without a test: %s", line)
			continue
		}
		steps[tutorial]++
		if what := m[2]; strings.HasPrefix(what, "rotatord ") {
			checkCommand(t, commands, what)
		} else if !schema.has("credentials.*."+what) && !schema.has(what) {
			t.Errorf("%s: the config has no key %s", m[1], what)
		}
		if !hasTest(t, m[3], m[4]) {
			t.Errorf("%s: %s has no test %s", m[1], m[3], m[4])
		}
	}
	for title, least := range map[string]int{"Create an API key": 15, "Manage API key credentials": 10, "Rotate API keys": 5} {
		if steps[title] < least {
			t.Errorf("%q has %d steps, want %d at least", title, steps[title], least)
		}
	}
}

// commandFlags of docs/commands.md, which is made from the program.
func commandFlags(page string) map[string]string {
	out := map[string]string{}
	for _, section := range strings.Split(page, "\n## `rotatord ")[1:] {
		name, rest, _ := strings.Cut(section, "`")
		out[strings.Fields(name)[0]] += name + rest
	}
	return out
}

func checkCommand(t *testing.T, commands map[string]string, typed string) {
	t.Helper()
	words := strings.Fields(strings.TrimPrefix(typed, "rotatord "))
	text, ok := commands[words[0]]
	if !ok {
		t.Errorf("there is no command `%s`", typed)
		return
	}
	for _, flag := range words[1:] {
		if !strings.Contains(text, "`"+flag) {
			t.Errorf("`%s`: the command has no flag %s", typed, flag)
		}
	}
}

// schemaNode is as much of docs/config.schema.json as paths need.
type schemaNode struct {
	Ref        string                 `json:"$ref"`
	Properties map[string]*schemaNode `json:"properties"`
	Items      *schemaNode            `json:"items"`
	Additional json.RawMessage        `json:"additionalProperties"`
	OneOf      []*schemaNode          `json:"oneOf"`
	Defs       map[string]*schemaNode `json:"$defs"`
	root       *schemaNode
}

func schemaOf(t *testing.T) *schemaNode {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "config.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s schemaNode
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	s.root = &s
	return &s
}

// has a path of keys; * is any entry of a list or map.
func (s *schemaNode) has(path string) bool {
	n := s
	for key := range strings.SplitSeq(path, ".") {
		for n != nil && n.Ref != "" {
			n = s.root.Defs[strings.TrimPrefix(n.Ref, "#/$defs/")]
		}
		switch {
		case n == nil:
			return false
		case key == "*" && n.Items != nil:
			n = n.Items
		case key == "*":
			var each schemaNode
			if json.Unmarshal(n.Additional, &each) != nil { // false: no further keys
				return false
			}
			n = &each
		default:
			n = n.Properties[key]
		}
	}
	return n != nil
}

// hasTest looks for a test function of a package, and for the name of the part behind the slash in it.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testkit.Root(t), filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	function, part, _ := strings.Cut(name, "/")
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == function {
				return part == "" || runs(fn, part)
			}
		}
	}
	return false
}

// runs tells whether a function calls t.Run with a name.
func runs(fn *ast.FuncDecl, part string) bool {
	found := false
	ast.Inspect(fn, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 2 {
			return true
		}
		sel, isSel := call.Fun.(*ast.SelectorExpr)
		lit, isLit := call.Args[0].(*ast.BasicLit)
		if isSel && isLit && sel.Sel.Name == "Run" && lit.Value == strconv.Quote(part) {
			found = true
		}
		return true
	})
	return found
}

// The check finds what it is for.
func TestSeedsCheck(t *testing.T) {
	schema := schemaOf(t)
	for path, want := range map[string]bool{"credentials.*.create.use": true, "portals.*.identity": true, "vault": true,
		"credentials.*.create.colour": false, "portals.*.nothing": false, "sinks.*.file.path": true} {
		if schema.has(path) != want {
			t.Errorf("the config has %s: %t, want %t", path, !want, want)
		}
	}
	for name, want := range map[string]bool{"TestSeeds": true, "TestNothing": false, "TestSeeds/part": false} {
		if hasTest(t, "test/docs", name) != want {
			t.Errorf("%s is there: %t, want %t", name, !want, want)
		}
	}
	commands := commandFlags(pages(t)["commands.md"])
	if !strings.Contains(commands["apply"], "--dry-run") || commands["frobnicate"] != "" {
		t.Error("the commands are not read")
	}
}
