package grafana

// fleetBoard is for "is anything wrong, and what comes next?". It has no series of one
// credential over time, so that it opens with ten thousand as with ten.
func fleetBoard() Dashboard {
	b := start(uidFleet, "Fleet", "Every API key: what is wrong, what comes next, what expires in the coming 90 days, what failed.", "now-7d",
		choosePortal(), chooseEnvironment(), chooseOwner())
	b.firing("")
	b.note(Annotation{Name: "Rotations", IconColor: calm, TitleFormat: "Rotations: {{result}}", TextFormat: "{{reason}}", TagKeys: "result,reason",
		Expr: `sum by (result, reason) (increase(rotatord_rotations_total{` + job + `}[$__rate_interval])) > 0`})
	b.row("Now", fleetNow()...)
	b.row("What comes next", nextRotations(), renewalStages())
	b.row("Trouble", wantsAPerson(), alertsFiring())
	b.row("The coming 90 days", expiryTimeline(), heat())
	b.row("Failures", fleetFailures()...)
	return b.Dashboard
}

func fleetNow() []Panel {
	bad := func(color string) setting { return coloured(limits(calm, 1.0, color)) }
	refused := having("dead") + ` or (max by (` + each + `) (` + liveExpiry + `) < time())`
	return []Panel{
		stat("Credentials", "Configured credentials that the variables above leave.", 3, query("count("+chosen+")", ""), decimals(0)),
		stat("Refused", "The served key is dead or has expired: consumers are refused now. Open the runbook at RotatordKeyDead; rotatord plan NAME says what stops the replacement.", 3,
			query(howMany("("+refused+")"), ""), bad(critical), decimals(0)),
		stat("Expire unrotated", "Over seven tenths of the time between due and expiry have gone by without a new key. rotatord plan NAME says why.", 3,
			query(howMany(window+" > 0.7"), ""), bad(critical), decimals(0)),
		stat("Overdue", "Over a quarter of the time between due and expiry has gone by. A window, a freeze, a hold or a failure stands against it: rotatord plan NAME.", 3,
			query(howMany(window+" > 0.25"), ""), bad(warning), decimals(0)),
		stat("Want a person", "In drift, in quarantine, dead, without a free slot, or failing. They are listed below.", 3,
			query(howMany(having("drift|quarantine|dead|occupied|failing")), ""), bad(warning), decimals(0)),
		stat("Held", "Somebody, or the config, holds them: no rotation starts. rotatord resume NAME ends it.", 3, query(howMany(having("held")), ""), bad(notice), decimals(0)),
		stat("Rotating now", "Between claiming and the end of the overlap: both keys work.", 3,
			query(howMany(`max by (`+each+`) (rotatord_credential_phase{`+job+`,phase!="idle"}) == 1`), ""), decimals(0)),
		stat("First key to expire", "When the first served key ends. It has no colour: how near is too near depends on its policy, which Overdue judges.", 3,
			query("min("+only(liveExpiry+" - time()")+")", ""), unit("s"), decimals(1)),
	}
}

// nextRotations are the fifty that are due first, the overdue ones on top.
func nextRotations() Panel {
	picked := first(50, due+" - time()")
	return table("Next rotations", "The fifty that become due first; those with a negative time are overdue. Used is how much of the time between due and expiry has gone by: "+
		"a quarter warns, seven tenths is critical. Why not: the word that rotatord plan NAME explains.", 16, 11,
		[]column{toCredential(), {field: "owner", title: "Owner"}, {field: "environment", title: "Environment"}, {field: "portal", title: "Portal"},
			{field: "A", title: "Due in", unit: "s", decimals: 1, width: 110}, {field: "B", title: "Expires in", unit: "s", decimals: 1, width: 110},
			{field: "C", title: "Used", unit: "percentunit", width: 130, limits: ofWindow(), cell: "gauge", max: 1},
			{field: "blocked", title: "Why not"}},
		cells(whose(picked)),
		cells(ofThose(liveExpiry+" - time()", picked)),
		cells(ofThose("clamp_min("+window+", 0)", picked)),
		cells(ofThose(`max by (`+each+`, blocked) (rotatord_credential_plan_info{`+job+`})`, picked)),
		sorted("Due in", false), whenEmpty("nothing becomes due by the clock, or "+blind))
}

