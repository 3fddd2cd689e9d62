package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write golden files and docs/commands.md anew")

// binDir is where the real rotatord is built, by whoever needs it first.
var binDir string

var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binDir, "rotatord")
	cmd := exec.Command("go", "build", "-ldflags", "-X main.version=v0.0.0-test", "-o", path, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build rotatord: %w\n%s", err, out)
	}
	return path, nil
})

func buildBinary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rotatord-bin-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binDir = dir
	return m.Run()
}

func TestScripts(t *testing.T) {
	bin := buildBinary(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(bin)+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("NO_COLOR", "1")
			return setUpWorld(e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"eventually": eventually,
			"signal":     signalByFile,
			"json":       jsonField,
			"code":       exitCode,
		},
	})
}

// cliResult is what one invocation in this process gave.
type cliResult struct {
	code     int
	out, err string
}

// runCLI runs a command in this process, without terminal.
func runCLI(t testing.TB, args ...string) cliResult {
	t.Helper()
	var out, errOut bytes.Buffer
	code := run(t.Context(), args, stdio{in: bytes.NewReader(nil), out: &out, err: &errOut})
	return cliResult{code, out.String(), errOut.String()}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read golden file (make it with -update): %v", err)
	}
	if got != string(want) {
		t.Errorf("%s differs; look at it and run go test -update\ngot:\n%s\nwant:\n%s", name, got, want)
	}
}
