package settings

import (
	"fmt"
	"slices"
	"time"

	"rotatord/internal/credspec"
)

const (
	// maxCorrections of one setting in correctionWindow: who changes it back that often means it, or is another program.
	maxCorrections   = 3
	correctionWindow = 24 * time.Hour
	// Back-off after a failure: doubled each time.
	retryBase = time.Minute
	retryMax  = 6 * time.Hour
	// maxUnsaid bounds the lines that wait for a history that cannot be written.
	maxUnsaid = 50
)

// book is what is remembered of one credential, as JSON in the store.
type book struct {
	Policy    credspec.Drift    `json:"policy"`
	CheckedAt time.Time         `json:"checked_at,omitzero"` // of the last look that succeeded
	Have      credspec.Settings `json:"have"`
	// Found is what search and group, as they stand in Sources, came to.
	Sources [2]string                `json:"sources"`
	Found   []string                 `json:"found,omitempty"`
	Fields  map[credspec.Field]field `json:"fields,omitempty"`
	// Pending is an edit that was sent, or is about to be; the next look tells what came of it.
	Pending     *pending     `json:"pending,omitempty"`
	Corrections []correction `json:"corrections,omitempty"` // of correctionWindow
	// Unsaid are lines that the history does not have yet.
	Unsaid []string `json:"unsaid,omitempty"`
	Looks  ladder   `json:"looks,omitzero"`
	Edits  ladder   `json:"edits,omitzero"`
}

// ladder is how often something failed in a row, and when it is tried again.
type ladder struct {
	Attempts int       `json:"attempts,omitempty"`
	RetryAt  time.Time `json:"retry_at,omitzero"`
	Error    string    `json:"error,omitempty"` // the last one
}

// field is one setting as the last look saw it, on both sides.
type field struct {
	Have      []string `json:"have"`
	Want      []string `json:"want"`
	Adopted   bool     `json:"adopted,omitempty"`   // the difference is taken as meant
	Contested bool     `json:"contested,omitempty"` // somebody changes it back: it is corrected no more
}

type pending struct {
	Field credspec.Field `json:"field"`
	From  []string       `json:"from"`
	To    []string       `json:"to"`
	At    time.Time      `json:"at"`
}

type correction struct {
	Field credspec.Field `json:"field"`
	At    time.Time      `json:"at"`
}

// want is the specification with what is known of its search and group. Without that,
// items are not compared (credspec.Diff leaves them out).
func (b *book) want(spec *credspec.Spec) *credspec.Spec {
	if !spec.Sourced() || b.Found == nil || b.Sources != [2]string{spec.ItemsSearch, spec.ItemsGroup} {
		return spec
	}
	return spec.WithItems(b.Found)
}

// look takes what was just read. It is pure but for the book itself.
func (b *book) look(spec, want *credspec.Spec, have credspec.Settings, now time.Time) {
	first := b.CheckedAt.IsZero() || b.Policy != spec.Drift
	if first || b.changed(want, spec.Drift) {
		b.Edits = ladder{} // what failed before was another edit
	}
	b.Have, b.CheckedAt, b.Policy = have, now, spec.Drift
	if spec.Sourced() && !want.Sourced() {
		b.Sources, b.Found = [2]string{spec.ItemsSearch, spec.ItemsGroup}, want.Items
	}
	was := b.Fields
	b.Fields = map[credspec.Field]field{}
	for _, c := range credspec.Managed(want, have) {
		old, seen := was[c.Field]
		f := field{Have: c.From, Want: c.To}
		if differs := !slices.Equal(c.From, c.To); differs {
			b.judge(&f, old, seen, first)
		}
		if f.Adopted && (!old.Adopted || !slices.Equal(old.Have, f.Have)) {
			b.say("adopted from the portal: " + credspec.Change{Field: c.Field, From: c.To, To: c.From, Effect: c.Effect}.Line())
		}
		b.Fields[c.Field] = f
	}
	b.settle(now)
}

