package web

import (
	"html/template"
	"regexp"
	"strings"

	"rotatord/internal/rotate"
)

// entry explains one word: the cells of its row behind the word itself.
type entry []template.HTML

// dictionary is docs/protocol.md's tables by the head of their first column (phase,
// due, blocked, drift, event), then by word. The page is the one place where a word is
// explained; a word that it lacks is shown bare.
type dictionary map[string]map[string]entry

// readWords of the page's tables.
func readWords(page string) dictionary {
	all := dictionary{}
	table := ""
	for line := range strings.SplitSeq(page, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			table = ""
			continue
		}
		cells = cells[1 : len(cells)-1]
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		word := strings.Trim(cells[0], "`")
		switch {
		case table == "":
			table = word
			all[table] = map[string]entry{}
		case strings.HasPrefix(word, "---"):
		default:
			e := make(entry, len(cells)-1)
			for i, c := range cells[1:] {
				e[i] = inline(c)
			}
			all[table][word] = e
		}
	}
	return all
}

// explained is one word of one credential with what it means and what a person does.
type explained struct {
	Word    string
	Meaning template.HTML
	Do      template.HTML
}

// explain a word of a table for a credential; false if the page does not have it.
func (d dictionary) explain(table, word string, name rotate.Name) (explained, bool) {
	e := d[table][word]
	if len(e) < 2 {
		return explained{Word: word}, false
	}
	// The name is escaped before it takes the place of NAME.
	do := strings.ReplaceAll(string(e[1]), "NAME", template.HTMLEscapeString(string(name)))
	return explained{Word: word, Meaning: e[0], Do: template.HTML(do)}, true //nolint:gosec // escaped by inline and above
}

// ticks sets what a sentence has in back quotes as code, with the credential's name in
// the place of NAME. Everything is escaped first: the sentence may quote the portal.
func ticks(text string, name rotate.Name) template.HTML {
	parts := strings.Split(template.HTMLEscapeString(text), "`")
	if n := len(parts); n%2 == 0 { // the last one has no partner
		parts = append(parts[:n-2], parts[n-2]+"`"+parts[n-1])
	}
	for i := 1; i < len(parts)-1; i += 2 {
		parts[i] = `<code>` + strings.ReplaceAll(parts[i], "NAME", template.HTMLEscapeString(string(name))) + `</code>`
	}
	return template.HTML(strings.Join(parts, "")) //nolint:gosec // escaped above
}

// section is a part of a page under one heading.
type section struct {
	ID     string // as GitHub makes it, so that links to the file work here too
	Head   string
	Blocks []block
}

// block is a paragraph, a list or a piece of code.
type block struct {
	Text template.HTML   // of a paragraph
	List []template.HTML // of a list
	Code string
}

var notInID = regexp.MustCompile(`[^a-z0-9 _-]`)

// readPage turns the Markdown that our pages are written in into blocks: headings,
// paragraphs, lists, code (indented, fenced, and tables, which stay as they are).
func readPage(page string) []section {
	var out []section
	var p pageReader
	flush := func() {
		if b, ok := p.take(); ok && len(out) > 0 {
			out[len(out)-1].Blocks = append(out[len(out)-1].Blocks, b)
		}
	}
	for line := range strings.SplitSeq(page, "\n") {
		if head, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") && p.kind != fenced {
			flush()
			id := strings.ReplaceAll(notInID.ReplaceAllString(strings.ToLower(head), ""), " ", "-")
			out = append(out, section{ID: id, Head: head})
			continue
		}
		if p.ends(line) {
			flush()
		}
		p.add(line)
	}
	flush()
	return out
}

type blockKind int

const (
	nothing blockKind = iota
	paragraph
	list
	indented
	fenced
	table
)

// pageReader collects the lines of one block.
type pageReader struct {
	kind  blockKind
	lines []string
}

func kindOf(line string) blockKind {
	switch {
	case strings.TrimSpace(line) == "":
		return nothing
	case strings.HasPrefix(line, "```"):
		return fenced
	case strings.HasPrefix(line, "    "):
		return indented
	case strings.HasPrefix(line, "|"):
		return table
	case strings.HasPrefix(line, "- "):
		return list
	}
	return paragraph
}

// ends tells whether the line begins another block.
func (p *pageReader) ends(line string) bool {
	k := kindOf(line)
	switch p.kind {
	case fenced:
		return false // add ends it
	case list:
		return k == nothing || k == fenced || k == table
	case nothing, paragraph, indented, table:
		return k != p.kind
	}
	return true
}

func (p *pageReader) add(line string) {
	k := kindOf(line)
	if p.kind == nothing {
		p.kind = k
	}
	switch {
	case p.kind == nothing:
	case p.kind == fenced && k == fenced && len(p.lines) > 0:
		p.lines = append(p.lines, "")
		p.kind = indented // closed: what comes next ends it
	case p.kind == list && k != list && len(p.lines) > 0:
		p.lines[len(p.lines)-1] += " " + strings.TrimSpace(line)
	default:
		p.lines = append(p.lines, line)
	}
}

func (p *pageReader) take() (block, bool) {
	kind, lines := p.kind, p.lines
	*p = pageReader{}
	switch kind {
	case nothing:
		return block{}, false
	case paragraph:
		return block{Text: inline(strings.Join(lines, " "))}, true
	case list:
		var b block
		for _, l := range lines {
			b.List = append(b.List, inline(strings.TrimPrefix(l, "- ")))
		}
		return b, true
	case indented, fenced, table:
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], "    ")
		}
		if strings.HasPrefix(lines[0], "```") {
			lines = lines[1:]
		}
		return block{Code: strings.TrimRight(strings.Join(lines, "\n"), "\n")}, true
	}
	return block{}, false
}

var (
	boldForm = regexp.MustCompile(`\*\*([^*]+)\*\*`)
	emphForm = regexp.MustCompile(`\*([^*]+)\*`)
	linkForm = regexp.MustCompile(`\[([^\]]+)\]\(([^)\s]+)\)`)
)

// inline turns a line of our own pages into HTML. It is escaped first, so that nothing
// in it can be more than text, emphasis, code and links within the page.
func inline(text string) template.HTML {
	parts := strings.Split(template.HTMLEscapeString(text), "`")
	for i := range parts {
		if i%2 == 1 && i < len(parts)-1 {
			parts[i] = "<code>" + parts[i] + "</code>"
			continue
		}
		parts[i] = boldForm.ReplaceAllString(parts[i], "<strong>$1</strong>")
		parts[i] = emphForm.ReplaceAllString(parts[i], "<em>$1</em>")
	}
	out := linkForm.ReplaceAllStringFunc(strings.Join(parts, ""), func(m string) string {
		l := linkForm.FindStringSubmatch(m)
		if strings.HasPrefix(l[2], "#") {
			return `<a href="` + l[2] + `">` + l[1] + `</a>`
		}
		return l[1] // leads to a file that is not served here
	})
	return template.HTML(out) //nolint:gosec // escaped above
}
