package main

import (
	"os"
	"strings"
	"testing"
)

// TestEveryBugCanStillBePlanted: the text that a mutant changes is there, once.
func TestEveryBugCanStillBePlanted(t *testing.T) {
	t.Chdir("../..")
	rules := map[string]bool{}
	for _, m := range mutants() {
		rules[m.rule] = true
		src, err := os.ReadFile(m.file)
		if err != nil {
			t.Fatal(err)
		}
		if c := strings.Count(string(src), m.old); c != 1 || m.old == m.new {
			t.Errorf("%s (%s): the text to change is in %s %d times, want once", m.rule, m.what, m.file, c)
		}
	}
	for r := range strings.FieldsSeq("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15") {
		if !rules["rule "+r] {
			t.Errorf("no bug is planted for rule %s", r)
		}
	}
}
