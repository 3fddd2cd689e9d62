package grafana

import "maps"

// Colours that people with any common colour blindness tell apart (Okabe and Ito; the red
// is Paul Tol's). They differ in lightness, too.
const (
	calm     = "#0072B2" // blue: as it should be
	notice   = "#F0E442" // yellow
	warning  = "#E69F00" // orange
	critical = "#CC3311" // red
	other    = "#56B4E9" // light blue
	third    = "#009E73" // bluish green
	fourth   = "#CC79A7" // purple
	quiet    = "#8E8E8E"
)

// blind is what a panel says that should never be empty.
const blind = "no data: is rotatord scraped, and are its rules loaded?"

func prometheus() Source { return Source{Type: "prometheus", UID: "${datasource}"} }

// board is a dashboard that is being filled, row by row.
type board struct {
	Dashboard
	x, y, high int
}

// row begins a new one, with a headline.
func (b *board) row(title string, panels ...Panel) {
	b.y, b.x, b.high = b.y+b.high, 0, 0
	b.put(Panel{Type: "row", Title: title, GridPos: Grid{W: 24, H: 1}, Panels: []Panel{}})
	for _, p := range panels {
		b.put(p)
	}
}

// put a panel right of the last one, or below where there is no room.
func (b *board) put(p Panel) {
	if b.x+p.GridPos.W > 24 {
		b.y, b.x, b.high = b.y+b.high, 0, 0
	}
	p.ID, p.GridPos.X, p.GridPos.Y = len(b.Panels)+1, b.x, b.y
	b.x += p.GridPos.W
	b.high = max(b.high, p.GridPos.H)
	b.Panels = append(b.Panels, p)
}

// setting changes a panel.
type setting func(*Panel)

func newPanel(kind, title, says string, w, h int, settings []setting) Panel {
	src := prometheus()
	p := Panel{Type: kind, Title: title, Description: says, GridPos: Grid{W: w, H: h}, Datasource: &src, Options: map[string]any{},
		FieldConfig: &FieldConfig{Defaults: Field{NoValue: blind, Mappings: []Mapping{}, Custom: map[string]any{}}, Overrides: []Override{}}}
	for _, s := range settings {
		s(&p)
	}
	if p.FieldConfig.Defaults.Unit == "" && kind != "table" && kind != "state-timeline" {
		p.FieldConfig.Defaults.Unit = "short" // a count
	}
	return p
}

// option of the panel's kind, unless it is set.
func (p *Panel) option(name string, value any) {
	if _, ok := p.Options[name]; !ok {
		p.Options[name] = value
	}
}

func (p *Panel) custom(name string, value any) {
	if _, ok := p.FieldConfig.Defaults.Custom[name]; !ok {
		p.FieldConfig.Defaults.Custom[name] = value
	}
}

func query(expr, legend string) setting {
	return func(p *Panel) {
		p.Targets = append(p.Targets, Target{RefID: refID(len(p.Targets)), Datasource: prometheus(), EditorMode: "code", Expr: expr,
			LegendFormat: legend, Format: "time_series", Range: true})
	}
}

// refID is A, B, C and so on.
func refID(i int) string { return string(rune('A' + i)) }

func unit(u string) setting { return func(p *Panel) { p.FieldConfig.Defaults.Unit = u } }

func decimals(n int) setting { return func(p *Panel) { p.FieldConfig.Defaults.Decimals = new(n) } }

func from(least float64) setting {
	return func(p *Panel) { p.FieldConfig.Defaults.Min = new(least) }
}

func upTo(most float64) setting {
	return func(p *Panel) { p.FieldConfig.Defaults.Max = new(most) }
}

// whenEmpty is what the panel says without data, where that is no fault.
func whenEmpty(text string) setting {
	return func(p *Panel) { p.FieldConfig.Defaults.NoValue = text }
}

// least step, for what changes slowly.
func least(interval string) setting { return func(p *Panel) { p.Interval = interval } }

// limits colours from a value on: limits(calm, 0.25, warning, 0.7, critical).
func limits(first string, more ...any) *Thresholds {
	t := &Thresholds{Mode: "absolute", Steps: []Step{{Color: first}}}
	for i := 0; i+1 < len(more); i += 2 {
		value, _ := more[i].(float64)
		color, _ := more[i+1].(string)
		t.Steps = append(t.Steps, Step{Color: color, Value: new(value)})
	}
	return t
}

// ofWindow are the limits of RotatordRotationOverdue and RotatordKeyExpiresUnrotated.
func ofWindow() *Thresholds {
	return limits(quiet, 0.0, calm, 0.25, warning, 0.7, critical)
}

