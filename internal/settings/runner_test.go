package settings

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/credspec"
	"rotatord/internal/rotate"
)

// each test runs on a clock of its own, from a full hour on.
func clocked(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// after lets the time pass, and everything that is due happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestReportSaysItAndChangesNothing(t *testing.T) {
	clocked(t, func(t *testing.T) {
		r := newRig(t, credspec.DriftReport, func(s *credspec.Settings) {
			s.Title, s.Referrers = "Old", nil
		})
		r.start()
		defer func() { r.stop() }()
		after(time.Minute)
		f := r.finding()
		if fields(f.Changes) != "title referrers" || !f.Changes.NeedReplacement() || f.CheckedAt.IsZero() || !f.UnrestrictedThere || f.Unrestricted || len(f.Adopted) > 0 {
			t.Errorf("found %+v", f)
		}
		after(3 * time.Hour)
		if n := len(r.portal.reads); len(r.portal.edited()) > 0 || len(r.keys.lines) > 0 || n != 4 {
			t.Errorf("%d reads, edits %v, history %v", n, r.portal.edited(), r.keys.lines)
		}
		// A look that fails takes nothing away.
		last := r.finding().CheckedAt
		r.portal.person(func(*credspec.Settings) { r.portal.fails = errFake })
		after(2 * time.Hour)
		if f := r.finding(); fields(f.Changes) != "title referrers" || !f.CheckedAt.Equal(last) || !strings.Contains(f.Error, "the portal is down") {
			t.Errorf("after a failed look: %+v", f)
		}
		// Nor does a restart, before the portal answers again.
		r.start()
		after(time.Second)
		if f := r.finding(); fields(f.Changes) != "title referrers" || !f.CheckedAt.Equal(last) {
			t.Errorf("after a restart: %+v", f)
		}
		r.portal.person(func(s *credspec.Settings) {
			r.portal.fails, s.Title, s.Referrers = nil, "Trail map", []string{"https://trails.example.com"}
		})
		after(2 * time.Hour)
		if f := r.finding(); len(f.Changes) > 0 || f.Error != "" || f.UnrestrictedThere {
			t.Errorf("once all is well: %+v", f)
		}
	})
}

func TestARestartSparesThePortal(t *testing.T) {
	clocked(t, func(t *testing.T) {
		r := newRig(t, credspec.DriftReport, nil)
		defer func() { r.stop() }()
		for range 5 {
			r.start()
			after(time.Minute)
		}
		if n := len(r.portal.reads); n != 1 {
			t.Errorf("read %d times in five minutes", n)
		}
		r.spec.Title = "Path map" // a reload with another config looks at once, and says so before
		r.start()
		after(time.Minute)
		if n := len(r.portal.reads); n != 2 || fields(r.finding().Changes) != "title" {
			t.Errorf("%d reads, found %+v", n, r.finding())
		}
	})
}

func TestCorrectEditsWhatIsHarmless(t *testing.T) {
	clocked(t, func(t *testing.T) {
		r := newRig(t, credspec.DriftCorrect, func(s *credspec.Settings) {
			s.Title, s.Tags, s.Protected, s.Privileges = "Old", []string{"old"}, false, []string{"premium:user:places"}
		})
		var asked []string
		r.replace = func(_ context.Context, name rotate.Name, cs credspec.Changes) error {
			asked = append(asked, string(name)+" "+fields(cs))
			return nil
		}
		r.start()
		defer func() { r.stop() }()
		after(time.Minute)
		if got := r.portal.edited(); !slices.Equal(got, []string{"title", "tags", "protect"}) {
			t.Errorf("edited %v", got)
		}
		if f := r.finding(); fields(f.Changes) != "privileges" || f.Error != "" {
			t.Errorf("found %+v", f)
		}
		if want := []string{"map privileges"}; !slices.Equal(asked, want) {
			t.Errorf("to be replaced: %v", asked)
		}
		for _, line := range []string{`corrected at the portal: title: "Old" -> "Trail map"`, `corrected at the portal: tags: -"old" +"web"`, `corrected at the portal: protect: "false" -> "true"`} {
			if r.keys.count(line) != 1 {
				t.Errorf("the history has not %q once: %v", line, r.keys.lines)
			}
		}
		if n := len(r.portal.reads); n != 4 {
			t.Errorf("%d reads, want one and one after each edit", n)
		}
	})
}

