package grafana

import (
	"flag"
	"fmt"
	"html"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// No Grafana can be had here. With -look DIR the real run draws what the queries returned,
// roughly where the panels lie, for a person to look at: whether names read well, joins
// have all their columns, and values are in the right unit. It says nothing of how
// Grafana draws.
var lookDir = flag.String("look", "", "folder to draw the dashboards' data into, as HTML")

const grid = 60 // pixels

func (w *world) look(s *server, name string, c choice) {
	w.t.Helper()
	if *lookDir == "" {
		return
	}
	for _, d := range All() {
		var page strings.Builder
		fmt.Fprintf(&page, `<meta charset="utf-8"><title>%s</title><style>body{font:12px sans-serif;width:1440px;position:relative}
section{position:absolute;box-sizing:border-box;border:1px solid #bbb;overflow:hidden;padding:2px 4px}h2{font-size:12px;margin:0}h1{font-size:14px;margin:2px}
b{font-size:20px;display:block}table{border-collapse:collapse}td,th{border:1px solid #ddd;padding:0 4px;text-align:left}p{margin:0}i{display:inline-block;width:10px;height:10px}</style>`, d.Title)
		for _, p := range d.Panels {
			g := p.GridPos
			fmt.Fprintf(&page, `<section style="left:%dpx;top:%dpx;width:%dpx;height:%dpx">`, g.X*grid, g.Y*36, g.W*grid, g.H*36)
			if p.Type == "row" {
				fmt.Fprintf(&page, "<h1>%s</h1></section>\n", html.EscapeString(p.Title))
				continue
			}
			fmt.Fprintf(&page, "<h2>%s</h2>", html.EscapeString(p.Title))
			w.draw(&page, s, p, c)
			page.WriteString("</section>\n")
		}
		w.must(os.WriteFile(filepath.Join(*lookDir, name+"-"+d.UID+".html"), []byte(page.String()), 0o600))
	}
}

// result of one query of a panel.
type result struct {
	target  Target
	answers []answer
}

func (w *world) draw(page *strings.Builder, s *server, p Panel, c choice) {
	var all []result
	some := false
	for _, q := range p.Targets {
		got, err := s.ask(w.t.Context(), c.put(q.Expr), q.Instant)
		if err != nil {
			fmt.Fprintf(page, "<p>%s</p>", html.EscapeString(err.Error()))
		}
		all, some = append(all, result{q, got}), some || len(got) > 0
	}
	switch {
	case !some:
		fmt.Fprintf(page, "<p><em>%s</em></p>", html.EscapeString(p.FieldConfig.Defaults.NoValue))
	case p.Targets[0].Range:
		drawLines(page, p, all)
	case p.Targets[0].Format == "table":
		drawTable(page, p, all)
	default:
		for _, r := range all {
			for _, a := range r.answers {
				fmt.Fprintf(page, "<b>%s %s</b>", html.EscapeString(named(r.target.LegendFormat, a)), written(p.FieldConfig.Defaults.Unit, a.Value.value))
			}
		}
	}
}

func named(legend string, a answer) string {
	for label, value := range a.Metric {
		legend = strings.ReplaceAll(legend, "{{"+label+"}}", value)
	}
	return legend
}

// written value, near to what Grafana makes of the unit.
func written(unit string, v float64) string {
	switch {
	case unit == "s":
		return time.Duration(v * float64(time.Second)).Round(time.Millisecond).String()
	case unit == "percentunit":
		return fmt.Sprintf("%.0f %%", 100*v)
	case unit == "dateTimeAsIso", strings.HasPrefix(unit, "time:"):
		return time.UnixMilli(int64(v)).UTC().Format("2006-01-02 15:04:05")
	}
	return strconv.FormatFloat(v, 'g', 5, 64)
}

// drawTable merges the queries' rows by the labels that all of them have.
func drawTable(page *strings.Builder, p Panel, all []result) {
	var shared map[string]bool
	for _, r := range all {
		if len(r.answers) == 0 {
			continue
		}
		labels := map[string]bool{}
		for l := range r.answers[0].Metric {
			labels[l] = shared == nil || shared[l]
		}
		maps.DeleteFunc(labels, func(_ string, in bool) bool { return !in })
		shared = labels
	}
	rows := map[string]map[string]string{}
	for _, r := range all {
		for _, a := range r.answers {
			var key strings.Builder
			for _, l := range slices.Sorted(maps.Keys(shared)) {
				key.WriteString(a.Metric[l] + "\x00")
			}
			if rows[key.String()] == nil {
				rows[key.String()] = map[string]string{}
			}
			maps.Copy(rows[key.String()], a.Metric)
			rows[key.String()][valueOf(r.target.RefID)] = strconv.FormatFloat(a.Value.value, 'f', -1, 64)
		}
	}
	var names map[string]string
	var order map[string]int
	for _, tr := range p.Transformations {
		if tr.ID == "organize" {
			names, _ = tr.Options["renameByName"].(map[string]string)
			order, _ = tr.Options["indexByName"].(map[string]int)
		}
	}
	units := map[string]string{}
	for _, o := range p.FieldConfig.Overrides {
		for _, pr := range o.Properties {
			if pr.ID == "unit" {
				units[o.Matcher.Options], _ = pr.Value.(string)
			}
		}
	}
	fields := slices.SortedFunc(maps.Keys(names), func(a, b string) int { return order[a] - order[b] })
	fields = slices.DeleteFunc(fields, func(f string) bool { return f == "Value" })
	page.WriteString("<table><tr>")
	for _, f := range fields {
		fmt.Fprintf(page, "<th>%s", html.EscapeString(names[f]))
	}
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		page.WriteString("<tr>")
		for _, f := range fields {
			text := rows[key][f]
			if v, err := strconv.ParseFloat(text, 64); err == nil && units[names[f]] != "" {
				text = written(units[names[f]], v)
			}
			fmt.Fprintf(page, "<td>%s", html.EscapeString(text))
		}
	}
	page.WriteString("</table>")
}

func drawLines(page *strings.Builder, p Panel, all []result) {
	type line struct {
		name   string
		values []point
	}
	var drawn []line
	low, high, begin, end := 0.0, 0.0, 0.0, 0.0
	for _, r := range all {
		for _, a := range r.answers {
			drawn = append(drawn, line{named(r.target.LegendFormat, a), a.Values})
			for _, v := range a.Values {
				low, high, end = min(low, v.value), max(high, v.value), max(end, v.at)
			}
		}
	}
	begin = end - 120
	colours := []string{calm, warning, third, critical, fourth, other, notice, quiet, "#000", "#7A5195"}
	width, height := float64(p.GridPos.W*grid)*0.55, float64(p.GridPos.H*36-30)
	fmt.Fprintf(page, `<svg width="%.0f" height="%.0f" style="float:left;background:#f7f7f7">`, width, height)
	for i, l := range drawn {
		fmt.Fprintf(page, `<polyline fill="none" stroke-width="2" stroke="%s" points="`, colours[i%len(colours)])
		for _, v := range l.values {
			fmt.Fprintf(page, "%.1f,%.1f ", (v.at-begin)/120*width, height-2-(v.value-low)/max(high-low, 1e-9)*(height-4))
		}
		page.WriteString(`"/>`)
	}
	page.WriteString("</svg>")
	for i, l := range drawn {
		last := l.values[len(l.values)-1].value
		fmt.Fprintf(page, `<p><i style="background:%s"></i> %s: %s</p>`, colours[i%len(colours)], html.EscapeString(l.name), written(p.FieldConfig.Defaults.Unit, last))
	}
}
