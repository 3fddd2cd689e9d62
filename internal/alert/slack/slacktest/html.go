package slacktest

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Style of HTML.
const Style = `h3{font-size:18px;margin:0 0 8px}p{margin:0 0 8px;white-space:pre-line;overflow-wrap:anywhere}
pre{background:#f6f6f6;border:1px solid #ddd;border-radius:4px;padding:8px;margin:4px 0 0;font:12.5px/1.4 "DejaVu Sans Mono",monospace;white-space:pre-wrap;overflow-wrap:anywhere}
code{background:#f6f6f6;border:1px solid #ddd;border-radius:3px;padding:0 3px;font:12.5px "DejaVu Sans Mono",monospace;color:#c01343}
.fields{display:grid;grid-template-columns:1fr 1fr;gap:2px 16px;margin:0 0 8px}.context{color:#616061;font-size:12.5px;margin:0}
a{color:#1264a3;text-decoration:none}.mention{background:#fdf0d5;color:#8a5a00;border-radius:3px;padding:0 2px}
.buttons{display:flex;flex-wrap:wrap;gap:8px;margin:4px 0 10px}.buttons span{border:1px solid #bbb;border-radius:4px;padding:3px 12px;font-weight:700;font-size:13.5px}
.asks{color:#616061;font-size:12.5px;margin:0 0 8px}.input{border:1px solid #bbb;border-radius:4px;padding:4px 8px;color:#999;margin:0 0 8px}
.phone{background:#2b2b30;color:#fff;border-radius:8px;padding:6px 10px;margin:0 0 10px;font-size:12.5px;overflow-wrap:anywhere}
.i{display:inline-block;width:.8em;height:.8em;border-radius:50%}.sq{border-radius:3px;color:#fff;background:#2eb67d;font-size:.75em;padding:0 4px;margin-right:2px}
`

// HTML is how a message looks in Slack, more or less: the line on a locked phone, and its
// blocks. Dates are shown in UTC; what a browser here may have no glyph for is drawn.
func HTML(text string, blocks []Block) string {
	var b strings.Builder
	if text != "" {
		b.WriteString(`<div class="phone">` + icons(html.EscapeString(mentions.ReplaceAllString(show(text), "@$1"))) + "</div>\n")
	}
	for _, one := range blocks {
		b.WriteString(block(one) + "\n")
	}
	return b.String()
}

func block(b Block) string {
	switch b.Type {
	case "header":
		return "<h3>" + icons(html.EscapeString(b.Text.Text)) + "</h3>"
	case "section":
		out := ""
		if b.Text != nil {
			out = "<p>" + marked(b.Text.Text) + "</p>"
		}
		if len(b.Fields) > 0 {
			out += `<div class="fields">`
			for _, f := range b.Fields {
				out += "<div>" + marked(f.Text) + "</div>"
			}
			out += "</div>"
		}
		return out
	case "context":
		var out strings.Builder
		for _, e := range b.Elements {
			text, err := e.String()
			if err != nil {
				text = err.Error()
			}
			out.WriteString(`<p class="context">` + marked(text) + "</p>")
		}
		return out.String()
	case "actions":
		return actions(b.Elements)
	case "input":
		return "<p><b>" + html.EscapeString(b.Label.Text) + `</b></p><div class="input">` + html.EscapeString(b.Element.Placeholder.Text) + "</div>"
	}
	return ""
}

func actions(elements []Element) string {
	out, asks := `<div class="buttons">`, ""
	for _, e := range elements {
		text := "⋯"
		if e.Type == "button" {
			if t, err := e.String(); err == nil {
				text = t
			}
		} else if len(e.Options) > 0 {
			text += " " + e.Options[0].Text.Text
		}
		out += "<span>" + html.EscapeString(text) + "</span>"
		if c := e.Confirm; c != nil {
			asks += `<p class="asks">` + html.EscapeString(text) + " asks: " + html.EscapeString(c.Title.Text) + " " + marked(c.Text.Text) + " [" + html.EscapeString(c.Confirm.Text) +
				"] [" + html.EscapeString(c.Deny.Text) + "]</p>"
		}
	}
	return out + "</div>" + asks
}

var (
	pre      = regexp.MustCompile("(?s)```(.*?)```")
	inline   = regexp.MustCompile("`([^`]+)`")
	bold     = regexp.MustCompile(`\*([^*\n]+)\*`)
	mentions = regexp.MustCompile(`<[!@]([^<>]*)>`)
	italic   = regexp.MustCompile(`(^|\s)_([^_\n]+)_`)
)

// marked-up text as HTML. Slack's own escapes are HTML's.
func marked(text string) string {
	var out strings.Builder
	last := 0
	for _, at := range pre.FindAllStringSubmatchIndex(text, -1) {
		out.WriteString(phrase(strings.TrimSuffix(text[last:at[0]], "\n")) + "<pre>" + strings.ReplaceAll(text[at[2]:at[3]], `"`, "&quot;") + "</pre>")
		last = at[1]
	}
	return out.String() + phrase(text[last:])
}

func phrase(text string) string {
	text = token.ReplaceAllStringFunc(text, func(c string) string {
		if m := dates.FindStringSubmatch(c); m != nil {
			if seconds, err := strconv.ParseInt(m[1], 10, 64); err == nil {
				return time.Unix(seconds, 0).UTC().Format("Jan 2 at 15:04")
			}
		}
		if m := links.FindStringSubmatch(c); m != nil {
			return `<a href="` + m[1] + `">` + m[2] + "</a>"
		}
		return `<span class="mention">@` + strings.Trim(c, "<>!@") + "</span>"
	})
	text = inline.ReplaceAllString(text, "<code>$1</code>")
	text = bold.ReplaceAllString(text, "<b>$1</b>")
	return icons(italic.ReplaceAllString(text, "$1<i>$2</i>"))
}

// icons are drawn: which font has them is the machine's affair.
func icons(text string) string {
	dot := func(colour string) string { return `<span class="i" style="background:` + colour + `"></span>` }
	word := func(w string) string { return `<span class="sq">` + w + "</span>" }
	return strings.NewReplacer("🔴", dot("#dd2e44"), "🟠", dot("#f4900c"), "🔵", dot("#55acee"), "✅", word("✓"), "👀", word("eyes"), "💤", word("zzz"),
		"🧪", word("test"), "🗒️", word("notes"), "⏸️", word("pause"), "▶️", word("play"), "🔄", word("again"), "🚨", word("siren")).Replace(text)
}