// A person that edits behind its back is corrected at the next look.
func TestAnEditByHandIsCorrected(t *testing.T) {
	clocked(t, func(t *testing.T) {
		r := newRig(t, credspec.DriftCorrect, nil)
		r.start()
		defer func() { r.stop() }()
		after(time.Minute)
		r.portal.person(func(s *credspec.Settings) { s.Title = "By hand" })
		after(time.Hour)
		if r.portal.have.Title != "Trail map" || r.keys.count("title") != 1 {
			t.Errorf("title %q, history %v", r.portal.have.Title, r.keys.lines)
		}
	})
}

func TestNothingIsEditedWhileBusy(t *testing.T) {
	clocked(t, func(t *testing.T) {
		r := newRig(t, credspec.DriftCorrect, func(s *credspec.Settings) {
			s.Title, s.Referrers = "Old", nil
		})
		r.replace = func(context.Context, rotate.Name, credspec.Changes) error {
			t.Error("replaced while held")
			return nil
		}
		r.keys.busy = "it is held"
		r.start()
		after(5 * time.Hour)
		if f := r.finding(); len(r.portal.edited()) > 0 || f.Waits != "it is held" || fields(f.Changes) != "title referrers" {
			t.Errorf("edited %v, found %+v", r.portal.edited(), f)
		}
		r.stop()
		r.replace, r.keys.busy = nil, ""
		r.start()
		defer func() { r.stop() }()
		after(time.Hour)
		if f := r.finding(); fields(f.Changes) != "referrers" || f.Waits != "" {
			t.Errorf("once free: %+v", f)
		}
	})
}

// Who changes a setting back again and again wins after three corrections, until the config changes or the two agree.
func TestNobodyIsFoughtForEver(t *testing.T) {
	clocked(t, func(t *testing.T) {
		r := newRig(t, credspec.DriftCorrect, nil)
		r.start()
		defer func() { r.stop() }()
		hand := func(s *credspec.Settings) { s.Title = "By hand" }
		for range 5 * 24 {
			r.portal.person(hand)
			after(time.Hour)
		}
		if got := r.portal.edited(); len(got) != maxCorrections {
			t.Errorf("corrected %d times", len(got))
		}
		if f := r.finding(); !slices.Equal(f.Contested, []credspec.Field{credspec.FieldTitle}) || fields(f.Changes) != "title" || r.keys.count("is corrected no more") != 1 {
			t.Errorf("found %+v, history %v", f, r.keys.lines)
		}
		r.portal.person(func(s *credspec.Settings) { s.Tags = nil })
		r.start() // it does not forget, and other settings are none of this
		after(time.Hour)
		if got := r.portal.edited(); len(got) != maxCorrections+1 || got[maxCorrections] != "tags" {
			t.Errorf("edited %v", got)
		}
		r.spec.Title = "Path map" // a new word of the config
		r.start()
		after(time.Hour)
		if f := r.finding(); r.portal.have.Title != "Path map" || len(f.Contested) > 0 {
			t.Errorf("after a new word: title %q, %+v", r.portal.have.Title, f)
		}
	})
}

