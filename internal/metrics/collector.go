package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rotatord/internal/rotate"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

func gauge(ch chan<- prometheus.Metric, of *prometheus.Desc, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(of, prometheus.GaugeValue, value, labels...)
}

// gaugeTime is absent where it is unknown.
func gaugeTime(ch chan<- prometheus.Metric, of *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		gauge(ch, of, seconds(t), labels...)
	}
}

// processTimes are gauges that are absent until something happened.
type processTimes struct {
	configKnown   bool
	configOK      bool
	configSuccess time.Time
	pass          time.Time
	passDue       time.Time
	healthyPass   time.Time
}

// portalTimes are the same of one portal.
type portalTimes struct {
	surveyed    time.Time
	surveyDue   time.Time
	listedKnown bool
	listed      int
}

// timesCollector shows what was noted last.
type timesCollector struct {
	m *Metrics

	configOK, configSuccess, pass, passDue, healthyPass *prometheus.Desc
	surveyed, surveyDue, listed, sink                   *prometheus.Desc
}

func newTimesCollector(m *Metrics) *timesCollector {
	return &timesCollector{m: m,
		configOK:      desc("rotatord_config_last_reload_successful", "1 if the last load or reload of the config succeeded, 0 if the one before it still runs."),
		configSuccess: desc("rotatord_config_last_reload_success_timestamp_seconds", "When the config that runs was loaded, in seconds since 1970."),
		pass:          desc("rotatord_last_pass_timestamp_seconds", "When the last pass over all credentials ended, in seconds since 1970."),
		passDue:       desc("rotatord_pass_due_timestamp_seconds", "When the next pass over all credentials begins by the schedule, in seconds since 1970."),
		healthyPass:   desc("rotatord_last_healthy_pass_timestamp_seconds", "When a pass last ended in which every due credential advanced or is knowingly held, in seconds since 1970."),
		surveyed:      desc("rotatord_survey_last_success_timestamp_seconds", "When the portal was last surveyed without an error, in seconds since 1970.", "portal"),
		surveyDue: desc("rotatord_survey_due_timestamp_seconds",
			"When the survey is due that follows the last one without an error, in seconds since 1970; absent without a schedule.", "portal"),
		listed: desc("rotatord_survey_credentials", "API key credentials that the last survey without an error listed, configured here or not.", "portal"),
		sink:   desc("rotatord_sink_last_success_timestamp_seconds", "When an operation on the sink last succeeded, in seconds since 1970; absent before the first.", "sink"),
	}
}

// Describe implements prometheus.Collector.
func (c *timesCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.configOK, c.configSuccess, c.pass, c.passDue, c.healthyPass,
		c.surveyed, c.surveyDue, c.listed, c.sink} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *timesCollector) Collect(ch chan<- prometheus.Metric) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock() // whoever receives never waits for us
	t := &c.m.times
	if t.configKnown {
		gauge(ch, c.configOK, stateOf(t.configOK))
	}
	gaugeTime(ch, c.configSuccess, t.configSuccess)
	gaugeTime(ch, c.pass, t.pass)
	gaugeTime(ch, c.passDue, t.passDue)
	gaugeTime(ch, c.healthyPass, t.healthyPass)
	for id, p := range c.m.portals {
		gaugeTime(ch, c.surveyed, p.surveyed, string(id))
		gaugeTime(ch, c.surveyDue, p.surveyDue, string(id))
		if p.listedKnown {
			gauge(ch, c.listed, float64(p.listed), string(id))
		}
	}
	for name, at := range c.m.sinks {
		gaugeTime(ch, c.sink, at, name)
	}
}

// Breaker is the closed set of a circuit breaker's states.
type Breaker string

// The states.
const (
	BreakerOff      Breaker = "off"       // the config has none
	BreakerClosed   Breaker = "closed"    // requests are sent
	BreakerHalfOpen Breaker = "half_open" // one is let through to see
	BreakerOpen     Breaker = "open"      // none is sent
)

func breakers() []Breaker {
	return []Breaker{BreakerOff, BreakerClosed, BreakerHalfOpen, BreakerOpen}
}

// PortalView is what a scrape needs of one portal's client.
type PortalView struct {
	Portal      rotate.PortalID
	Offset      time.Duration // of the portal's clock, ahead of ours
	OffsetKnown bool
	Identity    time.Time // when what we sign in with ends; zero if unknown or never
	Breaker     Breaker
	PausedUntil time.Time // the portal asked for no requests before; zero or past: it did not
	UnderWay    int       // requests
	Waiting     map[rotate.Urgency]int
	Waits       uint64 // requests that had to wait for their turn, so far
	Waited      time.Duration
}

// clientCollector shows the portals' clients.
type clientCollector struct {
	views func() []PortalView

	offset, identity, breaker, paused, underWay, waiting, waits, waited *prometheus.Desc
}

func newClientCollector(views func() []PortalView) *clientCollector {
	return &clientCollector{views: views,
		offset: desc("rotatord_portal_clock_offset_seconds", "How far the portal's clock is ahead of ours, to half a second; absent before its first answer.", "portal"),
		identity: desc("rotatord_portal_identity_expiration_timestamp_seconds",
			"When what rotatord signs in with at the portal ends, in seconds since 1970; absent if unknown, or for a password.", "portal"),
		breaker: desc("rotatord_portal_breaker_state", "1 for the state that the portal's circuit breaker is in, 0 for all others.", "portal", "state"),
		paused: desc("rotatord_portal_pause_end_timestamp_seconds",
			"Until when the portal asked for no more requests, in seconds since 1970; absent if it did not.", "portal"),
		underWay: desc("rotatord_portal_requests_under_way", "Requests to the portal that are under way.", "portal"),
		waiting:  desc("rotatord_portal_requests_waiting", "Requests that wait for their turn at the portal, by what waits for the answer.", "portal", "urgency"),
		waits:    desc("rotatord_portal_limit_waits_total", "Requests that had to wait for their turn at the portal: its limits were reached, or it asked for a pause.", "portal"),
		waited:   desc("rotatord_portal_limit_wait_seconds_total", "How long requests have waited for their turn at the portal, all together.", "portal"),
	}
}

// Describe implements prometheus.Collector.
func (c *clientCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.offset, c.identity, c.breaker, c.paused, c.underWay, c.waiting, c.waits, c.waited} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *clientCollector) Collect(ch chan<- prometheus.Metric) {
	if c.views == nil {
		return
	}
	now := time.Now()
	for _, v := range c.views() {
		id := string(v.Portal)
		if v.OffsetKnown {
			gauge(ch, c.offset, v.Offset.Seconds(), id)
		}
		gaugeTime(ch, c.identity, v.Identity, id)
		for _, b := range breakers() {
			gauge(ch, c.breaker, stateOf(b == v.Breaker), id, string(b))
		}
		if v.PausedUntil.After(now) {
			gaugeTime(ch, c.paused, v.PausedUntil, id)
		}
		gauge(ch, c.underWay, float64(v.UnderWay), id)
		for _, u := range rotate.Urgencies() {
			gauge(ch, c.waiting, float64(v.Waiting[u]), id, u.String())
		}
		ch <- prometheus.MustNewConstMetric(c.waits, prometheus.CounterValue, float64(v.Waits), id)
		ch <- prometheus.MustNewConstMetric(c.waited, prometheus.CounterValue, v.Waited.Seconds(), id)
	}
}
