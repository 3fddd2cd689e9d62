package main

import (
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/daemon"
	"rotatord/internal/metrics"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
	used "rotatord/internal/usage"
)

// troubles is what was seen of portals and sinks since the adapters were made, for alerts.
type troubles struct {
	mu      sync.Mutex
	portals map[string]*portalTrouble // guarded by mu, as all below
	sinks   map[string]*sinkTrouble
	// refused is since when the config on disk is; crashes are the daemon's of the last day.
	refused time.Time
	refusal string
	crashes []time.Time
}

type portalTrouble struct {
	known      bool
	downSince  time.Time // of surveys
	openSince  time.Time // of the breaker
	why        string
	surveyedAt time.Time
	due        time.Time
}

type sinkTrouble struct {
	failures int // in a row
	since    time.Time
	why      string
}

// failuresTell: one failed operation of a sink is the network's.
const failuresTell = 3

func (t *troubles) portal(name string) *portalTrouble {
	if t.portals == nil {
		t.portals = map[string]*portalTrouble{}
	}
	if t.portals[name] == nil {
		t.portals[name] = &portalTrouble{}
	}
	return t.portals[name]
}

// surveyed notes how the survey of a portal ended, and when the next one is due.
func (t *troubles) surveyed(name string, err error, now, due time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.portal(name)
	p.known = true
	if err == nil {
		*p = portalTrouble{known: true, openSince: p.openSince, surveyedAt: now, due: due}
		return
	}
	p.why = err.Error()
	if p.downSince.IsZero() {
		p.downSince = now
	}
	if p.due.IsZero() {
		p.due = now
	}
}

// used notes how an operation on a sink ended. A conflict is somebody else's write: the sink works.
func (t *troubles) used(name string, op metrics.SinkOperation, result rotate.Result, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sinks == nil {
		t.sinks = map[string]*sinkTrouble{}
	}
	s := t.sinks[name]
	if s == nil || result == rotate.ResultOK || result == rotate.Result(rotate.KindConflict) {
		s = &sinkTrouble{}
		t.sinks[name] = s
	}
	if result == rotate.ResultOK || result == rotate.Result(rotate.KindConflict) {
		return
	}
	if s.failures++; s.failures == 1 {
		s.since = now
	}
	s.why = string(op) + ": " + strings.ReplaceAll(string(result), "_", " ")
}

// reloaded notes whether the config on disk is in force.
func (t *troubles) reloaded(err error, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.refused, t.refusal = time.Time{}, ""
	case t.refused.IsZero():
		t.refused, t.refusal = now, err.Error()
	default:
		t.refusal = err.Error()
	}
}

// keep what a reload does not end.
func (t *troubles) keep(was *troubles) {
	was.mu.Lock()
	refused, refusal, crashes := was.refused, was.refusal, was.crashes
	was.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused, t.refusal, t.crashes = refused, refusal, crashes
}

// health of everything that the adapters reach, as alerts take it.
func (a *adapters) health(now time.Time) alert.Health {
	t := &a.troubles
	t.mu.Lock()
	defer t.mu.Unlock()
	h := alert.Health{Daemon: alert.DaemonHealth{Crashes: slices.Clone(t.crashes), ReloadRefused: t.refused, ReloadError: t.refusal}}
	for name, client := range a.portals {
		p := t.portal(name)
		one := alert.PortalHealth{Portal: rotate.PortalID(name), Known: p.known, DownSince: p.downSince, Why: p.why,
			IdentityExpires: client.IdentityExpires(), SurveyedAt: p.surveyedAt, SurveyDue: p.due}
		if one.IdentityExpires.IsZero() {
			one.IdentityExpires = a.keyEnds.of(name)
		}
		one.Offset, _, _ = client.Clock()
		switch b := client.Standing().Breaker; {
		case b == portal.BreakerOff || b == portal.BreakerClosed:
			p.openSince = time.Time{}
		case p.openSince.IsZero():
			p.openSince = now
		}
		if !p.openSince.IsZero() && (one.DownSince.IsZero() || p.openSince.Before(one.DownSince)) {
			one.DownSince = p.openSince
		}
		h.Portals = append(h.Portals, one)
	}
	for name, inVault := range a.sinkNames() {
		one := alert.SinkHealth{Sink: name, Vault: inVault}
		if s := t.sinks[name]; s != nil {
			one.Known = true
			if s.failures >= failuresTell {
				one.FailingSince, one.Why = s.since, s.why
			}
		}
		h.Sinks = append(h.Sinks, one)
	}
	if a.vault != nil {
		ends := a.vault.TokenExpiry()
		h.Sinks = append(h.Sinks, alert.SinkHealth{Sink: alert.VaultSubject, Known: !ends.IsZero(), TokenExpires: ends})
	}
	return h
}

