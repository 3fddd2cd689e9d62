package slacktest

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Read is how blocks read on a screen, in plain text: dates in UTC, links as [text].
func Read(blocks []Block) string {
	var out []string
	for _, b := range blocks {
		switch b.Type {
		case "header":
			out = append(out, "# "+b.Text.Text)
		case "section":
			if b.Text != nil {
				out = append(out, show(b.Text.Text))
			}
			if len(b.Fields) > 0 {
				out = append(out, readFields(b.Fields))
			}
		case "context":
			for _, e := range b.Elements {
				text, err := e.String()
				if err != nil {
					text = err.Error()
				}
				out = append(out, "  "+show(text))
			}
		case "actions":
			out = append(out, readActions(b.Elements))
		case "input":
			out = append(out, b.Label.Text+": ______")
		}
	}
	return strings.Join(out, "\n\n") + "\n"
}

// readFields shows two columns, as Slack does.
func readFields(fields []Text) string {
	const column = 36
	var rows []string
	for i, f := range fields {
		cell := show(f.Text)
		if i%2 == 1 {
			last := rows[len(rows)-1]
			rows[len(rows)-1] = last + strings.Repeat(" ", max(column-len([]rune(last)), 2)) + cell
			continue
		}
		rows = append(rows, cell)
	}
	return strings.Join(rows, "\n")
}

func readActions(elements []Element) string {
	var out []string
	for _, e := range elements {
		text := "…"
		if e.Type == "button" {
			if t, err := e.String(); err == nil {
				text = t
			}
		} else if len(e.Options) > 0 {
			text = "⋯ " + e.Options[0].Text.Text
		}
		if e.Confirm != nil {
			text += " (asks: " + e.Confirm.Title.Text + " " + show(e.Confirm.Text.Text) + ")"
		}
		out = append(out, "["+text+"]")
	}
	return strings.Join(out, "\n")
}

var token = regexp.MustCompile(`<[^<>]*>`)

// show is marked-up text without its marks.
func show(text string) string {
	text = token.ReplaceAllStringFunc(text, func(c string) string {
		if m := dates.FindStringSubmatch(c); m != nil {
			seconds, err := strconv.ParseInt(m[1], 10, 64)
			if err == nil {
				return time.Unix(seconds, 0).UTC().Format("Jan 2 at 15:04")
			}
		}
		if m := links.FindStringSubmatch(c); m != nil {
			return "[" + m[2] + "]"
		}
		return c
	})
	text = strings.NewReplacer("```", "\n    ", "*", "", "`", "").Replace(text)
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(strings.TrimRight(text, " \n"))
}
