package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rotatord/internal/testkit"
)

// fuzzed are the packages that read what others write: config, a portal's answers, keys,
// the journal and its exports, admin requests, what stands in sinks, calendars.
var fuzzed = []string{"internal/config", "internal/portal", "internal/rotate", "internal/journal", "internal/daemon", "internal/sinks", "internal/calendar"}

// What make fuzz-short runs is every fuzz target in the code, by the compiler's reading of
// it, and each has a corpus that go test runs too.
func TestEveryFuzzTargetRuns(t *testing.T) {
	root := testkit.Root(t)
	cmd := exec.Command(filepath.Join(root, "test/scripts/fuzz.sh"), "list")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("fuzz.sh list: %v", err)
	}
	var want []string
	for _, s := range sources(t) {
		if s.isTest() {
			for _, name := range fuzzTargets(t, filepath.Join(root, s.file)) {
				want = append(want, s.dir()+" "+name)
			}
		}
	}
	slices.Sort(want)
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("make fuzz-short runs\n%s\nand the code has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, pkg := range fuzzed {
		if !slices.ContainsFunc(want, func(s string) bool { return strings.HasPrefix(s, pkg+" ") }) {
			t.Errorf("%s reads what others write and has no fuzz target", pkg)
		}
	}
	for _, line := range want {
		dir, name, _ := strings.Cut(line, " ")
		if seeds, err := filepath.Glob(filepath.Join(root, dir, "testdata/fuzz", name, "*")); err != nil || len(seeds) == 0 {
			t.Errorf("%s has no corpus: run make fuzz-short, then test/scripts/corpus.sh", path.Join(dir, name))
		}
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil || !bytes.Contains(makefile, []byte("$(SCRIPTS)/fuzz.sh $(FUZZTIME)")) {
		t.Errorf("make fuzz-short does not run fuzz.sh (%v)", err)
	}
}

// fuzzTargets of a file: func FuzzX(f *testing.F).
func fuzzTargets(t *testing.T, file string) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
			names = append(names, fn.Name.Name)
		}
	}
	return names
}
