package metrics

import (
	"strings"
	"testing"

	"rotatord/internal/rotate"
)

// settingsViews has a credential with everything, one that is as it should be, and one that nobody has looked at.
func settingsViews(yield func(*SettingsView)) {
	yield(&SettingsView{Credential: "maps", Portal: "esri", CheckedAt: day(2), Harmless: 2, KillKeys: 1, Adopted: 1, Contested: 1, UnrestrictedThere: true})
	yield(&SettingsView{Credential: "roads", Portal: "esri", CheckedAt: day(3)})
	yield(&SettingsView{Credential: "tiles", Portal: "gov", Unrestricted: true})
}

func TestUnknownSettingsAreAbsent(t *testing.T) {
	text := scrape(t, scripted(), "text/plain")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "rotatord_credential_settings_") && strings.Contains(line, `credential="tiles"`) || strings.HasPrefix(line, `rotatord_settings_oldest_check_timestamp_seconds{portal="gov"}`) {
			t.Errorf("shown though nobody has looked: %s", line)
		}
	}
	for _, want := range []string{`rotatord_credentials_settings{portal="gov",state="unknown"} 1`, `rotatord_credentials_settings{portal="esri",state="kills_both_keys"} 1`,
		`rotatord_credentials_settings{portal="esri",state="as_config"} 1`, `rotatord_credential_unrestricted{credential="maps",source="config"} 0`,
		`rotatord_credential_unrestricted{credential="maps",source="portal"} 1`, `rotatord_credentials_unrestricted{portal="gov"} 1`,
		`rotatord_credential_settings_differences{credential="roads",effect="harmless"} 0`} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("not shown: %s", want)
		}
	}
	if text := scrape(t, New(Options{}), "text/plain"); strings.Contains(text, "settings") {
		t.Error("settings are shown though nobody gave any")
	}
}

func TestTheWorstOfACredentialsSettingsCounts(t *testing.T) {
	at := day(1)
	for want, v := range map[settingsState]SettingsView{
		settingsUnknown:   {KillKeys: 1},
		settingsSame:      {CheckedAt: at},
		settingsAdopted:   {CheckedAt: at, Adopted: 1},
		settingsHarmless:  {CheckedAt: at, Adopted: 1, Harmless: 1},
		settingsContested: {CheckedAt: at, Harmless: 1, Contested: 1},
		settingsKillKeys:  {CheckedAt: at, Harmless: 1, Contested: 1, KillKeys: 1},
	} {
		if got := v.state(); got != want {
			t.Errorf("%+v is %s, want %s", v, got, want)
		}
	}
}

// Where credentials have no series of their own, the sums are there nevertheless.
func TestSettingsFollowTheSeriesSetting(t *testing.T) {
	m := New(Options{Series: SeriesNever})
	m.SetPortals([]rotate.PortalID{"esri"}, day(1))
	m.ShowSettings(settingsViews)
	text := scrape(t, m, "text/plain")
	if strings.Contains(text, "rotatord_credential_settings") || !strings.Contains(text, `rotatord_credentials_settings{portal="esri",state="as_config"} 1`) {
		t.Errorf("got\n%s", text)
	}
}
