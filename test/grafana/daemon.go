package grafana

// one daemon: a config, a journal, a process.
const one = job + `,instance=~"$instance"`

const onePortal = one + `,portal=~"$portal"`

// daemonBoard is for "does rotatord itself work, and reach what it needs?".
func daemonBoard() Dashboard {
	v := chooser("instance", "Instance", "Where it runs", "rotatord_build_info{"+job+"}")
	p := chooser("portal", "Portal", "Portals by their name in the config", "rotatord_credentials{"+one+"}")
	b := start(uidDaemon, "Daemon", "The daemon itself: passes, portals, sinks, effects, messages, the process.", "now-6h", v, p)
	b.firing(`,credential=""`)
	b.note(Annotation{Name: "Starts", IconColor: other, TitleFormat: "rotatord started", TextFormat: "{{instance}}",
		Expr: `1000 * process_start_time_seconds{` + one + `} and on (job, instance) rotatord_build_info`, UseValueForTime: true})
	b.note(Annotation{Name: "Config loads", IconColor: third, TitleFormat: "Config loaded", TextFormat: "{{instance}}",
		Expr: `1000 * rotatord_config_last_reload_success_timestamp_seconds{` + one + `}`, UseValueForTime: true})
	b.row("Now", daemonNow()...)
	b.row("Portals", daemonPortals()...)
	b.row("Sinks, Vault and the journal", daemonSinks()...)
	b.row("Effects and rotations", daemonEffects()...)
	b.row("Messages and passes", daemonMessages()...)
	b.row("Process and scrapes", daemonProcess()...)
	return b.Dashboard
}

func daemonNow() []Panel {
	yes := func(no, yes string) setting {
		return words(map[string]string{"0": no, "1": yes}, map[string]string{"0": critical, "1": calm})
	}
	return []Panel{
		stat("Scraped", "Whether Prometheus reaches it. Down: no key there is rotated or watched; RotatordDown in the runbook.", 3,
			query(`min(up{`+one+`} and on (job, instance) last_over_time(rotatord_build_info{`+one+`}[3d]))`, ""), yes("down", "up")),
		stat("Pass overdue by", "How long the next pass over all credentials is overdue; negative: it is not due yet. Half an hour is RotatordPassStalled.", 3,
			query(`max(time() - rotatord_pass_due_timestamp_seconds{`+one+`})`, ""), unit("s"), decimals(0), coloured(limits(calm, 600.0, warning, 1800.0, critical))),
		stat("Last healthy pass", "How long ago every due credential advanced or was knowingly held. Six hours is RotatordNoHealthyPass.", 3,
			query(`max(time() - rotatord_last_healthy_pass_timestamp_seconds{`+one+`})`, ""), unit("s"), decimals(0), coloured(limits(calm, 7200.0, notice, 21600.0, warning)),
			whenEmpty("no pass was healthy yet")),
		stat("Config", "Whether the last load was accepted. Refused: it runs on the one before; every problem of the new one: rotatord check-config.", 3,
			query(`min(rotatord_config_last_reload_successful{`+one+`})`, ""), yes("refused", "accepted")),
		stat("Vault sign-in ends in", "It is renewed at about two thirds of its life. Under half a minute: RotatordVaultTokenExpiring.", 3,
			query(`min(rotatord_vault_token_expiration_timestamp_seconds{`+one+`}) - time()`, ""), unit("s"), decimals(0), coloured(limits(critical, 30.0, warning, 120.0, calm)),
			whenEmpty("no Vault, or a sign-in without an end")),
		stat("Starts in a day", "How often the process started anew. More than three within an hour is RotatordRestarting: journalctl -u rotatord.", 3,
			query(`sum(changes(process_start_time_seconds{`+one+`}[1d]) and on (job, instance) rotatord_build_info)`, ""), decimals(0), coloured(limits(calm, 4.0, warning))),
		stat("Breakers open", "Portals that are left alone since they fail; nothing on them is rotated. RotatordPortalUnreachable.", 3,
			query(`sum(rotatord_portal_breaker_state{`+onePortal+`,state="open"})`, ""), decimals(0), coloured(limits(calm, 1.0, critical))),
		stat("Version", "Of each instance; two during an upgrade.", 3, query(`count by (version) (rotatord_build_info{`+one+`})`, "{{version}}"), byName),
	}
}

