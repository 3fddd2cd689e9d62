package web

import (
	"html"
	"regexp"
	"strings"
	"testing"

	"rotatord/docs"
	"rotatord/internal/rotate"
)

func TestEveryWordIsExplained(t *testing.T) {
	d := readWords(docs.Protocol)
	has := func(table, word string) {
		t.Helper()
		e, ok := d.explain(table, word, "web-map")
		if !ok || e.Meaning == "" || e.Do == "" || strings.Contains(string(e.Do), "NAME") {
			t.Errorf("%s %s: %+v", table, word, e)
		}
	}
	for _, w := range rotate.DueReasons() {
		has("due", string(w))
	}
	for _, w := range rotate.BlockReasons() {
		has("blocked", string(w))
	}
	for _, w := range rotate.Drifts() {
		has("drift", string(w))
	}
	for _, p := range rotate.Phases() {
		if len(d["phase"][string(p)]) == 0 {
			t.Errorf("phase %s is not explained", p)
		}
	}
	e, _ := d.explain("blocked", "quarantined", `<b>`)
	if want := `<code>rotatord resume &lt;b&gt;</code>`; !strings.Contains(string(e.Do), want) {
		t.Errorf("%s lacks %s", e.Do, want)
	}
	if _, ok := d.explain("blocked", "no-such-word", "x"); ok {
		t.Error("a word that is not there is explained")
	}
}

// TestRunbookIsWhole: every word of the page is in its HTML, once, and its anchors are
// those that GitHub makes, which alerts link to.
func TestRunbookIsWhole(t *testing.T) {
	var text strings.Builder
	ids := map[string]bool{}
	tags := regexp.MustCompile(`<[^>]+>`)
	for _, s := range readPage(docs.Runbook) {
		ids[s.ID] = true
		text.WriteString(s.Head + " ")
		for _, b := range s.Blocks {
			text.WriteString(html.UnescapeString(tags.ReplaceAllString(string(b.Text), "")) + " " + b.Code + " ")
			for _, l := range b.List {
				text.WriteString(html.UnescapeString(tags.ReplaceAllString(string(l), "")) + " ")
			}
		}
	}
	word := regexp.MustCompile(`[\pL\pN]+`)
	links := regexp.MustCompile(`\]\([^)]*\)`)
	got, want := word.FindAllString(text.String(), -1), word.FindAllString(links.ReplaceAllString(docs.Runbook, ""), -1)
	if len(want) < 500 {
		t.Fatalf("only %d words to look for", len(want))
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("word %d is %q, want %q (after %q)", i, got[min(i, len(got)-1)], want[i], want[max(0, i-6):i])
		}
	}
	for _, p := range problems() {
		if s := p.section(); s != "" && !ids[strings.ToLower(s)] {
			t.Errorf("no section for %s", p)
		}
	}
}

func TestTicks(t *testing.T) {
	for text, want := range map[string]string{
		"do `rotatord adopt NAME <x>` NAME": "do <code>rotatord adopt &lt;n&gt; &lt;x&gt;</code> NAME",
		"a ` b":                             "a ` b",
		"<b>`<i>`":                          "&lt;b&gt;<code>&lt;i&gt;</code>",
		"[a](#b) **c**":                     "[a](#b) **c**",
	} {
		if got := ticks(text, "<n>"); string(got) != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	page := "# Head one\n\nA *b* **c** `d <e>` [f](g.md) [h](#i) <script>\nsame paragraph\n\n    code  <x>\n    more\n\nlast\n- l1\n  goes on\n- l2 `x`\n\n```sh\nrm -rf\n\n# not a head\n```\n\n## Two, & three!\n| a | b |\n| - | - |\n"
	got := readPage(page)
	if len(got) != 2 || got[0].ID != "head-one" || got[1].ID != "two--three" {
		t.Fatalf("sections: %+v", got)
	}
	want := []block{
		{Text: `A <em>b</em> <strong>c</strong> <code>d &lt;e&gt;</code> f <a href="#i">h</a> &lt;script&gt; same paragraph`},
		{Code: "code  <x>\nmore"},
		{Text: "last"},
		{List: got[0].Blocks[3].List},
		{Code: "rm -rf\n\n# not a head"},
	}
	for i, b := range want {
		if g := got[0].Blocks[i]; g.Text != b.Text || g.Code != b.Code {
			t.Errorf("block %d: %+v, want %+v", i, g, b)
		}
	}
	if l := got[0].Blocks[3].List; len(l) != 2 || l[0] != "l1 goes on" || l[1] != "l2 <code>x</code>" {
		t.Errorf("list: %q", l)
	}
	if c := got[1].Blocks[0].Code; c != "| a | b |\n| - | - |" {
		t.Errorf("table: %q", c)
	}
}
