// Package docs holds the pages to the program: what they tell people to type exists.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rotatord/internal/testkit"
)

func pages(t *testing.T) map[string]string {
	t.Helper()
	root := testkit.Root(t)
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range append(files, filepath.Join(root, "README.md")) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = string(b)
	}
	return out
}

// TestCommandsExist: docs/commands.md is made from the commands; every other page
// may name only what stands there.
func TestCommandsExist(t *testing.T) {
	all := pages(t)
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`rotatord ([a-z][a-z-]+)`).FindAllStringSubmatch(all["commands.md"], -1) {
		known[m[1]] = true
	}
	if len(known) < 20 {
		t.Fatalf("docs/commands.md names only %d commands", len(known))
	}
	// What a person is told to type stands in back quotes or behind a prompt.
	typed := regexp.MustCompile("(?:`|\\$ )rotatord ([a-z][a-z-]+)")
	seen := 0
	for page, text := range all {
		for _, m := range typed.FindAllStringSubmatch(text, -1) {
			if seen++; !known[m[1]] {
				t.Errorf("%s tells people to type `rotatord %s`, which is no command", page, m[1])
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d commands were found in the pages: the search is broken", seen)
	}
}

func TestMakeTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(testkit.Root(t), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for page, text := range pages(t) {
		for _, m := range regexp.MustCompile("(?:`|\\n    )make ([a-z][a-z-]+)").FindAllStringSubmatch(text, -1) {
			if seen++; !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s names `make %s`, which is no target", page, m[1])
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d make targets were found in the pages: the search is broken", seen)
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	root := testkit.Root(t)
	for page, text := range pages(t) {
		dir := filepath.Join(root, "docs")
		if page == "README.md" {
			dir = root
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(dir, m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			}
		}
	}
}
