package metrics

import (
	"time"

	"rotatord/internal/rotate"
)

// UsageView is what a scrape shows of one credential's use. What is unknown is left zero
// and shown as nothing.
type UsageView struct {
	Credential rotate.Name
	Source     string // portal or file; "" if there are no figures
	Missing    string // why the portal is not read; "" if it is
	Page       string // Esri's own page of it
	Until      time.Time
	Day        time.Time // start of the last full day; zero if there is none
	All        UsageOf
	Services   []UsageOf
	// TodayRequests and TodayCredits are of the running day; only where HasToday.
	TodayRequests, TodayCredits float64
	HasToday                    bool
	Budgets                     []UsageBudget
	Spike, Silent               bool
	CutOff                      string // stage; "" is none
}

// UsageOf is one service's figures, or all together.
type UsageOf struct {
	Service                       string
	Requests, Credits             float64 // of the last full day
	MonthRequests, MonthCredits   float64
	MedianRequests, MedianCredits float64 // only where HasMedian
	HasMedian                     bool
}

// UsageBudget is one budget of the running period.
type UsageBudget struct {
	Period               string
	Credits, Used, Level float64 // credits, and shares of them
}

// UsageCondition is the closed set of what stands out in a credential's use.
type UsageCondition string

// The conditions.
const (
	UsageSpike   UsageCondition = "spike"
	UsageSilence UsageCondition = "silence"
)

// UsageConditions lists every condition.
func UsageConditions() []UsageCondition { return []UsageCondition{UsageSpike, UsageSilence} }

func (c UsageCondition) holds(v *UsageView) bool {
	switch c {
	case UsageSpike:
		return v.Spike
	case UsageSilence:
		return v.Silent
	}
	return false
}

// ShowUsage has every scrape show what snapshot yields. It must not block. Call it before
// the first scrape.
func (m *Metrics) ShowUsage(snapshot func(yield func(*UsageView))) { m.exposition.usage = snapshot }

// UsageRead counts the reading of one credential's use.
func (m *Metrics) UsageRead(portal rotate.PortalID, result rotate.Result) {
	m.usageReads.WithLabelValues(string(portal), string(result)).Inc()
}

// usageFamily is shown for each credential.
type usageFamily struct {
	family
	rows func(e *encoder, v *UsageView) // of one with figures; nil: info, which every one has
}

// ofToday shows a row where anything is known of the running day.
func ofToday(name, help string, value func(*UsageView) float64) usageFamily {
	return usageFamily{family{name, help, []string{"credential"}}, func(e *encoder, v *UsageView) {
		if v.HasToday {
			e.row(value(v), string(v.Credential))
		}
	}}
}

// ofDay shows a row for each service where a full day is known.
func ofDay(name, help string, value func(*UsageOf) float64) usageFamily {
	return usageFamily{family{name, help, []string{"credential", "service"}}, func(e *encoder, v *UsageView) {
		for i := range v.Services {
			if !v.Day.IsZero() {
				e.row(value(&v.Services[i]), string(v.Credential), v.Services[i].Service)
			}
		}
	}}
}

func ofMonth(name, help string, value func(*UsageOf) float64) usageFamily {
	return usageFamily{family{name, help, []string{"credential", "service"}}, func(e *encoder, v *UsageView) {
		for i := range v.Services {
			e.row(value(&v.Services[i]), string(v.Credential), v.Services[i].Service)
		}
	}}
}

func ofMedian(name, help string, value func(*UsageOf) float64) usageFamily {
	return usageFamily{family{name, help, []string{"credential"}}, func(e *encoder, v *UsageView) {
		if v.All.HasMedian {
			e.row(value(&v.All), string(v.Credential))
		}
	}}
}

func ofBudget(name, help string, value func(*UsageBudget) float64) usageFamily {
	return usageFamily{family{name, help, []string{"credential", "period"}}, func(e *encoder, v *UsageView) {
		for i := range v.Budgets {
			e.row(value(&v.Budgets[i]), string(v.Credential), v.Budgets[i].Period)
		}
	}}
}

func usageTime(name, help string, at func(*UsageView) time.Time) usageFamily {
	return usageFamily{family{name, help, []string{"credential"}}, func(e *encoder, v *UsageView) {
		if t := at(v); !t.IsZero() {
			e.row(seconds(t), string(v.Credential))
		}
	}}
}

