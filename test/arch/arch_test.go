package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rotatord/internal/testkit"
)

const module = "rotatord"

// maxLines is the budget of a file. An exception names its reason.
const maxLines = 400

var longFiles = map[string]string{}

// layers names every folder that holds packages, with what its shipped files
// may import from this module. A folder covers those below it; the longest
// match counts. A package that is not here has no place in the design yet.
var layers = map[string][]string{
	"internal/rotate":            {},
	"internal/rotate/rotatetest": {"internal/rotate"},
	"internal/portal":            {"internal/rotate", "internal/portal"},
	"internal/sinks":             {"internal/rotate", "internal/sinks"},
	"internal/journal":           {"internal/rotate", "internal/journal"},
	"internal/usage":             {"internal/rotate", "internal/usage"},
	"internal/alert":             {"internal/rotate", "internal/alert"},
	"internal/alert/notifytest":  {"internal/rotate", "internal/alert", "internal/testkit"}, // for tests
	"internal/metrics":           {"internal/rotate", "internal/metrics"},
	"internal/web":               {"internal/rotate", "internal/web"},
	"internal/credspec":          {"internal/rotate", "internal/credspec"},
	"internal/settings":          {"internal/rotate", "internal/credspec", "internal/settings"},
	"internal/identity":          {"internal/rotate"},
	"internal/calendar":          {"internal/rotate", "internal/calendar"},
	"internal/quiet":             {"internal/rotate", "internal/quiet"},
	"internal/fleet":             {"internal/rotate", "internal/fleet"},
	"internal/simulate":          {"internal/rotate", "internal/fleet", "internal/simulate"},
	"internal/config":            {"internal/rotate", "internal/calendar", "internal/fleet", "internal/credspec", "internal/config"},
	"internal/daemon":            {"internal"},
	"internal/crashsweep":        {"internal"}, // tests only: engine, journal and emulator together
	"internal/bench":             {"internal"}, // tests only: what docs/performance.md claims
	"internal/testkit":           {"internal/testkit"},
	"docs":                       {}, // the pages that are built in
	"cmd":                        {"internal", "cmd", "docs"},
	"test":                       {"internal", "test"},
}

// testSupport may be imported by tests and by one another. The emulator is also
// a command that ships, so portaltest is not among them.
var testSupport = []string{"internal/testkit", "internal/rotate/rotatetest", "internal/web/webtest", "internal/alert/notifytest", "internal/alert/slack/slacktest"}

type source struct {
	file    string // slash path from the module's root
	imports []string
	lines   int
}

func (s source) dir() string  { return path.Dir(s.file) }
func (s source) isTest() bool { return strings.HasSuffix(s.file, "_test.go") }

func sources(t *testing.T) []source {
	t.Helper()
	root := testkit.Root(t)
	var all []source
	walk := func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (d.Name()[0] == '.' || hasModule(name) || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		s, err := read(root, name)
		all = append(all, s)
		return err
	}
	if err := filepath.WalkDir(root, walk); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no Go file found")
	}
	return all
}

// hasModule tells a nested module: the test's Vault and the tools are others' code.
func hasModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func read(root, name string) (source, error) {
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return source{}, err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return source{}, err
	}
	f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
	if err != nil {
		return source{}, err
	}
	s := source{file: filepath.ToSlash(rel), lines: strings.Count(string(text), "\n")}
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, err
		}
		s.imports = append(s.imports, p)
	}
	return s, nil
}

func TestImportsRunOneWay(t *testing.T) {
	for _, s := range sources(t) {
		layer, ok := layerOf(s.dir())
		if !ok {
			t.Errorf("%s: its folder is in no layer; add it to layers in test/arch", s.file)
			continue
		}
		if s.isTest() {
			continue
		}
		for _, imp := range s.imports {
			if why := forbidden(layer, imp); why != "" {
				t.Errorf("%s imports %s: %s", s.file, imp, why)
			}
		}
	}
}

func layerOf(dir string) (string, bool) {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, ok := layers[dir]; ok {
			return dir, true
		}
	}
	return "", false
}

// forbidden says why shipped code of a layer may not import a path, or "".
func forbidden(layer, imp string) string {
	own, ours := strings.CutPrefix(imp, module+"/")
	if !ours {
		domain := layer == "internal/rotate"
		if domain && strings.Contains(strings.Split(imp, "/")[0], ".") {
			return "the domain imports the standard library only"
		}
		return ""
	}
	support := func(dir string) bool { return slices.ContainsFunc(testSupport, under(dir)) }
	if support(own) && !support(layer) {
		return "test support is for tests"
	}
	if !slices.ContainsFunc(layers[layer], under(own)) {
		return "imports run cmd → daemon, config, adapters → rotate, and adapters never import one another"
	}
	return ""
}

// under tells whether dir is a given folder or lies below it.
func under(dir string) func(folder string) bool {
	return func(folder string) bool { return dir == folder || strings.HasPrefix(dir, folder+"/") }
}

func TestForbidden(t *testing.T) {
	for _, tc := range []struct {
		layer, imp string
		want       bool
	}{
		{"internal/rotate", "crypto/sha256", false},
		{"internal/rotate", "github.com/google/go-cmp/cmp", true},
		{"internal/rotate", "rotatord/internal/portal", true},
		{"internal/rotate", "rotatord/internal/rotate/rotatetest", true},
		{"internal/portal", "rotatord/internal/rotate", false},
		{"internal/portal", "rotatord/internal/portal/portaltest", false},
		{"internal/portal", "rotatord/internal/sinks", true},
		{"internal/alert", "rotatord/internal/alert/slack", false},
		{"internal/metrics", "rotatord/internal/config", true},
		{"internal/daemon", "rotatord/internal/sinks", false},
		{"internal/daemon", "rotatord/cmd/rotatord", true},
		{"internal/daemon", "rotatord/internal/testkit", true},
		{"internal/rotate/rotatetest", "rotatord/internal/rotate", false},
		{"cmd", "rotatord/internal/portal/portaltest", false},
		{"cmd", "rotatord/internal/testkit", true},
	} {
		if got := forbidden(tc.layer, tc.imp) != ""; got != tc.want {
			t.Errorf("%s importing %s: forbidden %v, want %v", tc.layer, tc.imp, got, tc.want)
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		_, excused := longFiles[s.file]
		seen[s.file] = true
		if s.lines > maxLines && !excused {
			t.Errorf("%s has %d lines, more than %d: split it, or give a reason in longFiles", s.file, s.lines, maxLines)
		}
		if s.lines <= maxLines && excused {
			t.Errorf("%s has %d lines: take it out of longFiles", s.file, s.lines)
		}
	}
	for file := range longFiles {
		if !seen[file] {
			t.Errorf("longFiles names %s, which is not there", file)
		}
	}
}
