package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// Scene is all that Check is shown.
type Scene struct {
	Credentials []View
	// Each, where it is set, calls yield with every credential as it is now, instead of
	// Credentials: a copy of 10,000 records is more than all the rest of the process. The
	// view is gone when yield returns. Find copies one.
	Each func(yield func(*View))
	Find func(name rotate.Name) (View, bool)
	// Complete adds sinks and links, which messages need, to a view that is kept.
	Complete func(*View)
	Health   Health
	Uses     []Use
	// UseKnown tells of a credential that is not among Uses whether it is known that there
	// is nothing to say of its use; nil: of none.
	UseKnown func(name rotate.Name) bool
}

// each credential, however it is given.
func (s *Scene) each(yield func(*View)) {
	if s.Each != nil {
		s.Each(yield)
		return
	}
	for i := range s.Credentials {
		yield(&s.Credentials[i])
	}
}

// find a credential; nil if it is not there.
func (s *Scene) find(name rotate.Name) *View {
	if s.Find != nil {
		if v, ok := s.Find(name); ok {
			return s.keep(&v)
		}
		return nil
	}
	if i := slices.IndexFunc(s.Credentials, func(v View) bool { return v.Name == name }); i >= 0 {
		return &s.Credentials[i]
	}
	return nil
}

// keep a view that messages will be made of.
func (s *Scene) keep(v *View) *View {
	kept := *v
	if s.Complete != nil {
		s.Complete(&kept)
	}
	return &kept
}

// Health is how everything but the credentials is.
type Health struct {
	Portals []PortalHealth
	Sinks   []SinkHealth
	Daemon  DaemonHealth
}

// PortalHealth of one configured portal.
type PortalHealth struct {
	Portal rotate.PortalID
	// Known tells that it was looked at since the start: what was told before that
	// stays as it is until then.
	Known     bool
	DownSince time.Time // no look succeeds since then, or its breaker is open; zero: it answers
	Why       string    // the last error
	// IdentityExpires is when rotatord's own sign-in there ends; zero: unknown, or never.
	IdentityExpires time.Time
	Offset          time.Duration // its clock minus ours
	SurveyedAt      time.Time     // of the last one that succeeded; zero: none since the start
	SurveyDue       time.Time     // when the next had to be done; zero: unknown
}

// SinkHealth of one sink, or of a Vault as VaultSubject.
type SinkHealth struct {
	Sink         string
	Known        bool
	FailingSince time.Time // no operation succeeds since then; zero: it works
	Why          string
	Vault        bool      // it is in the config's Vault, and so needs the sign-in there
	TokenExpires time.Time // of that sign-in, for VaultSubject; zero: unknown, or never
}

// DaemonHealth is what the daemon knows of itself.
type DaemonHealth struct {
	Crashes       []time.Time // starts after an end that was no stop, oldest first
	ReloadRefused time.Time   // the config on disk is refused since then; zero: it is in force
	ReloadError   string
}

// VaultSubject is the Vault of the config; no sink can have that name.
const VaultSubject = "Vault"

const daemonSubject = "rotatord"

const (
	identityFor  = 5 * 24 * time.Hour // before its end; renewal by rotatord itself is tried much earlier
	identityEnds = 24 * time.Hour
	clockOff     = 2 * time.Minute // at 5 minutes nothing is retired any more
	surveyLate   = time.Hour
	tokenEnds    = 30 * time.Second
	crashTold    = time.Hour      // a start after a crash is news for so long
	crashWindow  = 24 * time.Hour // in which several are more than news
	crashMany    = 3
)

// findings of a portal. One that is down hides what follows from it at once, and is told
// when it has been down for a while.
func (p PortalHealth) findings(now time.Time) []finding {
	var out []finding
	if !p.DownSince.IsZero() {
		out = append(out, finding{condition: ConditionUnreachable, severity: SeverityWarning, step: 1})
	}
	if e := p.IdentityExpires; !e.IsZero() && now.After(e.Add(-identityFor)) {
		f := finding{condition: ConditionIdentity, severity: SeverityWarning, step: 1, foresees: true}
		if now.After(e.Add(-identityEnds)) {
			f.severity, f.step = SeverityCritical, 2
		}
		if !now.Before(e) {
			f.step, f.foresees = 3, false
		}
		out = append(out, f)
	}
	if p.Offset.Abs() > clockOff {
		out = append(out, finding{condition: ConditionClock, severity: SeverityWarning, step: 1})
	}
	if !p.SurveyDue.IsZero() && now.Sub(p.SurveyDue) > surveyLate {
		out = append(out, finding{condition: ConditionSurveyStale, severity: SeverityWarning, step: 1})
	}
	return out
}

