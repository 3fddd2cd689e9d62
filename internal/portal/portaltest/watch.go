package portaltest

import (
	"maps"
	"slices"
	"time"
)

// EventKind says what an effect did.
type EventKind string

// The kinds of events.
const (
	EventSignedIn     EventKind = "signed_in"
	EventMinted       EventKind = "minted"
	EventKeyEnded     EventKind = "key_ended" // Why says by what
	EventDateSet      EventKind = "date_set"
	EventItemAdded    EventKind = "item_added"
	EventItemUpdated  EventKind = "item_updated"
	EventItemMoved    EventKind = "item_moved"
	EventItemDeleted  EventKind = "item_deleted"
	EventRegistered   EventKind = "app_registered"
	EventAppUpdated   EventKind = "app_updated"
	EventUnregistered EventKind = "app_unregistered"
	EventFolderAdded  EventKind = "folder_added"
)

// Reasons of EventKeyEnded and of KeyInfo.EndedBy.
const (
	EndedRevoked      = "revoked"
	EndedOverwritten  = "overwritten"
	EndedDateUpdated  = "date_updated"
	EndedAppUpdated   = "app_updated"
	EndedUnregistered = "unregistered"
	EndedDeleted      = "item_deleted"
	EndedNeverWas     = "never_was" // the answer to a lied mint
)

// Event is one change of the portal's state. It never holds a key, only its public tail.
type Event struct {
	Seq       int       `json:"seq"`
	At        time.Time `json:"at"`
	Kind      EventKind `json:"kind"`
	Op        Op        `json:"op,omitzero"` // empty for what a person did out of band
	ItemID    string    `json:"item_id,omitzero"`
	ClientID  string    `json:"client_id,omitzero"`
	Slot      int       `json:"slot,omitzero"`
	User      string    `json:"user,omitzero"`
	KeyTail   string    `json:"key_tail,omitzero"`
	Why       string    `json:"why,omitzero"`
	Late      bool      `json:"late,omitzero"` // took place after its request had failed
	OutOfBand bool      `json:"out_of_band,omitzero"`
}

// KeyInfo is one key ever made. Secret is the key itself, for tests to compare with what a sink serves.
type KeyInfo struct {
	Secret    string    `json:"-"`
	Tail      string    `json:"tail"`
	ItemID    string    `json:"item_id"`
	ClientID  string    `json:"client_id"`
	Slot      int       `json:"slot"` // 0 for a legacy key
	Minted    time.Time `json:"minted"`
	Expires   time.Time `json:"expires,omitzero"`
	Ended     time.Time `json:"ended,omitzero"` // zero while nothing ended it
	EndedBy   string    `json:"ended_by,omitzero"`
	OutOfBand bool      `json:"out_of_band,omitzero"`
}

// Valid says whether the key was or is in force at t by what is known now, propagation left aside.
func (k KeyInfo) Valid(t time.Time) bool {
	return !t.Before(k.Minted) && (k.Ended.IsZero() || t.Before(k.Ended)) && (k.Expires.IsZero() || t.Before(k.Expires))
}

// Violation is one request that manner strict refused.
type Violation struct {
	At   time.Time `json:"at"`
	Op   Op        `json:"op"`
	Path string    `json:"path"`
	Text string    `json:"text"`
}

// record keeps an event; watchers hear of it when the lock is given up.
func (e *Emulator) record(ev Event) {
	ev.Seq = 1
	if n := len(e.events); n > 0 {
		ev.Seq = e.events[n-1].Seq + 1
	}
	if ev.At.IsZero() {
		ev.At = e.now()
	}
	e.events = append(e.events, ev)
	if len(e.events) > maxEvents {
		e.events = slices.Clone(e.events[maxEvents/10:])
	}
	e.version++
	if len(e.watchers) > 0 {
		e.untold = append(e.untold, ev)
	}
}

// unlock gives up e.mu and then tells the watchers, who may call the emulator themselves.
func (e *Emulator) unlock() {
	events, watchers := e.untold, e.watchers
	e.untold = nil
	e.mu.Unlock()
	for _, ev := range events {
		for _, watch := range watchers {
			watch(ev)
		}
	}
}

// OnEffect has f called after each change, in the goroutine that made it and before its request is answered.
func (e *Emulator) OnEffect(f func(Event)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watchers = append(slices.Clip(e.watchers), f)
}

// Events lists the changes so far, oldest first.
func (e *Emulator) Events() []Event {
	e.mu.Lock()
	e.settle()
	events := slices.Clone(e.events)
	e.unlock()
	return events
}

// Keys lists every key ever made, oldest first.
func (e *Emulator) Keys() []KeyInfo {
	e.mu.Lock()
	e.settle()
	list := make([]KeyInfo, len(e.history))
	for i, k := range e.history {
		list[i] = k.info()
	}
	e.unlock()
	return list
}

func (k *key) info() KeyInfo {
	return KeyInfo{Secret: k.secret, Tail: tail(k.secret), ItemID: k.itemID, ClientID: k.clientID, Slot: k.slot,
		Minted: k.minted, Expires: k.expires, Ended: k.ended, EndedBy: k.endedBy, OutOfBand: k.outOfBand}
}

// KeyValid says whether the key is in force now, propagation left aside, and if not, why.
func (e *Emulator) KeyValid(secret string) (valid bool, why string) {
	e.mu.Lock()
	e.settle()
	k := e.keys[secret]
	if k == nil {
		why = "unknown"
	} else {
		valid, why = e.keyState(k, e.now())
	}
	e.unlock()
	return valid, why
}

// Counts is the number of requests by operation.
func (e *Emulator) Counts() map[Op]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.counts)
}

// ResetCounts sets the counts, the number of requests and the peak to zero.
func (e *Emulator) ResetCounts() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.counts)
	e.requests, e.peak = 0, e.inFlight
}

// Requests is the number of requests so far, and the most that were under way at once.
func (e *Emulator) Requests() (total, peak int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests, e.peak
}

// Violations lists the requests that manner strict refused.
func (e *Emulator) Violations() []Violation {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.violations)
}
