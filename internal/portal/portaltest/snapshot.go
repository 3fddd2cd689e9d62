package portaltest

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// State is everything the emulator holds, without passwords, client secrets or keys.
type State struct {
	Product     Product           `json:"product"`
	OrgID       string            `json:"org_id"`
	Root        string            `json:"root"`
	Now         time.Time         `json:"now"`
	ClockOffset time.Duration     `json:"clock_offset_ns"`
	Users       []User            `json:"users"`
	Credentials []CredentialState `json:"credentials"`
	LegacyKeys  []CredentialState `json:"legacy_keys"`
	Apps        []CredentialState `json:"apps"`
	Items       int               `json:"items"`
	LateEffects int               `json:"late_effects"`
	Switches    map[string]string `json:"switches"`
}

// CredentialState is one registered app and its slots.
type CredentialState struct {
	ItemID     string       `json:"item_id"`
	ClientID   string       `json:"client_id"`
	Owner      string       `json:"owner"`
	Title      string       `json:"title"`
	Folder     string       `json:"folder,omitzero"`
	Referrers  []string     `json:"referrers"`
	Privileges []string     `json:"privileges"`
	Slots      [2]SlotState `json:"slots"`
}

// SlotState is one slot. KeyTail is the key's public tail.
type SlotState struct {
	Active   bool      `json:"active"`
	Valid    bool      `json:"valid"`
	Why      string    `json:"why,omitzero"` // why an active key is not valid
	ItemDate time.Time `json:"item_date,omitzero"`
	Minted   time.Time `json:"minted,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
	KeyTail  string    `json:"key_tail,omitzero"`
}

// Snapshot describes the present state.
func (e *Emulator) Snapshot() State {
	e.mu.Lock()
	e.settle()
	s := State{Product: e.opts.Product, OrgID: e.orgID, Root: e.root, Now: e.now(), ClockOffset: e.offset, Items: len(e.items),
		LateEffects: len(e.late), Switches: maps.Clone(e.switches)}
	for _, a := range e.users {
		s.Users = append(s.Users, a.User)
	}
	for _, id := range e.order {
		it := e.items[id]
		switch {
		case it.app == nil:
		case it.legacy():
			s.LegacyKeys = append(s.LegacyKeys, e.credentialState(it))
		case slices.Contains(it.Keywords, "APIToken"):
			s.Credentials = append(s.Credentials, e.credentialState(it))
		default:
			s.Apps = append(s.Apps, e.credentialState(it))
		}
	}
	e.unlock()
	slices.SortFunc(s.Users, func(a, b User) int { return cmp.Compare(a.Username, b.Username) })
	return s
}

func (e *Emulator) credentialState(it *item) CredentialState {
	s := CredentialState{ItemID: it.ID, ClientID: it.app.clientID, Owner: it.Owner, Title: it.Title, Folder: it.Folder,
		Referrers: slices.Clone(it.app.referrers), Privileges: slices.Clone(it.app.privileges)}
	for i, k := range it.app.slots {
		if it.dates[i] > 0 {
			s.Slots[i].ItemDate = time.UnixMilli(it.dates[i]).UTC()
		}
		if k != nil {
			s.Slots[i].Active, s.Slots[i].Minted, s.Slots[i].Expires, s.Slots[i].KeyTail = true, k.minted, k.expires, tail(k.secret)
			s.Slots[i].Valid, s.Slots[i].Why = e.keyState(k, e.now())
		}
	}
	return s
}
