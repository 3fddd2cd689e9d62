// Package rotate is the domain of rotatord: it takes one API key credential at a
// time through one rotation after another, so that the key that consumers read is
// valid at every moment. It knows no portal, no Vault and no database; those stand
// behind Portal, Sink and Journal (ports.go), and it imports the standard library
// only. docs/protocol.md says the same for the people who run it.
//
// # Who calls what
//
// The driver calls Engine.Advance for one credential, and again when
// AdvanceResult.Next says. It owns the goroutines, the timers and the lock that
// gives one credential to one Advance at a time; the engine owns none.
//
//	Advance: Journal.Load ─► Decide ─► act ─► Journal.Save ─► Observer
//	                         ▲    │
//	       absorb ◄─ gather ─┘    └ Need: look at this first
//
// Decide is pure: a function of In, which holds the record, the policy, two clocks,
// what the session remembers and what this very Advance has looked at. Where it
// wants to know more it answers with a Need; gather looks, absorb folds what was
// seen into the record (flags, dates, refusals, deaths, drift), and Decide is asked
// again. What stands then is one Step: one external effect, a change of the journal
// alone, or nothing and the reason. A survey authorises no effect: the effect has
// read all it needs within its own last 30 seconds.
//
// A mint and a revoke are journalled as an Intent before they are sent, and their
// outcome after. Every Save is a compare-and-swap on Record.Epoch. Apply notes a
// person's command in the record; Advance carries it out under the same rules.
// Forecast decides without acting.
//
// What only the Session knows (the minted key until the first sink's commit, the
// claim's age by a clock that counts sleep) may be lost at any time: recovery is no
// mode of its own. Start-up, retry and schedule all come through Advance.
//
// # Phases
//
//	idle ◄─────────────────────────────────────┐  due, agreement, a target slot
//	 │                                         │
//	 ▼         its one effect                  │
//	claiming   CAS of the claim, first sink    │
//	 │   ▲                                     │
//	 ▼   │ reclaim: claim stale, sink written  │
//	dating │   since, or the minted key lost   ├─ abort: nothing was minted
//	 │   │     the slot's date on the item     │
//	 ▼   │                                     │
//	minting    Intent, then oauth2/token       │
//	 │   │                                     │
//	 ▼   │                                     │
//	proving    portals/self with the new key   ├─ give up: the key must not be
//	 │   │                                     │  published; quarantine
//	 ▼   │                                     │
//	publishing the key into one sink after     │
//	 │         another, each read back:        │
//	 │         commit by the first one's       ├─ a first key: nothing to retire
//	 ▼ promote once all show it                │
//	overlap    none; the served key is probed  │
//	 │                                         │
//	 ▼ retire_at, agreement, no hold, no freeze│
//	retiring   Intent, then oauth2/revokeToken;│
//	 │         flag and old key prove it       │
//	 └─────────────────────────────────────────┘
//
// A roll-back and a restore write back a key that a sink held before: they go from
// claiming to publishing at once and mint nothing. A first key has no overlap.
//
// A replacement (former.go) puts the record of another item in the place of this one's
// and goes through the same phases, from claiming on, with the former item's key as the
// one that sinks serve; the former item's keys and the item go an overlap later.
//
// # After a crash
//
//   - claiming: the claim is written again. It changed no key; its version fences
//     every older write.
//   - dating: the date is set again.
//   - minting, proving: the key was in memory alone and is lost. No sink serves its
//     slot. The effect horizon is waited out, the slot is claimed and minted into
//     again. An intent that is still pending counts as one of unknown outcome.
//   - publishing: the sink's own data decide. If the first sink shows the new
//     fingerprint, the rotation is committed and the later sinks are copied from it;
//     else the key is lost as in minting.
//   - overlap: nothing is under way.
//   - retiring: looked at again. A slot that is empty, or whose key is past its
//     date, is finished; else it is revoked again under fresh agreement, after the
//     effect horizon of the last try.
//
// # Rules
//
// The comments name the rules by number. In one line each:
//
//  1. Agreement before any mint or revoke: journal and every sink show one key, and
//     that key was just probed valid (agree.go).
//  2. Where a key may be minted: empty, our own, past its overlap, allowed (target.go).
//  3. A read never proves that a write did not happen: the fingerprint in the sink's
//     data decides, and a held key is never minted anew for a sink's fault.
//  4. The way back: a dead key's valid predecessor is written back first.
//  5. While sinks differ nothing is minted or revoked.
//  6. After an unknown outcome a slot is left alone for one effect horizon.
//  7. A claim is used within half an effect horizon; a foreign one is waited out.
//  8. Dead needs evidence: its flag, its date, or three refusals over ten minutes.
//  9. A sink that went back in time: both keys count as in use for one overlap.
//  10. A lost journal is rebuilt from the first sink's Meta, and is careful afterwards.
//  11. Portal time decides; the earliest date makes due, the latest makes dead.
//  12. No storms: a least interval, a least gain, quarantine.
//  13. Hold, freeze, window and quarantine stop starts and retiring, nothing between.
//  14. A compromised fingerprint is replaced first, then revoked without overlap.
//  15. Our own unserved keys are retired late, and anybody else's never.
//
// # Invariants
//
//  1. The key that every sink serves is valid, unless something else killed it, or no
//     mint or sink write could succeed between due and expiry.
//  2. Nothing is minted into or revoked from a slot that a sink serves, or that
//     somebody unknown occupies; both only by a person's explicit word.
//  3. The old key outlives promotion by the overlap or its own expiry, except for a
//     compromised one.
//  4. No valid key of ours stays unserved longer than the orphan delay.
//  5. At most one more mint for each crash, stop before the commit, or unknown
//     outcome; none for sink faults while the key is held, none for propagation.
//  6. Key strings sit in Secret alone, which nothing can print. Record, Event, Meta
//     and Decision have no field that could hold one.
//  7. Nothing is created or destroyed for a credential that was never adopted.
//  8. Work on one credential never blocks another: an Engine has no state of its own.
package rotate
