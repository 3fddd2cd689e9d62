package metrics

import (
	"strings"
	"testing"
	"time"
)

// usageViews has a credential with everything, one of which a file told, and one without figures.
func usageViews(yield func(*UsageView)) {
	yield(&UsageView{Credential: "maps", Source: "portal", Page: "https://acme.maps.arcgis.com/home/item.html?id=aa11#usage", Until: day(21), Day: day(20).Add(time.Second - 24*time.Hour),
		All:      UsageOf{Requests: 1300, Credits: 48.5, MonthRequests: 20000, MonthCredits: 700, MedianRequests: 400, MedianCredits: 16, HasMedian: true},
		Services: []UsageOf{{Service: "geocode", Requests: 1200, Credits: 48, MonthRequests: 18000, MonthCredits: 690}, {Service: "tiles", Requests: 100, Credits: 0.5, MonthRequests: 2000, MonthCredits: 10}},
		HasToday: true, TodayRequests: 12, TodayCredits: 0.48, Budgets: []UsageBudget{{"day", 50, 0.0096, 0}, {"month", 800, 0.875, 0.8}}, Spike: true, CutOff: "blocked"})
	yield(&UsageView{Credential: "tiles", Source: "file", Missing: "location_platform", Until: day(2), Services: []UsageOf{{Service: "other", MonthRequests: 3}}})
	yield(&UsageView{Credential: "roads", Missing: "enterprise", Page: "https://gis.acme.example/portal/home/item.html?id=cc33#usage"})
}

func TestUnknownUsageIsAbsent(t *testing.T) {
	text := scrape(t, scripted(), "text/plain")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "rotatord_usage_") && strings.Contains(line, `credential="roads"`) && !strings.HasPrefix(line, "rotatord_usage_info") {
			t.Errorf("shown though nothing is known: %s", line)
		}
		if (strings.HasPrefix(line, "rotatord_usage_day_") || strings.HasPrefix(line, "rotatord_usage_today_")) && strings.Contains(line, `credential="tiles"`) {
			t.Errorf("shown without a full day: %s", line)
		}
	}
	for _, want := range []string{`rotatord_usage_info{credential="roads",source="",missing="enterprise",page="https://gis.acme.example/portal/home/item.html?id=cc33#usage"} 1`,
		`rotatord_usage_attention{credential="maps",condition="silence"} 0`} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("not shown: %s", want)
		}
	}
	if text := scrape(t, New(Options{}), "text/plain"); strings.Contains(text, "rotatord_usage_info") {
		t.Error("usage is shown though nobody gave any")
	}
}

func TestUsageFollowsTheSeriesSetting(t *testing.T) {
	m := New(Options{Series: SeriesNever})
	m.ShowUsage(usageViews)
	if strings.Contains(scrape(t, m, "text/plain"), "rotatord_usage_info") {
		t.Error("credentials have usage series though they are to have none")
	}
}