func coloured(t *Thresholds) setting {
	return func(p *Panel) {
		p.FieldConfig.Defaults.Thresholds = t
		p.FieldConfig.Defaults.Color = map[string]any{"mode": "thresholds"}
	}
}

// words for values.
func words(texts map[string]string, colors map[string]string) setting {
	return func(p *Panel) { p.FieldConfig.Defaults.Mappings = []Mapping{mapping(texts, colors)} }
}

func mapping(texts, colors map[string]string) Mapping {
	m := Mapping{Type: "value", Options: map[string]any{}}
	for value, text := range texts {
		m.Options[value] = map[string]any{"text": text, "color": colors[value]}
	}
	return m
}

// paint gives a series of that name its colour.
func paint(name, color string) setting {
	return func(p *Panel) {
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{Matcher: Matcher{ID: "byName", Options: name},
			Properties: []Property{{ID: "color", Value: map[string]any{"mode": "fixed", "fixedColor": color}}}})
	}
}

// painted are the results that things have: "ok", or the kind of the error.
func painted(p *Panel) {
	for _, r := range []struct{ name, color string }{{"ok", calm}, {"transient", notice}, {"rate_limited", warning}, {"conflict", fourth},
		{"unknown_outcome", third}, {"auth", other}, {"veto", quiet}, {"permanent", critical}, {"failed", critical}, {"aborted", warning}} {
		paint(r.name, r.color)(p)
	}
}

// stat is one number, or one word.
func stat(title, says string, w int, settings ...setting) Panel {
	p := newPanel("stat", title, says, w, 4, settings)
	for i := range p.Targets {
		p.Targets[i].Instant, p.Targets[i].Range = true, false
	}
	if p.FieldConfig.Defaults.Thresholds == nil {
		coloured(limits(quiet))(&p)
	}
	p.option("colorMode", "background")
	p.option("graphMode", "none")
	p.option("justifyMode", "auto")
	p.option("textMode", "auto")
	p.option("reduceOptions", map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false})
	return p
}

// byName shows the legend and not the value, which is always 1.
func byName(p *Panel) { p.Options["textMode"] = "name" }

// over is a chart over time.
func over(title, says string, w int, settings ...setting) Panel {
	p := newPanel("timeseries", title, says, w, 8, settings)
	if p.FieldConfig.Defaults.Color == nil {
		p.FieldConfig.Defaults.Color = map[string]any{"mode": "palette-classic"}
	}
	p.custom("drawStyle", "line")
	p.custom("lineWidth", 2)
	p.custom("fillOpacity", 5)
	p.custom("showPoints", "auto")
	p.custom("spanNulls", false)
	p.option("legend", map[string]any{"displayMode": "table", "placement": "right", "showLegend": true, "calcs": []string{"lastNotNull", "max"}})
	p.option("tooltip", map[string]any{"mode": "multi", "sort": "desc"})
	return p
}

// stacked bars: of what is counted.
func stacked(p *Panel) {
	maps.Copy(p.FieldConfig.Defaults.Custom, map[string]any{"drawStyle": "bars", "fillOpacity": 80, "lineWidth": 0,
		"stacking": map[string]any{"mode": "normal", "group": "A"}})
}

// lines at the thresholds.
func lines(t *Thresholds) setting {
	return func(p *Panel) {
		p.FieldConfig.Defaults.Thresholds = t
		p.FieldConfig.Defaults.Custom["thresholdsStyle"] = map[string]any{"mode": "dashed"}
	}
}

// states over time, one line for each series.
func states(title, says string, w int, settings ...setting) Panel {
	p := newPanel("state-timeline", title, says, w, 8, settings)
	p.FieldConfig.Defaults.Color = map[string]any{"mode": "fixed", "fixedColor": quiet}
	p.custom("fillOpacity", 85)
	p.custom("lineWidth", 0)
	p.option("showValue", "auto")
	p.option("mergeValues", true)
	p.option("rowHeight", 0.85)
	p.option("legend", map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": false})
	p.option("tooltip", map[string]any{"mode": "single", "sort": "none"})
	return p
}

// ranked bars, the longest first: of the largest of many.
func ranked(title, says string, w int, settings ...setting) Panel {
	p := newPanel("bargauge", title, says, w, 10, settings)
	for i := range p.Targets {
		p.Targets[i].Instant, p.Targets[i].Range = true, false
	}
	if p.FieldConfig.Defaults.Thresholds == nil {
		coloured(limits(calm))(&p)
	}
	p.option("orientation", "horizontal")
	p.option("displayMode", "basic")
	p.option("valueMode", "text")
	p.option("showUnfilled", true)
	p.option("reduceOptions", map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false})
	return p
}
