// Package metrics shows rotatord's state to Prometheus: counters fed by the domain's
// events and by hooks, and gauges computed from the records at each scrape, so that a
// credential that left the config leaves no series behind.
//
// Contract: one private registry; every name is in docs/metrics.md; label values come
// from closed sets, which are created at start, or from the config; a time that is
// unknown is an absent series, never 0. A scrape costs milliseconds for a thousand
// credentials: what is shown of them does not go through the registry (exposition.go).
package metrics

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"rotatord/internal/rotate"
)

// Options of New.
type Options struct {
	Version  string
	Revision string
	// Started is when the process was, from when on a first pass is missed; zero: never.
	Started time.Time
	// Operations are what portals are asked for, of which the series are there from the start.
	Operations []string
	// Series says whether every credential has its own; "" is SeriesAuto.
	Series Series
	// Snapshot calls yield with every configured credential; the view is gone when yield
	// returns. It is called at each scrape and must not block. Nil: none.
	Snapshot func(yield func(*CredentialView))
	// Portals tells of each portal's client, at each scrape. Nil: nothing.
	Portals func() []PortalView
	// Vault tells of the sign-in to Vault, at each scrape. Nil: nothing.
	Vault func() VaultView
}

// Metrics is the registry and everything in it. It is safe for concurrent use.
type Metrics struct {
	registry   *prometheus.Registry
	exposition *exposition
	operations []string

	counters
	durations

	mu      sync.Mutex // guards everything below
	times   processTimes
	portals map[rotate.PortalID]*portalTimes
	sinks   map[string]time.Time // last success; zero before one
}

var _ rotate.Observer = (*Metrics)(nil)

// RotationResult is how a rotation ended.
type RotationResult string

// The results of rotations.
const (
	RotationOK      RotationResult = "ok"      // every sink serves the new key
	RotationAborted RotationResult = "aborted" // given up before that
)

// Delivery is what became of a message, a heartbeat or a reload.
type Delivery string

// The deliveries.
const (
	DeliveryOK     Delivery = "ok"
	DeliveryFailed Delivery = "failed" // it is tried again, or the former stays
)

func deliveries() []Delivery { return []Delivery{DeliveryOK, DeliveryFailed} }

// SinkOperation is what a sink was asked for.
type SinkOperation string

// The operations. A read-back is the read of what was just written.
const (
	SinkRead     SinkOperation = "read"
	SinkWrite    SinkOperation = "write"
	SinkReadBack SinkOperation = "read_back"
)

func sinkOperations() []SinkOperation { return []SinkOperation{SinkRead, SinkWrite, SinkReadBack} }

// JournalOperation is what the journal was asked for.
type JournalOperation string

// The operations.
const (
	JournalRead  JournalOperation = "read"
	JournalWrite JournalOperation = "write"
)

func journalOperations() []JournalOperation { return []JournalOperation{JournalRead, JournalWrite} }

// JournalResult is what became of it.
type JournalResult string

// The results. After a conflict the record is read again, which is no fault of the journal.
const (
	JournalOK       JournalResult = "ok"
	JournalConflict JournalResult = "conflict"
	JournalFailed   JournalResult = "failed"
)

func journalResults() []JournalResult {
	return []JournalResult{JournalOK, JournalConflict, JournalFailed}
}

func results() []rotate.Result {
	out := []rotate.Result{rotate.ResultOK}
	for _, k := range rotate.Kinds() {
		out = append(out, rotate.Result(k))
	}
	return out
}

