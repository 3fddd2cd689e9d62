package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// Until alerts had a state and there were several notifiers, the store held these keys,
// and Slack was the only way.
const (
	oldIncidentPrefix = "incident/" // incident/CONDITION/NAME: an oldIncident
	oldDonePrefix     = "done/"     // done/NAME: an oldDone
	oldPauseKey       = "pause"     // a time: what Slack asked for
	oldWay            = "slack"
)

// oldIncident is one condition of one credential until it was said to be resolved.
type oldIncident struct {
	Credential  string    `json:"credential"`
	Condition   Condition `json:"condition"`
	Owner       string    `json:"owner"`
	Environment string    `json:"environment"`
	Portal      string    `json:"portal"`
	RotationID  string    `json:"rotation_id"`
	Since       time.Time `json:"since"`
	SaidAt      time.Time `json:"said_at"`
	SaidStep    int       `json:"said_step"`
	ResolvedAt  time.Time `json:"resolved_at"` // ended, and that is to be said
}

// oldDone is a credential's last rotation and whether it was said.
type oldDone struct {
	rotation
	Said bool `json:"said"`
}

// takeOver what an older rotatord stored: what it told is not told again, and its end is.
// It says what came of it; what is of a newer version stays as it is.
func (a *Alerter) takeOver(ctx context.Context) error {
	values, err := a.o.Store.Values(ctx)
	if err != nil {
		return err
	}
	var taken, strange []string
	done := map[string][]oldDone{} // by day
	for _, key := range slices.Sorted(maps.Keys(values)) {
		var err error
		switch value := values[key]; {
		case known(key):
			continue
		case strings.HasPrefix(key, oldIncidentPrefix):
			var i oldIncident
			if err = json.Unmarshal(value, &i); err == nil {
				a.takeIncident(ctx, i)
			}
		case strings.HasPrefix(key, oldDonePrefix):
			var d oldDone
			if err = json.Unmarshal(value, &d); err == nil {
				date := d.At.UTC().Format(time.DateOnly)
				done[date] = append(done[date], d)
			}
		case key == oldPauseKey:
			var w wayState
			if err = json.Unmarshal(value, &w.Pause); err == nil && a.state.ways[oldWay].Pause.IsZero() {
				a.state.ways[oldWay] = w
				a.keep(put(ctx, a.o.Store, wayPrefix+oldWay, w))
			}
		default:
			strange = append(strange, key)
			continue
		}
		if err != nil {
			return fmt.Errorf("decode %s: %w", key, err)
		}
		taken = append(taken, key)
	}
	for _, date := range slices.Sorted(maps.Keys(done)) {
		a.takeDay(ctx, date, done[date])
	}
	for _, key := range taken { // only now: what is there twice after a crash is told once all the same
		a.keep(a.o.Store.Delete(ctx, key))
	}
	if len(taken) > 0 {
		a.o.Log.InfoContext(ctx, "alerts of an older rotatord were taken over: what it told is not told again; its Slack messages stay as they are, new ones follow",
			slog.Int("entries", len(taken)))
	}
	if len(strange) > 0 {
		a.o.Log.WarnContext(ctx, "alerts of another rotatord are in the journal that this one cannot read: they are left alone, and what they told may be told again",
			slog.Int("entries", len(strange)), slog.String("first", strange[0]))
	}
	return nil
}

// known tells whether a key is of this version.
func known(key string) bool {
	return key == startedKey || key == digestKey || key == runningKey ||
		slices.ContainsFunc([]string{alertPrefix, toldPrefix, wayPrefix, dayPrefix}, func(p string) bool { return strings.HasPrefix(key, p) })
}

// takeIncident makes an alert of it. Its Slack message cannot be found again.
func (a *Alerter) takeIncident(ctx context.Context, i oldIncident) {
	key := keyOf(i.Condition, i.Credential)
	if _, there := a.state.alerts[key]; there {
		return
	}
	r := &Alert{Key: key, Condition: i.Condition, Subject: i.Credential, Severity: SeverityWarning, Owner: i.Owner, Environment: i.Environment, Portal: i.Portal,
		RotationID: i.RotationID, State: StateOpen, Since: i.Since, Settled: i.Since, Waiting: i.SaidAt.IsZero(), Ended: i.ResolvedAt}
	if i.Condition == ConditionDead {
		r.Severity = SeverityCritical
	}
	r.tell(i.Since, "", "noticed by an older rotatord")
	if !r.Waiting {
		r.Calls, r.CalledAt, r.Step, r.Rev = 1, i.SaidAt, i.SaidStep, 1
		t := a.toldFor(&way{name: oldWay}, key)
		*t = told{Calls: 1, Rev: 1, Story: len(r.Story), At: i.SaidAt}
		a.keep(put(ctx, a.o.Store, toldPrefix+oldWay+"/"+key, t))
	}
	if !r.Ended.IsZero() {
		r.State, r.Rev = StateResolved, r.Rev+1
	}
	a.state.alerts[key] = r
	a.save(ctx, r)
}

// takeDay makes one day's routine of what was done on it, the said ones first.
func (a *Alerter) takeDay(ctx context.Context, date string, list []oldDone) {
	if a.state.days[date] != nil {
		return
	}
	d, said := &day{Date: date}, 0
	for _, want := range []bool{true, false} {
		for _, one := range list {
			if one.Said != want {
				continue
			}
			if d.Rotations = append(d.Rotations, one.rotation); want {
				said++
			}
			a.state.done[one.Credential] = max(a.state.done[one.Credential], one.Generation)
		}
	}
	a.state.days[date] = d
	a.keep(put(ctx, a.o.Store, dayPrefix+date, d))
	if said > 0 {
		t := a.toldFor(&way{name: oldWay}, routineKey(date))
		*t = told{Story: said}
		a.keep(put(ctx, a.o.Store, toldPrefix+oldWay+"/"+routineKey(date), t))
	}
}
