package metrics

import "rotatord/internal/rotate"

// stateRows writes one credential's samples of a family.
type stateRows func(e *encoder, sc *scales, s *credential)

// credentialFamily is shown for each credential.
type credentialFamily struct {
	family
	rows stateRows
}

// portalFamily is shown for each portal, and whether or not each credential is.
type portalFamily struct {
	family
	rows func(e *encoder, sc *scales, portal string, m *summary)
}

// timeRow is a family with at most one sample a credential: a time, absent where 0.
func timeRow(name, help string, at func(*credential) float64) credentialFamily {
	return credentialFamily{family{name, help, []string{"credential"}}, func(e *encoder, _ *scales, s *credential) {
		if t := at(s); t != 0 {
			e.row(t, s.name)
		}
	}}
}

// credentialFamilies in the order of their names.
func credentialFamilies() []credentialFamily {
	return []credentialFamily{
		{family{"rotatord_credential_attention", "1 for each condition that wants a person's attention, 0 for all others.", []string{"credential", "condition"}}, attentionRows},
		{family{"rotatord_credential_drift_timestamp_seconds", "Since when journal, sinks and portal disagree, and how, in seconds since 1970; absent while they agree.",
			[]string{"credential", "kind"}}, func(e *encoder, _ *scales, s *credential) {
			if s.drift != 0 {
				e.row(s.drift, s.name, string(s.driftKind))
			}
		}},
		timeRow("rotatord_credential_hold_timestamp_seconds", "Since when a person holds the credential, in seconds since 1970; absent if nobody does.",
			func(s *credential) float64 { return s.hold }),
		{family{"rotatord_credential_info", "Always 1; what the credential is.", []string{"credential", "portal", "product", "owner", "environment", "item"}},
			func(e *encoder, _ *scales, s *credential) {
				e.row(1, s.name, s.portal, s.product, s.owner, s.environment, s.item)
			}},
		timeRow("rotatord_credential_last_rotation_timestamp_seconds", "When a new key was last in every sink, in seconds since 1970; absent before the first.",
			func(s *credential) float64 { return s.promoted }),
		{family{"rotatord_credential_orphan_timestamp_seconds", "Since when the slot holds a valid key of ours that no sink serves, in seconds since 1970; absent if it does not.",
			[]string{"credential", "slot"}}, orphanRows},
		{family{"rotatord_credential_phase", "1 for the phase that the credential's rotation is in, 0 for all others.", []string{"credential", "phase"}}, phaseRows},
		{family{"rotatord_credential_plan_info", "Always 1; why a rotation is due, and why nothing happens now, as the last plan said; empty where there is no reason.",
			[]string{"credential", "due", "blocked"}}, func(e *encoder, _ *scales, s *credential) { e.row(1, s.name, string(s.dueFor), string(s.blocked)) }},
		timeRow("rotatord_credential_quarantine_timestamp_seconds", "Since when the credential is quarantined, in seconds since 1970; absent if it is not.",
			func(s *credential) float64 { return s.quarantine }),
		timeRow("rotatord_credential_retire_timestamp_seconds",
			"When the overlap ends and the previous key, or the item that was replaced, may be retired, in seconds since 1970; absent outside an overlap.", func(s *credential) float64 { return s.retire }),
		timeRow("rotatord_credential_rotation_due_timestamp_seconds",
			"When a rotation of the live key becomes due by the clock, in seconds since 1970; absent if unknown.", func(s *credential) float64 { return s.due }),
		{family{"rotatord_key_expiration_timestamp_seconds", "When the key in the slot expires, in seconds since 1970; absent if unknown or if the slot holds no valid key.",
			[]string{"credential", "slot", "role"}}, keyRows},
	}
}

func attentionRows(e *encoder, sc *scales, s *credential) {
	for i, a := range sc.attentions {
		e.row(s.has(i), s.name, string(a))
	}
}

func phaseRows(e *encoder, sc *scales, s *credential) {
	for i, p := range sc.phases {
		e.row(stateOf(i == s.phase), s.name, string(p))
	}
}

func orphanRows(e *encoder, _ *scales, s *credential) {
	for i, slot := range rotate.Slots() {
		if t := s.orphans[i]; t != 0 {
			e.row(t, s.name, slot.String())
		}
	}
}