// findings of a sink. Keys cannot be published there, and those that are stay served.
func (s SinkHealth) findings(now time.Time) []finding {
	var out []finding
	if !s.FailingSince.IsZero() {
		out = append(out, finding{condition: ConditionSinkFailing, severity: SeverityWarning, step: 1})
	}
	if e := s.TokenExpires; !e.IsZero() && e.Sub(now) < tokenEnds {
		out = append(out, finding{condition: ConditionVaultToken, severity: SeverityCritical, step: 1})
	}
	return out
}

func (d DaemonHealth) findings(now time.Time) []finding {
	var out []finding
	if !d.ReloadRefused.IsZero() {
		out = append(out, finding{condition: ConditionReload, severity: SeverityWarning, step: 1})
	}
	if n := d.crashes(now); n > 0 && now.Sub(d.Crashes[len(d.Crashes)-1]) < crashTold {
		f := finding{condition: ConditionCrashed, severity: SeverityInfo, step: 1, once: true}
		if n >= crashMany {
			f.severity, f.step = SeverityWarning, n
		}
		out = append(out, f)
	}
	return out
}

// crashes within the window.
func (d DaemonHealth) crashes(now time.Time) int {
	n := 0
	for _, at := range d.Crashes {
		if now.Sub(at) < crashWindow {
			n++
		}
	}
	return n
}

// troubled fills the message of what is no credential's.
func (h *holding) troubled(m *Message, now time.Time) {
	switch h.condition {
	case ConditionUnreachable:
		m.Title = h.subject + ": portal does not answer, or refuses" + lasting(h.health.DownSince, now)
		m.Breaks = "No key is renewed there. Those that are served work on."
		m.LastError, m.Command = h.health.Why, "rotatord check-config --online"
	case ConditionIdentity:
		m.Title = h.subject + ": rotatord's own sign-in there " + endsOrEnded(h.health.IdentityExpires, now)
		m.Breaks = "From " + When(h.health.IdentityExpires, now) + " on no key is renewed there."
		m.Command = "rotatord login " + quote(h.subject)
	case ConditionClock:
		m.Title = fmt.Sprintf("%s: its clock and ours differ by %s", h.subject, h.health.Offset.Abs().Round(time.Second))
		m.Breaks = "Above 5 minutes no old key is retired."
		m.Command = "timedatectl"
	case ConditionSurveyStale:
		m.Title = h.subject + ": not surveyed " + since(h.health.SurveyedAt, now)
		m.Breaks = "What others do to the keys there is noticed late."
		m.LastError, m.Command = h.health.Why, "rotatord check-config --online"
	case ConditionSinkFailing:
		m.Title = h.subject + ": sink cannot be read or written" + lasting(h.sink.FailingSince, now)
		m.Breaks = "No new key gets there. What it holds works until it expires."
		m.LastError, m.Command = h.sink.Why, "rotatord check-config --online"
	case ConditionVaultToken:
		m.Title = h.subject + ": the sign-in to Vault " + endsOrEnded(h.sink.TokenExpires, now) + " and is not renewed"
		m.Breaks = "From " + When(h.sink.TokenExpires, now) + " on no key can be published, and no rotation starts."
		m.LastError, m.Command = h.sink.Why, "rotatord check-config --online"
	case ConditionReload:
		m.Title = "the config on disk is refused" + lasting(h.daemon.ReloadRefused, now)
		m.Breaks = "The one before it stays in force; at a restart rotatord would not start."
		m.LastError, m.Command = h.daemon.ReloadError, "rotatord check-config"
	case ConditionCrashed:
		m.Title = "rotatord started after an end that was no stop"
		if n := h.daemon.crashes(now); n > 1 {
			m.Title = fmt.Sprintf("rotatord started %d times in a day after an end that was no stop", n)
		}
		m.Breaks = "Nothing: what was under way goes on from the journal."
		m.Command = "journalctl -u rotatord -n 200"
	default: // a credential's, made in message.go and uses.go
	}
	h.names(m, now)
}

// names the credentials of what a cause hides, the one that ends first at the front.
func (h *holding) names(m *Message, now time.Time) {
	if h.view != nil {
		return // it names itself
	}
	var first time.Time
	named := map[string]bool{}
	for _, e := range h.hidden {
		if e.view == nil {
			continue
		}
		if ends := e.view.Record.Live.Expires; !ends.IsZero() && (first.IsZero() || ends.Before(first)) {
			first = ends
		}
		if !named[e.subject] {
			named[e.subject] = true
			m.Others = append(m.Others, label(e.subject, e.owner))
		}
	}
	if !first.IsZero() {
		m.Breaks += " The first of them ends " + When(first, now) + "."
	}
}

func endsOrEnded(t, now time.Time) string {
	if now.Before(t) {
		return "ends " + ago(t, now)
	}
	return "ended " + ago(t, now)
}

func since(t, now time.Time) string {
	if t.IsZero() {
		return "since the start"
	}
	return strings.TrimSpace(lasting(t, now))
}