// judge a setting that differs. The newest word is meant: a change at the portal is adopted,
// one of the config is not overruled by what the portal had before it.
func (b *book) judge(f *field, old field, seen, first bool) {
	changedHere := !first && (!seen || !slices.Equal(old.Want, f.Want))
	changedThere := seen && !slices.Equal(old.Have, f.Have)
	f.Contested = old.Contested && !first && !changedHere
	f.Adopted = b.Policy == credspec.DriftAdopt && !changedHere && (first || changedThere || old.Adopted)
}

// settle what became of an edit: its answer may have been lost, or the process killed.
func (b *book) settle(now time.Time) {
	p := b.Pending
	if p == nil {
		return
	}
	b.Pending = nil
	f := b.Fields[p.Field]
	if slices.Equal(f.Have, p.From) {
		return // it did not happen, or was undone within the minute
	}
	b.Corrections = append(slices.DeleteFunc(b.Corrections, func(c correction) bool { return now.Sub(c.At) >= correctionWindow }), correction{p.Field, now})
	if !slices.Equal(f.Have, p.To) {
		return // somebody was there after us, or before
	}
	b.say("corrected at the portal: " + credspec.Change{Field: p.Field, From: p.From, To: p.To}.Line())
}

// say has a line put into the history when that can be written.
func (b *book) say(line string) {
	if len(b.Unsaid) < maxUnsaid {
		b.Unsaid = append(b.Unsaid, line)
	}
}

// differing are the settings that differ and were not adopted; adopted those that were.
func (b *book) differing(want *credspec.Spec) (changes, adopted credspec.Changes) {
	changes, adopted = credspec.Changes{}, credspec.Changes{}
	if b.CheckedAt.IsZero() {
		return changes, adopted
	}
	for _, c := range credspec.Diff(want, b.Have) {
		if f := b.Fields[c.Field]; f.Adopted && slices.Equal(f.Have, c.From) && slices.Equal(f.Want, c.To) {
			adopted = append(adopted, c)
		} else {
			changes = append(changes, c)
		}
	}
	return changes, adopted
}

// contested lists what differs and is corrected no more.
func (b *book) contested(changes credspec.Changes) []credspec.Field {
	var out []credspec.Field
	for _, c := range changes {
		if b.Fields[c.Field].Contested {
			out = append(out, c.Field)
		}
	}
	return out
}

// next is the harmless change to make now; ok is false where none is left. A setting that
// was corrected too often is given up until it agrees, or the config changes.
func (b *book) next(changes credspec.Changes, now time.Time) (c credspec.Change, ok bool) {
	for _, c := range changes.Harmless() {
		f := b.Fields[c.Field]
		if f.Contested {
			continue
		}
		n := 0
		for _, done := range b.Corrections {
			if done.Field == c.Field && now.Sub(done.At) < correctionWindow {
				n++
			}
		}
		if n < maxCorrections {
			return c, true
		}
		f.Contested = true
		b.Fields[c.Field] = f
		b.say(fmt.Sprintf("%s is corrected no more: it was corrected %d times in a day, and somebody changes it back", c.Field, n))
	}
	return credspec.Change{}, false
}

func (l *ladder) failed(err error, now time.Time) {
	delay := retryMax
	if l.Attempts < 16 {
		delay = min(retryMax, retryBase<<l.Attempts)
	}
	l.Attempts, l.RetryAt, l.Error = l.Attempts+1, now.Add(delay), err.Error()
}

// due tells that what failed is to be tried again by now.
func (l *ladder) due(now time.Time) bool { return !l.RetryAt.IsZero() && !l.RetryAt.After(now) }

// changed tells whether the config wants something else than at the last look.
func (b *book) changed(want *credspec.Spec, policy credspec.Drift) bool {
	if b.CheckedAt.IsZero() || b.Policy != policy {
		return true
	}
	all := credspec.Managed(want, b.Have)
	return len(all) != len(b.Fields) || slices.ContainsFunc(all, func(c credspec.Change) bool { return !slices.Equal(b.Fields[c.Field].Want, c.To) })
}
