package grafana

// usageBoard is for "what are the keys used for, and what does it cost?". Its figures change
// once a day and lag by hours; its steps are long.
func usageBoard() Dashboard {
	b := start(uidUsage, "Usage and cost", "Requests and credits by credential and service; budgets, spikes, silence. Read from the portal, or imported.", "now-30d",
		choosePortal(), chooseEnvironment(), chooseOwner(), chooseCredential())
	b.note(Annotation{Name: "Alerts", IconColor: critical, TitleFormat: "{{alertname}}", TextFormat: "{{severity}} {{credential}}", TagKeys: "severity",
		Expr: `ALERTS{` + job + `,alertname=~"RotatordUsage.+|RotatordBudget.+|RotatordCutOff",alertstate="firing"}`})
	b.row("Now", usageNow()...)
	b.row("By service", usageByService()...)
	b.row("The largest", usageLargest()...)
	b.row("Budgets and what stands out", usageBudgets()...)
	b.row("Where the figures come from", usageFigures()...)
	return b.Dashboard
}

// picked are the credentials that all the variables leave.
const picked = `credential:rotatord:info{job=~"$job",portal=~"$portal",environment=~"$environment",owner=~"$owner",credential=~"$credential"}`

const pickedName = job + `,credential=~"$credential"`

func ofPicked(expr string) string { return expr + " and on (" + each + ") " + picked }

func withOwner(expr string) string {
	return "(" + expr + ") * on (" + each + ") group_left (portal, environment, owner) " + picked
}

func usageNow() []Panel {
	none := "no figures are known; see Where the figures come from"
	sum := func(metric string) string {
		return "sum(" + ofPicked("sum by ("+each+") ("+metric+"{"+pickedName+"})") + ")"
	}
	count := func(expr string) string { return "count(" + ofPicked(expr) + ") or 0 * count(" + picked + ")" }
	attention := `max by (` + each + `) (rotatord_usage_attention{` + pickedName + `}) == 1`
	return []Panel{
		stat("Requests, last full day", "Of all the chosen credentials together. A day is full six hours after its end, UTC.", 4, query(sum("rotatord_usage_day_requests"), ""), unit("short"), whenEmpty(none)),
		stat("Credits, last full day", "Of all the chosen credentials together.", 4, query(sum("rotatord_usage_day_credits"), ""), unit("short"), decimals(1), whenEmpty(none)),
		stat("Credits, this month", "Of all the chosen credentials together, from the first of the month, UTC.", 4, query(sum("rotatord_usage_month_credits"), ""), unit("short"), decimals(1), whenEmpty(none)),
		stat("Budgets spent", "Credentials that have used all of a day's or month's credits. rotatord usage NAME shows what used them.", 4,
			query(count(`max by (`+each+`) (rotatord_usage_budget_used_ratio{`+pickedName+`}) >= 1`), ""), decimals(0), coloured(limits(calm, 1.0, critical))),
		stat("Stand out", "Credentials with a spike or a silence on the last full day. They are listed below.", 4, query(count(attention), ""), decimals(0), coloured(limits(calm, 1.0, warning))),
		stat("Without figures", "Credentials whose use is not known. Why, and what to do about it, is at the bottom.", 4,
			query(count(`max by (`+each+`) (rotatord_usage_info{`+pickedName+`,missing!=""})`), ""), decimals(0)),
	}
}

// usageByService has one step a day, of what rules recorded: to join every credential with what
// it is took up to a second a step for ten thousand of them. So the choice of single ones does
// not count; each one's own is on its dashboard.
func usageByService() []Panel {
	none := whenEmpty("no full day was known at any midnight of this time; see Where the figures come from")
	by := func(metric string) setting {
		return query("topk(12, sum by (service) (last_over_time("+metric+"{"+job+`,portal=~"$portal",environment=~"$environment",owner=~"$owner"}[30m])))`, "{{service}}")
	}
	return []Panel{
		over("Requests a day", "By service: what was the last full day at each midnight, UTC, so that a bar stands a day or two after its day. Figures come hours late. The choice of credentials does not count here: one's own is on its dashboard.", 12, by("service:rotatord_usage_day_requests:sum"), unit("short"), from(0), least("1d"), stacked, none),
		over("Credits a day", "By service, as Requests a day.", 12, by("service:rotatord_usage_day_credits:sum"), unit("short"), from(0), least("1d"), stacked, none),
	}
}

