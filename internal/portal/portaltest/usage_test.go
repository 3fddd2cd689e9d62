package portaltest

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

// sumOf adds up the second members of a series' pairs, which are strings.
func sumOf(t *testing.T, series map[string]any, name string) (sum float64, points int) {
	t.Helper()
	for _, pair := range series[name].([]any) {
		n, err := strconv.ParseFloat(pair.([]any)[1].(string), 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
		points++
	}
	return sum, points
}

func TestUsage(t *testing.T) {
	e := New(Options{})
	cred := e.AddCredential(CredentialSeed{Title: "k"})
	e.AddCredential(CredentialSeed{Title: "other"})
	e.MoveClock(40 * day)
	c := signedIn(t, e, AdminUser)
	until := e.Now().Truncate(day)
	from := until.Add(-30 * day)
	ask := func(pairs ...string) []any {
		return c.ok("portals/self/usage", append([]string{"startTime", fmt.Sprint(from.UnixMilli()), "endTime", fmt.Sprint(until.UnixMilli()),
			"period", "1d", "vars", "num,credits", "appId", cred.ClientID}, pairs...)...)["data"].([]any)
	}
	days := ask("groupby", "appId")
	if len(days) != 1 || days[0].(map[string]any)["appId"] != cred.ClientID {
		t.Fatalf("series %v, want one of the app", days)
	}
	total, points := sumOf(t, days[0].(map[string]any), "num")
	if points != 30 || total == 0 {
		t.Errorf("%v requests in %d days, want some in 30", total, points)
	}
	if again, _ := sumOf(t, ask()[0].(map[string]any), "num"); again != total {
		t.Errorf("the second reading says %v, the first %v", again, total)
	}
	if hours, points := sumOf(t, ask("period", "1h")[0].(map[string]any), "num"); hours != total || points != 30*24 {
		t.Errorf("by the hour %v in %d, by the day %v", hours, points, total)
	}
	if kinds := ask("groupby", "stype"); len(kinds) != 2 {
		t.Errorf("%d kinds, want 2", len(kinds))
	}
	credits, _ := sumOf(t, ask("stype", "geocode")[0].(map[string]any), "credits")
	e.AddUsage(UsageRow{At: from.Add(time.Hour), ClientID: cred.ClientID, Type: "geocode", Num: 5, Credits: 2.5})
	if more, _ := sumOf(t, ask("stype", "geocode")[0].(map[string]any), "credits"); more < credits+2.4 || more > credits+2.6 {
		t.Errorf("credits %v after adding 2.5 to %v", more, credits)
	}
	if _, there := ask("vars", "num")[0].(map[string]any)["credits"]; there {
		t.Error("a variable that was not asked for is there")
	}
	if all := ask("appId", "", "groupby", "appId"); len(all) != 2 {
		t.Errorf("%d apps, want 2", len(all))
	}
}

func TestUsageRefuses(t *testing.T) {
	times := func(from, until string, pairs ...string) []string {
		return append([]string{"startTime", from, "endTime", until, "period", "1d", "vars", "num"}, pairs...)
	}
	e := New(Options{})
	if got := signedIn(t, e, CreatorUser).refused("portals/self/usage", times("1", "2")...); got[:3] != "403" {
		t.Errorf("creator: %s", got)
	}
	c := signedIn(t, e, AdminUser)
	for name, pairs := range map[string][]string{"backwards": times("2", "1"), "no start": times("", "1"), "period": times("1", "2", "period", "2d"),
		"too long": times("1", "9000000000000000")} {
		if got := c.refused("portals/self/usage", pairs...); got != "400 Invalid request" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := signedIn(t, New(Options{Product: Enterprise114}), AdminUser).refused("portals/self/usage", times("1", "2")...); got[:3] != "404" {
		t.Errorf("Enterprise: %s", got)
	}
}