func daemonPortals() []Panel {
	at := `job, instance, portal`
	get := func(metric string) string { return "max by (" + at + ") (" + metric + "{" + onePortal + "})" }
	return []Panel{
		table("Each portal", "Survey overdue: how late the next one is, negative if it is not due. Clock: how far the portal's is ahead; at two minutes RotatordClockOff, at five nothing is retired. "+
			"Identity: when rotatord's own sign-in ends; rotatord login PORTAL renews it.", 24, 7,
			[]column{{field: "portal", title: "Portal"}, {field: "instance", title: "Instance"},
				{field: "A", title: "Survey overdue", unit: "s", decimals: 0}, {field: "B", title: "Last full survey (UTC)", unit: "dateTimeAsIso", width: 180},
				{field: "C", title: "Listed credentials", unit: "none"},
				{field: "D", title: "Clock ahead", unit: "s", decimals: 1, limits: limits(critical, -120.0, calm, 120.0, critical), cell: "color-text"},
				{field: "E", title: "Identity ends in", unit: "s", decimals: 1, limits: limits(critical, 86400.0, warning, 432000.0, calm), cell: "color-text"},
				{field: "F", title: "Paused for", unit: "s", decimals: 0}, {field: "G", title: "Under way", unit: "none"}, {field: "H", title: "Waiting", unit: "none"},
				{field: "I", title: "Oldest deep survey", unit: "s", decimals: 0}},
			cells("time() - "+get("rotatord_survey_due_timestamp_seconds")), cells("1000 * "+get("rotatord_survey_last_success_timestamp_seconds")),
			cells(get("rotatord_survey_credentials")), cells(get("rotatord_portal_clock_offset_seconds")),
			cells(get("rotatord_portal_identity_expiration_timestamp_seconds")+" - time()"), cells(get("rotatord_portal_pause_end_timestamp_seconds")+" - time() > 0"),
			cells(get("rotatord_portal_requests_under_way")), cells("sum by ("+at+") (rotatord_portal_requests_waiting{"+onePortal+"})"),
			cells("time() - "+get("rotatord_deep_survey_oldest_timestamp_seconds")), sorted("Portal", false)),
		over("Requests by result", "Requests a second to all the chosen portals. Over half failing for half an hour is RotatordPortalFailing.", 8,
			query(`sum by (result) (rate(rotatord_portal_requests_total{`+onePortal+`}[$__rate_interval]))`, "{{result}}"), unit("reqps"), stacked, painted, from(0)),
		over("Requests that fail, by portal", "The share of its requests. rotatord check-config --online tries it.", 8,
			query(`sum by (portal) (rate(rotatord_portal_requests_total{`+onePortal+`,result!="ok"}[$__rate_interval])) / sum by (portal) (rate(rotatord_portal_requests_total{`+onePortal+`}[$__rate_interval]) > 0)`, "{{portal}}"),
			unit("percentunit"), from(0), upTo(1), lines(limits(calm, 0.5, critical)), whenEmpty("no request in this time")),
		over("Answers take", "The slowest twentieth, by operation, without the wait for a turn.", 8,
			query("topk(12, "+quantile(0.95, "rotatord_portal_request_duration_seconds", one, "operation")+" >= 0)", "{{operation}}"), unit("s"), from(0)),
		over("Waiting for a turn", "Requests that wait, by what waits for the answer, and the seconds waited a second. limits.per_second too low, or the portal asked for a pause.", 8,
			query(`sum by (urgency) (rotatord_portal_requests_waiting{`+onePortal+`})`, "{{urgency}}"),
			query(`sum(rate(rotatord_portal_limit_wait_seconds_total{`+onePortal+`}[$__rate_interval]))`, "seconds waited a second"),
			query(`sum(rate(rotatord_portal_limit_waits_total{`+onePortal+`}[$__rate_interval]))`, "waits a second"), from(0)),
		states("Breakers", "open: the portal fails and is left alone. half_open: one request tries it. off: no breaker.", 8,
			query(`max by (portal) (0 * (rotatord_portal_breaker_state{`+onePortal+`,state="off"} == 1) or 1 * (rotatord_portal_breaker_state{`+onePortal+`,state="closed"} == 1) or 2 * (rotatord_portal_breaker_state{`+onePortal+`,state="half_open"} == 1) or 3 * (rotatord_portal_breaker_state{`+onePortal+`,state="open"} == 1))`, "{{portal}}"),
			words(map[string]string{"0": "off", "1": "closed", "2": "half open", "3": "open"}, map[string]string{"0": quiet, "1": calm, "2": warning, "3": critical})),
		over("Surveys", "Light surveys by result, and the slowest twentieth of their durations. One that breaks off forgets nothing of the last full one.", 8,
			query(`sum by (result) (increase(rotatord_surveys_total{`+onePortal+`}[$__rate_interval]))`, "{{result}}"),
			query(quantile(0.95, "rotatord_survey_duration_seconds", onePortal, "")+" >= 0", "seconds, p95"), painted, from(0)),
	}
}

