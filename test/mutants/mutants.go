// Command mutants plants one bug for each rule and invariant of the protocol, one
// at a time, and runs the tests that must notice. It prints a line a bug, and fails
// if one survives. The tree is not touched: the bugs live in a build overlay.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// mutant is one bug: old is replaced by new, exactly once.
type mutant struct {
	rule     string
	what     string
	file     string
	old, new string
}

func main() {
	if err := run(context.Background(), os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, only []string) error {
	survived, n := 0, 0
	for _, m := range mutants() {
		if len(only) > 0 && !slices.Contains(only, m.rule) {
			continue
		}
		n++
		caught, by, took, err := m.try(ctx)
		if err != nil {
			return fmt.Errorf("%s (%s): %w", m.rule, m.what, err)
		}
		verdict := "caught by " + by
		if !caught {
			verdict = "SURVIVED"
			survived++
		}
		_, _ = fmt.Fprintf(out, "%-12s %-72s %s (%s)\n", m.rule, m.what, verdict, took.Round(time.Second))
	}
	_, _ = fmt.Fprintf(out, "mutants: %d, survived: %d\n", n, survived)
	if survived > 0 {
		return fmt.Errorf("%d planted bugs were not noticed", survived)
	}
	return nil
}

// try builds with the bug and runs the tests until one fails.
func (m mutant) try(ctx context.Context) (caught bool, by string, took time.Duration, err error) {
	start := time.Now()
	overlay, err := m.overlay()
	if err != nil {
		return false, "", 0, err
	}
	defer func() { _ = os.RemoveAll(filepath.Dir(overlay)) }()
	var out []byte
	for _, suite := range suites() {
		args := append([]string{"test", "-failfast", "-overlay", overlay}, suite...)
		out, err = exec.CommandContext(ctx, "go", args...).CombinedOutput()
		if err != nil {
			break
		}
	}
	took = time.Since(start)
	if err == nil {
		return false, "", took, nil
	}
	if strings.Contains(string(out), "[build failed]") || strings.Contains(string(out), "[setup failed]") {
		return false, "", took, fmt.Errorf("the bug does not compile: %.400s", out)
	}
	return true, firstFailure(string(out)), took, nil
}

// suites are what must notice a bug, the quick ones first.
func suites() [][]string {
	slow := "TestSweep|TestSwitchesPairwise"
	return [][]string{
		{"./internal/rotate/"},
		{"-skip", slow, "./internal/crashsweep/"},
		{"-short", "-run", slow, "./internal/crashsweep/"},
	}
}

func firstFailure(out string) string {
	best := "a failure outside of a test"
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			best, _, _ = strings.Cut(name, " ")
			if strings.Contains(best, "/") {
				return best
			}
		}
	}
	return best
}

// overlay writes the changed file and the JSON that tells the compiler of it.
func (m mutant) overlay() (string, error) {
	src, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	if c := strings.Count(string(src), m.old); c != 1 {
		return "", fmt.Errorf("%s holds the text to change %d times, want once: %q", m.file, c, m.old)
	}
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return "", err
	}
	changed := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(changed, []byte(strings.Replace(string(src), m.old, m.new, 1)), 0o600); err != nil {
		return "", err
	}
	abs, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	spec, err := json.Marshal(map[string]map[string]string{"Replace": {abs: changed}})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, spec, 0o600)
}
