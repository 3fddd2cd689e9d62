package grafana

// oneName selects the credential of the dashboard about one. The variable has one value,
// which Grafana escapes for a plain comparison.
const oneName = job + `,credential="$credential"`

// credentialBoard is for "what is the matter with this one?".
func credentialBoard() Dashboard {
	b := start(uidCredential, "Credential", "One credential: its keys, its rotation, what stands against it, what it is used for.", "now-30d",
		choosePortal(), chooseEnvironment(), chooseOwner(), oneCredential())
	b.firing(`,credential="$credential"`)
	b.note(Annotation{Name: "Rotations", IconColor: calm, TitleFormat: "New key in every sink", TextFormat: "rotatord history {{credential}} tells how it went",
		Expr: `1000 * rotatord_credential_last_rotation_timestamp_seconds{` + oneName + `}`, UseValueForTime: true})
	b.Links = append(b.Links, Link{Type: "link", Title: "This credential on the status page", Icon: "external link", Tooltip: "Slots, phases, history, next steps",
		URL: "${status_url}/credential?name=${credential:percentencode}", Tags: []string{}, TargetBlank: true})
	b.row("Now", credentialNow()...)
	b.row("Keys", credentialKeys()...)
	b.row("Rotation", credentialRotation()...)
	b.row("Settings", credentialSettings()...)
	b.row("Use", credentialUse()...)
	return b.Dashboard
}

func credentialNow() []Panel {
	return []Panel{
		stat("Live key ends in", "When the served key expires; of two served ones, the earlier. Blue until a rotation is overdue by the clock of its own policy, see Used.", 4,
			query(`min(rotatord_key_expiration_timestamp_seconds{`+oneName+`,role="live"}) - time()`, ""), unit("s"), decimals(1), coloured(limits(critical, 0.0, calm)),
			whenEmpty("no live key with a known end")),
		stat("Rotation due in", "When renew_before or max_age asks for a rotation. Below zero it is due, and Why says what it waits for.", 4,
			query(`max(rotatord_credential_rotation_due_timestamp_seconds{`+oneName+`}) - time()`, ""), unit("s"), decimals(1), whenEmpty("never due by the clock")),
		stat("Used", "How much of the time between due and expiry has gone by: 0 at due, 100 % at expiry. A quarter warns, seven tenths is critical. Below zero nothing is due.", 3,
			query(`max(credential:rotatord_renewal_window_used:ratio{`+oneName+`})`, ""), unit("percentunit"), decimals(0), coloured(ofWindow()),
			whenEmpty("unknown: no end or no due date")),
		stat("Phase", "Where its rotation is. Every phase but idle and overlap takes seconds; over an hour is RotatordStuckInPhase in the runbook.", 3,
			query(`rotatord_credential_phase{`+oneName+`} == 1`, "{{phase}}"), byName),
		stat("Why", "Why a rotation is due, and why nothing happens now, in the words of rotatord plan NAME.", 4,
			query(filled(filled(`rotatord_credential_plan_info{`+oneName+`}`, "due"), "blocked"), "due: {{due}}, waits: {{blocked}}"), byName),
		stat("Last rotation", "How long ago a new key was in every sink.", 3,
			query(`time() - max(rotatord_credential_last_rotation_timestamp_seconds{`+oneName+`})`, ""), unit("s"), decimals(1), whenEmpty("never rotated by rotatord")),
		stat("Conditions", "How many of the conditions that want a person it has. They are named over time below.", 3,
			query(`sum(rotatord_credential_attention{`+oneName+`})`, ""), decimals(0), coloured(limits(calm, 1.0, warning))),
	}
}

