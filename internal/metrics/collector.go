package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rotatord/internal/rotate"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// credentialDescs are the metrics of one credential.
type credentialDescs struct {
	expires, info, phase, due, retire, attention *prometheus.Desc
}

func newCredentialDescs() credentialDescs {
	return credentialDescs{
		expires: desc("rotatord_key_expiration_timestamp_seconds",
			"When the key in the slot expires, in seconds since 1970; absent if unknown or if the slot holds no valid key.", "credential", "slot", "role"),
		info: desc("rotatord_credential_info", "Always 1; what the credential is.",
			"credential", "portal", "product", "owner", "environment", "item"),
		phase: desc("rotatord_credential_phase", "1 for the phase that the credential's rotation is in, 0 for all others.", "credential", "phase"),
		due: desc("rotatord_credential_rotation_due_timestamp_seconds",
			"When a rotation of the live key becomes due by the clock, in seconds since 1970; absent if unknown.", "credential"),
		retire: desc("rotatord_credential_retire_timestamp_seconds",
			"When the overlap ends and the previous key may be retired, in seconds since 1970; absent outside an overlap.", "credential"),
		attention: desc("rotatord_credential_attention", "1 for each condition that wants a person's attention, 0 for all others.", "credential", "condition"),
	}
}

// credentialCollector computes every credential's gauges at the scrape.
type credentialCollector struct {
	snapshot func() []CredentialView
	now      func() time.Time
}

// Describe implements prometheus.Collector.
func (c *credentialCollector) Describe(ch chan<- *prometheus.Desc) {
	d := newCredentialDescs()
	for _, one := range []*prometheus.Desc{d.expires, d.info, d.phase, d.due, d.retire, d.attention} {
		ch <- one
	}
}

// Collect implements prometheus.Collector.
func (c *credentialCollector) Collect(ch chan<- prometheus.Metric) {
	if c.snapshot == nil {
		return
	}
	d, now := newCredentialDescs(), c.now()
	for _, v := range c.snapshot() {
		d.collect(ch, v, now)
	}
}

func (d credentialDescs) collect(ch chan<- prometheus.Metric, v CredentialView, now time.Time) {
	name := string(v.Name)
	gauge := func(of *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(of, prometheus.GaugeValue, value, append([]string{name}, labels...)...)
	}
	gauge(d.info, 1, string(v.Portal), v.Product, v.Owner, v.Environment, string(v.Item))
	phase := v.Record.Phase
	if phase == "" {
		phase = rotate.PhaseIdle // never advanced
	}
	for _, p := range rotate.Phases() {
		gauge(d.phase, stateOf(p == phase), string(p))
	}
	for _, a := range Attentions() {
		gauge(d.attention, stateOf(a.holds(v, now)), string(a))
	}
	for _, k := range shownKeys(v.Record) {
		gauge(d.expires, seconds(k.expires), k.slot.String(), k.role)
	}
	if !v.DueAt.IsZero() {
		gauge(d.due, seconds(v.DueAt))
	}
	if at := v.Record.RetireAt; !at.IsZero() {
		gauge(d.retire, seconds(at))
	}
}

func stateOf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Attention is the closed set of conditions that want a person.
type Attention string

// The conditions.
const (
	AttentionDrift      Attention = "drift"
	AttentionHeld       Attention = "held"
	AttentionQuarantine Attention = "quarantine"
	AttentionDead       Attention = "dead"
	AttentionOccupied   Attention = "occupied"
	AttentionFailing    Attention = "failing"
	AttentionUnadopted  Attention = "unadopted"
)

// Attentions lists every condition.
func Attentions() []Attention {
	return []Attention{AttentionDrift, AttentionHeld, AttentionQuarantine, AttentionDead, AttentionOccupied, AttentionFailing, AttentionUnadopted}
}