func keyRows(e *encoder, _ *scales, s *credential) {
	for i, slot := range rotate.Slots() {
		if k := s.keys[i]; k.expires != 0 {
			e.row(k.expires, s.name, slot.String(), k.role)
		}
	}
}

// counts is a portal's family with a sample for every word of a closed set.
func counts[T ~string](name, help, label string, set func(*scales) []T, of func(*summary) []int) portalFamily {
	return portalFamily{family{name, help, []string{"portal", label}}, func(e *encoder, sc *scales, portal string, m *summary) {
		n := of(m)
		for i, word := range set(sc) {
			e.row(float64(n[i]), portal, string(word))
		}
	}}
}

// portalTime is a portal's family with at most one sample: a time, absent where 0.
func portalTime(name, help string, at func(*summary) float64) portalFamily {
	return portalFamily{family{name, help, []string{"portal"}}, func(e *encoder, _ *scales, portal string, m *summary) {
		if t := at(m); t != 0 {
			e.row(t, portal)
		}
	}}
}

// portalFamilies in the order of their names.
func portalFamilies() []portalFamily {
	return []portalFamily{
		counts("rotatord_credentials", "Configured credentials by what rotatord does with them.", "management",
			func(sc *scales) []management { return sc.managed }, func(m *summary) []int { return m.managed }),
		counts("rotatord_credentials_attention", "Credentials for which a condition holds that wants a person's attention.", "condition",
			func(sc *scales) []Attention { return sc.attentions }, func(m *summary) []int { return m.attentions }),
		counts("rotatord_credentials_blocked", "Credentials by why nothing happens to them now, as their last plan said.", "reason",
			func(sc *scales) []rotate.Reason { return sc.blocked }, func(m *summary) []int { return m.blocked }),
		counts("rotatord_credentials_drift", "Credentials whose journal, sinks and portal disagree, by how.", "kind",
			func(sc *scales) []rotate.Drift { return sc.drifts }, func(m *summary) []int { return m.drifts }),
		counts("rotatord_credentials_due", "Credentials of which a rotation is due, by why, as their last plan said.", "reason",
			func(sc *scales) []rotate.Reason { return sc.due }, func(m *summary) []int { return m.due }),
		counts("rotatord_credentials_phase", "Credentials by the phase that their rotation is in.", "phase",
			func(sc *scales) []rotate.Phase { return sc.phases }, func(m *summary) []int { return m.phases }),
		counts("rotatord_credentials_renewal", "Credentials by how much of the time between due and expiry of the live key has gone by.", "stage",
			func(sc *scales) []stage { return sc.stages }, func(m *summary) []int { return m.stages }),
		portalTime("rotatord_deep_survey_oldest_timestamp_seconds", "When the credential was looked at closely that waits longest for the next such look, in seconds since 1970.",
			func(m *summary) float64 { return m.oldestLook }),
		portalTime("rotatord_key_next_expiration_timestamp_seconds", "When the first live key expires, in seconds since 1970; absent if none is known.",
			func(m *summary) float64 { return m.nextExpiry }),
		portalTime("rotatord_rotation_last_success_timestamp_seconds", "When a new key was last in every sink, of any credential, in seconds since 1970.",
			func(m *summary) float64 { return m.lastRotation }),
		portalTime("rotatord_rotation_next_due_timestamp_seconds", "When the first rotation becomes due by the clock, in seconds since 1970; absent if none is known.",
			func(m *summary) float64 { return m.nextDue }),
	}
}

func stateOf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// write the fleet's families; each credential's only where wanted.
func (f *fleet) write(e *encoder, sc *scales, each bool) {
	for _, fam := range portalFamilies() {
		e.family(&fam.family, func(e *encoder) {
			for _, id := range f.names {
				fam.rows(e, sc, string(id), f.portals[id])
			}
		})
	}
	e.flush()
	if !each {
		return
	}
	for _, fam := range credentialFamilies() {
		e.family(&fam.family, func(e *encoder) {
			e.each(len(f.credentials), func(i int) { fam.rows(e, sc, &f.credentials[i]) })
		})
	}
}