func daemonSinks() []Panel {
	return []Panel{
		over("Operations by result", "Reads, writes and reads back a second on all sinks. conflict on a write: somebody else wrote; rotatord reads again.", 8,
			query(`sum by (operation, result) (rate(rotatord_sink_operations_total{`+one+`}[$__rate_interval])) > 0`, "{{operation}}: {{result}}"), unit("ops"), stacked, from(0),
			whenEmpty("no sink was asked in this time")),
		over("Operations take", "The slowest twentieth.", 8, query(quantile(0.95, "rotatord_sink_operation_duration_seconds", one, "operation")+" >= 0", "{{operation}}"), unit("s"), from(0)),
		table("Sinks", "When each last worked, and how many of its operations failed in the last hour. rotatord check-config --online tries them.", 8, 8,
			[]column{{field: "sink", title: "Sink"}, {field: "instance", title: "Instance"}, {field: "A", title: "Last success (UTC)", unit: "dateTimeAsIso", width: 180},
				{field: "B", title: "Failed, 1 h", unit: "none", width: 110}},
			cells(`1000 * max by (job, instance, sink) (rotatord_sink_last_success_timestamp_seconds{`+one+`})`),
			cells(`ceil(sum by (job, instance, sink) (increase(rotatord_sink_operations_total{`+one+`,result!~"ok|conflict"}[1h])))`), whenEmpty("no sink has worked yet")),
		over("Secret id of Vault", "How long the AppRole secret id lives that rotatord renews itself, and when that is due: a saw whose lower line never stays below 0. RotatordVaultSecretIDExpiring.", 12,
			query(`min by (instance) (rotatord_vault_secret_id_expiration_timestamp_seconds{`+one+`}) - time()`, "{{instance}}: ends in"),
			query(`min by (instance) (rotatord_vault_secret_id_renewal_due_timestamp_seconds{`+one+`}) - time()`, "{{instance}}: renewed in"), unit("s"), lines(limits(critical, 0.0, calm)),
			whenEmpty("rotatord renews no secret id (vault.auth.approle.rotate)")),
		over("Journal", "Reads and writes of records a second. failed: a full disk for example, and nothing is rotated; RotatordJournalFailing. conflict: another wrote first, and the record is read again.", 12,
			query(`sum by (operation, result) (rate(rotatord_journal_operations_total{`+one+`}[$__rate_interval])) > 0`, "{{operation}}: {{result}}"), unit("ops"), stacked, from(0),
			whenEmpty("the journal was not asked in this time")),
	}
}