func credentialKeys() []Panel {
	with := func(metric string) string { return `1000 * max by (slot, role) (` + metric + `)` }
	expires := `rotatord_key_expiration_timestamp_seconds{` + oneName + `}`
	return []Panel{
		table("Both slots", "live: some sink serves it, or nobody knows which is served. spare: valid, and not served. A slot without a valid key is not there. "+
			"rotatord status NAME shows the fingerprints.", 8, 8,
			[]column{{field: "slot", title: "Slot", width: 60}, {field: "role", title: "Role", width: 70},
				{field: "A", title: "Expires (UTC)", unit: "dateTimeAsIso"}, {field: "B", title: "In", unit: "s", decimals: 1}},
			cells(with(expires)), cells(`max by (slot, role) (`+expires+`) - time()`), sorted("Slot", false), whenEmpty("no valid key with a known end")),
		over("Time left", "Of each key. A rotation begins a new line while the old one runs on through the overlap; a line that reaches zero was an outage if it was live.", 8,
			query(`max by (slot) (`+expires+`) - time()`, "slot {{slot}}"), unit("s"), whenEmpty("no valid key with a known end")),
		over("Time between due and expiry used", "A healthy rotation never comes above the first line (RotatordRotationOverdue); at the second RotatordKeyExpiresUnrotated fires; at 100 % consumers are refused.", 8,
			query(`clamp_min(max(credential:rotatord_renewal_window_used:ratio{`+oneName+`}), 0)`, "used"), unit("percentunit"), from(0), upTo(1),
			lines(limits(calm, 0.25, warning, 0.7, critical)), whenEmpty("unknown: no end or no due date")),
	}
}

func credentialRotation() []Panel {
	texts, colors := map[string]string{}, map[string]string{}
	for i, p := range phases() {
		texts[refNumber(i)], colors[refNumber(i)] = p, other
	}
	colors[refNumber(0)], colors[refNumber(6)] = quiet, calm
	since := func(metric string) string { return `max(` + metric + `{` + oneName + `})` }
	moments := `label_replace(` + since("rotatord_credential_hold_timestamp_seconds") + `, "what", "held", "", "")` +
		` or label_replace(` + since("rotatord_credential_quarantine_timestamp_seconds") + `, "what", "in quarantine", "", "")` +
		` or label_replace(max by (kind) (rotatord_credential_drift_timestamp_seconds{` + oneName + `}), "what", "drift: $1", "kind", "(.*)")` +
		` or label_replace(max by (slot) (rotatord_credential_orphan_timestamp_seconds{` + oneName + `}), "what", "orphan in slot $1", "slot", "(.*)")` +
		` or label_replace(` + since("rotatord_credential_retire_timestamp_seconds") + `, "what", "old key may be retired", "", "")`
	return []Panel{
		states("Phase over time", "Where its rotation was. Long idle and overlap are as it should be; a long stretch of anything else is RotatordStuckInPhase.", 8,
			query(`max by (credential) (`+phaseNumber(oneName)+`)`, "phase"), words(texts, colors)),
		states("Conditions over time", "Which conditions wanted a person, and for how long. docs/metrics.md says what each means; the alert of the same name in the runbook says what to do.", 8,
			query(`max by (condition) (rotatord_credential_attention{`+oneName+`})`, "{{condition}}"),
			words(map[string]string{"0": "no", "1": "yes"}, map[string]string{"0": "transparent", "1": warning})),
		table("Since when, until when", "What holds it, what is wrong, and when its overlap ends. Drift: docs/drift.md; a hold or quarantine ends with rotatord resume NAME.", 8, 8,
			[]column{{field: "what", title: "What"}, {field: "A", title: "Moment (UTC)", unit: "dateTimeAsIso", width: 180}},
			cells(`1000 * max by (what) (`+moments+`)`), whenEmpty("nothing holds it, nothing is wrong, no overlap")),
	}
}

