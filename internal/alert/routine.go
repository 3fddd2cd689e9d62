package alert

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

const (
	// doneNews: a rotation that could not be told for so long is news to nobody.
	doneNews = 24 * time.Hour
	// daysKept is how long a day's rotations are kept for a weekly digest.
	daysKept = 15 * 24 * time.Hour
	// ahead is how far a digest looks.
	ahead = 14 * 24 * time.Hour
	// digestMost lines of a digest's section.
	digestMost = 25
)

func routineKey(date string) string { return "routine/" + date }

// noteDone takes up rotations that were done, from events and, where an event was lost
// with the process, from the records.
func (a *Alerter) noteDone(ctx context.Context, s *Scene, promoted map[rotate.Name]rotate.Event, now time.Time) {
	for _, name := range slices.Sorted(mapKeys(promoted)) {
		e := promoted[name]
		a.addDone(ctx, rotation{Credential: string(e.Name), Generation: e.Generation, RotationID: e.RotationID, Reason: string(e.Reason), At: e.At.UTC()}, now)
	}
	var done []rotation // noted below: nothing is written while the daemon waits
	s.each(func(v *View) {
		r := &v.Record
		if !r.PromotedAt.After(a.state.started) {
			return
		}
		d := rotation{Credential: string(v.Name), Generation: r.Live.Generation, At: r.PromotedAt.UTC()}
		if rot := r.Rotation; rot != nil && rot.Generation == d.Generation {
			d.RotationID, d.Reason = rot.ID, string(rot.Reason)
		}
		done = append(done, d)
	})
	for _, d := range done {
		a.addDone(ctx, d, now)
	}
}

func mapKeys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (a *Alerter) addDone(ctx context.Context, r rotation, now time.Time) {
	date := r.At.Format(time.DateOnly)
	if now.Sub(r.At) >= daysKept-doneNews {
		return
	}
	if a.state.done[r.Credential] >= r.Generation { // by its event, or by its record
		return
	}
	a.state.done[r.Credential] = r.Generation
	d := a.state.days[date]
	if d == nil {
		d = &day{Date: date}
		a.state.days[date] = d
	}
	d.Rotations = append(d.Rotations, r)
	a.keep(put(ctx, a.o.Store, dayPrefix+date, d))
}

// dueRoutine is a day's rotations, where a way does not know all of them.
func (a *Alerter) dueRoutine(w *way, now time.Time) (item, bool) {
	if slices.Contains(a.o.Quiet, w.name) {
		return item{}, false
	}
	for _, date := range slices.Sorted(mapKeys(a.state.days)) {
		d := a.state.days[date]
		t := a.state.told[w.name][routineKey(date)]
		known, n := 0, Notice{Key: routineKey(date), Kind: NoticeRoutine, State: StateResolved}
		if t != nil {
			known, n.Ref = t.Story, t.Ref
			if now.Before(t.RetryAt) {
				continue
			}
		}
		if known >= len(d.Rotations) || now.Sub(d.Rotations[len(d.Rotations)-1].At) >= doneNews {
			continue
		}
		for _, r := range d.Rotations[known:] {
			n.Story = append(n.Story, StoryLine{At: r.At, Text: a.rotated(r, now)})
		}
		n.Message = a.composeDay(d, now)
		return item{notice: n, rank: rankRoutine, lines: len(d.Rotations)}, true
	}
	return item{}, false
}

// rotated is one rotation in a line.
func (a *Alerter) rotated(r rotation, now time.Time) string {
	text := r.Credential + ": rotated"
	if r.Reason != "" {
		text += ", " + strings.ReplaceAll(r.Reason, "_", " ")
	}
	if v := a.viewOf(r.Credential); v != nil && v.Record.Live.Generation == r.Generation && !v.Record.Live.Expires.IsZero() {
		text += "; the new key ends " + When(v.Record.Live.Expires, now)
	}
	return text
}

func (a *Alerter) viewOf(name string) *View {
	return a.shown.find(rotate.Name(name))
}

