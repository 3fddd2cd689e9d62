package settings

import (
	"strings"
	"testing"
	"time"

	"rotatord/internal/credspec"
)

func TestAdoptTakesThePortalsWord(t *testing.T) {
	clocked(t, func(t *testing.T) {
		r := newRig(t, credspec.DriftAdopt, func(s *credspec.Settings) {
			s.Title, s.Referrers = "By hand", nil
		})
		r.start()
		defer func() { r.stop() }()
		want := func(what, changes, adopted string, lines int) {
			t.Helper()
			f := r.finding()
			if fields(f.Changes) != changes || fields(f.Adopted) != adopted || r.keys.count("adopted from the portal") != lines || len(r.portal.edited()) > 0 {
				t.Errorf("%s: %+v\nhistory %q, edits %v", what, f, r.keys.lines, r.portal.edited())
			}
		}
		after(time.Minute)
		want("at first", "", "title referrers", 2)
		if !r.finding().UnrestrictedThere {
			t.Error("a public key without referrers is no warning any more once they are adopted")
		}
		if r.keys.count(`adopted from the portal: title: "Trail map" -> "By hand"`) != 1 {
			t.Errorf("history %q", r.keys.lines)
		}
		after(3 * time.Hour)
		r.start()
		after(time.Hour)
		want("later, and after a restart", "", "title referrers", 2)
		r.portal.person(func(s *credspec.Settings) { s.Title, s.Snippet = "By another hand", "not managed" })
		after(time.Hour)
		want("changed again", "", "title referrers", 3)
		r.spec.Title = "Path map" // who writes the config after that means it
		r.start()
		after(time.Minute)
		want("a new word of the config", "title", "referrers", 3)
		after(2 * time.Hour)
		want("and it stays", "title", "referrers", 3)
		r.portal.person(func(s *credspec.Settings) { s.Title = "By the last hand" })
		after(time.Hour)
		want("the portal's word is newer", "", "title referrers", 4)
		r.spec.Snippet = "For the map" // a setting that was not managed before is no change at the portal
		r.start()
		after(time.Hour)
		want("a new key of the config", "snippet", "title referrers", 4)
		r.portal.person(func(s *credspec.Settings) {
			s.Title, s.Snippet, s.Referrers = "Path map", "For the map", []string{"https://trails.example.com"}
		})
		after(time.Hour)
		want("both agree", "", "", 4)
		r.portal.person(func(s *credspec.Settings) { s.Title = "By hand" })
		after(time.Hour)
		want("and differ anew", "", "title", 5)
	})
}

// Another policy judges anew what is there.
func TestAnotherPolicy(t *testing.T) {
	clocked(t, func(t *testing.T) {
		r := newRig(t, credspec.DriftReport, func(s *credspec.Settings) { s.Title = "By hand" })
		r.start()
		after(time.Minute)
		for _, c := range []struct {
			policy           credspec.Drift
			changes, adopted string
		}{{credspec.DriftAdopt, "", "title"}, {credspec.DriftReport, "title", ""}, {credspec.DriftAdopt, "", "title"}, {credspec.DriftCorrect, "", ""}} {
			r.spec.Drift = c.policy
			r.start()
			after(time.Minute)
			if f := r.finding(); fields(f.Changes) != c.changes || fields(f.Adopted) != c.adopted || f.Policy != c.policy {
				t.Errorf("%s: %+v", c.policy, f)
			}
		}
		r.stop()
		if r.portal.have.Title != "Trail map" || r.keys.count("corrected") != 1 {
			t.Errorf("title %q, history %q", r.portal.have.Title, r.keys.lines)
		}
	})
}

// What a search finds is the config's word: items that come to it are told, and not adopted away.
func TestAdoptHidesNoSearch(t *testing.T) {
	clocked(t, func(t *testing.T) {
		one, two := strings.Repeat("1", 32), strings.Repeat("2", 32)
		r := newRig(t, credspec.DriftAdopt, func(s *credspec.Settings) { s.Items = []string{one} })
		r.spec.ItemsSearch, r.portal.found = "tags:roads", []string{one}
		r.start()
		defer func() { r.stop() }()
		after(time.Minute)
		r.portal.person(func(*credspec.Settings) { r.portal.found = []string{one, two} })
		after(time.Hour)
		if f := r.finding(); fields(f.Changes) != "items" || len(f.Adopted) > 0 {
			t.Errorf("the search finds more: %+v", f)
		}
		r.portal.person(func(s *credspec.Settings) { s.Items = []string{two} }) // a person grants another one by hand
		after(time.Hour)
		if f := r.finding(); len(f.Changes) > 0 || fields(f.Adopted) != "items" {
			t.Errorf("the grants were changed at the portal: %+v", f)
		}
	})
}
