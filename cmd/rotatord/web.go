package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"rotatord/docs"
	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/journal"
	"rotatord/internal/metrics"
	"rotatord/internal/quiet"
	"rotatord/internal/rotate"
	used "rotatord/internal/usage"
	"rotatord/internal/web"
)

// serveStatusPage beside the metrics, unless the config switches it off.
func (p *process) serveStatusPage(o *metrics.ServerOptions) error {
	if !p.app.cfg.HTTP.StatusPage {
		return nil
	}
	shown := statusPage{process: p, starts: &startMemo{known: map[rotate.Name]startEntry{}}}
	p.forecast = newForecaster(p.daemon.Each, p.app.cfg)
	site, err := web.New(web.Options{Forecast: p.forecast.get, Snapshot: shown.credentials, Status: shown.status, History: shown.history, Usage: shown.use, Settings: shown.settings, Acks: shown.acks, Daemon: shown.daemon,
		Protocol: docs.Protocol, Runbook: docs.Runbook, RunbookURL: string(p.app.cfg.Alerts.RunbookURL), Log: p.app.log})
	if err != nil {
		return err
	}
	if o.More == nil {
		o.More = map[string]http.Handler{}
	}
	o.Root = site.Root()
	maps.Copy(o.More, site.Handlers())
	return nil
}

// statusPage is a running daemon as its page sees it. Nothing here waits for the loop,
// so that the page tells of a loop that is stuck, too.
type statusPage struct {
	*process
	starts *startMemo
}

// status is what `rotatord status --json` prints.
func (s statusPage) status(now time.Time) any {
	views := s.process.daemon.Views()
	out := make([]daemon.Status, len(views))
	for i, v := range views {
		out[i] = v.Status(now)
	}
	return out
}

// credentials as the page shows them: the status, and what only the page tells.
func (s statusPage) credentials(now time.Time) []web.Credential {
	var portals map[string]*config.Portal
	if a := s.adapters.Load(); a != nil {
		portals = a.cfg.Portals
	}
	views := s.process.daemon.Views()
	out := make([]web.Credential, len(views))
	for i := range views {
		v := &views[i]
		st := v.Status(now)
		c := web.Credential{Name: st.Name, Portal: st.Portal, Product: v.Product, Item: st.Item, Owner: st.Owner, Environment: st.Environment,
			Consumers: st.Consumers, Mode: st.Mode, Record: v.Record, Hold: st.Hold, Overlap: v.Policy.Overlap, CriticalBefore: v.Policy.CriticalBefore,
			DueAt: st.DueAt, StartAt: s.starts.of(v, st.DueAt, now), NextAt: st.NextAt, Detail: st.Detail, Attention: st.Attention, Cure: st.Cure}
		if c.Hold == nil && v.Hold != "" {
			c.Hold = &rotate.Hold{Reason: v.Hold, By: "the config"}
		}
		if one := portals[string(st.Portal)]; one != nil && st.Item != "" {
			c.Links = []web.Link{{Text: "at the portal", URL: itemPage(string(one.URL), st.Item)}}
		}
		for _, one := range v.Sinks {
			c.Sinks = append(c.Sinks, one.Name())
		}
		for _, one := range v.Gates {
			c.Gates = append(c.Gates, one.Name())
		}
		for _, one := range v.Hooks {
			c.Hooks = append(c.Hooks, one.Name())
		}
		out[i] = c
	}
	return out
}

// itemPage is a credential's page for people (arcgis-portal-contract section 1).
func itemPage(portal string, item rotate.ItemID) string {
	return strings.TrimRight(portal, "/") + "/home/item.html?" + url.Values{"id": {string(item)}}.Encode() + "#settings"
}

func (s statusPage) history(ctx context.Context, name rotate.Name, limit int) ([]web.Event, error) {
	entries, err := s.app.db.History(ctx, name, journal.Filter{Limit: limit})
	if err != nil {
		return nil, err
	}
	out := make([]web.Event, len(entries))
	for i, e := range entries {
		out[i] = web.Event{Seq: e.Seq, Event: e.Event}
	}
	return out, nil
}

// acks of a credential's consumers, those that a gate waits for first.
func (s statusPage) acks(ctx context.Context, name rotate.Name) ([]web.Ack, error) {
	a := s.adapters.Load()
	views := s.process.daemon.Views()
	i := slices.IndexFunc(views, func(v daemon.View) bool { return v.Name == name })
	if a == nil || i < 0 {
		return nil, nil
	}
	list, err := quiet.Standings(ctx, &a.acks, views[i].Record, views[i].Gates)
	if err != nil {
		return nil, err
	}
	out := make([]web.Ack, len(list))
	for i, one := range list {
		out[i] = web.Ack{Consumer: one.Consumer, Expected: one.Expected, State: one.State.Says(), Fingerprint: one.Fingerprint, Generation: one.Generation,
			At: one.At, By: one.By}
	}
	return out, nil
}

