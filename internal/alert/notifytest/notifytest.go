// Package notifytest is the contract that every alert.Notifier keeps, as tests: whatever
// is told arrives, twice does no harm, errors are classified, time limits hold, and no
// secret and no key is in anything that leaves it. A notifier's own test gives a Rig: the
// notifier before a server that it controls.
package notifytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/rotate"
)

// Answer is what the other side does with what it is asked.
type Answer string

// The answers. A rig refuses to make one that its way does not know: see Rig.Cannot.
const (
	Takes        Answer = "takes"         // says yes
	RefusesIt    Answer = "refuses it"    // this notice, for good
	RefusesUs    Answer = "refuses us"    // our sign-in, for good
	Busy         Answer = "busy"          // not now
	Limits       Answer = "limits"        // not before LimitWait
	Hangs        Answer = "hangs"         // takes the connection and says nothing
	Closes       Answer = "closes"        // closes the connection at once
	Echoes       Answer = "echoes"        // refuses, and gives back all that it was sent, headers and sign-in too
	EchoesAsBusy Answer = "echoes, busy"  // the same, with an error that passes
	Garbles      Answer = "talks garbage" // answers with what is not its protocol
)

// LimitWait is what a server that Limits asks for.
const LimitWait = 7 * time.Second

// Time limits that rigs are made with: what nothing reaches on a busy machine, and what is
// waited for.
const (
	patient   = time.Minute
	impatient = 300 * time.Millisecond
)

// TimeLimit for a rig that is made the same way for all parts.
const TimeLimit = 2 * time.Second

// Maker makes a rig whose notifier gives up after limit.
type Maker func(t *testing.T, limit time.Duration) Rig

// Rig is a notifier before its other side.
type Rig struct {
	Notifier alert.Notifier
	// Told is all that the other side took, oldest first, as a reader of it would see it:
	// texts decoded, headers too.
	Told func() []string
	// Answer sets what the other side does from now on; it begins with Takes.
	Answer func(Answer)
	// Cannot lists answers that this way does not know.
	Cannot []Answer
	// Secrets are in no error, log or message: tokens, passwords, secret parts of an address,
	// each in every form in which it is sent.
	Secrets []string
	// Log is what was logged so far.
	Log func() string
	// Loud: a quiet notice is told to nobody.
	Loud bool
	// Tells tells whether a notice of this kind and state is told at all (with its Ref, and
	// loud).
	Tells func(alert.NoticeKind, alert.State) bool
}

// Run the contract. The rig is made anew for each part; its notifier gives up after
// TimeLimit.
func Run(t *testing.T, rig func(t *testing.T) Rig) {
	t.Helper()
	RunLimited(t, func(t *testing.T, _ time.Duration) Rig { return rig(t) })
}

// RunLimited is Run with a time limit for each part, which no busy machine exceeds.
func RunLimited(t *testing.T, rig Maker) {
	t.Run("everything is told", func(t *testing.T) { everything(t, rig(t, patient)) })
	t.Run("a ref finds it again", func(t *testing.T) { refs(t, rig(t, patient)) })
	t.Run("told twice", func(t *testing.T) { twice(t, rig(t, patient)) })
	t.Run("quiet", func(t *testing.T) { quiet(t, rig(t, patient)) })
	t.Run("hostile texts", func(t *testing.T) { hostile(t, rig(t, patient)) })
	t.Run("errors are classified", func(t *testing.T) { errorKinds(t, rig) })
	t.Run("time limits", func(t *testing.T) { timeLimits(t, rig) })
	t.Run("check tells nobody", func(t *testing.T) { check(t, rig) })
	t.Run("no secret in errors and log", func(t *testing.T) { noSecret(t, rig) })
}

// tell one notice, which must be taken.
func tell(t *testing.T, r Rig, n alert.Notice) string {
	t.Helper()
	before := len(r.Told())
	ref, err := r.Notifier.Tell(t.Context(), n)
	if err != nil {
		t.Fatalf("tell %s %s %s: %v", n.Kind, n.State, n.Message.Condition, err)
	}
	r.clean(t, append(r.Told()[before:], ref)...)
	return ref
}

