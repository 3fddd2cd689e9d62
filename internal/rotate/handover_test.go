package rotate

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	heirItem   = ItemID("beefbeefbeefbeefbeefbeefbeefbeef")
	heirClient = "Qm4TzW7xHEIRheir"
)

func heirID() ID { return ID{Portal: "esri", Item: heirItem} }

// withHeir is a rig whose portal has a second item without keys.
func withHeir(t *testing.T, g *rig) *fakePortal {
	t.Helper()
	heir := &fakePortal{fail: faults{}, privileges: []string{"premium:user:basemaps", "premium:user:geocode"}, client: heirClient, id: heirItem}
	g.cred.Portal = fakePortals{testItem: g.portal, heirItem: heir}
	g.each = func(AdvanceResult) { g.servedWorks(g.portal, heir) }
	return heir
}

// servedWorks: every sink's key is valid at its item.
func (g *rig) servedWorks(items ...*fakePortal) {
	g.t.Helper()
	for _, s := range []*fakeSink{g.vault, g.file} {
		works := false
		for _, p := range items {
			for _, k := range p.keys {
				works = works || k.secret.Equal(s.current().Key) && !k.revoked && time.Now().Before(k.expires)
			}
		}
		if !works {
			g.t.Fatalf("sink %s serves a dead key after %v", s.name, g.steps)
		}
	}
}

func (g *rig) order(cmd Command) {
	g.t.Helper()
	cmd.By = "ada"
	if _, err := g.engine.Command(g.t.Context(), g.cred, cmd); err != nil {
		g.t.Fatalf("%s: %v", cmd.Kind, err)
	}
}

func (g *rig) replace() {
	g.order(Command{Kind: CommandReplace, Heir: &Heir{ID: heirID(), Made: true}})
}

func (g *rig) untilReplaced() {
	g.t.Helper()
	g.until("the former item's end", func(r AdvanceResult) bool { return r.Step == StepRemoveFormer && r.Err == nil })
}

func TestReplacement(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := bootstrapped(t)
		heir := withHeir(t, g)
		old := g.record()
		g.replace()
		g.until("promotion", func(r AdvanceResult) bool { return r.Step == StepPromote })
		want := []Step{StepHandover, StepClaim, StepDate, StepMint, StepProve, StepPublish, StepPublish, StepPromote}
		if diff := cmp.Diff(want, g.steps); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
		r := g.record()
		if r.ID != heirID() || r.ClientID != heirClient || r.Live.Generation != 2 || r.Former == nil || !r.Former.Record.ID.is(old.ID) {
			t.Fatalf("after promotion: %+v", r)
		}
		if want := r.Former.PromotedAt.Add(7 * day); !r.Former.RetireAt.Equal(want) {
			t.Errorf("the former item retires %s, want %s", r.Former.RetireAt, want)
		}
		if len(g.portal.effects()) != 0 {
			t.Errorf("the old item was touched: %v", g.portal.effects())
		}
		if m := g.vault.current().Meta; m.Item != heirItem || m.Former == nil || m.Former.Item != testItem || m.Previous != (KeyFacts{}) {
			t.Errorf("the sink says %+v", m)
		}
		promoted := time.Now()
		g.untilReplaced()
		if early := time.Since(promoted); early < 7*day {
			t.Errorf("retired after %s", early)
		}
		if diff := cmp.Diff([]string{"revoke 1", "remove"}, g.portal.effects()); diff != "" {
			t.Errorf("effects on the old item (-want +got):\n%s", diff)
		}
		g.until("rest", func(r AdvanceResult) bool { return r.Step == StepNone })
		if r = g.record(); r.Former != nil || !slices.Equal(r.Formerly, []ID{old.ID}) || g.vault.current().Meta.Former != nil {
			t.Errorf("at the end: %+v, sink %+v", r, g.vault.current().Meta)
		}
		// The config still names the old item, and rotations go on at the new one.
		g.untilPhase(PhaseOverlap)
		if len(heir.effects()) != 4 || g.record().Live.Slot != Slot2 {
			t.Errorf("effects on the new item: %v", heir.effects())
		}
		for k, n := range map[EventKind]int{EventHandedOver: 1, EventReplaced: 1, EventHandedBack: 0, EventDrift: 0, EventKeyLost: 0} {
			if got := g.journal.told(k); got != n {
				t.Errorf("%d events %s, want %d", got, k, n)
			}
		}
	})
}

