package crashsweep

import (
	"fmt"
	"slices"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// checker holds the invariants against the world after every effect.
type checker struct {
	w *world
	// served says until when a consumer that caches its key for the overlap may use
	// a key: the last time any sink showed it, plus the overlap.
	served map[string]time.Time
	// excused keys may die early: compromised, killed by a person, or served again
	// only by a foreign hand.
	excused  map[string]bool
	problems []string
	// slowRevoke: the portal lets dead keys work for a while, which is no concern here.
	slowRevoke bool
	slots      map[string]portaltest.KeyInfo // last known state, by secret
}

func newChecker(w *world) *checker {
	c := &checker{w: w, served: map[string]time.Time{}, excused: map[string]bool{}, slots: map[string]portaltest.KeyInfo{}}
	w.emu.OnEffect(func(e portaltest.Event) {
		if e.OutOfBand {
			c.excuseOutOfBand()
			return
		}
		c.effect(e)
	})
	for _, s := range w.sinks {
		s.OnEffect(func() { c.now("sink " + s.Name() + " changed") })
	}
	return c
}

func (c *checker) fail(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf("%s: ", time.Since(c.w.start))+fmt.Sprintf(format, args...))
	c.w.note("VIOLATION %s", fmt.Sprintf(format, args...))
}

// excuseOutOfBand forgives what a person did at the portal: the keys that are dead
// now and were not before.
func (c *checker) excuseOutOfBand() {
	for _, k := range c.w.emu.Keys() {
		if !k.Ended.IsZero() && c.slots[k.Secret].Ended.IsZero() {
			c.excused[k.Secret] = true
		}
	}
	c.now("a person at the portal")
}

// effect checks invariants 2 and 7 on one effect of ours, then all others.
func (c *checker) effect(e portaltest.Event) {
	if e.ItemID != "" && e.ItemID == c.w.other.ItemID {
		c.fail("invariant 7: %s on a credential that was never adopted", e.Kind)
	}
	if e.Kind == portaltest.EventKeyEnded && e.Slot != 0 {
		for _, k := range c.w.emu.Keys() {
			if k.ItemID != e.ItemID || k.Slot != e.Slot || k.Tail != e.KeyTail || k.Ended.IsZero() || !c.slots[k.Secret].Ended.IsZero() {
				continue
			}
			if now := c.w.emu.Now(); !k.Expires.IsZero() && !now.Before(k.Expires) {
				continue // dead by its date before
			}
			if by := c.servedBy(k.Secret); by != "" && !c.excused[k.Secret] {
				c.fail("invariant 2: %s of slot %d while sink %s serves its key (late: %v)", e.Why, e.Slot, by, e.Late)
			}
			if before := c.slots[k.Secret]; k.OutOfBand && before.Valid(c.w.emu.Now()) && !c.excused[k.Secret] {
				c.fail("invariant 2: %s of a key that somebody unknown made in slot %d", e.Why, e.Slot)
			}
		}
	}
	c.now(string(e.Kind))
}

func (c *checker) servedBy(secret string) string {
	for _, s := range c.w.sinks {
		if s.Served().Key.Reveal() == secret {
			return s.Name()
		}
	}
	return ""
}

// now checks invariants 1 and 3: what sinks serve works, and so does what a caching
// consumer may still use.
func (c *checker) now(when string) {
	now := c.w.emu.Now()
	for _, s := range c.w.sinks {
		if key := s.Served().Key.Reveal(); key != "" {
			c.served[key] = now.Add(c.w.cred.Policy.Overlap)
		}
	}
	for _, k := range c.w.emu.Keys() {
		c.slots[k.Secret] = k
		until, was := c.served[k.Secret]
		if !was || c.excused[k.Secret] || !now.Before(until) {
			continue
		}
		if !k.Ended.IsZero() && !k.Ended.After(now) && (k.Expires.IsZero() || now.Before(k.Expires)) {
			c.excused[k.Secret] = true // once is enough
			c.fail("invariants 1, 3: key %s was %s while in use until %s (%s)", rotate.NewSecret(k.Secret).Fingerprint(), k.EndedBy, until, when)
		}
	}
}

// end checks invariants 4 and 5 and that the run came to rest.
func (c *checker) end(wantMints int) (extra int) {
	w := c.w
	now := w.emu.Now()
	mints := 0
	for _, k := range w.emu.Keys() {
		if !slices.Contains(w.items, k.ItemID) || k.OutOfBand || k.EndedBy == portaltest.EndedNeverWas {
			continue
		}
		mints++
		if k.Valid(now) && c.servedBy(k.Secret) == "" && !w.lost[k.ItemID] {
			c.fail("invariant 4: key %s is valid and unserved at the end", rotate.NewSecret(k.Secret).Fingerprint())
		}
	}
	fingerprints := map[rotate.Fingerprint]bool{}
	for _, s := range w.sinks {
		e := s.Served()
		fingerprints[e.Key.Fingerprint()] = true
		if ok, why := w.emu.KeyValid(e.Key.Reveal()); !ok {
			c.fail("invariant 1: sink %s serves %s at the end, which is %s", s.Name(), e.Key.Fingerprint(), why)
		}
	}
	if len(fingerprints) != 1 {
		c.fail("invariant 1: the sinks differ at the end")
	}
	allowed := wantMints
	for _, f := range w.faults {
		if f.costsMint() {
			allowed++
		}
	}
	if mints > allowed {
		c.fail("invariant 5: %d mints, %d allowed", mints, allowed)
	}
	if v := w.emu.Violations(); len(v) > 0 {
		c.fail("the strict emulator refused a request: %v", v[0])
	}
	return mints - wantMints
}
