// Package grafana builds the dashboards in deploy/grafana, so that one query, colour or
// threshold is written once. It is no part of the daemon. "go test ./test/grafana -update"
// writes the files anew; the tests hold files and code equal, and run every query on a
// real Prometheus that scraped a real rotatord.
//
// The format is Grafana's classic one, schema version 42, which 10 to 12 show as it is
// and 13 migrates (grafana.com, JSON model). Only what rotatord's panels need is here.
package grafana

// Dashboard is one file.
type Dashboard struct {
	UID           string      `json:"uid"`
	Title         string      `json:"title"`
	Description   string      `json:"description"`
	Tags          []string    `json:"tags"`
	SchemaVersion int         `json:"schemaVersion"`
	Version       int         `json:"version"`
	Editable      bool        `json:"editable"`
	GraphTooltip  int         `json:"graphTooltip"` // 1: the cursor is shared by all panels
	Timezone      string      `json:"timezone"`
	Refresh       string      `json:"refresh"`
	Time          TimeRange   `json:"time"`
	Links         []Link      `json:"links"`
	Annotations   Annotations `json:"annotations"`
	Templating    Templating  `json:"templating"`
	Panels        []Panel     `json:"panels"`
}

// TimeRange in Grafana's words.
type TimeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Link of a dashboard: to another (by tag), or to an address.
type Link struct {
	Type        string   `json:"type"` // "dashboards" or "link"
	Title       string   `json:"title"`
	Tooltip     string   `json:"tooltip"`
	Icon        string   `json:"icon"`
	URL         string   `json:"url"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
	TargetBlank bool     `json:"targetBlank"`
}

// Source names a data source.
type Source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Annotations of a dashboard.
type Annotations struct {
	List []Annotation `json:"list"`
}

// Annotation marks moments in every panel over time.
type Annotation struct {
	Name            string `json:"name"`
	Datasource      Source `json:"datasource"`
	Enable          bool   `json:"enable"`
	Hide            bool   `json:"hide"`
	IconColor       string `json:"iconColor"`
	BuiltIn         int    `json:"builtIn,omitempty"`
	Type            string `json:"type,omitempty"`
	Expr            string `json:"expr,omitempty"`
	TitleFormat     string `json:"titleFormat,omitempty"`
	TextFormat      string `json:"textFormat,omitempty"`
	TagKeys         string `json:"tagKeys,omitempty"`
	UseValueForTime bool   `json:"useValueForTime,omitempty"` // the value is the moment, in milliseconds
}

// Templating holds the variables.
type Templating struct {
	List []Variable `json:"list"`
}

// Variable above the panels.
type Variable struct {
	Type        string  `json:"type"`
	Name        string  `json:"name"`
	Label       string  `json:"label"`
	Description string  `json:"description"`
	Hide        int     `json:"hide"` // 2: not shown
	Datasource  *Source `json:"datasource,omitempty"`
	Definition  string  `json:"definition,omitempty"`
	Query       any     `json:"query"`
	Refresh     int     `json:"refresh,omitempty"` // 2: whenever the time range changes
	Sort        int     `json:"sort,omitempty"`
	Multi       bool    `json:"multi"`
	IncludeAll  bool    `json:"includeAll"`
	AllValue    string  `json:"allValue,omitempty"`
	SkipURLSync bool    `json:"skipUrlSync"`
	Current     any     `json:"current"`
	Options     []any   `json:"options"`
}

// Panel of a dashboard. A row is one, too.
type Panel struct {
	ID              int            `json:"id"`
	Type            string         `json:"type"`
	Title           string         `json:"title"`
	Description     string         `json:"description,omitempty"`
	GridPos         Grid           `json:"gridPos"`
	Datasource      *Source        `json:"datasource,omitempty"`
	Interval        string         `json:"interval,omitempty"` // the least step
	Targets         []Target       `json:"targets,omitempty"`
	Transformations []Transform    `json:"transformations,omitempty"`
	FieldConfig     *FieldConfig   `json:"fieldConfig,omitempty"`
	Options         map[string]any `json:"options,omitempty"`
	Collapsed       bool           `json:"collapsed,omitempty"`
	Panels          []Panel        `json:"panels,omitzero"` // of a row: empty, since none is collapsed
}

// Grid has 24 columns.
type Grid struct {
	X int `json:"x"`
	Y int `json:"y"`
	W int `json:"w"`
	H int `json:"h"`
}

// Target is a query.
type Target struct {
	RefID        string `json:"refId"`
	Datasource   Source `json:"datasource"`
	EditorMode   string `json:"editorMode"`
	Expr         string `json:"expr"`
	LegendFormat string `json:"legendFormat,omitempty"`
	Format       string `json:"format"`
	Instant      bool   `json:"instant"`
	Range        bool   `json:"range"`
}

// Transform of what the queries returned.
type Transform struct {
	ID      string         `json:"id"`
	Options map[string]any `json:"options"`
}

// FieldConfig says how values look.
type FieldConfig struct {
	Defaults  Field      `json:"defaults"`
	Overrides []Override `json:"overrides"`
}

// Field is how one column or series looks.
type Field struct {
	Unit       string         `json:"unit,omitempty"`
	Decimals   *int           `json:"decimals,omitempty"`
	Min        *float64       `json:"min,omitempty"`
	Max        *float64       `json:"max,omitempty"`
	NoValue    string         `json:"noValue,omitempty"`
	Color      map[string]any `json:"color,omitempty"`
	Thresholds *Thresholds    `json:"thresholds,omitempty"`
	Mappings   []Mapping      `json:"mappings"`
	Custom     map[string]any `json:"custom,omitempty"`
}

// Thresholds colour values.
type Thresholds struct {
	Mode  string `json:"mode"`
	Steps []Step `json:"steps"`
}

// Step of thresholds: its colour counts from the value on, from minus infinity without one.
type Step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

// Mapping of values to words.
type Mapping struct {
	Type    string         `json:"type"`
	Options map[string]any `json:"options"`
}

// Override for some fields.
type Override struct {
	Matcher    Matcher    `json:"matcher"`
	Properties []Property `json:"properties"`
}

// Matcher picks fields by name.
type Matcher struct {
	ID      string `json:"id"`
	Options string `json:"options"`
}

// Property of a field that an override sets.
type Property struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}