func (id ID) is(other ID) bool { return id == other }

// In an overlap both keys of the old item are in use, and both outlive the promotion by the overlap.
func TestReplacementInAnOverlap(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := at(t, PhaseOverlap)
		withHeir(t, g)
		g.replace()
		g.until("promotion", func(r AdvanceResult) bool { return r.Step == StepPromote })
		promoted := time.Now()
		g.until("the first revocation", func(r AdvanceResult) bool { return r.Step == StepRetireFormer })
		if since := time.Since(promoted); since < 7*day {
			t.Errorf("revoked after %s", since)
		}
		g.untilReplaced()
		if diff := cmp.Diff([]string{"revoke 1", "revoke 2", "remove"}, g.portal.effects()); diff != "" {
			t.Errorf("effects on the old item (-want +got):\n%s", diff)
		}
	})
}

// TestReplacementGivenUp: before any sink shows the new key everything can be put back,
// and nothing of the new item is left behind.
func TestReplacementGivenUp(t *testing.T) {
	for name, end := range map[string]func(g *rig, heir *fakePortal){
		"asked for": func(g *rig, _ *fakePortal) { g.order(Command{Kind: CommandCancel}) },
		"asked for after a lost mint": func(g *rig, heir *fakePortal) {
			heir.fail["mint"] = []fault{{err: errLost, after: true}}
			g.until("the lost mint", func(r AdvanceResult) bool { return r.Step == StepMint })
			g.order(Command{Kind: CommandBack})
		},
		"expiry": func(_ *rig, heir *fakePortal) { heir.fail["mint"] = slices.Repeat([]fault{{err: errNever}}, 100) },
		"expiry while the portal is down": func(g *rig, heir *fakePortal) {
			g.cred.Policy.RetryMax = day
			heir.fail["date"] = slices.Repeat([]fault{{err: errBusy}}, 10000)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := bootstrapped(t)
				heir := withHeir(t, g)
				old := g.record()
				g.replace()
				g.until("handover", func(r AdvanceResult) bool { return r.Step == StepHandover })
				end(g, heir)
				g.until("the way back", func(r AdvanceResult) bool { return r.Step == StepBack })
				heir.fail = faults{}
				r := g.record()
				if r.ID != old.ID || r.Live != old.Live || r.Former == nil || r.Former.Record.ID != heirID() || r.Quarantine != nil {
					t.Fatalf("after the way back: %+v", r)
				}
				g.untilReplaced()
				if !heir.gone || heir.slots[Slot1] != nil || g.portal.gone {
					t.Errorf("new item %v, old item %v", heir.effects(), g.portal.effects())
				}
				g.untilPhase(PhaseOverlap)
				if r := g.record(); r.ID != old.ID || r.Live.Slot != Slot2 || r.Live.Generation <= old.Live.Generation {
					t.Errorf("the old item rotates no more: %+v", r)
				}
			})
		})
	}
}

// A sink that goes back to the time before the replacement is repaired: from another
// sink, or with another key, even when the old item is gone (rule 9).
func TestReplacementAndARestoredSink(t *testing.T) {
	for name, c := range map[string]struct {
		both, late bool
	}{"one": {}, "both": {both: true}, "one, after the end": {late: true}, "both, after the end": {both: true, late: true}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := bootstrapped(t)
				heir := withHeir(t, g)
				before := g.vault.current()
				g.replace()
				g.until("promotion", func(r AdvanceResult) bool { return r.Step == StepPromote })
				if c.late {
					g.untilReplaced()
					g.each = nil // the sink serves a dead key until it is repaired
				}
				for _, s := range []*fakeSink{g.vault, g.file} {
					if s == g.vault || c.both {
						before.Version = s.current().Version + "r"
						s.versions = []Entry{before}
					}
				}
				g.session.Look()
				g.until("repair", func(r AdvanceResult) bool {
					g.session.Look()
					return g.vault.current().Meta.Item == heirItem && r.Record.Phase == PhaseIdle && r.Record.Rotation == nil
				})
				g.servedWorks(g.portal, heir)
				if minted := heir.count("mint"); minted != 1 && !c.both || minted != 2 && c.both {
					t.Errorf("%d keys were made", minted)
				}
				if !c.late {
					g.untilReplaced()
				}
				g.until("the lost key's end", func(AdvanceResult) bool {
					return (heir.slots[Slot1] == nil || heir.slots[Slot2] == nil) && g.record().Former == nil
				})
			})
		})
	}
}