// clean: no secret and nothing like a key in the texts and in what was logged.
func (r Rig) clean(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range append(texts, r.Log()) {
		for _, s := range append([]string{keyLike, tokenLike, urlToken}, r.Secrets...) {
			if strings.Contains(text, s) {
				t.Fatalf("%q is in %q", s, cut(text))
			}
		}
	}
}

func cut(s string) string {
	const most = 2000
	return s[:min(len(s), most)]
}

func (r Rig) can(a Answer) bool { return !slices.Contains(r.Cannot, a) }

// everything: each condition, in each state, of each kind and severity.
func everything(t *testing.T, r Rig) {
	for _, n := range Notices() {
		ref := ""
		if n.State == alert.StateResolved && n.Kind == alert.NoticeAlert { // it has been opened before
			open := n
			open.State, open.Message.Resolved, open.Message.Severity = alert.StateOpen, false, alert.SeverityWarning
			ref = tell(t, r, open)
		}
		before := len(r.Told())
		n.Ref = ref
		tell(t, r, n)
		told := r.Told()[before:]
		switch {
		case !r.Tells(n.Kind, n.State) && len(told) == 0:
		case !r.Tells(n.Kind, n.State):
			t.Errorf("%s %s %s is told: %q", n.Kind, n.State, n.Message.Condition, told)
		case len(told) == 0:
			t.Errorf("%s %s %s is not told", n.Kind, n.State, n.Message.Condition)
		case !strings.Contains(strings.Join(told, "\n"), n.Message.Title):
			t.Errorf("%s %s %s is told without its title %q: %q", n.Kind, n.State, n.Message.Condition, n.Message.Title, told)
		}
	}
}

func refs(t *testing.T, r Rig) {
	n := Notice()
	n.Ref = tell(t, r, n)
	n.Message.Severity = alert.SeverityCritical
	again := tell(t, r, n)
	n.Ref = again
	n.State, n.Message.Resolved, n.Message.Severity = alert.StateResolved, true, alert.SeverityInfo
	tell(t, r, n)
	for _, foreign := range []string{"no ref of yours", "{}", "null", `{"a":`, "<x@y>\r\nBcc: z@example.org", strings.Repeat("x", 10000)} {
		n := Notice()
		n.Key, n.Ref = "dead/foreign", foreign
		tell(t, r, n)
	}
}

func twice(t *testing.T, r Rig) {
	n := Notice()
	first := tell(t, r, n)
	if second := tell(t, r, n); second != first {
		t.Errorf("the same notice without ref got %q, then %q", first, second)
	}
	n.Ref = first
	if third := tell(t, r, n); third != first {
		t.Errorf("the same notice with ref %q got %q", first, third)
	}
}

func quiet(t *testing.T, r Rig) {
	n := Notice()
	n.Ref = tell(t, r, n)
	before := len(r.Told())
	n.Loud = false
	n.State, n.By = alert.StateAcknowledged, "ada"
	ref := tell(t, r, n)
	told := len(r.Told()) - before
	switch {
	case ref != n.Ref:
		t.Errorf("a quiet notice changed the ref from %q to %q", n.Ref, ref)
	case r.Loud && told > 0:
		t.Errorf("a quiet notice was told %d times", told)
	case !r.Loud && told == 0:
		t.Error("a quiet notice did not bring up to date what stands there")
	}
}

// hostile texts are told, without what looks like a key or a token and without harm.
func hostile(t *testing.T, r Rig) {
	for _, text := range Hostile() {
		n := Notice()
		m := &n.Message
		for _, s := range []*string{&n.By, &m.Title, &m.Owner, &m.Environment, &m.Portal, &m.Breaks, &m.Phase, &m.Reason, &m.LastError,
			&m.NextAttempt, &m.Command, &m.RotationID} {
			*s += " " + text
		}
		m.Others = []string{"a", text}
		m.Sections = []alert.Section{{Title: text, Lines: []string{text, "fine"}}}
		m.Links = append(m.Links, alert.Link{Text: text, URL: "https://status.example/?token=" + urlToken})
		n.Story = []alert.StoryLine{{At: m.At, Text: text, By: text}}
		n.Ref = tell(t, r, n)
		n.State = alert.StateAcknowledged
		tell(t, r, n)
	}
}