// usageFamilies in the order of their names. They are gauges by UTC day and month and no
// counters: the portal tells of a day late and corrects it, so that the rate of a counter
// would show when rotatord read and not when anybody used the key.
func usageFamilies() []usageFamily {
	return []usageFamily{
		{family{"rotatord_usage_attention", "1 if the last full day stands out against the credential's own history in this way, 0 if not; absent without a full day.",
			[]string{"credential", "condition"}}, func(e *encoder, v *UsageView) {
			for _, c := range UsageConditions() {
				if !v.Day.IsZero() {
					e.row(stateOf(c.holds(v)), string(v.Credential), string(c))
				}
			}
		}},
		ofBudget("rotatord_usage_budget_credits", "Credits that the credential may use in the running UTC day or month.", func(b *UsageBudget) float64 { return b.Credits }),
		ofBudget("rotatord_usage_budget_level_ratio", "The highest warning level that the budget has reached, as a share of it; 0 if none.", func(b *UsageBudget) float64 { return b.Level }),
		ofBudget("rotatord_usage_budget_used_ratio", "How much of the budget is gone, as a share of it.", func(b *UsageBudget) float64 { return b.Used }),
		{family{"rotatord_usage_cut_off", "Always 1; how far the cut-off by a spent budget is. Absent while there is none.", []string{"credential", "stage"}}, func(e *encoder, v *UsageView) {
			if v.CutOff != "" {
				e.row(1, string(v.Credential), v.CutOff)
			}
		}},
		usageTime("rotatord_usage_data_until_timestamp_seconds", "How far the figures reach, in seconds since 1970; absent without any.", func(v *UsageView) time.Time { return v.Until }),
		ofDay("rotatord_usage_day_credits", "Credits used on the last full UTC day.", func(o *UsageOf) float64 { return o.Credits }),
		ofDay("rotatord_usage_day_requests", "Requests on the last full UTC day.", func(o *UsageOf) float64 { return o.Requests }),
		usageTime("rotatord_usage_day_timestamp_seconds", "When the last full UTC day began, in seconds since 1970; absent if there is none.", func(v *UsageView) time.Time { return v.Day }),
		{family{"rotatord_usage_info", "Always 1; where the figures come from, why the portal is not read, and Esri's own page of them.",
			[]string{"credential", "source", "missing", "page"}}, nil},
		ofMedian("rotatord_usage_median_credits", "Median credits of the full days in the 28 days before the last full one; absent with fewer than seven.", func(o *UsageOf) float64 { return o.MedianCredits }),
		ofMedian("rotatord_usage_median_requests", "Median requests of the full days in the 28 days before the last full one; absent with fewer than seven.", func(o *UsageOf) float64 { return o.MedianRequests }),
		ofMonth("rotatord_usage_month_credits", "Credits used in the running UTC month so far.", func(o *UsageOf) float64 { return o.MonthCredits }),
		ofMonth("rotatord_usage_month_requests", "Requests in the running UTC month so far.", func(o *UsageOf) float64 { return o.MonthRequests }),
		ofToday("rotatord_usage_today_credits", "Credits used on the running UTC day so far, as far as the portal told; absent if it told nothing.", func(v *UsageView) float64 { return v.TodayCredits }),
		ofToday("rotatord_usage_today_requests", "Requests on the running UTC day so far, as far as the portal told; absent if it told nothing.", func(v *UsageView) float64 { return v.TodayRequests }),
	}
}

// usageInfo is one credential's use in a scrape. Of most credentials no figure is known.
type usageInfo struct {
	credential            rotate.Name
	source, missing, page string
}

// figures tells whether there are any.
func (v *UsageView) figures() bool {
	return !v.Until.IsZero() || !v.Day.IsZero() || len(v.Services) > 0 || len(v.Budgets) > 0 || v.HasToday || v.All.HasMedian || v.CutOff != ""
}

// writeUsage after the fleet. Views are gathered once, so that all families show one moment.
func (x *exposition) writeUsage(e *encoder, s *scratch, each bool) {
	if x.usage == nil || !each {
		return
	}
	x.usage(func(v *UsageView) {
		s.usage = append(s.usage, usageInfo{v.Credential, v.Source, v.Missing, v.Page})
		if v.figures() {
			s.figures = append(s.figures, *v)
		}
	})
	for _, f := range usageFamilies() {
		e.family(&f.family, func(e *encoder) {
			if f.rows == nil {
				e.each(len(s.usage), func(i int) {
					one := &s.usage[i]
					e.row(1, string(one.credential), one.source, one.missing, one.page)
				})
				return
			}
			e.each(len(s.figures), func(i int) { f.rows(e, &s.figures[i]) })
		})
	}
}