// TestReplacementAndALostJournal: the sinks say whose key they serve and what it replaced.
func TestReplacementAndALostJournal(t *testing.T) {
	for name, lose := range map[string]func(g *rig){
		"empty": func(g *rig) { clear(g.journal.records); clear(g.journal.epochs) },
		"older": func(*rig) {},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := bootstrapped(t)
				heir := withHeir(t, g)
				saved, epoch := slices.Clone(g.journal.records["maps"]), g.journal.epochs["maps"]
				g.replace()
				g.until("promotion", func(r AdvanceResult) bool { return r.Step == StepPromote })
				g.journal.records["maps"], g.journal.epochs["maps"] = saved, epoch
				lose(g)
				g.restart()
				g.session.Look()
				g.until("rebuild", func(r AdvanceResult) bool { return r.Step == StepRebuild })
				if r := g.record(); r.ID != heirID() || r.Former == nil || r.Former.Record.ID != testID() || r.Live.Generation != 2 {
					t.Fatalf("rebuilt: %+v", r)
				}
				g.untilReplaced()
				if heir.count("mint") != 1 || heir.slots[Slot1] == nil {
					t.Errorf("new item: %v", heir.effects())
				}
			})
		})
	}
}

// A revocation that fails, and an item that will not go, are tried again on the ladder
// of revocations, and stop nothing else.
func TestReplacementRetriesTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := bootstrapped(t)
		withHeir(t, g)
		g.replace()
		g.until("promotion", func(r AdvanceResult) bool { return r.Step == StepPromote })
		g.portal.fail["revoke"] = []fault{{err: errBusy}, {err: errLost, after: true}}
		g.portal.fail["remove"] = []fault{{err: errBusy}, {err: errLost}}
		g.untilReplaced()
		if diff := cmp.Diff([]string{"revoke 1", "revoke 1", "remove", "remove", "remove"}, g.portal.effects()); diff != "" {
			t.Errorf("effects on the old item (-want +got):\n%s", diff)
		}
		if r := g.record(); r.Attempts != 0 || r.Revoke.Attempts != 0 || r.Quarantine != nil {
			t.Errorf("left behind: %+v", r)
		}
	})
}

// An item may be replaced by one of another portal: what is asked of each goes there.
func TestReplacementAtAnotherPortal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := bootstrapped(t)
		there := &fakePortal{fail: faults{}, privileges: []string{"premium:user:basemaps"}, client: heirClient, id: heirItem}
		g.cred.Portals = map[PortalID]Portal{"esri": g.portal, "gov": there}
		heir := ID{Portal: "gov", Item: heirItem}
		g.order(Command{Kind: CommandReplace, Heir: &Heir{ID: heir, Made: true}})
		g.each = func(AdvanceResult) { g.servedWorks(g.portal, there) }
		g.until("promotion", func(r AdvanceResult) bool { return r.Step == StepPromote })
		if r := g.record(); r.ID != heir || g.vault.current().Meta.Portal != "gov" {
			t.Errorf("it is %s, the sink says %s", r.ID, g.vault.current().Meta.Portal)
		}
		g.untilReplaced()
		if diff := cmp.Diff([]string{"revoke 1", "remove"}, g.portal.effects()); diff != "" {
			t.Errorf("effects at the portal before (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"date 1", "mint 1"}, there.effects()); diff != "" {
			t.Errorf("effects at the other portal (-want +got):\n%s", diff)
		}
		g.untilPhase(PhaseOverlap) // the config still names the item before, at its portal
	})
}
