package credspec

import (
	"testing"
	"time"
)

func replaceOptions() ReplaceOptions {
	return ReplaceOptions{Overlap: 48 * time.Hour, Horizon: horizon, Retire: RetireDelete}
}

// complete is the new credential with everything but what the sinks serve.
func complete() Seen {
	return Seen{Folder: true, Candidates: []Candidate{{"new", true}}, HasApp: true, Settings: registered(), Recorded: true}
}

func TestReplacementStepByStep(t *testing.T) {
	r := Replacement{Old: "old", New: Creation{Mark: "m", Item: "new"}}
	promoted := r
	promoted.Promoted = epoch()
	late := epoch().Add(72 * time.Hour)
	for name, c := range map[string]struct {
		r      Replacement
		change func(*ReplacementSeen)
		now    time.Time
		retire Retirement
		want   Act
		item   string
	}{
		"first key":            {r, func(s *ReplacementSeen) { s.Serving = ServeOld }, epoch(), RetireDelete, ActFirstKey, "new"},
		"sinks differ":         {r, func(s *ReplacementSeen) { s.Serving = ServeSplit }, epoch(), RetireDelete, ActFirstKey, "new"},
		"third key":            {r, func(s *ReplacementSeen) { s.Serving = ServeOther }, epoch(), RetireDelete, ActStuck, "old"},
		"refused":              {r, func(s *ReplacementSeen) { s.Valid = false }, epoch(), RetireDelete, ActStuck, "new"},
		"promote":              {r, func(*ReplacementSeen) {}, epoch(), RetireDelete, ActPromote, "new"},
		"overlap":              {promoted, func(*ReplacementSeen) {}, epoch().Add(47 * time.Hour), RetireDelete, ActOverlap, "old"},
		"held":                 {promoted, func(s *ReplacementSeen) { s.Held = "change 4711" }, late, RetireDelete, ActOverlap, "old"},
		"revoke":               {promoted, func(*ReplacementSeen) {}, late, RetireDelete, ActRevoke, "old"},
		"unprotect":            {promoted, func(s *ReplacementSeen) { s.OldActive = false }, late, RetireDelete, ActUnprotect, "old"},
		"delete":               {promoted, func(s *ReplacementSeen) { s.OldActive, s.OldProtected = false, false }, late, RetireDelete, ActDelete, "old"},
		"keep":                 {promoted, func(s *ReplacementSeen) { s.OldActive = false }, late, RetireKeep, ActDone, "old"},
		"revoke to keep":       {promoted, func(*ReplacementSeen) {}, late, RetireKeep, ActRevoke, "old"},
		"gone":                 {promoted, func(s *ReplacementSeen) { s.OldGone = true }, epoch(), RetireDelete, ActDone, "new"},
		"old key put back":     {promoted, func(s *ReplacementSeen) { s.Serving = ServeOld }, late, RetireDelete, ActStuck, "new"},
		"new item deleted":     {promoted, func(s *ReplacementSeen) { s.New.Gone = true }, late, RetireDelete, ActStuck, "new"},
		"new app lost":         {promoted, func(s *ReplacementSeen) { s.New.HasApp = false }, late, RetireDelete, ActStuck, "new"},
		"dead after promotion": {promoted, func(s *ReplacementSeen) { s.Valid = false }, late, RetireDelete, ActStuck, "new"},
		"unprotected by hand":  {promoted, func(s *ReplacementSeen) { s.New.Settings.Protected = false }, late, RetireDelete, ActProtect, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := ReplacementSeen{New: complete(), Serving: ServeNew, Valid: true, OldActive: true, OldProtected: true}
			c.change(&seen)
			o := replaceOptions()
			o.Retire = c.retire
			if got := c.r.Next(tutorial(), seen, c.now, o); got.Act != c.want || got.Item != c.item || got.Why == "" {
				t.Errorf("step %+v, want %s of %s", got, c.want, c.item)
			}
		})
	}
}

// In every state: the old credential is touched only when the new one's key has been served
// by every sink, is valid, and the overlap is over.
func TestOldOutlivesTheOverlapInEveryState(t *testing.T) {
	touched := 0
	every(func(c Creation, s Seen, now time.Time) {
		if !c.Adding.IsZero() || !c.Registering.IsZero() {
			return // TestEveryStateOfACreation has them
		}
		for _, serving := range []Serving{ServeOld, ServeNew, ServeSplit, ServeOther} {
			for _, promoted := range []time.Time{{}, now.Add(-time.Hour), now.Add(-49 * time.Hour)} {
				for bits := range 8 {
					seen := ReplacementSeen{New: s, Serving: serving, Valid: bits&1 != 0, OldActive: bits&2 != 0, OldProtected: bits&4 != 0}
					r := Replacement{Old: "old", New: c, Promoted: promoted}
					switch step := r.Next(tutorial(), seen, now, replaceOptions()); step.Act {
					case ActRevoke, ActUnprotect, ActDelete:
						touched++
						if step.Item != "old" || serving != ServeNew || !seen.Valid || promoted.IsZero() || now.Sub(promoted) < replaceOptions().Overlap || (step.Act != ActRevoke && seen.OldActive) {
							t.Fatalf("%+v is touched in %+v", step, seen)
						}
					case ActItem, ActFolder, ActRegister, ActFirstKey:
						if !promoted.IsZero() {
							t.Fatalf("%+v after the promotion", step)
						}
					default:
					}
				}
			}
		}
	})
	if touched == 0 {
		t.Error("the old credential was never retired")
	}
}
