package metrics

import (
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// CredentialView is what a scrape needs of one configured credential.
type CredentialView struct {
	Name        rotate.Name
	Portal      rotate.PortalID
	Product     string // location_platform, online or enterprise
	Owner       string
	Environment string
	Item        rotate.ItemID
	Mode        rotate.Mode
	ConfigHold  bool // the config holds it
	Record      rotate.Record
	DueAt       time.Time // when a rotation becomes due by the clock; zero is unknown
}

// Attention is the closed set of conditions that want a person.
type Attention string

// The conditions.
const (
	AttentionDrift      Attention = "drift"
	AttentionHeld       Attention = "held"
	AttentionQuarantine Attention = "quarantine"
	AttentionDead       Attention = "dead"
	AttentionOccupied   Attention = "occupied"
	AttentionFailing    Attention = "failing"
	AttentionUnadopted  Attention = "unadopted"
	AttentionOrphan     Attention = "orphan"
)

// Attentions lists every condition.
func Attentions() []Attention {
	return []Attention{AttentionDrift, AttentionHeld, AttentionQuarantine, AttentionDead, AttentionOccupied, AttentionFailing, AttentionUnadopted, AttentionOrphan}
}

func (a Attention) holds(v *CredentialView, now time.Time) bool {
	r := &v.Record
	switch a {
	case AttentionDrift:
		return r.Drift != rotate.DriftNone
	case AttentionHeld:
		return v.ConfigHold || r.Hold.Active(now)
	case AttentionQuarantine:
		return r.Quarantine != nil
	case AttentionDead:
		return !r.DeadAt.IsZero()
	case AttentionOccupied:
		return r.Blocked == rotate.ReasonOccupied
	case AttentionFailing:
		return r.Attempts > 0
	case AttentionUnadopted:
		return unadopted(v)
	case AttentionOrphan:
		return orphaned(r, rotate.Slot1) || orphaned(r, rotate.Slot2)
	}
	return false
}

func unadopted(v *CredentialView) bool {
	return v.Mode == rotate.ModeRotate && v.Record.AdoptedAt.IsZero()
}

// orphaned: the slot holds a valid key of ours that no sink serves, and no rotation is
// about to publish it.
func orphaned(r *rotate.Record, slot rotate.Slot) bool {
	s := &r.Slots[slot]
	return s.Use == rotate.UseOwn && s.Active && !r.Phase.InCutOver()
}

// The roles of a slot.
const (
	roleLive  = "live"
	roleSpare = "spare"
)

// shownKey is what is shown of one slot's key; a zero expires is unknown, or no key.
type shownKey struct {
	role    string
	expires float64
}

// shownKeyOf a slot: valid as far as the journal knows. While nobody knows which slot
// is served, each counts as live.
func shownKeyOf(r *rotate.Record, slot rotate.Slot) shownKey {
	s := &r.Slots[slot]
	k := shownKey{role: roleSpare}
	expires := time.Time{}
	switch {
	case slot == r.Live.Slot:
		k.role = roleLive
		expires = r.Live.Expires
	case !s.Active || s.Use == rotate.UseEmpty:
		return shownKey{} // an invalidated key's date stays on the item
	case r.Live.Slot == rotate.NoSlot:
		k.role = roleLive
	}
	if expires.IsZero() {
		expires = earliest(s.Key.Expires, s.Expires)
	}
	k.expires = timestamp(expires)
	return k
}

// earliest of two times, of which zero is unknown.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// timestamp for a gauge; 0, which is never shown, where it is unknown.
func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return seconds(t)
}

// credential is what is shown of one credential, in as little memory as will do: a scrape
// makes one for each. A time of 0 is absent.
type credential struct {
	name, portal, product, owner, environment, item string

	keys                    [2]shownKey // of slots 1 and 2
	orphans                 [2]float64
	due, retire, promoted   float64
	drift, hold, quarantine float64
	dueFor, blocked         rotate.Reason
	driftKind               rotate.Drift
	phase                   int    // index into rotate.Phases
	attention               uint16 // bit i: Attentions()[i]
}

// has an attention, by its index.
func (s *credential) has(i int) float64 { return float64(s.attention >> i & 1) }

// fleet is what one scrape shows of all credentials.
type fleet struct {
	credentials []credential
	portals     map[rotate.PortalID]*summary
	names       []rotate.PortalID // of portals, in order
}

// scales are the closed sets that a fleet counts by.
type scales struct {
	phases     []rotate.Phase
	attentions []Attention
	due        []rotate.Reason
	blocked    []rotate.Reason
	drifts     []rotate.Drift
	managed    []management
	stages     []stage
}

func newScales() scales {
	return scales{phases: rotate.Phases(), attentions: Attentions(), due: rotate.DueReasons(), blocked: rotate.BlockReasons(), drifts: rotate.Drifts(),
		managed: managements(), stages: stages()}
}

// summary is what is always shown of a portal's credentials, one by one or not.
type summary struct {
	phases, attentions, due, blocked, drifts, managed, stages []int
	nextExpiry, nextDue, lastRotation, oldestLook             float64
}