func (a *Alerter) composeDay(d *day, now time.Time) Message {
	m := Message{Condition: ConditionDone, Severity: SeverityInfo, At: now, Links: a.o.Links.Always,
		Title: fmt.Sprintf("%s rotated on %s", count(len(d.Rotations), "credential"), d.Date), Breaks: "Nothing: the old keys work until their overlap ends."}
	for _, r := range d.Rotations {
		m.Others = appendOnce(m.Others, r.Credential)
	}
	if len(d.Rotations) == 1 {
		r := d.Rotations[0]
		m.Credential, m.Others, m.RotationID, m.Reason = r.Credential, nil, r.RotationID, r.Reason
		m.Title = r.Credential + ": rotated"
		m.Command = "rotatord history " + quote(r.Credential)
		if v := a.viewOf(r.Credential); v != nil {
			m.Owner, m.Environment, m.Portal = v.Owner, v.Environment, string(v.Portal)
		}
	}
	return m
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// planDigest notes that a digest is due. Of several that were missed, one is told.
func (a *Alerter) planDigest(ctx context.Context, now time.Time) {
	if a.o.Digest == nil {
		return
	}
	d := &a.state.digest
	if d.At.IsZero() {
		*d = digest{From: now, At: now} // the first is told when it is due next
		a.keep(put(ctx, a.o.Store, digestKey, d))
		for _, w := range a.ways {
			a.toldDigest(ctx, w, now)
		}
		return
	}
	last := d.At
	due := last
	for next := a.o.Digest.Next(due); !next.IsZero() && !next.After(now); next = a.o.Digest.Next(due) {
		due = next
	}
	if due.Equal(last) {
		return
	}
	from := last
	for _, w := range a.ways {
		if t := a.state.told[w.name][digestKey]; t == nil || t.At.Before(last) {
			from = d.From // the one before did not reach everybody
		}
	}
	*d = digest{From: from, At: due}
	a.keep(put(ctx, a.o.Store, digestKey, d))
}

func (a *Alerter) toldDigest(ctx context.Context, w *way, now time.Time) {
	t := a.toldFor(w, digestKey)
	t.At = now
	a.keep(put(ctx, a.o.Store, toldPrefix+w.name+"/"+digestKey, t))
}

// dueDigest is the newest digest, where a way was not told it.
func (a *Alerter) dueDigest(w *way, now time.Time) (item, bool) {
	d := a.state.digest
	if a.o.Digest == nil || d.At.IsZero() || d.From.Equal(d.At) {
		return item{}, false
	}
	if t := a.state.told[w.name][digestKey]; t != nil && (!t.At.Before(d.At) || now.Before(t.RetryAt)) {
		return item{}, false
	}
	n := Notice{Key: digestKey, Kind: NoticeDigest, State: StateResolved, Loud: true, Message: a.composeDigest(now)}
	return item{notice: n, rank: rankDigest}, true
}

// composeDigest says what was, what comes and what needs a person.
func (a *Alerter) composeDigest(now time.Time) Message {
	m := Message{Condition: ConditionDigest, Severity: SeverityInfo, At: now, Since: a.state.digest.From, Links: a.o.Links.Always}
	needs, was, comes, use := a.needs(now), a.was(now), a.comes(now), a.usage()
	m.Title = fmt.Sprintf("Digest: %s, %d rotated since %s, %d to come within 14 days", wants(len(needs)), len(was), a.state.digest.From.Format(time.DateOnly), len(comes))
	for _, s := range []Section{{"Needs a person", needs}, {"Rotated", was}, {"Coming", comes}, {"Usage", use}} {
		if len(s.Lines) > digestMost {
			more := len(s.Lines) - digestMost
			s.Lines = append(slices.Clone(s.Lines[:digestMost]), fmt.Sprintf("and %d more", more))
		}
		if len(s.Lines) > 0 {
			m.Sections = append(m.Sections, s)
		}
	}
	m.Command = "rotatord alerts"
	return m
}

func wants(n int) string {
	if n == 0 {
		return "nothing needs a person"
	}
	if n == 1 {
		return "1 alert needs a person"
	}
	return fmt.Sprintf("%d alerts need a person", n)
}

// needs a person: every alert that holds and is no other's effect.
func (a *Alerter) needs(now time.Time) []string {
	var out []string
	for _, r := range a.sorted() {
		if !r.Ended.IsZero() || r.Cause != "" || r.Group != "" || r.Members != nil && r.Condition == ConditionSeveral {
			continue
		}
		text := fmt.Sprintf("%s: %s", r.Severity, a.title(r, now))
		if r.State == StateAcknowledged || r.State == StateSnoozed {
			text += fmt.Sprintf(" (%s by %s)", r.State, r.By)
		}
		out = append(out, text+", for "+distance(now.Sub(r.Since)))
	}
	return out
}

func (a *Alerter) was(now time.Time) []string {
	var all []rotation
	for _, d := range a.state.days {
		for _, r := range d.Rotations {
			if r.At.After(a.state.digest.From) {
				all = append(all, r)
			}
		}
	}
	slices.SortFunc(all, func(x, y rotation) int { return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.Credential, y.Credential)) })
	var out []string
	for _, r := range all {
		out = append(out, r.At.Format(time.DateOnly)+" "+a.rotated(r, now))
	}
	return out
}

// comes within two weeks: the rotations that rotatord will do by itself.
func (a *Alerter) comes(now time.Time) []string {
	var list []View
	a.shown.each(func(v *View) {
		if v.Mode == rotate.ModeRotate && !v.Record.AdoptedAt.IsZero() && !v.DueAt.IsZero() && v.DueAt.Before(now.Add(ahead)) {
			list = append(list, *v)
		}
	})
	slices.SortFunc(list, func(x, y View) int { return cmp.Or(x.DueAt.Compare(y.DueAt), cmp.Compare(x.Name, y.Name)) })
	var out []string
	for _, v := range list {
		when := v.DueAt.UTC().Format(time.DateOnly)
		if v.DueAt.Before(now) {
			when = "now"
		}
		text := when + " " + label(string(v.Name), v.Owner)
		if e := v.Record.Live.Expires; !e.IsZero() {
			text += ", key ends " + When(e, now)
		}
		out = append(out, text)
	}
	return out
}

// usage of the month, the most expensive first.
func (a *Alerter) usage() []string {
	uses := slices.Clone(a.shown.Uses)
	slices.SortFunc(uses, func(x, y Use) int {
		return cmp.Or(cmp.Compare(y.Month.Credits, x.Month.Credits), cmp.Compare(y.Month.Requests, x.Month.Requests), cmp.Compare(x.Credential, y.Credential))
	})
	var out []string
	var requests, credits float64
	for _, u := range uses {
		requests, credits = requests+u.Month.Requests, credits+u.Month.Credits
		if u.Month.Requests == 0 && u.Month.Credits == 0 {
			continue
		}
		parts := []string{fmt.Sprintf("%s: %s requests, %s credits this month", u.Credential, number(u.Month.Requests), number(u.Month.Credits))}
		for _, b := range u.Budgets {
			parts = append(parts, fmt.Sprintf("%.0f %% of the %s's budget", 100*b.Share, b.Period))
		}
		out = append(out, strings.Join(parts, "; "))
	}
	if len(out) > 1 {
		out = slices.Insert(out, 0, fmt.Sprintf("All: %s requests, %s credits this month", number(requests), number(credits)))
	}
	return out
}
