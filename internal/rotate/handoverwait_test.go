package rotate

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What stands against a start stands against a handover, and nothing is touched.
func TestReplacementWaits(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(g *rig, heir *fakePortal)
		want Reason
	}{
		"held":             {func(g *rig, _ *fakePortal) { g.order(Command{Kind: CommandHold, Text: "release day"}) }, ReasonHeld},
		"window":           {func(g *rig, _ *fakePortal) { g.cred.Policy.Calendar = shut{} }, ReasonWindow},
		"sink drift":       {func(g *rig, _ *fakePortal) { g.vault.put(testKey(Slot2, "stranger")) }, ReasonDrift},
		"heir unreachable": {func(_ *rig, heir *fakePortal) { heir.fail["app"] = slices.Repeat([]fault{{err: errBusy}}, 50) }, ReasonUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := bootstrapped(t)
				heir := withHeir(t, g)
				g.each = nil
				c.set(g, heir)
				g.replace()
				g.until("the wait", func(r AdvanceResult) bool { return r.Blocked == c.want })
				if r := g.record(); r.ID != testID() || r.Request == nil || len(heir.effects()) != 0 {
					t.Errorf("it did not wait: %+v", r)
				}
			})
		})
	}
}

// shut is a calendar that never opens.
type shut struct{}

func (shut) Closed(now time.Time) (Reason, time.Time) { return ReasonWindow, now.Add(365 * day) }

// put a value into the sink behind rotatord's back.
func (s *fakeSink) put(key Secret) {
	e := s.current()
	e.Key, e.Version = key, e.Version+"x"
	s.versions = append(s.versions, e)
}

// Refusals say why, and drop the request.
func TestReplacementRefused(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(g *rig, heir *fakePortal)
		want string
	}{
		"heir is gone":       {func(_ *rig, heir *fakePortal) { heir.gone = true }, "is not there"},
		"heir has a key":     {func(_ *rig, heir *fakePortal) { heir.put(Slot1, time.Now().Add(90*day)) }, "rotatord did not make"},
		"somebody's old key": {func(g *rig, _ *fakePortal) { g.portal.put(Slot2, time.Now().Add(90*day)) }, "somebody unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := bootstrapped(t)
				heir := withHeir(t, g)
				c.set(g, heir)
				g.replace()
				res := g.until("the refusal", func(r AdvanceResult) bool { return r.Step == StepRefuse })
				if !strings.Contains(res.Detail, c.want) || g.record().Request != nil || g.record().ID != testID() {
					t.Errorf("refused with %q: %+v", res.Detail, g.record())
				}
			})
		})
	}
}

func TestReplacementOfACompromisedItem(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := bootstrapped(t)
		withHeir(t, g)
		g.cred.Policy.Calendar = shut{}
		g.order(Command{Kind: CommandReplace, Heir: &Heir{ID: heirID(), Compromised: true, Keep: true}})
		began := time.Now()
		g.until("promotion", func(r AdvanceResult) bool { return r.Step == StepPromote })
		g.cred.Policy.Calendar = nil
		g.until("the end", func(r AdvanceResult) bool { return r.Step == StepFormerEnd })
		if took := time.Since(began); took > 2*time.Hour {
			t.Errorf("the old key lived for %s", took)
		}
		if diff := cmp.Diff([]string{"revoke 1"}, g.portal.effects()); diff != "" {
			t.Errorf("effects on the old item (-want +got):\n%s", diff)
		}
	})
}

// gateOf remembers what it was asked.
type gateOf struct {
	quiet bool
	asked []Quiet
}

func (*gateOf) Name() string { return "acks" }

func (g *gateOf) Ask(_ context.Context, q Quiet) (QuietAnswer, error) {
	g.asked = append(g.asked, q)
	return QuietAnswer{Quiet: g.quiet, Detail: "tiles still runs it"}, nil
}

func TestReplacementAsksTheGates(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := bootstrapped(t)
		withHeir(t, g)
		old, gate := g.record().Live, &gateOf{}
		g.cred.Gates = []Gate{gate}
		g.replace()
		res := g.until("the gate", func(r AdvanceResult) bool { return r.Blocked == ReasonGate })
		if !strings.Contains(res.Detail, "tiles still runs it") || gate.asked[0].Previous.Fingerprint != old.Fingerprint || len(g.portal.effects()) != 0 {
			t.Errorf("%q, asked %+v, effects %v", res.Detail, gate.asked[0], g.portal.effects())
		}
		gate.quiet = true
		g.untilReplaced()
	})
}

// A key that somebody makes in the former item meanwhile is left alone: where our own is
// still in a sink's history it is asked, and where it is not, the slot's date tells.
func TestReplacementLeavesSomebodysKey(t *testing.T) {
	for name, c := range map[string]struct {
		date time.Duration // from ours
		has  bool          // a sink still has our key
		left bool
	}{
		"another date":            {40 * day, true, true},
		"our date":                {0, true, true},
		"another date, no key":    {40 * day, false, true},
		"our date, no key: taken": {0, false, false}, // nothing tells it from ours
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := at(t, PhaseOverlap)
				withHeir(t, g)
				g.replace()
				g.until("promotion", func(r AdvanceResult) bool { return r.Step == StepPromote })
				other := g.portal.put(Slot1, g.portal.dates[Slot1].Add(c.date))
				if !c.has {
					g.session.old.Forget()
					for _, s := range []*fakeSink{g.vault, g.file} {
						s.versions = s.versions[len(s.versions)-1:]
					}
				}
				if !c.left {
					g.untilReplaced()
					return
				}
				res := g.until("the wait", func(r AdvanceResult) bool { return r.Blocked == ReasonOccupied })
				if other.revoked || !strings.Contains(res.Detail, "slot 1 of item "+string(testItem)) {
					t.Errorf("revoked: %t, told %q", other.revoked, res.Detail)
				}
				g.portal.kill(Slot1)
				g.untilReplaced()
			})
		})
	}
}
