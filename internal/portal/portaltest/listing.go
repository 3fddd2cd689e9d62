package portaltest

import (
	"cmp"
	"math"
	"slices"
)

// tokenEntry is one key in portals/self/apiTokens.
type tokenEntry struct {
	ItemID     string `json:"itemId"`
	Title      string `json:"title"`
	Owner      string `json:"owner"`
	ClientID   string `json:"clientId"`
	Slot       int    `json:"apiToken"`
	Expiration int64  `json:"expirationDate"`
}

// apiTokens lists keys, one entry a slot.
func (e *Emulator) apiTokens(c *call) (any, error) {
	mode := e.switches[SwitchAPITokens]
	if mode == valueOff || !e.opts.Product.keepsKeys() || c.id.kind == tokenApp ||
		mode == "password_session" && (c.id.kind != tokenUser || c.id.key != nil) {
		return nil, forbidden()
	}
	owner := c.id.user.Username
	if mode != "own" && (c.id.admin() || c.id.key != nil && c.id.has(privilegeViewAll)) {
		owner = ""
	}
	from, until := c.intParam("startExpirationDate", 0), c.intParam("endExpirationDate", math.MaxInt64-1)
	if mode != "with_inactive" && e.is(SwitchActiveFlagAfterExpiry, "turns_false") {
		from = max(from, millis(c.now)+1)
	}
	list := e.tokenEntries(owner, mode == "with_inactive")
	list = list[after(list, from):]
	list = list[:after(list, until+1)]
	start := c.intParam("start", 1)
	if e.is(SwitchAPITokensPaging, "start_ignored") {
		start = 1
	}
	lo, hi, next := pageOf(len(list), start, c.intParam("num", defaultPage))
	items := list[lo:hi]
	if items == nil {
		items = []tokenEntry{}
	}
	if e.is(SwitchAPITokensPaging, "next_start") {
		return obj{"items": items, "total": len(list), "start": lo + 1, "num": len(items), "nextStart": next}, nil
	}
	return obj{"items": items}, nil
}

// after is the index of the first entry that expires at the given time or later.
func after(list []tokenEntry, at int64) int {
	i, _ := slices.BinarySearchFunc(list, at, func(t tokenEntry, at int64) int { return cmp.Compare(t.Expiration, at) })
	return i
}

// tokenEntries lists the slots with a key (or with any date, when inactive ones count) by date, item and slot.
func (e *Emulator) tokenEntries(owner string, inactive bool) []tokenEntry {
	name := "tokens " + owner
	if inactive {
		name += " inactive"
	}
	e.freshCache()
	if list, ok := e.cache.tokens[name]; ok {
		return list
	}
	var list []tokenEntry
	for _, id := range e.order {
		it := e.items[id]
		if it.app == nil || owner != "" && it.Owner != owner {
			continue
		}
		for i, k := range it.app.slots {
			if k == nil && (!inactive || it.dates[i] <= 0) {
				continue
			}
			entry := tokenEntry{ItemID: id, Title: it.Title, Owner: it.Owner, ClientID: it.app.clientID, Slot: i + 1, Expiration: it.dates[i]}
			if k != nil {
				entry.Expiration = millis(k.expires)
			}
			list = append(list, entry)
		}
	}
	slices.SortFunc(list, func(a, b tokenEntry) int {
		return cmp.Or(cmp.Compare(a.Expiration, b.Expiration), cmp.Compare(a.ItemID, b.ItemID), cmp.Compare(a.Slot, b.Slot))
	})
	e.cache.tokens[name] = list
	return list
}

// apiKeys lists the legacy keys.
func (e *Emulator) apiKeys(c *call) (any, error) {
	if c.id.kind == tokenApp {
		return nil, forbidden()
	}
	list := e.cached("legacy", func() []*item {
		var found []*item
		for _, id := range e.order {
			if it := e.items[id]; it.legacy() {
				found = append(found, it)
			}
		}
		return found
	})
	var mine []obj
	for _, it := range list {
		if it.Owner == c.id.user.Username || c.id.admin() {
			mine = append(mine, obj{"itemId": it.ID})
		}
	}
	lo, hi, next := pageOf(len(mine), c.intParam("start", 1), c.intParam("num", defaultPage))
	keys := mine[lo:hi]
	if keys == nil {
		keys = []obj{}
	}
	return obj{"apiKeys": keys, "nextStart": next}, nil
}
