package portaltest

import (
	"fmt"
	"strconv"
	"time"
)

// usageSwitchTests are the rows of the switches around usage.
func usageSwitchTests() map[string]func(*world) {
	return map[string]func(*world){
		"usage_pairs=strings": func(w *world) { w.wantUsagePairs("5", "0") },
		"usage_pairs=numbers": func(w *world) { w.wantUsagePairs(5.0, 0.0) },
		"usage_pairs=sparse":  func(w *world) { w.wantUsagePairs("5") },
		"usage_pairs=null":    func(w *world) { w.wantUsagePairs("5", nil) },
		"usage_range=any":     func(w *world) { w.want("days", w.usageDaysAllowed(), "[7 31 300]") },
		"usage_range=31d":     func(w *world) { w.want("days", w.usageDaysAllowed(), "[7 31]") },
		"usage_range=7d":      func(w *world) { w.want("days", w.usageDaysAllowed(), "[7]") },
		"usage_buckets=utc":   func(w *world) { w.want("hour of the first bucket", w.usageFirstHour(), 0) },
		"usage_buckets=org_zone": func(w *world) {
			w.want("hour of the first bucket", w.usageFirstHour(), 7)
		},
		"usage_app_filter=honoured": func(w *world) { w.want("apps", w.usageApps(), 1) },
		"usage_app_filter=ignored":  func(w *world) { w.want("apps", w.usageApps(), 2) },
		"usage_right=reports":       func(w *world) { w.want("see it", w.usageSeenBy(), "[true false true]") },
		"usage_right=admin":         func(w *world) { w.want("see it", w.usageSeenBy(), "[true false false]") },
		"usage_right=anybody":       func(w *world) { w.want("see it", w.usageSeenBy(), "[true true true]") },
		"usage_lag=0s":              func(w *world) { w.want("hours until it shows", w.usageShowsAfter(), 0) },
		"usage_lag=3h":              func(w *world) { w.want("hours until it shows", w.usageShowsAfter(), 3) },
		"usage_lag=36h":             func(w *world) { w.want("hours until it shows", w.usageShowsAfter(), 36) },
	}
}

// usageAt asks for the credential's requests in some days from a time on.
func (w *world) usageAt(from time.Time, days int, pairs ...string) []string {
	return append([]string{"startTime", strconv.FormatInt(from.UnixMilli(), 10), "endTime",
		strconv.FormatInt(from.Add(time.Duration(days)*day).UnixMilli(), 10), "period", "1d", "vars", "num",
		"appId", w.cred.ClientID, "groupby", "appId", "stype", "routes"}, pairs...)
}

func (w *world) usage(from time.Time, days int, pairs ...string) []any {
	w.t.Helper()
	return w.admin.ok("portals/self/usage", w.usageAt(from, days, pairs...)...)["data"].([]any)
}

// drive adds five requests at a time, of a kind that the synthetic traffic has not.
func (w *world) drive(at time.Time) {
	w.e.AddUsage(UsageRow{At: at, ClientID: w.cred.ClientID, Type: "routes", Num: 5, Credits: 1})
}

// wantUsagePairs of two days of which the first has five requests.
func (w *world) wantUsagePairs(values ...any) {
	w.t.Helper()
	from := w.e.Now().Truncate(day)
	w.drive(from)
	w.e.MoveClock(3 * day)
	pairs := w.usage(from, 2)[0].(map[string]any)["num"].([]any)
	var got []any
	for _, p := range pairs {
		got = append(got, p.([]any)[1])
	}
	w.want("values", fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", values))
}

func (w *world) usageDaysAllowed() (allowed []int) {
	from := w.e.Now().Truncate(day)
	for _, days := range []int{7, 31, 300} {
		if got, _, err := w.admin.send(w.t.Context(), "portals/self/usage", w.usageAt(from, days)...); err == nil && got["error"] == nil {
			allowed = append(allowed, days)
		}
	}
	return allowed
}

// usageFirstHour is the UTC hour at which the first bucket of a day begins.
func (w *world) usageFirstHour() int {
	w.t.Helper()
	from := w.e.Now().Truncate(day)
	w.drive(from.Add(10 * time.Hour))
	w.e.MoveClock(3 * day)
	pairs := w.usage(from, 2)[0].(map[string]any)["num"].([]any)
	ms, err := strconv.ParseInt(pairs[0].([]any)[0].(string), 10, 64)
	if err != nil {
		w.t.Fatal(err)
	}
	return time.UnixMilli(ms).UTC().Hour()
}

func (w *world) usageApps() int {
	w.t.Helper()
	other := w.e.AddCredential(CredentialSeed{Title: "other"})
	from := w.e.Now().Truncate(day)
	w.drive(from)
	w.e.AddUsage(UsageRow{At: from, ClientID: other.ClientID, Type: "routes", Num: 1})
	w.e.MoveClock(day)
	return len(w.usage(from, 1))
}

// usageSeenBy: the admin, the creator, and a key with the right to make reports.
func (w *world) usageSeenBy() (seen []bool) {
	w.t.Helper()
	reports := w.e.AddCredential(CredentialSeed{Title: "reports", Privileges: []string{"portal:admin:createReports"},
		Expires: [2]time.Time{w.e.Now().Add(5 * day)}, Minted: true})
	for _, c := range []*caller{w.admin, w.creator, w.admin.as(reports.Keys[0])} {
		got, _, err := c.send(w.t.Context(), "portals/self/usage", w.usageAt(w.e.Now().Truncate(day), 1)...)
		seen = append(seen, err == nil && got["error"] == nil)
	}
	return seen
}

// usageShowsAfter is how many hours after it happened traffic is seen.
func (w *world) usageShowsAfter() int {
	w.t.Helper()
	at := w.e.Now()
	w.drive(at)
	w.e.MoveClock(time.Second)
	for hours := range 48 {
		if len(w.usage(at.Truncate(day), 1)) > 0 {
			return hours
		}
		w.e.MoveClock(time.Hour)
	}
	return -1
}
