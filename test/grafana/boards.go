package grafana

// The uids are part of every bookmark and link: they stay.
const (
	uidFleet      = "rotatord-fleet"
	uidCredential = "rotatord-credential"
	uidUsage      = "rotatord-usage"
	uidDaemon     = "rotatord-daemon"
)

// All dashboards.
func All() []Dashboard {
	return []Dashboard{fleetBoard(), credentialBoard(), usageBoard(), daemonBoard()}
}

// start a dashboard with what all of them have.
func start(uid, title, says, since string, variables ...Variable) *board {
	b := &board{Dashboard: Dashboard{UID: uid, Title: "rotatord / " + title, Description: says, Tags: []string{"rotatord"}, SchemaVersion: 42, Version: 1,
		Editable: true, GraphTooltip: 1, Timezone: "utc", Refresh: "1m", Time: TimeRange{From: since, To: "now"}}}
	b.Links = []Link{
		{Type: "dashboards", Title: "rotatord", Icon: "external link", Tags: []string{"rotatord"}, IncludeVars: true, KeepTime: true},
		{Type: "link", Title: "Status page", Icon: "external link", Tooltip: "What is wrong and what comes next, from rotatord itself", URL: "${status_url}/",
			Tags: []string{}, TargetBlank: true},
		{Type: "link", Title: "Runbook", Icon: "doc", Tooltip: "What to do for each alert", URL: "${status_url}/runbook", Tags: []string{}, TargetBlank: true},
	}
	b.Annotations.List = []Annotation{{Name: "Annotations & Alerts", Datasource: Source{Type: "grafana", UID: "-- Grafana --"}, Enable: true, Hide: true,
		IconColor: other, BuiltIn: 1, Type: "dashboard"}}
	b.Templating.List = append([]Variable{sources(), statusURL(), chooser("job", "Job", "Which rotatord, where there are several", "rotatord_build_info")}, variables...)
	return b
}

// sources is the choice of the Prometheus.
func sources() Variable {
	return Variable{Type: "datasource", Name: "datasource", Label: "Data source", Description: "The Prometheus that scrapes rotatord", Query: "prometheus",
		Refresh: 1, Current: map[string]any{}, Options: []any{}}
}

// statusURL is a constant and no text box: a text box takes its value from the address, so that
// anybody's link could lead on-call elsewhere.
func statusURL() Variable {
	const here = "http://127.0.0.1:9805"
	return Variable{Type: "constant", Name: "status_url", Label: "Status page", Description: "Where browsers reach rotatord's http.listen", Hide: 2, Query: here,
		SkipURLSync: true, Current: map[string]any{"text": here, "value": here}, Options: []any{}}
}

// chooser offers a label's values, several at once. All of them is ".*", which holds those
// without the label too and is short, however many there are.
func chooser(label, title, says, series string) Variable {
	src := prometheus()
	definition := "label_values(" + series + ", " + label + ")"
	return Variable{Type: "query", Name: label, Label: title, Description: says, Datasource: &src, Definition: definition,
		Query: map[string]any{"query": definition, "refId": label}, Refresh: 2, Sort: 1, Multi: true, IncludeAll: true, AllValue: ".*",
		Current: map[string]any{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}}, Options: []any{}}
}

const series = "rotatord_credential_info"

func choosePortal() Variable {
	return chooser("portal", "Portal", "Portals by their name in the config", "rotatord_credentials{"+job+"}")
}

func chooseEnvironment() Variable {
	return chooser("environment", "Environment", "The credentials' environment in the config", series+`{`+job+`,portal=~"$portal"}`)
}

func chooseOwner() Variable {
	return chooser("owner", "Owner", "The credentials' owner in the config", series+`{`+job+`,portal=~"$portal",environment=~"$environment"}`)
}

func chooseCredential() Variable {
	return chooser("credential", "Credential", "Credentials by their name in the config",
		series+`{`+job+`,portal=~"$portal",environment=~"$environment",owner=~"$owner"}`)
}

// oneCredential is a choice of one.
func oneCredential() Variable {
	v := chooseCredential()
	v.Multi, v.IncludeAll, v.AllValue, v.Current = false, false, "", map[string]any{}
	return v
}

// note marks moments in every panel over time.
func (b *board) note(a Annotation) {
	a.Datasource, a.Enable = prometheus(), true
	b.Annotations.List = append(b.Annotations.List, a)
}

// firing marks the time that rotatord's alerts fire.
func (b *board) firing(matchers string) {
	b.note(Annotation{Name: "Alerts", IconColor: critical, TitleFormat: "{{alertname}}", TextFormat: "{{severity}} {{portal}} {{credential}}", TagKeys: "severity",
		Expr: `ALERTS{` + job + matchers + `,alertname=~"Rotatord.+",alertstate="firing",severity=~"critical|warning"}`})
}
