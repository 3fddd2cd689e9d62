package crashsweep

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rotatord/internal/rotate"
)

// TestEveryRowOfTheDriftPageIsATest holds docs/drift.md to this package and to the
// domain's words.
func TestEveryRowOfTheDriftPageIsATest(t *testing.T) {
	page, err := os.ReadFile("../../docs/drift.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(b)
	}
	named := regexp.MustCompile(`Test[A-Z]\w+`).FindAllString(string(page), -1)
	if len(named) < 25 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, n := range named {
		if !strings.Contains(code.String(), "func "+n+"(t *testing.T)") {
			t.Errorf("docs/drift.md names %s, which is no test", n)
		}
	}
	for _, d := range rotate.Drifts() {
		if d == rotate.DriftIdentity || d == rotate.DriftSinksDiffer || d == rotate.DriftKeyRefused || d == rotate.DriftKeyOther || d == rotate.DriftMalformed {
			continue // told in docs/protocol.md; they have no story of their own
		}
		if !strings.Contains(string(page), "`"+string(d)+"`") {
			t.Errorf("docs/drift.md does not tell of %s", d)
		}
	}
}