func (a Attention) holds(v CredentialView, now time.Time) bool {
	r := v.Record
	switch a {
	case AttentionDrift:
		return r.Drift != rotate.DriftNone
	case AttentionHeld:
		return r.Hold.Active(now)
	case AttentionQuarantine:
		return r.Quarantine != nil
	case AttentionDead:
		return !r.DeadAt.IsZero()
	case AttentionOccupied:
		return r.Blocked == rotate.ReasonOccupied
	case AttentionFailing:
		return r.Attempts > 0
	case AttentionUnadopted:
		return v.Mode == rotate.ModeRotate && r.AdoptedAt.IsZero()
	}
	return false
}

// The roles of a slot.
const (
	roleLive  = "live"
	roleSpare = "spare"
)

// shownKey is a key whose expiry is known.
type shownKey struct {
	slot    rotate.Slot
	role    string
	expires time.Time
}

// shownKeys are the keys that are valid as far as the journal knows. While nobody
// knows which slot is served, each counts as live.
func shownKeys(r rotate.Record) []shownKey {
	var out []shownKey
	for _, slot := range rotate.Slots() {
		s := r.Slots[slot]
		k := shownKey{slot: slot, role: roleSpare}
		switch {
		case slot == r.Live.Slot:
			k.role = roleLive
			k.expires = r.Live.Expires
		case !s.Active || s.Use == rotate.UseEmpty:
			continue // an invalidated key's date stays on the item
		case r.Live.Slot == rotate.NoSlot:
			k.role = roleLive
		}
		if k.expires.IsZero() {
			k.expires = earliest(s.Key.Expires, s.Expires)
		}
		if !k.expires.IsZero() {
			out = append(out, k)
		}
	}
	return out
}

// earliest of two times, of which zero is unknown.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// processCollector shows the times that are absent until something happened.
type processCollector struct{ m *Metrics }

type processDescs struct {
	configOK, configSuccess, vaultToken, pass, healthyPass *prometheus.Desc
}

func newProcessDescs() processDescs {
	return processDescs{
		configOK:      desc("rotatord_config_last_reload_successful", "1 if the last load or reload of the config succeeded, 0 if the one before it still runs."),
		configSuccess: desc("rotatord_config_last_reload_success_timestamp_seconds", "When the config that runs was loaded, in seconds since 1970."),
		vaultToken: desc("rotatord_vault_token_expiration_timestamp_seconds",
			"When the sign-in to Vault ends unless it is renewed, in seconds since 1970; absent if unknown or without an end."),
		pass:        desc("rotatord_last_pass_timestamp_seconds", "When the last pass over all credentials ended, in seconds since 1970."),
		healthyPass: desc("rotatord_last_healthy_pass_timestamp_seconds", "When a pass last ended in which every due credential advanced or is knowingly held, in seconds since 1970."),
	}
}

// Describe implements prometheus.Collector.
func (c processCollector) Describe(ch chan<- *prometheus.Desc) {
	d := newProcessDescs()
	for _, one := range []*prometheus.Desc{d.configOK, d.configSuccess, d.vaultToken, d.pass, d.healthyPass} {
		ch <- one
	}
}

// Collect implements prometheus.Collector.
func (c processCollector) Collect(ch chan<- prometheus.Metric) {
	c.m.mu.Lock()
	t := c.m.times
	c.m.mu.Unlock()
	d := newProcessDescs()
	if t.configKnown {
		ch <- prometheus.MustNewConstMetric(d.configOK, prometheus.GaugeValue, stateOf(t.configOK))
	}
	for _, at := range []struct {
		of *prometheus.Desc
		t  time.Time
	}{{d.configSuccess, t.configSuccess}, {d.vaultToken, t.vaultToken}, {d.pass, t.pass}, {d.healthyPass, t.healthyPass}} {
		if !at.t.IsZero() {
			ch <- prometheus.MustNewConstMetric(at.of, prometheus.GaugeValue, seconds(at.t))
		}
	}
}