// New makes the registry. It starts nothing.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), operations: o.Operations, counters: newCounters(), durations: newDurations(),
		portals: map[rotate.PortalID]*portalTimes{}, sinks: map[string]time.Time{}}
	m.times.passDue = o.Started
	m.exposition = newExposition(&exposition{registry: m.registry, scales: newScales(), snapshot: o.Snapshot, series: o.Series, portals: m.portalIDs})
	m.createClosedSets()
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "rotatord_build_info", Help: "Always 1; what runs here.",
		ConstLabels: prometheus.Labels{"version": o.Version, "revision": o.Revision, "go_version": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(build, newTimesCollector(m), newClientCollector(o.Portals), newVaultCollector(o.Vault),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(m.counters.all()...)
	m.registry.MustRegister(m.durations.all()...)
	return m
}

// Handler serves everything as text, OpenMetrics or protobuf.
func (m *Metrics) Handler() http.Handler { return m.exposition }

// WriteText writes everything as text, for a support bundle.
func (m *Metrics) WriteText(w io.Writer) error {
	s := m.exposition.take()
	defer m.exposition.put(s)
	return m.exposition.write(w, expfmt.NewFormat(expfmt.TypeTextPlain), s)
}

// Register adds a collector that another package keeps, such as usage's. Its names
// must be its own; they too are held to docs/metrics.md.
func (m *Metrics) Register(c prometheus.Collector) error {
	if err := m.registry.Register(c); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// Observe counts an event. It never blocks.
func (m *Metrics) Observe(e rotate.Event) {
	switch e.Kind {
	case rotate.EventPromoted:
		m.rotations.WithLabelValues(string(RotationOK), string(e.Reason)).Inc()
		if began, ok := ulidTime(e.RotationID); ok {
			observe(m.rotation.WithLabelValues(), max(0, e.At.Sub(began)), e.RotationID)
		}
	case rotate.EventAborted:
		m.rotations.WithLabelValues(string(RotationAborted), string(e.Reason)).Inc()
	case rotate.EventEffect:
		m.effects.WithLabelValues(string(e.Effect), string(e.Result)).Inc()
		observe(m.effect.WithLabelValues(string(e.Effect)), e.Took, e.RotationID)
	default: // shown as state by the gauges
	}
}

// PortalRequest counts a request that was sent. Operation is one of Options.Operations.
func (m *Metrics) PortalRequest(portal rotate.PortalID, operation string, result rotate.Result, took time.Duration) {
	m.requests.WithLabelValues(string(portal), operation, string(result)).Inc()
	observe(m.request.WithLabelValues(operation), took, "")
}

// SinkUse is one operation on a sink.
type SinkUse struct {
	Sink      string
	Operation SinkOperation
	Result    rotate.Result
	At        time.Time
	Took      time.Duration
}

// SinkUsed counts an operation on a sink.
func (m *Metrics) SinkUsed(u SinkUse) {
	m.sinkOps.WithLabelValues(u.Sink, string(u.Operation), string(u.Result)).Inc()
	observe(m.sink.WithLabelValues(string(u.Operation)), u.Took, "")
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.sinks[u.Sink]; known && u.Result == rotate.ResultOK {
		m.sinks[u.Sink] = u.At
	}
}

// JournalUsed counts an operation on the journal's records, by the error that it ended with.
func (m *Metrics) JournalUsed(op JournalOperation, err error) {
	result := JournalOK
	switch {
	case err == nil:
	case rotate.KindOf(err) == rotate.KindConflict:
		result = JournalConflict
	default:
		result = JournalFailed
	}
	m.journal.WithLabelValues(string(op), string(result)).Inc()
}

// Notification counts what became of a message.
func (m *Metrics) Notification(d Delivery) { m.notifications.WithLabelValues(string(d)).Inc() }

// Heartbeat counts what became of a call of the dead man's switch.
func (m *Metrics) Heartbeat(d Delivery) { m.heartbeats.WithLabelValues(string(d)).Inc() }

// Survey is how a light survey of a portal ended.
type Survey struct {
	Portal rotate.PortalID
	Err    error
	Took   time.Duration
	// Credentials are how many were listed. They, and the time, stay what they were if
	// the survey failed.
	Credentials int
	At          time.Time
	Due         time.Time // when the next one is, by the schedule; zero: never
}

// SurveyDone notes how a survey ended.
func (m *Metrics) SurveyDone(s Survey) {
	result := rotate.ResultOK
	if s.Err != nil {
		result = rotate.Result(rotate.KindOf(s.Err))
	}
	m.surveys.WithLabelValues(string(s.Portal), string(result)).Inc()
	observe(m.survey.WithLabelValues(string(s.Portal)), s.Took, "")
	if s.Err != nil {
		return
	}
	m.updatePortal(s.Portal, func(t *portalTimes) {
		t.surveyed, t.surveyDue, t.listed, t.listedKnown = s.At, s.Due, s.Credentials, true
	})
}

func (m *Metrics) updatePortal(id rotate.PortalID, fn func(*portalTimes)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.portals[id]; t != nil { // else it left the config meanwhile
		fn(t)
	}
}

func (m *Metrics) portalIDs() []rotate.PortalID {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := make([]rotate.PortalID, 0, len(m.portals))
	for id := range m.portals {
		ids = append(ids, id)
	}
	return ids
}

// SetPortals says which portals there are now. The series of new ones are created, the
// others' vanish.
func (m *Metrics) SetPortals(ids []rotate.PortalID, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.portals {
		if !slices.Contains(ids, id) {
			delete(m.portals, id)
			m.forget(prometheus.Labels{"portal": string(id)})
		}
	}
	for _, id := range ids {
		if m.portals[id] == nil {
			m.portals[id] = &portalTimes{surveyDue: now} // the first survey is at once
			m.createPortal(string(id))
		}
	}
}

// SetSinks says which sinks there are now, likewise.
func (m *Metrics) SetSinks(names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.sinks {
		if !slices.Contains(names, name) {
			delete(m.sinks, name)
			m.forget(prometheus.Labels{"sink": name})
		}
	}
	for _, name := range names {
		if _, ok := m.sinks[name]; !ok {
			m.sinks[name] = time.Time{}
			m.createSink(name)
		}
	}
}

// ConfigLoaded notes how a load or reload of the config ended.
func (m *Metrics) ConfigLoaded(ok bool, at time.Time) {
	d := DeliveryFailed
	if ok {
		d = DeliveryOK
	}
	m.reloads.WithLabelValues(string(d)).Inc()
	m.update(func(t *processTimes) {
		t.configKnown, t.configOK = true, ok
		if ok {
			t.configSuccess = at
		}
	})
}

// PassDone notes a pass over all credentials. Healthy means that every due credential
// advanced or is knowingly held; due is when the next one begins.
func (m *Metrics) PassDone(at time.Time, healthy bool, due time.Time) {
	m.update(func(t *processTimes) {
		t.pass, t.passDue = at, due
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
