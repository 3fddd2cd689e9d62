package alert

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// noteDone takes up rotations that were done, from events and, where an event was
// lost with the process, from the records.
func (a *Alerter) noteDone(ctx context.Context, views []View, promoted map[rotate.Name]rotate.Event) {
	if !a.o.ReportDone {
		return
	}
	for _, e := range promoted {
		a.addDone(ctx, done{Credential: e.Name, Generation: e.Generation, RotationID: e.RotationID, Reason: e.Reason, At: e.At})
	}
	for _, v := range views {
		r := v.Record
		if !r.PromotedAt.After(a.state.started) {
			continue
		}
		d := done{Credential: v.Name, Generation: r.Live.Generation, At: r.PromotedAt}
		if rot := r.Rotation; rot != nil && rot.Generation == d.Generation {
			d.RotationID, d.Reason = rot.ID, rot.Reason
		}
		a.addDone(ctx, d)
	}
}

func (a *Alerter) addDone(ctx context.Context, d done) {
	if old := a.state.dones[d.Credential]; old != nil && old.Generation >= d.Generation {
		return
	}
	a.state.dones[d.Credential] = &d
	a.keep(put(ctx, a.o.Store, d.key(), d))
}

// reconcile compares what holds with what is known: new incidents are opened, ended
// ones are closed, or forgotten if nobody was told of them.
func (a *Alerter) reconcile(ctx context.Context, views []View, now time.Time) {
	holds := map[string]bool{}
	configured := map[rotate.Name]bool{}
	for _, v := range views {
		configured[v.Name] = true
		for _, f := range a.findings(v, now) {
			holds[a.open(ctx, v, f, now)] = true
		}
	}
	for key, inc := range a.state.incidents {
		switch {
		case holds[key] || !inc.ResolvedAt.IsZero():
		case inc.SaidAt.IsZero():
			delete(a.state.incidents, key)
			a.keep(a.o.Store.Delete(ctx, key))
		default:
			inc.ResolvedAt = now
			a.keep(put(ctx, a.o.Store, key, inc))
		}
	}
	for name, d := range a.state.dones {
		if !configured[name] {
			delete(a.state.dones, name)
			a.keep(a.o.Store.Delete(ctx, d.key()))
		}
	}
}

// open notes that a finding holds and returns its key.
func (a *Alerter) open(ctx context.Context, v View, f finding, now time.Time) string {
	fresh := incident{Credential: v.Name, Condition: f.condition, Owner: v.Owner, Environment: v.Environment, Portal: string(v.Portal), Since: now}
	key := fresh.key()
	inc, known := a.state.incidents[key]
	if !known {
		inc = &fresh
		a.state.incidents[key] = inc
	}
	changed := !known || !inc.ResolvedAt.IsZero()
	inc.ResolvedAt = time.Time{} // it is back before its end was said
	inc.now = f
	if rot := v.Record.Rotation; rot != nil && rot.ID != inc.RotationID {
		inc.RotationID, changed = rot.ID, true
	}
	if changed {
		a.keep(put(ctx, a.o.Store, key, inc))
	}
	return key
}

// unsaid tells whether the incident is news at now.
func (a *Alerter) unsaid(inc *incident, now time.Time) bool {
	switch {
	case now.Before(inc.retryAt):
		return false
	case !inc.ResolvedAt.IsZero(), inc.SaidAt.IsZero(), inc.now.step > inc.SaidStep:
		return true
	}
	return !inc.now.once && now.Sub(inc.SaidAt) >= a.o.RepeatEvery
}

// notice is one message and what it is about.
type notice struct {
	message   Message
	incidents []*incident
	dones     []*done
}

const (
	// groupOver: more news of one kind than that become one message.
	groupOver = 5
	// doneNews: a rotation that could not be said for so long is news to nobody.
	doneNews = 24 * time.Hour
)

// rank orders what is sent first.
func rank(c Condition, resolved bool) int {
	order := slices.Index([]Condition{ConditionDead, ConditionExpiring, ConditionHeld, ConditionStopped, ConditionQuarantined, ConditionFailing, ConditionDrift,
		ConditionUnretired, ConditionOrphan}, c)
	if resolved {
		order += 10
	}
	return order
}