// A correction that fails is tried again, ever more slowly, and costs the portal little.
func TestFailedEditsBackOff(t *testing.T) {
	clocked(t, func(t *testing.T) {
		r := newRig(t, credspec.DriftCorrect, func(s *credspec.Settings) { s.Title = "Old" })
		refused := true
		r.portal.onEdit = func(credspec.Change) (bool, error) {
			if refused {
				return false, errFake
			}
			return true, nil
		}
		r.start()
		defer func() { r.stop() }()
		after(59 * time.Minute)
		if n := len(r.portal.edited()); n != 6 { // at 0, 1, 3, 7, 15, 31 minutes
			t.Errorf("tried %d times in the first hour", n)
		}
		if f := r.finding(); !strings.Contains(f.Error, "correct title: the portal is down") || f.CheckedAt.IsZero() {
			t.Errorf("found %+v", f)
		}
		after(24 * time.Hour)
		if n := len(r.portal.edited()); n != 12 || len(r.portal.reads) < 24 { // and at 63, 127, 255, 511, 871, 1231
			t.Errorf("tried %d times in a day, read %d times", n, len(r.portal.reads))
		}
		if f := r.finding(); !strings.Contains(f.Waits, "is tried again at") {
			t.Errorf("it does not say when: %+v", f)
		}
		r.portal.person(func(*credspec.Settings) { refused = false })
		after(6 * time.Hour)
		if f := r.finding(); len(f.Changes) > 0 || f.Error != "" || r.keys.count("corrected") != 1 {
			t.Errorf("found %+v, history %v", f, r.keys.lines)
		}
	})
}

// A portal that takes a change and does not keep it is no reason to ask without end.
func TestAChangeThatIsNotKept(t *testing.T) {
	clocked(t, func(t *testing.T) {
		r := newRig(t, credspec.DriftCorrect, func(s *credspec.Settings) { s.Title = "Old" })
		r.portal.onEdit = func(credspec.Change) (bool, error) { return false, nil }
		r.start()
		defer func() { r.stop() }()
		after(59 * time.Minute)
		if f := r.finding(); len(r.portal.edited()) != 6 || !strings.Contains(f.Error, "has it otherwise still") || r.keys.count("corrected") != 0 {
			t.Errorf("edited %v, found %+v, history %v", r.portal.edited(), f, r.keys.lines)
		}
	})
}

// A change whose answer is lost, or after which the process is killed, is made once and said once.
func TestALostAnswerIsNoSecondEdit(t *testing.T) {
	for name, killed := range map[string]bool{"lost": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				r := newRig(t, credspec.DriftCorrect, func(s *credspec.Settings) { s.Title = "Old" })
				r.portal.onEdit = func(credspec.Change) (bool, error) {
					if killed {
						r.portal.fails = errFake // nothing comes after the edit
					}
					return true, errors.New("no answer")
				}
				r.start()
				after(time.Second)
				if killed {
					r.stop()
					r.portal.person(func(*credspec.Settings) { r.portal.fails = nil })
					r.start()
				}
				defer func() { r.stop() }()
				after(2 * time.Hour)
				if f := r.finding(); len(r.portal.edited()) != 1 || len(f.Changes) > 0 || f.Error != "" || r.keys.count("corrected at the portal: title") != 1 {
					t.Errorf("edited %v, found %+v, history %v", r.portal.edited(), f, r.keys.lines)
				}
			})
		})
	}
}

// Without a store that can be written nothing is sent; a history that is busy gets its line later.
func TestWhatCannotBeWritten(t *testing.T) {
	clocked(t, func(t *testing.T) {
		r := newRig(t, credspec.DriftCorrect, func(s *credspec.Settings) { s.Title = "Old" })
		r.writable(false, false)
		r.start()
		after(2 * time.Hour)
		if f := r.finding(); len(r.portal.edited()) > 0 || !strings.Contains(f.Error, "the disk is full") || fields(f.Changes) != "title" {
			t.Errorf("edited %v, found %+v", r.portal.edited(), f)
		}
		r.writable(true, false)
		after(2 * time.Hour)
		if len(r.portal.edited()) != 1 || len(r.keys.lines) > 0 {
			t.Fatalf("edited %v, history %v", r.portal.edited(), r.keys.lines)
		}
		r.writable(true, true)
		r.start() // it is remembered, too
		defer func() { r.stop() }()
		after(2 * time.Hour)
		if r.keys.count("corrected at the portal: title") != 1 {
			t.Errorf("history %v", r.keys.lines)
		}
	})
}

