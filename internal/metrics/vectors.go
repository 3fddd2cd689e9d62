package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rotatord/internal/rotate"
)

// counters of what happened since the start.
type counters struct {
	rotations, effects, requests, surveys, sinkOps, notifications, heartbeats, reloads, usageReads, journal *prometheus.CounterVec
}

func newCounters() counters {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return counters{
		rotations: vec("rotatord_rotations_total", "Rotations by how they ended: ok when every sink serves the new key, aborted when given up before.",
			"result", "reason"),
		effects: vec("rotatord_effects_total", "External effects that were tried, by kind and result: ok or the kind of the error.", "effect", "result"),
		requests: vec("rotatord_portal_requests_total", "Requests to the portal, by operation and result: ok or the kind of the error.",
			"portal", "operation", "result"),
		surveys: vec("rotatord_surveys_total", "Light surveys of the portal, by result: ok or the kind of the error.", "portal", "result"),
		sinkOps: vec("rotatord_sink_operations_total", "Reads, writes and read-backs of what was just written, by result: ok or the kind of the error.",
			"sink", "operation", "result"),
		notifications: vec("rotatord_notifications_total", "Messages to people, by what became of them: ok, or failed and tried again.", "result"),
		heartbeats:    vec("rotatord_heartbeats_total", "Calls of the dead man's switch, by what became of them: ok or failed.", "result"),
		reloads:       vec("rotatord_config_reloads_total", "Loads of the config, the one at the start too: ok, or failed where the config was refused.", "result"),
		usageReads:    vec("rotatord_usage_reads_total", "Readings of what a credential used, by result: ok or the kind of the error.", "portal", "result"),
		journal: vec("rotatord_journal_operations_total", "Reads and writes of the journal's records, by result: ok, conflict where another wrote first, or failed.",
			"operation", "result"),
	}
}

func (c *counters) all() []prometheus.Collector {
	return []prometheus.Collector{c.rotations, c.effects, c.requests, c.surveys, c.sinkOps, c.notifications, c.heartbeats, c.reloads, c.usageReads, c.journal}
}

// durations, each with classic buckets and a native histogram.
type durations struct {
	rotation, effect, request, survey, sink *prometheus.HistogramVec
}

func newDurations() durations {
	vec := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets,
			// Growth of at most 10 % a bucket; the least that keeps quantiles honest.
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour}, labels)
	}
	quick := []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
	return durations{
		rotation: vec("rotatord_rotation_duration_seconds", "How long it took from the start of a rotation until every sink served the new key.",
			[]float64{0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600}),
		effect:  vec("rotatord_effect_duration_seconds", "How long external effects took, whatever came of them.", quick, "effect"),
		request: vec("rotatord_portal_request_duration_seconds", "How long requests to portals took, without the wait for their turn, whatever came of them.", quick, "operation"),
		survey:  vec("rotatord_survey_duration_seconds", "How long light surveys of the portal took, whatever came of them.", []float64{0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600}, "portal"),
		sink:    vec("rotatord_sink_operation_duration_seconds", "How long operations on sinks took, whatever came of them.", quick, "operation"),
	}
}

func (d *durations) all() []prometheus.Collector {
	return []prometheus.Collector{d.rotation, d.effect, d.request, d.survey, d.sink}
}

// observe a duration, with the rotation it belongs to as an exemplar.
func observe(h prometheus.Observer, took time.Duration, rotation string) {
	if ex, ok := h.(prometheus.ExemplarObserver); ok && rotation != "" {
		ex.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"rotation_id": rotation})
		return
	}
	h.Observe(took.Seconds())
}

// createClosedSets makes series whose labels are known beforehand, so that their
// first increase is seen as one.
func (m *Metrics) createClosedSets() {
	m.rotation.WithLabelValues()
	for _, reason := range rotate.DueReasons() {
		for _, result := range []RotationResult{RotationOK, RotationAborted} {
			m.rotations.WithLabelValues(string(result), string(reason))
		}
	}
	for _, effect := range rotate.Effects() {
		m.effect.WithLabelValues(string(effect))
		for _, result := range results() {
			m.effects.WithLabelValues(string(effect), string(result))
		}
	}
	for _, operation := range m.operations {
		m.request.WithLabelValues(operation)
	}
	for _, operation := range sinkOperations() {
		m.sink.WithLabelValues(string(operation))
	}
	for _, d := range deliveries() {
		m.notifications.WithLabelValues(string(d))
		m.heartbeats.WithLabelValues(string(d))
		m.reloads.WithLabelValues(string(d))
	}
	for _, operation := range journalOperations() {
		for _, result := range journalResults() {
			m.journal.WithLabelValues(string(operation), string(result))
		}
	}
}

func (m *Metrics) createPortal(portal string) {
	m.survey.WithLabelValues(portal)
	for _, result := range results() {
		m.surveys.WithLabelValues(portal, string(result))
		m.usageReads.WithLabelValues(portal, string(result))
		for _, operation := range m.operations {
			m.requests.WithLabelValues(portal, operation, string(result))
		}
	}
}

func (m *Metrics) createSink(sink string) {
	for _, operation := range sinkOperations() {
		for _, result := range results() {
			m.sinkOps.WithLabelValues(sink, string(operation), string(result))
		}
	}
}

// forget the series of what left the config.
func (m *Metrics) forget(label prometheus.Labels) {
	for _, vec := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.requests, m.surveys, m.survey, m.sinkOps, m.usageReads} {
		vec.DeletePartialMatch(label)
	}
}

// ulidTime is when a rotation id was made: its first ten letters are milliseconds in
// Crockford's base 32 (https://github.com/ulid/spec). False for another kind of id.
func ulidTime(id string) (time.Time, bool) {
	if len(id) != 26 {
		return time.Time{}, false
	}
	var ms int64
	for _, c := range []byte(id[:10]) {
		digit := strings.IndexByte("0123456789ABCDEFGHJKMNPQRSTVWXYZ", c)
		if digit < 0 {
			return time.Time{}, false
		}
		ms = ms<<5 | int64(digit)
	}
	return time.UnixMilli(ms), true
}
