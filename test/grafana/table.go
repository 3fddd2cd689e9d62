package grafana

// column of a table, in the order of the table.
type column struct {
	// field is a label, or "A" for the value of query A.
	field, title string
	unit         string
	decimals     int
	width        int
	limits       *Thresholds
	cell         string // kind of cell: "" is text; color-background, gauge
	max          float64
	link         string
	linkTitle    string
	mapping      *Mapping
}

// valueOf is how Grafana calls the value of a query in a table.
func valueOf(ref string) string { return "Value #" + ref }

func isValue(field string) bool { return len(field) == 1 }

// table of instant queries that are joined on the labels they share. What is no column
// is not shown.
func table(title, says string, w, h int, columns []column, settings ...setting) Panel {
	p := newPanel("table", title, says, w, h, settings)
	for i := range p.Targets {
		p.Targets[i].Instant, p.Targets[i].Range, p.Targets[i].Format = true, false, "table"
	}
	names, order := map[string]string{}, map[string]int{}
	for i, c := range columns {
		field := c.field
		if isValue(field) {
			field = valueOf(field)
		}
		names[field], order[field] = c.title, i
		if c.field == "A" { // its name where it is the only query, or the only one with an answer
			names["Value"], order["Value"] = c.title, i
		}
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, c.override())
	}
	p.Transformations = append(p.Transformations, Transform{ID: "merge", Options: map[string]any{}},
		Transform{ID: "organize", Options: map[string]any{"excludeByName": hidden(columns, len(p.Targets)), "indexByName": order, "renameByName": names}})
	p.option("showHeader", true)
	p.option("cellHeight", "sm")
	p.option("footer", map[string]any{"show": false, "reducer": []string{"sum"}, "countRows": false, "fields": ""})
	p.custom("align", "auto")
	p.custom("filterable", true)
	p.custom("cellOptions", map[string]any{"type": "auto"})
	return p
}

// hidden are the fields that the queries return and the table does not show.
func hidden(columns []column, queries int) map[string]bool {
	out := map[string]bool{"Value": true}
	for _, f := range []string{"Time", "__name__", "job", "instance", "credential", "portal", "environment", "owner"} {
		out[f] = true
	}
	for i := range queries {
		out[valueOf(refID(i))] = true
	}
	for _, c := range columns {
		switch {
		case c.field == "A":
			delete(out, "Value")
			delete(out, valueOf("A"))
		case isValue(c.field):
			delete(out, valueOf(c.field))
		default:
			delete(out, c.field)
		}
	}
	return out
}

func (c column) override() Override {
	o := Override{Matcher: Matcher{ID: "byName", Options: c.title}}
	set := func(id string, value any) { o.Properties = append(o.Properties, Property{ID: id, Value: value}) }
	if c.unit != "" {
		set("unit", c.unit)
		set("decimals", c.decimals)
	}
	if c.width > 0 {
		set("custom.width", c.width)
	}
	if c.limits != nil {
		set("thresholds", c.limits)
		set("color", map[string]any{"mode": "thresholds"})
	}
	if c.max > 0 {
		set("min", 0)
		set("max", c.max)
	}
	switch c.cell {
	case "":
	case "gauge":
		set("custom.cellOptions", map[string]any{"type": "gauge", "mode": "basic", "valueDisplayMode": "text"})
	default:
		set("custom.cellOptions", map[string]any{"type": c.cell, "mode": "basic"})
	}
	if c.mapping != nil {
		set("mappings", []Mapping{*c.mapping})
	}
	if c.link != "" {
		set("links", []map[string]any{{"title": c.linkTitle, "url": c.link, "targetBlank": false}})
	}
	return o
}

// sorted by a column when it is opened.
func sorted(title string, desc bool) setting {
	return func(p *Panel) { p.Options["sortBy"] = []map[string]any{{"displayName": title, "desc": desc}} }
}

// toCredential is the column with a credential's name, which leads to its own dashboard.
func toCredential() column {
	return column{field: "credential", title: "Credential", linkTitle: "This credential",
		link: "/d/" + uidCredential + "?var-datasource=${datasource}&var-credential=${__data.fields.Credential:percentencode}&${__url_time_range}"}
}

// cells is a query of a table.
func cells(expr string) setting { return query(expr, "") }