func TestItemsBySearch(t *testing.T) {
	clocked(t, func(t *testing.T) {
		one, two := strings.Repeat("1", 32), strings.Repeat("2", 32)
		r := newRig(t, credspec.DriftReport, func(s *credspec.Settings) { s.Items = []string{one} })
		r.spec.ItemsSearch, r.portal.found = "tags:roads", []string{one}
		r.start()
		defer func() { r.stop() }()
		after(time.Minute)
		if f := r.finding(); len(f.Changes) > 0 {
			t.Errorf("found %+v", f)
		}
		r.portal.person(func(*credspec.Settings) { r.portal.found = []string{two, one} })
		after(time.Hour)
		if f := r.finding(); fields(f.Changes) != "items" || !f.Changes.NeedReplacement() || !slices.Equal(f.Changes[0].Added(), []string{two}) {
			t.Errorf("the search finds more: %+v", f)
		}
		r.portal.person(func(*credspec.Settings) { r.portal.fails = errFake })
		r.start()
		after(time.Hour)
		if f := r.finding(); fields(f.Changes) != "items" {
			t.Errorf("while the search fails: %+v", f)
		}
		r.spec.ItemsSearch = "tags:rivers" // what that finds nobody knows yet
		r.start()
		after(time.Minute)
		if f := r.finding(); len(f.Changes) > 0 {
			t.Errorf("another search: %+v", f)
		}
	})
}

func TestAnotherItemIsAnotherCredential(t *testing.T) {
	clocked(t, func(t *testing.T) {
		r := newRig(t, credspec.DriftReport, func(s *credspec.Settings) { s.Title = "Old" })
		r.start()
		after(time.Minute)
		r.stop()
		spec := r.spec
		run, err := New(Options{Targets: []Target{{Name: "map", ID: rotate.ID{Portal: "here", Item: "bb22"}, Spec: &spec, Portal: r.portal}}, Store: r.store, Schedule: hourly{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := run.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if f := run.Findings()[0]; !f.CheckedAt.IsZero() || len(f.Changes) > 0 {
			t.Errorf("what was known of another item is taken for this one's: %+v", f)
		}
		f, err := run.Look(t.Context(), "map")
		if err != nil || fields(f.Changes) != "title" {
			t.Errorf("looked at: %+v, %v", f, err)
		}
		if _, err := run.Look(t.Context(), "other"); err == nil {
			t.Error("a credential without settings was looked at")
		}
	})
}

// Credentials that are gone keep nobody from the others; a portal that is down is asked three times a pass.
func TestWhoIsGoneHidesNobody(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		asks int
	}{
		"gone": {&rotate.Error{Op: "read item", Kind: rotate.KindPermanent, Cause: rotate.CauseNotFound, Err: errFake}, 5},
		"down": {&rotate.Error{Op: "read item", Kind: rotate.KindTransient, Err: errFake}, giveUpAfter},
	} {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				gone := &fakePortal{fails: c.err}
				var targets []Target
				for _, name := range []rotate.Name{"a", "b", "c", "d", "e"} {
					targets = append(targets, Target{Name: name, ID: rotate.ID{Portal: "here", Item: rotate.ItemID(name)}, Spec: &credspec.Spec{Title: "x"}, Portal: gone})
				}
				r, err := New(Options{Targets: targets, Store: &fakeStore{}, Schedule: hourly{}, Jitter: func() float64 { return 0 }})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				if err := r.Run(ctx); err != nil {
					t.Fatal(err)
				}
				if n := len(gone.reads); n != c.asks {
					t.Errorf("asked %d times, want %d", n, c.asks)
				}
			})
		})
	}
}