// usedDays is how many days of usage the page tells of.
const usedDays = 14

// use of a credential's key, as it was read or imported last.
func (s statusPage) use(ctx context.Context, name rotate.Name) (web.Usage, error) {
	u := web.Usage{Note: used.MissingUnread.Sentence()}
	if desk := s.usage.Load(); desk != nil {
		if f, judged := desk.runner.Finding(name); judged {
			u = usageFacts(f)
		}
	}
	rows, err := usageStore{s.app.db}.Rows(ctx, name, used.DayOf(time.Now())-usedDays)
	if err != nil {
		return u, err
	}
	for _, r := range slices.Backward(rows) {
		u.Rows = append(u.Rows, web.UsageRow{Day: r.Day.Start(), Service: r.Service, Requests: r.Requests, Credits: r.Credits})
	}
	return u, nil
}

// usageFacts of a credential, in sentences.
func usageFacts(f used.Finding) web.Usage {
	u := web.Usage{Note: f.Missing.Sentence()}
	if f.Page != "" {
		u.Link = web.Link{Text: "Usage at Esri", URL: f.Page}
	}
	fact := func(format string, args ...any) { u.Facts = append(u.Facts, fmt.Sprintf(format, args...)) }
	if f.HasDay {
		usual := ""
		if f.All.HasMedian {
			usual = fmt.Sprintf("; usual are %.0f requests, %.2f credits", f.All.MedianRequests, f.All.MedianCredits)
		}
		fact("Last full day, %s: %.0f requests, %.2f credits%s.", f.LastFull, f.All.Requests, f.All.Credits, usual)
		fact("This month so far: %.0f requests, %.2f credits.", f.All.MonthRequests, f.All.MonthCredits)
	}
	if f.HasToday {
		fact("Today so far: %.0f requests, %.2f credits.", f.Today.Requests, f.Today.Credits)
	}
	for _, s := range f.Spent {
		text := fmt.Sprintf("Budget for the %s from %s: %.2f of %.2f credits (%.0f %%).", s.Period, s.From, s.Used, s.Budget, 100*s.Share)
		if s.Level > 0 {
			u.Wants = append(u.Wants, text)
			continue
		}
		u.Facts = append(u.Facts, text)
	}
	if f.Spike {
		u.Wants = append(u.Wants, "It is used far more than usual.")
	}
	if f.Silent {
		u.Wants = append(u.Wants, "A busy key is not used any more.")
	}
	switch c := f.CutOff; {
	case c.InForce():
		u.Wants = append(u.Wants, "Its budget is spent, and rotatord cuts it off: "+string(c.Stage)+".")
	case c != nil && c.Why != "":
		u.Wants = append(u.Wants, "Its budget is spent, and it is not cut off: "+c.Why+".")
	}
	return u
}

// daemon says how the process does; people read it while something is wrong with it.
func (s statusPage) daemon() web.Daemon {
	d := web.Daemon{Version: buildOf().Version, Instance: s.app.instance, Started: s.app.started}
	if err := s.process.daemon.Alive(); err != nil {
		d.Problems = append(d.Problems, "The daemon does not go on: "+err.Error()+". What follows is what was journalled last.")
	}
	if err := s.process.daemon.Ready(); err != nil {
		d.Problems = append(d.Problems, "The daemon has just started: "+err.Error()+".")
	}
	return d
}

// startMemo remembers when windows and freezes let a rotation start that is due at a
// time to come: a calendar is slow to ask for 10,000 credentials at each look.
type startMemo struct {
	mu    sync.Mutex
	known map[rotate.Name]startEntry // guarded by mu
}

type startEntry struct {
	due      time.Time
	calendar rotate.Calendar
	start    time.Time
}

// of a credential; zero where nothing is known to make it due. The calendar of a due
// credential is asked afresh.
func (m *startMemo) of(v *daemon.View, due, now time.Time) time.Time {
	cal := v.Policy.Calendar
	if due.IsZero() || cal == nil {
		return due
	}
	if due.Before(now) {
		return startOf(cal, now, v)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.known[v.Name]; ok && e.due.Equal(due) && e.calendar == cal {
		return e.start
	}
	e := startEntry{due: due, calendar: cal, start: startOf(cal, due, v)}
	m.known[v.Name] = e
	return e.start
}

// startOf a rotation that wants to start at a time: when the calendar opens, or when
// critical_before overrides it.
func startOf(cal rotate.Calendar, at time.Time, v *daemon.View) time.Time {
	why, opens := cal.Closed(at)
	if why == "" {
		return at
	}
	e := v.Record.Live.Expires
	if critical := e.Add(-v.Policy.CriticalBefore); !e.IsZero() && (opens.IsZero() || critical.Before(opens)) {
		return slices.MaxFunc([]time.Time{critical, at}, time.Time.Compare)
	}
	return opens
}