// credentialSettings are empty where the config does not state them.
func credentialSettings() []Panel {
	const none = "the config states no settings (create), or nobody has looked yet"
	return []Panel{
		over("Settings that differ", "What the portal has otherwise than the config, by what changing it does. Over zero for an hour is RotatordSettingsDrift or RotatordSettingsDiffer; rotatord plan NAME shows it line by line.", 8,
			query(`max by (effect) (rotatord_credential_settings_differences{`+oneName+`})`, "{{effect}}"),
			query(`max(rotatord_credential_settings_contested{`+oneName+`})`, "corrected no more"),
			query(`max(rotatord_credential_settings_adopted{`+oneName+`})`, "adopted"), unit("short"), from(0), decimals(0), whenEmpty(none)),
		over("Since they were compared", "How long ago both sides were last read. It grows while looks fail; what is known stays.", 8,
			query(`time() - max(rotatord_credential_settings_check_timestamp_seconds{`+oneName+`})`, "since"), unit("s"), from(0), whenEmpty(none)),
		states("Public key without referrers", "It works from everywhere, at your cost, and nobody said referrers: any. By the config, and as the portal has it.", 8,
			query(`max by (source) (rotatord_credential_unrestricted{`+oneName+`})`, "{{source}}"),
			words(map[string]string{"0": "no", "1": "yes"}, map[string]string{"0": "transparent", "1": warning}), whenEmpty(none)),
	}
}

func refNumber(i int) string { return string(rune('0' + i)) }

func credentialUse() []Panel {
	return []Panel{
		table("Figures", "Where they come from, or why there are none; how far they reach. The link is Esri's own page of this credential. rotatord usage NAME; rotatord usage import FILE where the portal tells nothing.", 8, 8,
			[]column{{field: "source", title: "From", width: 70}, {field: "missing", title: "None because"},
				{field: "page", title: "Esri's page", linkTitle: "Esri's page", link: `${__data.fields["Esri's page"]}`},
				{field: "B", title: "Until (UTC)", unit: "dateTimeAsIso", width: 170}},
			cells(`max by (credential, source, missing, page) (rotatord_usage_info{`+oneName+`})`),
			cells(`1000 * max by (credential) (rotatord_usage_data_until_timestamp_seconds{`+oneName+`})`)),
		over("Requests on the last full day", "By service, as known at that time: a day is full six hours after its end, UTC. A leaked key stands out here: RotatordUsageSpike.", 8,
			query(`sum by (service) (rotatord_usage_day_requests{`+oneName+`})`, "{{service}}"), query(`max(rotatord_usage_median_requests{`+oneName+`})`, "median of 28 days"),
			unit("short"), from(0), least("1h"), paint("median of 28 days", quiet), whenEmpty("no full day is known; Figures says why")),
		over("Credits on the last full day", "By service. The day's budget is RotatordBudgetWarning's.", 8,
			query(`sum by (service) (rotatord_usage_day_credits{`+oneName+`})`, "{{service}}"), query(`max(rotatord_usage_median_credits{`+oneName+`})`, "median of 28 days"),
			unit("short"), from(0), least("1h"), paint("median of 28 days", quiet), whenEmpty("no full day is known; Figures says why")),
		over("Credits in this month", "By service, from the first of the month, UTC.", 8,
			query(`sum by (service) (rotatord_usage_month_credits{`+oneName+`})`, "{{service}}"), stackedArea, unit("short"), from(0), least("1h"),
			whenEmpty("nothing is known of this month; Figures says why")),
		over("Budgets used", "How much of the credits of the running day and month is gone. At warn_at people are told; at 100 % the key is taken away only where the config says cut_off.", 8,
			query(`max by (period) (rotatord_usage_budget_used_ratio{`+oneName+`})`, "{{period}}"), unit("percentunit"), from(0), least("1h"),
			lines(limits(calm, 0.8, warning, 1.0, critical)), whenEmpty("it has no budget")),
		states("Use that stands out", "spike: far above its own history, as a leaked key would be. silence: a busy key that nobody used; its consumers may be broken.", 8,
			query(`max by (condition) (rotatord_usage_attention{`+oneName+`})`, "{{condition}}"),
			words(map[string]string{"0": "no", "1": "yes"}, map[string]string{"0": "transparent", "1": warning}), whenEmpty("no full day is known; Figures says why")),
	}
}

func stackedArea(p *Panel) {
	p.FieldConfig.Defaults.Custom["fillOpacity"] = 40
	p.FieldConfig.Defaults.Custom["stacking"] = map[string]any{"mode": "normal", "group": "A"}
}
