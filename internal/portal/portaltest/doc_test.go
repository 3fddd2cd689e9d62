package portaltest

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rotatord/internal/testkit"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/emulator.md")

// switchRows is the table of one group of switches as the page has it.
func switchRows(group []Switch) string {
	var b strings.Builder
	b.WriteString("| switch | values | meaning |\n| --- | --- | --- |\n")
	for _, s := range group {
		shown := "`" + strings.Join(s.Values, "`, `") + "`"
		if s.AnyDuration {
			shown += " or any duration"
		}
		b.WriteString("| `" + s.Name + "` | " + shown + " | " + s.Meaning + " |\n")
	}
	return b.String()
}

// between gives what stands between a marker and the next end marker.
func between(t *testing.T, page, marker string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "<!-- "+marker+" -->\n")
	body, _, closed := strings.Cut(rest, "<!-- end -->")
	if !ok || !closed {
		t.Fatalf("docs/emulator.md has no section %q", marker)
	}
	return body
}

func TestDocSwitches(t *testing.T) {
	path := filepath.Join(testkit.Root(t), "docs", "emulator.md")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	for marker, group := range map[string][]Switch{"contract switches": contractSwitches(), "further switches": furtherSwitches(), "admin switches": adminSwitches()} {
		got, want := between(t, page, marker), switchRows(group)
		if got == want {
			continue
		}
		if !*update {
			t.Errorf("docs/emulator.md, %s:\n%s\nwant:\n%s", marker, got, want)
		}
		page = strings.Replace(page, "<!-- "+marker+" -->\n"+got, "<!-- "+marker+" -->\n"+want, 1)
	}
	if *update {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The other tables are written by hand; each must name exactly what the code has.
func TestDocNames(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "emulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	var ops, kinds, products, endpoints, users []string
	for _, op := range Ops() {
		ops = append(ops, string(op))
	}
	for _, kind := range FaultKinds() {
		kinds = append(kinds, string(kind))
	}
	for _, p := range Products() {
		products = append(products, string(p))
	}
	for endpoint := range New(Options{}).controlTable() {
		endpoints = append(endpoints, endpoint)
	}
	for _, u := range standardUsers(Online) {
		users = append(users, u.Username)
	}
	for heading, want := range map[string][]string{"| operation |": ops, "| kind |": kinds, "| `Product` |": products,
		"| request |": endpoints, "| user |": users} {
		_, rest, ok := strings.Cut(string(raw), "\n"+heading)
		table, _, _ := strings.Cut(rest, "\n\n")
		var got []string
		for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
			got = append(got, m[1])
		}
		slices.Sort(got)
		slices.Sort(want)
		if !ok || !slices.Equal(got, want) {
			t.Errorf("docs/emulator.md, table %s: names %v, want %v", heading, got, want)
		}
	}
	if !strings.Contains(string(raw), StandardPassword) {
		t.Error("docs/emulator.md does not name the standard password")
	}
}