func renewalStages() Panel {
	return ranked("Keys by how late they are", "All of the portals, whatever owner and environment say. Late: over a quarter of the time between due and expiry has gone by; critical: over seven tenths. "+
		"Unknown: nobody knows when the key expires.", 8,
		query(`sum by (stage) (rotatord_credentials_renewal{`+job+`,portal=~"$portal"})`, "{{stage}}"), tall(11), decimals(0), from(0),
		paint("not_due", calm), paint("due", other), paint("late", warning), paint("critical", critical), paint("expired", critical), paint("unknown", quiet))
}

func tall(h int) setting { return func(p *Panel) { p.GridPos.H = h } }

func wantsAPerson() Panel {
	return table("What wants a person", "Conditions that want a person, for a hundred credentials at most. docs/metrics.md says what each means, docs/drift.md what to do in drift. The name leads to the credential.", 16, 9,
		[]column{toCredential(), {field: "condition", title: "Condition", width: 130}, {field: "owner", title: "Owner"}, {field: "environment", title: "Environment"},
			{field: "portal", title: "Portal"},
			{field: "status", title: "Status page", linkTitle: "Slots, phases and history on the status page",
				link: "${status_url}/credential?name=${__data.fields.Credential:percentencode}"}},
		cells(`label_replace(`+whose(`topk(100, `+only(`max by (`+each+`, condition) (rotatord_credential_attention{`+job+`}) == 1`)+`)`)+`, "status", "open", "", "")`),
		sorted("Condition", false), whenEmpty("nothing wants a person"))
}

func alertsFiring() Panel {
	return table("Alerts that fire", "Of deploy/prometheus/rotatord.rules.yml. The name leads to its section of the runbook.", 8, 9,
		[]column{{field: "alertname", title: "Alert", linkTitle: "What to do",
			link: "${status_url}/runbook#:~:text=${__data.fields.Alert:percentencode}"},
			{field: "severity", title: "Severity", width: 90, cell: "color-text", mapping: severities()},
			{field: "A", title: "How many", unit: "none", width: 90}},
		cells(`count by (alertname, severity) (ALERTS{`+job+`,alertname=~"Rotatord.+",alertstate="firing",severity=~"critical|warning|info"})`),
		sorted("Severity", false), whenEmpty("no alert fires"))
}

func severities() *Mapping {
	m := mapping(map[string]string{"critical": "critical", "warning": "warning", "info": "info"}, map[string]string{"critical": critical, "warning": warning, "info": other})
	return &m
}

// expiryTimeline has a bar for each week. The weeks are labels of the answer, in
// milliseconds, so that the chart can reach into the future, which no range query does.
func expiryTimeline() Panel {
	p := newPanel("barchart", "Keys that expire, and rotations that become due, by week",
		"Weeks begin on Monday, UTC. Served keys expire unless they are rotated before; what is overdue counts this week. A high bar is a storm: policy.spread spreads it.", 12, 11,
		[]setting{query(byWeek(liveExpiry), ""), query(byWeek("clamp_min("+due+", time() + 1)"), ""), decimals(0), from(0), paint("Keys expire", warning), paint("Rotations due", calm)})
	for i := range p.Targets {
		p.Targets[i].Instant, p.Targets[i].Range, p.Targets[i].Format = true, false, "table"
	}
	toType := func(kind string) Transform {
		return Transform{ID: "convertFieldType", Options: map[string]any{"fields": map[string]any{},
			"conversions": []map[string]any{{"targetField": "week", "destinationType": kind}}}}
	}
	p.Transformations = []Transform{{ID: "merge", Options: map[string]any{}}, toType("number"), toType("time"),
		{ID: "organize", Options: map[string]any{"excludeByName": map[string]bool{"Time": true}, "indexByName": map[string]int{"week": 0},
			"renameByName": map[string]string{"week": "Week of", valueOf("A"): "Keys expire", valueOf("B"): "Rotations due"}}},
		{ID: "sortBy", Options: map[string]any{"fields": map[string]any{}, "sort": []map[string]any{{"field": "Week of", "desc": false}}}}}
	p.FieldConfig.Defaults.Color = map[string]any{"mode": "palette-classic"}
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{Matcher: Matcher{ID: "byName", Options: "Week of"},
		Properties: []Property{{ID: "unit", Value: "time:D MMM"}}})
	p.option("xField", "Week of")
	p.option("xTickLabelRotation", -45)
	p.option("orientation", "vertical")
	p.option("showValue", "auto")
	p.option("groupWidth", 0.7)
	p.option("barWidth", 0.97)
	p.option("stacking", "none")
	p.option("legend", map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}})
	p.option("tooltip", map[string]any{"mode": "multi", "sort": "none"})
	return p
}

