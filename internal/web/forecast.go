package web

import (
	"fmt"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// Forecast is what the planner foretells of the whole fleet, with its windows, freezes,
// stages and limits, as `rotatord simulate` does.
type Forecast struct {
	Made    time.Time
	TooMany bool      // credentials to make one of, beside the daemon's work
	Until   time.Time // how far it reaches
	Events  []Foreseen
	// Unknown are credentials with keys whose end nobody knows.
	Unknown []rotate.Name
}

// Foreseen is one thing that will happen.
type Foreseen struct {
	At   time.Time
	Name rotate.Name
	What ForeseenKind
	Slot rotate.Slot
	// Left is how long the old key still lives when the new one is served; Late, that this
	// is less than critical_before.
	Left   time.Duration
	Late   bool
	Detail string // why a key dies
}

// ForeseenKind is the closed set of what is foreseen.
type ForeseenKind string

// What is foreseen.
const (
	ForeseenRotation ForeseenKind = "rotation" // a new key is served
	ForeseenRetire   ForeseenKind = "retire"   // the old key is invalidated
	ForeseenDeath    ForeseenKind = "death"    // the served key ends unrotated
)

// foretold is what a page says about the forecast that it is made of.
type foretold struct {
	On      bool // there is one
	Coming  bool // there is none yet
	Made    time.Time
	Until   time.Time
	Short   bool // the page shows days that it does not reach
	Dying   []coming
	More    int // dying that are not named
	Unknown []rotate.Name
}

// mostDying are named at the top of the page.
const mostDying = 20

// coming of a forecast, in order. Who left the config meanwhile is left out. In the
// forecast's world nothing fails; what needs a person in this one stays at risk.
func (f *Forecast) coming(rows []row, now time.Time) []coming {
	at := make(map[rotate.Name]int, len(rows))
	for i := range rows {
		at[rows[i].Name] = i
	}
	out := make([]coming, 0, len(f.Events))
	dying := map[rotate.Name]bool{}
	for _, e := range f.Events {
		i, ok := at[e.Name]
		if !ok || e.At.Before(now.Truncate(day)) {
			continue
		}
		c := coming{row: rows[i], At: e.At}
		switch e.What {
		case ForeseenRotation:
			c.What = comingKey
			if e.Late {
				c.Note, c.Late = fmt.Sprintf("late: the old key has %s left then", roughly(e.Left)), true
			}
		case ForeseenRetire:
			c.What, c.Note = comingRetire, "slot "+e.Slot.String()
		case ForeseenDeath:
			c.What, c.Note = comingDeath, e.Detail
			dying[e.Name] = true
		}
		out = append(out, c)
	}
	for _, c := range upcoming(rows, now) {
		if c.What == comingExpiry && c.Attention != "" && !dying[c.Name] && c.At.Before(f.Until) {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b coming) int { return a.At.Compare(b.At) })
	return out
}

// told of a forecast; of none while it is being made.
func (f *Forecast) told(all []coming, to time.Time) foretold {
	if f == nil {
		return foretold{Coming: true}
	}
	t := foretold{On: true, Made: f.Made, Until: f.Until, Short: f.Until.Before(to), Unknown: f.Unknown}
	for _, c := range all {
		if c.What != comingDeath {
			continue
		}
		if len(t.Dying) == mostDying {
			t.More++
			continue
		}
		t.Dying = append(t.Dying, c)
	}
	slices.Sort(t.Unknown)
	return t
}