func usageLargest() []Panel {
	top := func(metric string) string {
		return "topk(15, " + ofPicked("sum by ("+each+") ("+metric+"{"+pickedName+"})") + ") > 0"
	}
	none := whenEmpty("nothing was used, or no figures are known")
	busiest := "topk(50, " + ofPicked("sum by ("+each+") (rotatord_usage_day_requests{"+pickedName+"})") + ")"
	beside := func(metric string) setting {
		return cells(ofThose("sum by ("+each+") ("+metric+"{"+pickedName+"})", busiest))
	}
	return []Panel{
		ranked("Credits this month", "The fifteen that cost most since the first of the month, UTC.", 8, query(top("rotatord_usage_month_credits"), "{{credential}}"), unit("short"), decimals(1), none),
		table("Busiest credentials", "The fifty with the most requests on the last full day, beside the median of their 28 days before. What one was used for: rotatord usage NAME.", 16, 10,
			[]column{toCredential(), {field: "owner", title: "Owner"}, {field: "environment", title: "Environment"}, {field: "portal", title: "Portal"},
				{field: "A", title: "Requests", unit: "short", width: 90}, {field: "B", title: "Median", unit: "short", width: 90},
				{field: "C", title: "Today so far", unit: "short", width: 100},
				{field: "D", title: "Credits", unit: "short", decimals: 1, width: 90}, {field: "E", title: "Median credits", unit: "short", decimals: 1, width: 110},
				{field: "F", title: "Credits this month", unit: "short", decimals: 1, width: 130}},
			cells(withOwner(busiest)), beside("rotatord_usage_median_requests"), beside("rotatord_usage_today_requests"),
			beside("rotatord_usage_day_credits"), beside("rotatord_usage_median_credits"), beside("rotatord_usage_month_credits"), sorted("Requests", true), none),
	}
}

func usageBudgets() []Panel {
	fullest := "topk(50, " + ofPicked("max by ("+each+", period) (rotatord_usage_budget_used_ratio{"+pickedName+"})") + ")"
	beside := func(metric string) setting {
		return cells("max by (" + each + ", period) (" + metric + "{" + pickedName + "}) and on (" + each + ", period) " + fullest)
	}
	return []Panel{
		table("Budgets", "The fifty that are fullest. Told: the highest of warn_at that it has reached. At 100 % a key is taken away only where the config says cut_off.", 12, 9,
			[]column{toCredential(), {field: "owner", title: "Owner"}, {field: "period", title: "Of the", width: 70},
				{field: "A", title: "Used", unit: "percentunit", width: 150, limits: limits(calm, 0.8, warning, 1.0, critical), cell: "gauge", max: 1},
				{field: "B", title: "Budget", unit: "short", width: 90}, {field: "C", title: "Told", unit: "percentunit", width: 80}},
			cells(withOwner(fullest)), beside("rotatord_usage_budget_credits"), beside("rotatord_usage_budget_level_ratio"), sorted("Used", true),
			whenEmpty("no credential has a budget")),
		table("Spikes and silences", "spike: far above its own history; a leaked key looks like this. silence: a busy key that nobody used; its consumers may be broken. RotatordUsageSpike and RotatordUsageSilence in the runbook.", 6, 9,
			[]column{toCredential(), {field: "condition", title: "What", width: 90}, {field: "owner", title: "Owner"}},
			cells(withOwner("topk(50, "+ofPicked("max by ("+each+", condition) (rotatord_usage_attention{"+pickedName+"}) == 1")+")")), whenEmpty("nothing stands out")),
		table("Cut off by a budget", "Their keys are or will be invalidated: RotatordCutOff in the runbook says how to give them back. lifted: a person did.", 6, 9,
			[]column{toCredential(), {field: "stage", title: "Stage", width: 100}, {field: "owner", title: "Owner"}},
			cells(withOwner("max by ("+each+", stage) (rotatord_usage_cut_off{"+pickedName+"})")), whenEmpty("no budget has cut anybody off")),
	}
}

func usageFigures() []Panel {
	info := "max by (" + each + ", source, missing) (rotatord_usage_info{" + pickedName + "})"
	oldest := "bottomk(20, " + ofPicked("max by ("+each+") (rotatord_usage_data_until_timestamp_seconds{"+pickedName+"})") + ")"
	return []Panel{
		table("Sources", "portal: read on schedules.usage. file: rotatord usage import. Without figures the reason is given: location_platform and enterprise tell nothing, forbidden wants a right at the portal, "+
			"off is the config's word. docs/usage.md.", 8, 9,
			[]column{{field: "source", title: "From"}, {field: "missing", title: "None because"}, {field: "A", title: "Credentials", unit: "none", width: 110}},
			cells("count by (source, missing) ("+ofPicked(info)+")")),
		table("Oldest figures", "How far the figures reach, of the twenty that are furthest behind, and which day was the last full one. The portal itself is hours late.", 8, 9,
			[]column{toCredential(), {field: "A", title: "Until (UTC)", unit: "dateTimeAsIso", width: 180}, {field: "B", title: "Last full day", unit: "dateTimeAsIso", width: 180}},
			cells("1000 * ("+oldest+")"), cells("1000 * ("+ofThose("max by ("+each+") (rotatord_usage_day_timestamp_seconds{"+pickedName+"})", oldest)+")"), sorted("Until (UTC)", false),
			whenEmpty("no figures are known")),
		over("Readings", "Readings of one credential's use, by result. Failing ones are tried again on schedule and delay nothing: rotatord check-config --online names the cause.", 8,
			query(`sum by (result) (increase(rotatord_usage_reads_total{`+job+`,portal=~"$portal"}[$__rate_interval]))`, "{{result}}"), stacked, painted, decimals(0), from(0), tall(9)),
	}
}