func errorKinds(t *testing.T, rig Maker) {
	want := map[Answer]rotate.Kind{RefusesIt: rotate.KindPermanent, RefusesUs: rotate.KindAuth, Busy: rotate.KindTransient,
		Limits: rotate.KindRateLimited, Closes: rotate.KindTransient, Garbles: ""}
	for answer, kind := range want {
		r := rig(t, patient)
		if !r.can(answer) {
			continue
		}
		n := Notice()
		n.Ref = tell(t, r, n)
		r.Answer(answer)
		ref, err := r.Notifier.Tell(t.Context(), n)
		if answer == Garbles { // what it means is not said; that it is no success is
			if err == nil {
				t.Errorf("a server that %s: no error", answer)
			}
			continue
		}
		if err == nil || rotate.KindOf(err) != kind {
			t.Errorf("a server that %s: %v is %q, want %q", answer, err, rotate.KindOf(err), kind)
		}
		if _, ok := errors.AsType[*rotate.Error](err); !ok {
			t.Errorf("a server that %s: %v is not classified", answer, err)
		}
		if answer == Limits && rotate.WaitOf(err) != LimitWait {
			t.Errorf("a server that asks to wait %s: told to wait %s", LimitWait, rotate.WaitOf(err))
		}
		if ref != n.Ref {
			t.Errorf("a server that %s: the ref %q became %q", answer, n.Ref, ref)
		}
		r.Answer(Takes)
		tell(t, r, n)
	}
}

func timeLimits(t *testing.T, rig Maker) {
	for name, call := range map[string]func(context.Context, Rig) error{
		"tell":  func(ctx context.Context, r Rig) error { _, err := r.Notifier.Tell(ctx, Notice()); return err },
		"check": func(ctx context.Context, r Rig) error { return r.Notifier.Check(ctx) },
	} {
		r := rig(t, impatient)
		r.Answer(Hangs)
		start := time.Now()
		err := call(t.Context(), r)
		if took := time.Since(start); took > patient/2 {
			t.Errorf("%s of a server that hangs took %s", name, took)
		}
		if err == nil || rotate.KindOf(err) != rotate.KindTransient {
			t.Errorf("%s of a server that hangs: %v is %q", name, err, rotate.KindOf(err))
		}
		r = rig(t, patient)
		r.Answer(Hangs)
		ctx, cancel := context.WithTimeout(t.Context(), impatient)
		start = time.Now()
		if err := call(ctx, r); err == nil {
			t.Errorf("%s that is stopped: no error", name)
		}
		cancel()
		if took := time.Since(start); took > patient/2 {
			t.Errorf("%s that is stopped took %s", name, took)
		}
		r.clean(t, fmt.Sprint(err))
	}
}

func check(t *testing.T, rig Maker) {
	r := rig(t, patient)
	if err := r.Notifier.Check(t.Context()); err != nil {
		t.Errorf("check of a server in order: %v", err)
	}
	for _, a := range []Answer{RefusesUs, Busy, Closes, Garbles} {
		if !r.can(a) {
			continue
		}
		r.Answer(a)
		if err := r.Notifier.Check(t.Context()); err == nil {
			t.Errorf("check of a server that %s: no error", a)
		}
	}
	if told := r.Told(); len(told) > 0 {
		t.Errorf("check told %q", told)
	}
	if r.Notifier.Name() == "" {
		t.Error("it has no name")
	}
}

// noSecret: whatever the other side does or says.
func noSecret(t *testing.T, rig Maker) {
	for _, a := range []Answer{Takes, RefusesIt, RefusesUs, Busy, Limits, Closes, Echoes, EchoesAsBusy, Garbles, Hangs} {
		limit := patient
		if a == Hangs {
			limit = impatient
		}
		r := rig(t, limit)
		if !r.can(a) {
			continue
		}
		r.Answer(a)
		for _, n := range []alert.Notice{Notice(), full(alert.ConditionDead, alert.StateOpen, alert.NoticeSample)} {
			_, err := r.Notifier.Tell(t.Context(), n)
			checked := r.Notifier.Check(t.Context())
			if (a == Echoes || a == EchoesAsBusy) && err == nil {
				t.Errorf("a server that %s: no error", a)
			}
			r.clean(t, append(r.Told(), fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprint(checked))...)
		}
	}
}
