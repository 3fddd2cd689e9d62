package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a configuration, where it is and what cures it.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1
	Column  int    `json:"column"` // from 1, in characters
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Cure    string `json:"cure,omitempty"`
	Excerpt string `json:"excerpt,omitempty"` // three lines and a caret, secrets hidden
	// Warning: it may be right where the daemon runs, but cannot be seen from here.
	Warning bool `json:"warning,omitempty"`
	// Foreseen: it will do harm some day, and refusing to start today would do more.
	Foreseen bool `json:"foreseen,omitempty"`
}

// Error is the problem in one line: file:line:col: path: message.
func (p Problem) Error() string {
	head := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Warning {
		head += "warning: "
	}
	if p.Path != "" {
		head += p.Path + ": "
	}
	return head + p.Message
}

// Text is the problem with excerpt and cure, for people.
func (p Problem) Text() string {
	var b strings.Builder
	b.WriteString(p.Error() + "\n")
	b.WriteString(p.Excerpt)
	if p.Cure != "" {
		b.WriteString("  cure: " + p.Cure + "\n")
	}
	return b.String()
}

// Problems is every problem of a configuration in the order of the file. Its JSON
// form is an array.
type Problems []Problem

func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Text())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// mark is a place in the file; both count from 1.
type mark struct{ line, col int }

// add notes a problem. Excerpts are made at the end, when all that must be hidden
// is known.
func (d *document) add(at mark, path, cure, format string, args ...any) {
	at.line, at.col = max(at.line, 1), max(at.col, 1)
	d.problems = append(d.problems, Problem{File: d.name, Line: at.line, Column: at.col, Path: path,
		Message: secretForms.ReplaceAllString(fmt.Sprintf(format, args...), hiddenText), Cure: cure})
}

// sorted is all problems by place, each with its excerpt; the same mistake, met
// again through every credential that inherits it, stays one.
func (d *document) sorted() Problems {
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	ps := slices.CompactFunc(d.problems, func(a, b Problem) bool {
		return a.Line == b.Line && a.Column == b.Column && a.Path == b.Path && a.Message == b.Message
	})
	hidden := d.hiddenFrom()
	for i := range ps {
		ps[i].Excerpt = d.excerpt(mark{ps[i].Line, ps[i].Column}, hidden)
	}
	return ps
}

// excerpt is the line with its neighbours and a caret under the column.
func (d *document) excerpt(at mark, hidden map[int]int) string {
	var b strings.Builder
	width := len(fmt.Sprint(at.line + 1))
	for n := at.line - 1; n <= at.line+1; n++ {
		if n < 1 || n > len(d.lines) {
			continue
		}
		line := d.visible(n, hidden)
		fmt.Fprintf(&b, "  %*d | %s\n", width, n, line)
		if n == at.line {
			fmt.Fprintf(&b, "  %*s | %s^\n", width, "", indentTo([]rune(line), at.col))
		}
	}
	return b.String()
}

// indentTo is white space as wide as the characters before col; tabs stay tabs.
func indentTo(line []rune, col int) string {
	var b strings.Builder
	for i := range col - 1 {
		switch {
		case i >= len(line):
			return b.String()
		case line[i] == '\t':
			b.WriteByte('\t')
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// nearest is the candidate that differs least from s, or "" if none is near.
func nearest(s string, candidates []string) string {
	best, least := "", len(s)/3+2
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if n := editDistance(s, c); n < least {
			best, least = c, n
		}
	}
	return best
}

// editDistance counts single-character changes between two words, a swap of
// neighbours as one. Long words are not compared.
func editDistance(a, b string) int {
	const tooLong = 80
	if len(a) > tooLong || len(b) > tooLong {
		return tooLong
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
