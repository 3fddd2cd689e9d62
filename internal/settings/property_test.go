package settings

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rotatord/internal/credspec"
)

// life is one credential under random people, restarts, reloads and failures.
type life struct {
	*rapid.T
	now  time.Time
	spec credspec.Spec
	have credspec.Settings
	book book
	done []correction // every edit that took effect and was answered, by our own count
}

func (l *life) any(label string, of ...string) string { return rapid.SampledFrom(of).Draw(l.T, label) }

func (l *life) person() {
	switch l.any("what", "title", "tags", "protect", "referrers") {
	case "title":
		l.have.Title = l.any("title", "a", "b", "c")
	case "tags":
		l.have.Tags = []string{l.any("tag", "a", "b")}
	case "protect":
		l.have.Protected = !l.have.Protected
	case "referrers":
		l.have.Referrers = []string{"https://" + l.any("site", "a", "b") + ".example"}
	}
}

func (l *life) reload() {
	switch l.any("reload", "title", "policy", "referrers", "snippet") {
	case "title":
		l.spec.Title = l.any("wanted", "a", "b", "c")
	case "policy":
		l.spec.Drift = credspec.Drift(l.any("policy", "report", "correct", "adopt"))
	case "referrers":
		l.spec.Referrers = []string{"https://" + l.any("wanted site", "a", "b") + ".example"}
	case "snippet":
		l.spec.Snippet = l.any("wanted snippet", "", "a")
	}
}

// restart has what a new process reads from the store.
func (l *life) restart() {
	raw, err := json.Marshal(l.book)
	if err != nil {
		l.Fatal(err)
	}
	l.book = book{}
	if err := json.Unmarshal(raw, &l.book); err != nil {
		l.Fatal(err)
	}
}

func (l *life) edit(c credspec.Change) {
	switch c.Field {
	case credspec.FieldTitle:
		l.have.Title = c.To[0]
	case credspec.FieldTags:
		l.have.Tags = c.To
	case credspec.FieldProtect:
		l.have.Protected = c.To[0] == "true"
	case credspec.FieldSnippet:
		l.have.Snippet = c.To[0]
	default:
		l.Fatalf("%s was edited in place", c.Field)
	}
}

// pass is what Runner.one does, with an answer that may be lost or refused, and a kill anywhere.
func (l *life) pass() {
	b := &l.book
	b.look(&l.spec, &l.spec, l.have, l.now)
	for l.spec.Drift == credspec.DriftCorrect {
		changes, _ := b.differing(&l.spec)
		c, ok := b.next(changes, l.now)
		if !ok {
			break
		}
		b.Pending = &pending{c.Field, c.From, c.To, l.now}
		switch l.any("answer", "ok", "ok", "lost", "refused", "killed before", "killed after") {
		case "ok":
			l.edit(c)
			l.done = append(l.done, correction{c.Field, l.now})
			b.look(&l.spec, &l.spec, l.have, l.now)
			continue
		case "lost":
			l.edit(c)
			b.Edits.failed(errors.New("no answer"), l.now)
		case "refused":
			b.Edits.failed(errors.New("no"), l.now)
		case "killed before":
			l.restart()
		case "killed after":
			l.edit(c)
			l.restart()
		}
		return
	}
}

// check what must hold after every look.
func (l *life) check() {
	changes, adopted := l.book.differing(&l.spec)
	for _, c := range adopted {
		if l.spec.Drift != credspec.DriftAdopt {
			l.Fatalf("%s is adopted, and the policy is %s", c.Field, l.spec.Drift)
		}
	}
	if n := len(credspec.Diff(&l.spec, l.book.Have)); n != len(changes)+len(adopted) {
		l.Fatalf("%d settings differ, %d are told and %d adopted", n, len(changes), len(adopted))
	}
	for i, d := range l.done {
		n := 0
		for _, other := range l.done[:i+1] {
			if other.Field == d.Field && d.At.Sub(other.At) < correctionWindow {
				n++
			}
		}
		if n > maxCorrections {
			l.Fatalf("%s was corrected %d times in a day", d.Field, n)
		}
	}
}

// Whatever people, reloads, failures and kills do: what kills keys is never edited, nobody is fought for
// ever, nothing that differs is lost from sight, and once all is quiet the policy's word holds.
func TestAnyLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &life{T: t, now: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
			spec: credspec.Spec{Use: credspec.UsePublic, Title: "a", Tags: []string{"a"}, Referrers: []string{"https://a.example"}, Protect: true, Drift: credspec.DriftReport},
			have: credspec.Settings{Title: "a", Tags: []string{"a"}, Folder: "/", Referrers: []string{"https://a.example"}, Protected: true}}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch l.any("step", "person", "reload", "restart", "pass", "pass", "pass") {
			case "person":
				l.person()
			case "reload":
				l.reload()
			case "restart":
				l.restart()
			case "pass":
				l.pass()
				l.check()
			}
			l.now = l.now.Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "minutes")) * time.Minute)
		}
		// A look that is let end, a day later.
		l.now = l.now.Add(2 * correctionWindow)
		before := l.have.Title
		for l.book.look(&l.spec, &l.spec, l.have, l.now); ; l.book.look(&l.spec, &l.spec, l.have, l.now) {
			changes, _ := l.book.differing(&l.spec)
			c, ok := l.book.next(changes, l.now)
			if l.spec.Drift != credspec.DriftCorrect || !ok {
				break
			}
			l.edit(c)
		}
		l.check()
		changes, _ := l.book.differing(&l.spec)
		contested := l.book.contested(changes)
		for _, c := range changes.Harmless() {
			if l.spec.Drift == credspec.DriftCorrect && !slices.Contains(contested, c.Field) {
				t.Errorf("%s differs still", c.Field)
			}
		}
		if l.spec.Drift != credspec.DriftCorrect && l.have.Title != before {
			t.Errorf("edited under %s", l.spec.Drift)
		}
	})
}
