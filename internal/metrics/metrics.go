// Package metrics shows rotatord's state to Prometheus: counters fed by the domain's
// events and by hooks, and gauges computed from the records at each scrape, so that a
// credential that left the config leaves no series behind.
//
// Contract: one private registry; every name is in docs/metrics.md; label values come
// from closed sets, which are created at start, or from the config; a time that is
// unknown is an absent series, never 0.
package metrics

import (
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"rotatord/internal/rotate"
)

// CredentialView is what a scrape needs of one configured credential.
type CredentialView struct {
	Name        rotate.Name
	Portal      rotate.PortalID
	Product     string // location_platform, online or enterprise
	Owner       string
	Environment string
	Item        rotate.ItemID
	Mode        rotate.Mode
	Record      rotate.Record
	DueAt       time.Time // when a rotation becomes due by the clock; zero is unknown
}

// Options of New.
type Options struct {
	Version  string
	Revision string
	// Snapshot returns every configured credential once; it is called at each scrape
	// and must not block. Nil: none.
	Snapshot func() []CredentialView
}

// Metrics is the registry and everything in it. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	rotations      *prometheus.CounterVec
	effects        *prometheus.CounterVec
	effectDuration *prometheus.HistogramVec
	surveys        *prometheus.GaugeVec
	requests       *prometheus.CounterVec
	notifications  *prometheus.CounterVec

	mu    sync.Mutex
	times processTimes // guarded by mu
}

var _ rotate.Observer = (*Metrics)(nil)

// processTimes are gauges that are absent until something happened.
type processTimes struct {
	configKnown   bool
	configOK      bool
	configSuccess time.Time
	vaultToken    time.Time
	pass          time.Time
	healthyPass   time.Time
}

// RotationResult is how a rotation ended.
type RotationResult string

// The results of rotations.
const (
	RotationOK      RotationResult = "ok"      // every sink serves the new key
	RotationAborted RotationResult = "aborted" // given up before that
)

// Delivery is what became of a notification.
type Delivery string

// The deliveries.
const (
	DeliveryOK     Delivery = "ok"
	DeliveryFailed Delivery = "failed" // it is tried again
)

// New makes the registry. It starts nothing.
func New(o Options) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		rotations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rotatord_rotations_total",
			Help: "Rotations by how they ended: ok when every sink serves the new key, aborted when given up before."}, []string{"result", "reason"}),
		effects: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rotatord_effects_total",
			Help: "External effects that were tried, by kind and result: ok or the kind of the error."}, []string{"effect", "result"}),
		effectDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "rotatord_effect_duration_seconds",
			Help:    "How long external effects took, whatever came of them.",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
			// Growth of at most 10 % a bucket; the least that keeps quantiles honest.
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"effect"}),
		surveys: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "rotatord_survey_last_success_timestamp_seconds",
			Help: "When the portal was last surveyed without an error, in seconds since 1970."}, []string{"portal"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rotatord_portal_requests_total",
			Help: "Requests to the portal, by operation and result: ok or the kind of the error."}, []string{"portal", "operation", "result"}),
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rotatord_notifications_total",
			Help: "Messages to people, by what became of them: ok, or failed and tried again."}, []string{"result"}),
	}
	m.createClosedSets()
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "rotatord_build_info", Help: "Always 1; what runs here.",
		ConstLabels: prometheus.Labels{"version": o.Version, "revision": o.Revision, "go_version": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(m.rotations, m.effects, m.effectDuration, m.surveys, m.requests, m.notifications, build,
		&credentialCollector{snapshot: o.Snapshot, now: time.Now}, processCollector{m},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// createClosedSets makes series whose labels are known beforehand, so that their
// first increase is seen as one.
func (m *Metrics) createClosedSets() {
	for _, reason := range rotate.DueReasons() {
		for _, result := range []RotationResult{RotationOK, RotationAborted} {
			m.rotations.WithLabelValues(string(result), string(reason))
		}
	}
	for _, effect := range rotate.Effects() {
		m.effectDuration.WithLabelValues(string(effect))
		for _, result := range results() {
			m.effects.WithLabelValues(string(effect), string(result))
		}
	}
	for _, d := range []Delivery{DeliveryOK, DeliveryFailed} {
		m.notifications.WithLabelValues(string(d))
	}
}

func results() []rotate.Result {
	out := []rotate.Result{rotate.ResultOK}
	for _, k := range rotate.Kinds() {
		out = append(out, rotate.Result(k))
	}
	return out
}

// Handler serves the registry as text, OpenMetrics or protobuf.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Register adds a collector that another package keeps, such as usage's. Its names
// must be its own; they too are held to docs/metrics.md.
func (m *Metrics) Register(c prometheus.Collector) error {
	if err := m.registry.Register(c); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// Gatherer is the registry, for a support bundle.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Observe counts an event. It never blocks.
func (m *Metrics) Observe(e rotate.Event) {
	switch e.Kind {
	case rotate.EventPromoted:
		m.rotations.WithLabelValues(string(RotationOK), string(e.Reason)).Inc()
	case rotate.EventAborted:
		m.rotations.WithLabelValues(string(RotationAborted), string(e.Reason)).Inc()
	case rotate.EventEffect:
		m.effects.WithLabelValues(string(e.Effect), string(e.Result)).Inc()
		m.observeDuration(e)
	default: // shown as state by the gauges
	}
}

func (m *Metrics) observeDuration(e rotate.Event) {
	h := m.effectDuration.WithLabelValues(string(e.Effect))
	if ex, ok := h.(prometheus.ExemplarObserver); ok && e.RotationID != "" {
		ex.ObserveWithExemplar(e.Took.Seconds(), prometheus.Labels{"rotation_id": e.RotationID})
		return
	}
	h.Observe(e.Took.Seconds())
}

// PortalRequest counts a request that was sent. Operation is the adapter's closed set.
func (m *Metrics) PortalRequest(portal rotate.PortalID, operation string, result rotate.Result) {
	m.requests.WithLabelValues(string(portal), operation, string(result)).Inc()
}

// SurveyDone notes a survey of a portal without an error.
func (m *Metrics) SurveyDone(portal rotate.PortalID, at time.Time) {
	m.surveys.WithLabelValues(string(portal)).Set(seconds(at))
}

// ForgetPortal drops what is shown of a portal that left the config.
func (m *Metrics) ForgetPortal(portal rotate.PortalID) {
	label := prometheus.Labels{"portal": string(portal)}
	m.surveys.DeletePartialMatch(label)
	m.requests.DeletePartialMatch(label)
}

// Notification counts what became of a message.
func (m *Metrics) Notification(d Delivery) { m.notifications.WithLabelValues(string(d)).Inc() }

// ConfigLoaded notes how a load or reload of the config ended.
func (m *Metrics) ConfigLoaded(ok bool, at time.Time) {
	m.update(func(t *processTimes) {
		t.configKnown, t.configOK = true, ok
		if ok {
			t.configSuccess = at
		}
	})
}

// VaultToken notes when the sign-in to Vault ends; zero if that is unknown.
func (m *Metrics) VaultToken(expires time.Time) {
	m.update(func(t *processTimes) { t.vaultToken = expires })
}

// PassDone notes a pass over all credentials. Healthy means that every due credential
// advanced or is knowingly held.
func (m *Metrics) PassDone(at time.Time, healthy bool) {
	m.update(func(t *processTimes) {
		t.pass = at
		if healthy {
			t.healthyPass = at
		}
	})
}

func (m *Metrics) update(fn func(*processTimes)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn(&m.times)
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
