package rotate

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func readDoc(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestProtocolPageHasEveryWord compares the first column of each table of
// docs/protocol.md with the closed set that it explains, in the set's order.
func TestProtocolPageHasEveryWord(t *testing.T) {
	sets := map[string][]string{"phase": words(Phases()), "due": words(DueReasons()), "blocked": words(BlockReasons()), "drift": words(Drifts()), "event": words(EventKinds())}
	row := regexp.MustCompile("^\\| `([a-z_]+)` \\|(.*)\\|$")
	got := map[string][]string{}
	table, columns := "", 0
	for i, line := range strings.Split(readDoc(t), "\n") {
		if !strings.HasPrefix(line, "|") {
			table = ""
			continue
		}
		if table == "" {
			table, columns = strings.TrimSpace(strings.Split(line, "|")[1]), strings.Count(line, "|")
			continue
		}
		if strings.HasPrefix(line, "| ---") {
			continue
		}
		m := row.FindStringSubmatch(line)
		if m == nil || strings.Count(line, "|") != columns {
			t.Errorf("line %d is no row of the table %s: %s", i+1, table, line)
			continue
		}
		for cell := range strings.SplitSeq(strings.TrimSuffix(m[2], "|"), "|") {
			if strings.TrimSpace(cell) == "" {
				t.Errorf("line %d has an empty cell: %s", i+1, line)
			}
		}
		got[table] = append(got[table], m[1])
	}
	if diff := cmp.Diff(sets, got); diff != "" {
		t.Errorf("words of the page (-code +page):\n%s", diff)
	}
}

func words[T ~string](list []T) []string {
	var all []string
	for _, w := range list {
		all = append(all, string(w))
	}
	return all
}

// TestProtocolPageCommands: every command that the page tells a person to give is
// one of Apply's, or one of the reading ones.
func TestProtocolPageCommands(t *testing.T) {
	known := map[string]bool{"status": true, "plan": true, "history": true, "check-config": true}
	for _, k := range []CommandKind{CommandHold, CommandResume, CommandRotate, CommandRollback, CommandRegenerate, CommandInvalidate, CommandAdopt, CommandConfirm, CommandCancel} {
		known[string(k)] = true
	}
	named := regexp.MustCompile("`rotatord ([a-z-]+)").FindAllStringSubmatch(readDoc(t), -1)
	if len(named) < 10 {
		t.Fatalf("the page names %d commands", len(named))
	}
	for _, m := range named {
		if !known[m[1]] {
			t.Errorf("the page tells people to run `rotatord %s`", m[1])
		}
	}
}

// TestPackageCommentNamesEveryPhase keeps the diagram of doc.go complete.
func TestPackageCommentNamesEveryPhase(t *testing.T) {
	b, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	_, after, ok := strings.Cut(text, "# After a crash")
	if !ok {
		t.Fatal("no section on crashes")
	}
	for _, p := range Phases() {
		if !strings.Contains(text, string(p)) {
			t.Errorf("the package comment does not name the phase %s", p)
		}
		if p != PhaseIdle && !regexp.MustCompile(fmt.Sprintf(`(?m)^//   - [a-z, ]*\b%s\b.*:`, p)).MatchString(after) {
			t.Errorf("the package comment does not say what happens after a crash in %s", p)
		}
	}
	for i := range 15 {
		if !strings.Contains(text, fmt.Sprintf("//  %d. ", i+1)) {
			t.Errorf("rule %d is not in the package comment", i+1)
		}
	}
}
