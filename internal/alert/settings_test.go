package alert

import (
	"strings"
	"testing"
)

// What can be edited in place is for some day; what a person must decide is for today, and is said once.
func TestSettingsThatDiffer(t *testing.T) {
	for name, c := range map[string]struct {
		settings *Settings
		severity Severity // "" is none
	}{
		"the config states none": {nil, ""},
		"not compared yet":       {&Settings{Differ: 1, KillKeys: 1}, ""},
		"alike":                  {&Settings{Known: true}, ""},
		"harmless":               {&Settings{Known: true, Differ: 2}, SeverityInfo},
		"kills keys":             {&Settings{Known: true, Differ: 2, KillKeys: 1}, SeverityWarning},
		"contested":              {&Settings{Known: true, Differ: 1, Contested: 1}, SeverityWarning},
	} {
		got := c.settings.findings()
		if len(got) > 1 || (len(got) == 1) != (c.severity != "") {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		if c.severity != "" && (got[0].severity != c.severity || got[0].condition != ConditionSettings || !got[0].once) {
			t.Errorf("%s: %+v, want %s", name, got[0], c.severity)
		}
	}
}

// After a start, until the settings were compared, what was told of them stays as it is; once the config states none, it ends.
func TestSettingsThatAreNotKnownYet(t *testing.T) {
	a := alerter(t)
	v := expiringIn(90, 30, func(v *View) { v.Settings = &Settings{Known: true, Differ: 1, Says: "title differs from the config"} })
	key := keyOf(ConditionSettings, string(v.Name))
	hold := func(s *Settings) *holding {
		v.Settings = s
		all, _ := a.holdings(Scene{Credentials: []View{v}}, at())
		return all[key]
	}
	h := hold(v.Settings)
	if h == nil || h.severity != SeverityInfo {
		t.Fatalf("holds %+v", h)
	}
	a.state.alerts = map[string]*Alert{key: {Key: key, Condition: ConditionSettings, Subject: string(v.Name), Severity: SeverityInfo}}
	if h := hold(&Settings{}); h == nil || !h.stale {
		t.Errorf("before the first look: %+v", h)
	}
	if h := hold(nil); h != nil {
		t.Errorf("of a config that states none: %+v", h)
	}
	if h := hold(&Settings{Known: true}); h != nil {
		t.Errorf("once they agree: %+v", h)
	}
	v.Settings = &Settings{Known: true, Differ: 1, KillKeys: 1, Says: "referrers differs from the config"}
	a.holds, _ = a.holdings(Scene{Credentials: []View{v}}, at())
	m := a.compose(&Alert{Key: key, Condition: ConditionSettings, Subject: string(v.Name), Severity: SeverityWarning}, at())
	if !strings.Contains(m.Title, "are not those of the config") || m.Command != "rotatord plan "+string(v.Name) || len(m.Sections) != 1 || m.Sections[0].Lines[0] != v.Settings.Says {
		t.Errorf("told: %+v", m)
	}
}