// next is the most urgent news.
func (a *Alerter) next(views []View, now time.Time) (notice, bool) {
	var news []*incident
	for _, inc := range a.state.incidents {
		if a.unsaid(inc, now) {
			news = append(news, inc)
		}
	}
	slices.SortFunc(news, func(x, y *incident) int {
		return cmp.Or(cmp.Compare(rank(x.Condition, !x.ResolvedAt.IsZero()), rank(y.Condition, !y.ResolvedAt.IsZero())), cmp.Compare(x.Credential, y.Credential))
	})
	if len(news) == 0 {
		return a.nextDone(views, now)
	}
	first := news[0]
	same := slices.DeleteFunc(news, func(i *incident) bool {
		return i.Condition != first.Condition || i.ResolvedAt.IsZero() != first.ResolvedAt.IsZero()
	})
	if len(same) > groupOver {
		return notice{message: a.group(same, now), incidents: same}, true
	}
	if !first.ResolvedAt.IsZero() {
		return notice{message: a.composeResolved(first, now), incidents: same[:1]}, true
	}
	return notice{message: a.compose(viewOf(views, first.Credential), first.now, *first, now), incidents: same[:1]}, true
}

func viewOf(views []View, name rotate.Name) View {
	if i := slices.IndexFunc(views, func(v View) bool { return v.Name == name }); i >= 0 {
		return views[i]
	}
	return View{Name: name}
}

func (a *Alerter) composeResolved(inc *incident, now time.Time) Message {
	return Message{Condition: inc.Condition, Severity: SeverityInfo, Resolved: true, Title: string(inc.Credential) + ": resolved, no longer " + string(inc.Condition),
		Credential: string(inc.Credential), Owner: inc.Owner, Environment: inc.Environment, Portal: inc.Portal, RotationID: inc.RotationID, Since: inc.Since, At: now}
}

// group says the same of many credentials at once.
func (a *Alerter) group(same []*incident, now time.Time) Message {
	first := same[0]
	m := Message{Condition: first.Condition, Severity: SeverityInfo, Since: first.Since, At: now}
	for _, inc := range same {
		m.Others = append(m.Others, inc.label())
		if m.Since.After(inc.Since) {
			m.Since = inc.Since
		}
		if inc.ResolvedAt.IsZero() && m.Severity != SeverityCritical {
			m.Severity = inc.now.severity
		}
	}
	m.Title = fmt.Sprintf("%d credentials: %s", len(same), first.Condition)
	if m.Resolved = !first.ResolvedAt.IsZero(); m.Resolved {
		m.Title = fmt.Sprintf("%d credentials: resolved, no longer %s", len(same), first.Condition)
		return m
	}
	m.Command, m.Runbook = "rotatord status", a.runbook(first.Condition)
	return m
}

// nextDone says rotations that went well, when there is nothing worse to say.
func (a *Alerter) nextDone(views []View, now time.Time) (notice, bool) {
	var news []*done
	for _, d := range a.state.dones {
		if !d.Said && !now.Before(d.retryAt) && now.Sub(d.At) < doneNews {
			news = append(news, d)
		}
	}
	if len(news) == 0 {
		return notice{}, false
	}
	slices.SortFunc(news, func(x, y *done) int { return cmp.Compare(x.Credential, y.Credential) })
	if len(news) > groupOver {
		m := Message{Condition: ConditionDone, Severity: SeverityInfo, Title: fmt.Sprintf("%d credentials: rotated", len(news)), At: now}
		for _, d := range news {
			m.Others = append(m.Others, string(d.Credential))
		}
		return notice{message: m, dones: news}, true
	}
	d := news[0]
	v := viewOf(views, d.Credential)
	m := a.compose(v, finding{condition: ConditionDone, severity: SeverityInfo}, incident{RotationID: d.RotationID}, now)
	m.RotationID, m.Reason, m.LastError = d.RotationID, string(d.Reason), ""
	m.Breaks = "Served since " + When(d.At, now)
	if e := v.Record.Live.Expires; !e.IsZero() && v.Record.Live.Generation == d.Generation {
		m.Breaks += ", expires " + When(e, now)
	}
	return notice{message: m, dones: news[:1]}, true
}

// said notes that a notice was delivered.
func (a *Alerter) said(ctx context.Context, n notice, now time.Time) {
	for _, inc := range n.incidents {
		if !inc.ResolvedAt.IsZero() {
			delete(a.state.incidents, inc.key())
			a.keep(a.o.Store.Delete(ctx, inc.key()))
			continue
		}
		inc.SaidAt, inc.SaidStep = now, inc.now.step
		a.keep(put(ctx, a.o.Store, inc.key(), inc))
	}
	for _, d := range n.dones {
		d.Said = true
		a.keep(put(ctx, a.o.Store, d.key(), d))
	}
}

// postpone a notice that the channel refuses as such, so that it holds up no other.
func (a *Alerter) postpone(n notice, until time.Time) {
	for _, inc := range n.incidents {
		inc.retryAt = until
	}
	for _, d := range n.dones {
		d.retryAt = until
	}
}
