package canary

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rotatord/internal/testkit"
)

// commandsOfThePage lists what docs/commands.md has, which is held to the program.
func commandsOfThePage(t *testing.T) (commands []string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "commands.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		rest, ok := strings.CutPrefix(line, "## `rotatord ")
		if !ok {
			continue
		}
		var words []string
		for word := range strings.FieldsSeq(strings.Trim(rest, "`\n")) {
			if word != strings.ToLower(word) || strings.ContainsAny(word, "[|-") && !strings.Contains(word, "-") {
				break
			}
			words = append(words, word)
		}
		commands = append(commands, strings.Join(words, " "))
	}
	if len(commands) < 20 {
		t.Fatalf("docs/commands.md has only %d commands", len(commands))
	}
	return commands
}
