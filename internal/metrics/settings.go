package metrics

import (
	"maps"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// SettingsView is what a scrape shows of how one credential's settings at its portal compare
// with the config's.
type SettingsView struct {
	Credential rotate.Name
	Portal     rotate.PortalID
	CheckedAt  time.Time // of the last look that succeeded; zero: none has, and nothing else is known
	Harmless   int       // settings that differ and can be edited in place
	KillKeys   int       // that differ, and whose change kills both keys
	Adopted    int       // that differ and are taken as meant
	Contested  int       // of the harmless ones: rotatord corrects them no more
	// Unrestricted: a public key without referrers, by the config, and as the portal has it.
	Unrestricted, UnrestrictedThere bool
}

// settingsState is the closed set of how the settings of one credential are, the worst that holds.
type settingsState string

// The states, worst first.
const (
	settingsKillKeys  settingsState = "kills_both_keys"
	settingsContested settingsState = "contested"
	settingsHarmless  settingsState = "harmless"
	settingsAdopted   settingsState = "adopted"
	settingsSame      settingsState = "as_config"
	settingsUnknown   settingsState = "unknown"
)

func settingsStates() []settingsState {
	return []settingsState{settingsKillKeys, settingsContested, settingsHarmless, settingsAdopted, settingsSame, settingsUnknown}
}

func (v *SettingsView) state() settingsState {
	switch {
	case v.CheckedAt.IsZero():
		return settingsUnknown
	case v.KillKeys > 0:
		return settingsKillKeys
	case v.Contested > 0:
		return settingsContested
	case v.Harmless > 0:
		return settingsHarmless
	case v.Adopted > 0:
		return settingsAdopted
	}
	return settingsSame
}

// ShowSettings has every scrape show what snapshot yields: the credentials whose settings the
// config states. It must not block. Call it before the first scrape.
func (m *Metrics) ShowSettings(snapshot func(yield func(*SettingsView))) {
	m.exposition.settings = snapshot
}

// settingsFamily is shown for each credential whose settings the config states.
type settingsFamily struct {
	family
	rows func(e *encoder, v *SettingsView)
}

// settingsFamilies in the order of their names.
func settingsFamilies() []settingsFamily {
	one := []string{"credential"}
	count := func(name, help string, n func(*SettingsView) int) settingsFamily {
		return settingsFamily{family{name, help, one}, func(e *encoder, v *SettingsView) {
			if !v.CheckedAt.IsZero() {
				e.row(float64(n(v)), string(v.Credential))
			}
		}}
	}
	return []settingsFamily{
		count("rotatord_credential_settings_adopted", "Settings that the portal has otherwise than the config, and that are taken as meant; absent before the first look.",
			func(v *SettingsView) int { return v.Adopted }),
		{family{"rotatord_credential_settings_check_timestamp_seconds", "When the settings at the portal were last compared with the config, in seconds since 1970; absent before the first time.", one},
			func(e *encoder, v *SettingsView) {
				if !v.CheckedAt.IsZero() {
					e.row(seconds(v.CheckedAt), string(v.Credential))
				}
			}},
		count("rotatord_credential_settings_contested", "Settings that rotatord corrects no more, since somebody changes them back; absent before the first look.",
			func(v *SettingsView) int { return v.Contested }),
		{family{"rotatord_credential_settings_differences", "Settings that the portal has otherwise than the config, by what changing them does; absent before the first look.",
			[]string{"credential", "effect"}}, func(e *encoder, v *SettingsView) {
			if !v.CheckedAt.IsZero() {
				e.row(float64(v.Harmless), string(v.Credential), "harmless")
				e.row(float64(v.KillKeys), string(v.Credential), "kills_both_keys")
			}
		}},
		{family{"rotatord_credential_unrestricted", "1 for a public key without referrers, of which nobody said that it is meant, by the config, and as the portal has it.",
			[]string{"credential", "source"}}, func(e *encoder, v *SettingsView) {
			e.row(stateOf(v.Unrestricted), string(v.Credential), "config")
			if !v.CheckedAt.IsZero() {
				e.row(stateOf(v.UnrestrictedThere), string(v.Credential), "portal")
			}
		}},
	}
}

// settingsSums are a portal's.
type settingsSums struct {
	states       map[settingsState]int
	unrestricted int
	oldest       time.Time // look of all; zero: none yet
}

// writeSettings after the use. Views are gathered once, so that all families show one moment.
func (x *exposition) writeSettings(e *encoder, s *scratch, each bool) {
	if x.settings == nil {
		return
	}
	sums := map[string]*settingsSums{}
	for _, id := range x.portals() {
		sums[string(id)] = &settingsSums{states: map[settingsState]int{}}
	}
	x.settings(func(v *SettingsView) {
		s.settings = append(s.settings, *v)
		if sum := sums[string(v.Portal)]; sum != nil {
			sum.add(v)
		}
	})
	for _, f := range settingsFamilies() {
		if !each {
			break
		}
		e.family(&f.family, func(e *encoder) { e.each(len(s.settings), func(i int) { f.rows(e, &s.settings[i]) }) })
	}
	writeSettingsSums(e, sums)
}

func (sum *settingsSums) add(v *SettingsView) {
	sum.states[v.state()]++
	if v.Unrestricted || v.UnrestrictedThere {
		sum.unrestricted++
	}
	if !v.CheckedAt.IsZero() && (sum.oldest.IsZero() || v.CheckedAt.Before(sum.oldest)) {
		sum.oldest = v.CheckedAt
	}
}

func writeSettingsSums(e *encoder, sums map[string]*settingsSums) {
	names := slices.Sorted(maps.Keys(sums))
	e.family(&family{"rotatord_credentials_settings", "Credentials whose settings the config states, by how those at the portal compare, the worst that holds.", []string{"portal", "state"}},
		func(e *encoder) {
			for _, portal := range names {
				for _, state := range settingsStates() {
					e.row(float64(sums[portal].states[state]), portal, string(state))
				}
			}
		})
	e.family(&family{"rotatord_credentials_unrestricted", "Public keys without referrers, of which nobody said that it is meant.", []string{"portal"}}, func(e *encoder) {
		for _, portal := range names {
			e.row(float64(sums[portal].unrestricted), portal)
		}
	})
	e.family(&family{"rotatord_settings_oldest_check_timestamp_seconds", "When the settings were compared that wait longest for the next such look, in seconds since 1970; absent before the first.",
		[]string{"portal"}}, func(e *encoder) {
		for _, portal := range names {
			if at := sums[portal].oldest; !at.IsZero() {
				e.row(seconds(at), portal)
			}
		}
	})
}