// sinkNames in use, and whether each is in Vault.
func (a *adapters) sinkNames() map[string]bool {
	out := map[string]bool{}
	for _, m := range a.fleet.Credentials {
		for _, s := range m.Sinks {
			spec := a.cfg.Sinks[s.Name()]
			out[s.Name()] = spec != nil && spec.Vault != nil
		}
	}
	return out
}

// scene for alerts: everything as it is whenever they look. Without a running daemon nothing is known of usage.
func (a *adapters) scene(now time.Time, d *daemon.Daemon, desk *usageDesk) alert.Scene {
	s := alert.Scene{Health: a.health(now), Complete: a.completing()}
	s.Each = func(yield func(*alert.View)) {
		var one alert.View
		d.Each(func(v *daemon.View) {
			one = alertView(v)
			yield(&one)
		})
	}
	s.Find = func(name rotate.Name) (alert.View, bool) {
		v, ok := d.View(name)
		if !ok {
			return alert.View{}, false
		}
		return alertView(&v), true
	}
	if desk == nil {
		return s
	}
	desk.runner.Each(func(f *used.Finding) {
		if f.HasDay || len(f.Spent) > 0 || f.CutOff != nil {
			s.Uses = append(s.Uses, useOf(*f))
		}
	})
	s.UseKnown = func(name rotate.Name) bool {
		f, judged := desk.runner.Finding(name)
		return judged && f.Missing != used.MissingUnread
	}
	return s
}

// alertView is a credential as alerts take it, but for what completing adds.
func alertView(v *daemon.View) alert.View {
	due, _ := rotate.DueAt(v.Record, v.Policy)
	return alert.View{Name: v.Name, Portal: v.ID.Portal, Item: v.ID.Item, Owner: v.Owner, Environment: v.Environment,
		Consumers: v.Consumers, Mode: v.Mode, Record: v.Record, Detail: v.Detail, DueAt: due,
		ConfigHold: v.Hold, CriticalBefore: v.Policy.CriticalBefore, Settings: alertSettings(v)}
}

// completing adds sinks and links to a view. It does not ask the daemon, which waits
// while views are looked at.
func (a *adapters) completing() func(*alert.View) {
	inVault := a.sinkNames()
	at := sync.OnceValue(func() map[rotate.Name]int { // most of the time nothing is wrong with any
		out := make(map[rotate.Name]int, len(a.fleet.Credentials))
		for i, m := range a.fleet.Credentials {
			out[m.Name] = i
		}
		return out
	})
	return func(v *alert.View) {
		v.Links = a.linksOf(v)
		i, ok := at()[v.Name]
		if !ok {
			return // a reload came between
		}
		for _, k := range a.fleet.Credentials[i].Sinks {
			v.Sinks = append(v.Sinks, k.Name())
			if inVault[k.Name()] && !slices.Contains(v.Sinks, alert.VaultSubject) {
				v.Sinks = append(v.Sinks, alert.VaultSubject)
			}
		}
	}
}

// linksOf a credential: its page at the portal, and on the status page.
func (a *adapters) linksOf(v *alert.View) []alert.Link {
	var out []alert.Link
	if p := a.cfg.Portals[string(v.Portal)]; p != nil && v.Item != "" {
		out = append(out, alert.Link{Text: "Item at the portal", URL: itemPage(string(p.URL), v.Item)})
	}
	if base := strings.TrimRight(string(a.cfg.Alerts.StatusURL), "/"); base != "" {
		out = append(out, alert.Link{Text: "Status", URL: base + "/credential?" + url.Values{"name": {string(v.Name)}}.Encode()})
	}
	return out
}

// useOf a credential, as alerts take it.
func useOf(f used.Finding) alert.Use {
	u := alert.Use{Credential: f.Credential, Page: f.Page, Spike: f.Spike, Silent: f.Silent, Until: f.Until,
		Month: alert.Figures{Requests: f.All.MonthRequests, Credits: f.All.MonthCredits}}
	if f.HasDay {
		u.Day = f.LastFull.Start()
		u.Services = append(u.Services, figuresOf(f.All))
		for _, s := range f.Services {
			u.Services = append(u.Services, figuresOf(s))
		}
	}
	for _, s := range f.Spent {
		u.Budgets = append(u.Budgets, alert.Budget{Period: string(s.Period), Credits: s.Budget, Used: s.Used, Share: s.Share, Level: s.Level})
	}
	if c := f.CutOff; c != nil {
		u.CutOff, u.CutOffWhy, u.CutOffOn = string(c.Stage), c.Why, c.InForce()
	}
	return u
}

func figuresOf(o used.Of) alert.Figures {
	return alert.Figures{Service: o.Service, Requests: o.Requests, Credits: o.Credits, UsualRequests: o.MedianRequests, UsualCredits: o.MedianCredits,
		HasUsual: o.HasMedian, Spike: o.Spike}
}

// scene of a running daemon, for alerts.
func (p *process) scene(now time.Time) alert.Scene {
	a := p.adapters.Load()
	return a.scene(now, p.daemon, p.usage.Load())
}