// heat is a calendar: a line for each week, a column for each day of it.
func heat() Panel {
	names := []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	columns := []column{{field: "week", title: "Week of", unit: "time:D MMM YYYY", width: 120}}
	none := mapping(map[string]string{"0": "·"}, map[string]string{"0": "transparent"})
	settings := []setting{}
	for d, name := range names {
		columns = append(columns, column{field: refID(d), title: name, unit: "none", cell: "color-background", mapping: &none,
			limits: limits("transparent", 1.0, other, 10.0, calm, 50.0, warning, 200.0, critical)})
		settings = append(settings, cells(onWeekday(d, liveExpiry)))
	}
	columns = append(columns, column{field: refID(weekdays), title: "Week", unit: "none", width: 80})
	settings = append(settings, cells(byWeek(liveExpiry)), sorted("Week of", false))
	p := table("Days on which keys expire", "How many served keys expire on which day, unless they are rotated before: 1, 10, 50 and 200 or more have colours of their own. "+
		"Whole fleets must not end on one day: policy.spread.", 12, 11, columns, settings...)
	toNumber := Transform{ID: "convertFieldType", Options: map[string]any{"fields": map[string]any{},
		"conversions": []map[string]any{{"targetField": "week", "destinationType": "number"}}}}
	p.Transformations = append([]Transform{p.Transformations[0], toNumber}, p.Transformations[1:]...)
	return p
}

func fleetFailures() []Panel {
	return []Panel{
		over("Rotations by result", "How rotations ended. aborted: given up before any sink served the new key; the old one is untouched. rotatord history NAME.", 12,
			query(`sum by (result) (increase(rotatord_rotations_total{`+job+`}[$__rate_interval]))`, "{{result}}"), stacked, painted, decimals(0), from(0)),
		over("What failed", "Effects that did not succeed, by effect and kind of error. transient and rate_limited end by themselves; for auth, permanent and veto ask rotatord history NAME.", 12,
			query(`sum by (effect, result) (increase(rotatord_effects_total{`+job+`,result!="ok"}[$__rate_interval])) > 0`, "{{effect}}: {{result}}"), stacked, from(0), decimals(0),
			whenEmpty("nothing failed in this time")),
		over("Credentials that want a person", "All of the portals, by condition, whatever owner and environment say. A condition that stays wants a person; see the list above.", 12,
			query(`sum by (condition) (rotatord_credentials_attention{`+job+`,portal=~"$portal"})`, "{{condition}}"), decimals(0), from(0)),
		over("Why nothing happens", "All of the portals, by the reason why a credential waits; not_due is left out, which is nearly all of them. In the words of rotatord plan.", 12,
			query(`sum by (reason) (rotatord_credentials_blocked{`+job+`,portal=~"$portal",reason!="not_due"}) > 0`, "{{reason}}"), decimals(0), from(0),
			whenEmpty("all credentials are simply not due")),
	}
}
