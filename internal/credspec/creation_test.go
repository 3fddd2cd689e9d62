package credspec

import (
	"slices"
	"testing"
	"time"
)

const horizon = 10 * time.Minute

func epoch() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// registered is what the portal has of the tutorial's credential once all is done.
func registered() Settings { return portalHas() }

func TestStepsOfACreation(t *testing.T) {
	var got []Act
	for _, s := range Steps(tutorial(), false) {
		got = append(got, s.Act)
	}
	want := []Act{ActFolder, ActItem, ActRegister, ActTidy, ActProtect, ActRecord, ActFirstKey}
	if !slices.Equal(got, want) {
		t.Errorf("steps %v, want %v", got, want)
	}
	bare := &Spec{Use: UsePublic, Title: "t"}
	got = nil
	for _, s := range Steps(bare, false) {
		got = append(got, s.Act)
	}
	if want := []Act{ActItem, ActRegister, ActTidy, ActRecord, ActFirstKey}; !slices.Equal(got, want) {
		t.Errorf("steps without folder and protection %v, want %v", got, want)
	}
}

// every is all states of the journal and the portal that the rules tell apart.
func every(visit func(c Creation, s Seen, now time.Time)) {
	bools := []bool{false, true}
	times := []time.Time{{}, epoch(), epoch().Add(-2 * horizon)} // none, within the horizon, long ago
	lists := [][]Candidate{nil, {{Item: "a"}}, {{Item: "a", HasApp: true}}, {{Item: "a"}, {Item: "b"}}, {{Item: "a"}, {Item: "b", HasApp: true}},
		{{Item: "a", HasApp: true}, {Item: "b", HasApp: true}}, {{Item: "b"}}}
	less := registered()
	less.Privileges = []string{GrantOf(item)}
	for _, id := range []string{"", "a"} {
		for pending := range 27 {
			for _, list := range lists {
				for bits := range 256 {
					bit := func(i int) bool { return bools[bits>>i&1] }
					for _, have := range []Settings{registered(), less} {
						have.Protected = bit(5)
						visit(Creation{Mark: "m", Item: id, Adding: times[pending%3], Registering: times[pending/3%3], Adapting: times[pending/9]},
							Seen{Folder: bit(0), Candidates: list, Gone: id != "" && len(list) == 0, HasApp: bit(1), Settings: have, Marked: bit(2), Recorded: bit(3), Keyed: bit(4),
								Active: bit(6), Adapted: bit(7)}, epoch().Add(time.Minute))
					}
				}
			}
		}
	}
}

// What must hold in every state, whatever happened before it.
func TestEveryStateOfACreation(t *testing.T) {
	acts := map[Act]int{}
	every(func(c Creation, s Seen, now time.Time) {
		step := c.Next(tutorial(), s, now, horizon)
		acts[step.Act]++
		pending := func(at time.Time) bool { return !at.IsZero() && now.Before(at.Add(horizon)) }
		apps := 0
		for _, d := range s.Candidates {
			if d.HasApp {
				apps++
			}
		}
		wrong := ""
		switch step.Act {
		case ActItem:
			if c.Item != "" || len(s.Candidates) > 0 || pending(c.Adding) || !s.Folder {
				wrong = "an item is made though there may be one, or before its folder"
			}
		case ActRegister:
			if c.Item == "" || s.HasApp || pending(c.Registering) || s.Gone {
				wrong = "an app is registered twice, or on nothing"
			}
		case ActRemove:
			if step.Item == c.Item || c.Item == "" || slices.ContainsFunc(s.Candidates, func(d Candidate) bool { return d.Item == step.Item && d.HasApp }) {
				wrong = "the wrong item is removed"
			}
		case ActAdapt:
			if !s.HasApp || s.Keyed || s.Active || s.Adapted || pending(c.Adapting) || !Diff(tutorial(), s.Settings).NeedReplacement() {
				wrong = "an app is edited that may have a key, or needs no edit"
			}
		case ActFirstKey:
			if !s.HasApp || !s.Recorded || s.Marked || !s.Settings.Protected || s.Keyed || pending(c.Adapting) || !s.Active && Diff(tutorial(), s.Settings).NeedReplacement() {
				wrong = "a key is minted before its credential is complete"
			}
		case ActDone:
			if !s.Keyed || !s.Recorded || !s.Settings.Protected || s.Marked {
				wrong = "done, and is not"
			}
		case ActWait:
			if !step.Until.After(now) || step.Until.After(now.Add(horizon)) {
				wrong = "a wait that does not end within the horizon"
			}
		case ActKeep:
			if c.Item != "" || apps > 1 || (apps == 1 && !slices.Contains(s.Candidates, Candidate{step.Item, true})) {
				wrong = "the wrong item is kept"
			}
		default:
		}
		if c.Item != "" || step.Act == ActKeep || step.Act == ActStuck {
			kept := c.Item
			if step.Act == ActKeep {
				kept = step.Item
			}
			for _, d := range s.Candidates {
				if d.Item != kept && !slices.Contains(step.Extra, d.Item) {
					wrong = "an item that nothing uses is not reported"
				}
			}
		}
		if wrong != "" || step.Why == "" {
			t.Fatalf("%s:\n journal %+v\n seen %+v\n step %+v", wrong, c, s, step)
		}
	})
	for _, a := range []Act{ActWait, ActFolder, ActItem, ActKeep, ActRemove, ActRegister, ActAdapt, ActTidy, ActProtect, ActRecord, ActFirstKey, ActDone, ActStuck} {
		if acts[a] == 0 {
			t.Errorf("no state asks for %s", a)
		}
	}
}

// A refusal and a clean answer both end the wait; an unknown outcome does not.
func TestJournalOfACreation(t *testing.T) {
	add := Step{Act: ActItem}
	c := Creation{Mark: "m"}.Begin(add, epoch())
	if s := c.Next(tutorial(), Seen{Folder: true}, epoch(), horizon); s.Act != ActWait {
		t.Errorf("after an unknown outcome: %+v", s)
	}
	if s := c.Refused(add).Next(tutorial(), Seen{Folder: true}, epoch(), horizon); s.Act != ActItem {
		t.Errorf("after a refusal: %+v", s)
	}
	if got := c.End(add, "a"); got.Item != "a" || !got.Adding.IsZero() {
		t.Errorf("after a clean answer: %+v", got)
	}
	reg := Step{Act: ActRegister, Item: "a"}
	c = Creation{Mark: "m", Item: "a"}.Begin(reg, epoch())
	if s := c.Next(tutorial(), Seen{Candidates: []Candidate{{Item: "a"}}}, epoch(), horizon); s.Act != ActWait {
		t.Errorf("after an unknown registration: %+v", s)
	}
	if c.Refused(reg) != c.End(reg, "") || !c.End(reg, "").Registering.IsZero() {
		t.Error("the registration is still open")
	}
	edit := Step{Act: ActAdapt, Item: "a"}
	c = Creation{Mark: "m", Item: "a"}.Begin(edit, epoch())
	if s := c.Next(tutorial(), Seen{Candidates: []Candidate{{"a", true}}, HasApp: true, Settings: registered()}, epoch(), horizon); s.Act != ActWait {
		t.Errorf("after an unknown edit: %+v", s)
	}
	if c.Refused(edit) != c.End(edit, "") || !c.End(edit, "").Adapting.IsZero() {
		t.Error("the edit is still open")
	}
}