func (sc *scales) newSummary() *summary {
	return &summary{phases: make([]int, len(sc.phases)), attentions: make([]int, len(sc.attentions)), due: make([]int, len(sc.due)),
		blocked: make([]int, len(sc.blocked)), drifts: make([]int, len(sc.drifts)), managed: make([]int, len(sc.managed)), stages: make([]int, len(sc.stages))}
}

// management is what rotatord does with a credential.
type management string

const (
	managementWatched   management = "watched"   // mode: watch
	managementUnadopted management = "unadopted" // mode: rotate, and watched until a person adopts it
	managementManaged   management = "managed"
)

func managements() []management {
	return []management{managementWatched, managementUnadopted, managementManaged}
}

func managementOf(v *CredentialView) management {
	switch {
	case v.Mode != rotate.ModeRotate:
		return managementWatched
	case unadopted(v):
		return managementUnadopted
	}
	return managementManaged
}

// stage is how much of the time between a rotation's due time and the live key's
// expiry has gone by. The shares are those of the alerting rules.
type stage string

const (
	stageUnknown  stage = "unknown" // when it is due is not known
	stageNotDue   stage = "not_due"
	stageDue      stage = "due"
	stageLate     stage = "late"     // over a quarter
	stageCritical stage = "critical" // over seven tenths
	stageExpired  stage = "expired"
)

const (
	lateShare     = 0.25
	criticalShare = 0.7
)

func stages() []stage {
	return []stage{stageUnknown, stageNotDue, stageDue, stageLate, stageCritical, stageExpired}
}

func stageOf(due, expires, now float64) stage {
	switch {
	case expires != 0 && expires <= now:
		return stageExpired
	case due == 0:
		return stageUnknown
	case now < due:
		return stageNotDue
	case expires == 0:
		return stageDue
	}
	switch used := (now - due) / (expires - due); {
	case used > criticalShare:
		return stageCritical
	case used > lateShare:
		return stageLate
	}
	return stageDue
}

// add one credential to the fleet.
func (f *fleet) add(sc *scales, v *CredentialView, now time.Time) {
	r := &v.Record
	s := credential{name: string(v.Name), portal: string(v.Portal), product: v.Product, owner: v.Owner, environment: v.Environment, item: string(v.Item),
		due: timestamp(v.DueAt), retire: timestamp(r.RetiresAt()), promoted: timestamp(r.PromotedAt), dueFor: r.Due, blocked: r.Blocked,
		phase: max(0, slices.Index(sc.phases, r.Phase))} // one that was never advanced has no phase, and is idle
	for i, slot := range rotate.Slots() {
		s.keys[i] = shownKeyOf(r, slot)
		if orphaned(r, slot) {
			s.orphans[i] = timestamp(r.Slots[slot].Since)
		}
	}
	if r.Drift != rotate.DriftNone {
		s.drift, s.driftKind = timestamp(r.DriftSince), r.Drift
	}
	if r.Hold.Active(now) {
		s.hold = timestamp(r.Hold.Since)
	}
	if r.Quarantine != nil {
		s.quarantine = timestamp(r.Quarantine.Since)
	}
	for i, a := range sc.attentions {
		if a.holds(v, now) {
			s.attention |= 1 << i
		}
	}
	f.credentials = append(f.credentials, s)
	f.portal(sc, v.Portal).add(sc, v, &s, seconds(now))
}

// portal's summary, made if it is not there.
func (f *fleet) portal(sc *scales, id rotate.PortalID) *summary {
	sum := f.portals[id]
	if sum == nil {
		sum = sc.newSummary()
		f.portals[id] = sum
		at, _ := slices.BinarySearch(f.names, id)
		f.names = slices.Insert(f.names, at, id)
	}
	return sum
}

func (m *summary) add(sc *scales, v *CredentialView, s *credential, now float64) {
	m.phases[s.phase]++
	for i := range sc.attentions {
		m.attentions[i] += int(s.has(i))
	}
	count(m.due, sc.due, s.dueFor)
	count(m.blocked, sc.blocked, s.blocked)
	count(m.drifts, sc.drifts, s.driftKind)
	count(m.managed, sc.managed, managementOf(v))
	live := 0.0
	for _, k := range s.keys {
		if k.role == roleLive {
			live = sooner(live, k.expires)
		}
	}
	count(m.stages, sc.stages, stageOf(s.due, live, now))
	m.nextExpiry = sooner(m.nextExpiry, live)
	m.nextDue = sooner(m.nextDue, s.due)
	m.oldestLook = sooner(m.oldestLook, timestamp(v.Record.SurveyedAt))
	m.lastRotation = max(m.lastRotation, s.promoted)
}

// sooner of two times, of which 0 is unknown.
func sooner(a, b float64) float64 {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// count one more of what; a word that is not in the set, such as none, counts nowhere.
func count[T comparable](n []int, set []T, what T) {
	if i := slices.Index(set, what); i >= 0 {
		n[i]++
	}
}