func daemonEffects() []Panel {
	return []Panel{
		over("Effects", "What was tried, whatever came of it.", 8, query(`sum by (effect) (increase(rotatord_effects_total{`+one+`}[$__rate_interval])) > 0`, "{{effect}}"), stacked, decimals(0), from(0),
			whenEmpty("nothing was tried in this time")),
		over("Effects take", "The slowest twentieth, by effect. publish writes to each sink and reads back; prove waits for slow propagation.", 8,
			query(quantile(0.95, "rotatord_effect_duration_seconds", one, "effect")+" >= 0", "{{effect}}"), unit("s"), from(0), whenEmpty("nothing was tried in this time")),
		over("Rotations take", "From the start until every sink served the new key, waits included.", 8,
			query(quantile(0.5, "rotatord_rotation_duration_seconds", one, "")+" >= 0", "half of them"), query(quantile(0.95, "rotatord_rotation_duration_seconds", one, "")+" >= 0", "slowest twentieth"),
			unit("s"), from(0), whenEmpty("no rotation in this time")),
	}
}

func daemonMessages() []Panel {
	return []Panel{
		over("Messages to people", "Slack and others, by result; a failed one is tried again. RotatordNotificationsFailing: nobody hears of anything.", 8,
			query(`sum by (result) (increase(rotatord_notifications_total{`+one+`}[$__rate_interval]))`, "{{result}}"), stacked, painted, decimals(0), from(0)),
		over("Heartbeats", "Calls of the dead man's switch, after each healthy pass.", 8,
			query(`sum by (result) (increase(rotatord_heartbeats_total{`+one+`}[$__rate_interval]))`, "{{result}}"), stacked, painted, decimals(0), from(0)),
		over("Passes", "How long ago a pass, and a healthy pass, ended. Both lines are saws as high as schedules.tick.", 8,
			query(`time() - max by (instance) (rotatord_last_pass_timestamp_seconds{`+one+`})`, "{{instance}}: any"),
			query(`time() - max by (instance) (rotatord_last_healthy_pass_timestamp_seconds{`+one+`})`, "{{instance}}: healthy"),
			query(`sum by (result) (increase(rotatord_config_reloads_total{`+one+`,result="failed"}[$__rate_interval])) > 0`, "config refused"), unit("s"), from(0)),
	}
}

func daemonProcess() []Panel {
	mine := " and on (job, instance) rotatord_build_info"
	return []Panel{
		over("CPU", "Cores.", 6, query(`rate(process_cpu_seconds_total{`+one+`}[$__rate_interval])`+mine, "{{instance}}"), unit("short"), from(0)),
		over("Memory", "Resident, and what Go has in use. deploy/systemd sets MemoryMax.", 6, query(`process_resident_memory_bytes{`+one+`}`+mine, "{{instance}}: resident"),
			query(`go_memstats_heap_inuse_bytes{`+one+`}`+mine, "{{instance}}: heap"), unit("bytes"), from(0)),
		over("Goroutines and files", "A line that only rises is a leak.", 6, query(`go_goroutines{`+one+`}`+mine, "{{instance}}: goroutines"), query(`process_open_fds{`+one+`}`+mine, "{{instance}}: open files"), from(0)),
		over("Scrapes take", "With samples a scrape. http.credential_series turns the series of each credential off.", 6,
			query(`scrape_duration_seconds{`+one+`}`+mine, "{{instance}}: seconds"), query(`scrape_samples_scraped{`+one+`}`+mine, "{{instance}}: samples"), from(0),
			rightAxis("samples", "short"), unit("s")),
	}
}

// rightAxis for the series whose names end so.
func rightAxis(ending, unit string) setting {
	return func(p *Panel) {
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{Matcher: Matcher{ID: "byRegexp", Options: "/.*: " + ending + "/"},
			Properties: []Property{{ID: "custom.axisPlacement", Value: "right"}, {ID: "unit", Value: unit}}})
	}
}
