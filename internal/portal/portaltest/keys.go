package portaltest

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// mint makes a key in a slot. Client id and secret are all it asks for; a user token is not looked at.
func (e *Emulator) mint(c *call) (any, error) {
	it, err := e.clientItem(c)
	if err != nil {
		return nil, err
	}
	if c.form.Get("grant_type") != "client_credentials" {
		return nil, oauthError(400, "unsupported_grant_type", textBadGrant)
	}
	if !e.opts.Product.keepsKeys() {
		if e.is(SwitchOldEnterpriseMint, "app_token") {
			return e.grantClient(c, it)
		}
		return nil, badRequest(textNoKeysHere)
	}
	slot := c.slotParam()
	if slot == 0 {
		return nil, badRequest(textBadSlot)
	}
	date := it.dates[slot-1]
	if !e.mintable(date, c.now) {
		return nil, badRequest(textBadDate)
	}
	if old := it.app.slots[slot-1]; old != nil && !c.boolParam("regenerateApiToken") && e.is(SwitchRegenerateFalse, "refuse") {
		return nil, badRequest(textOccupied)
	}
	var k *key
	e.change(c, it, func() { k = e.newKey(c, it, slot, time.UnixMilli(date).UTC()) })
	return obj{"access_token": k.secret, "expires_in": int64(k.expires.Sub(c.now) / time.Second)}, nil
}

// newKey puts a key into a slot and ends the one that was there.
func (e *Emulator) newKey(c *call, it *item, slot int, expires time.Time) *key {
	if old := it.app.slots[slot-1]; old != nil {
		e.endKey(c, it, old, EndedOverwritten)
	}
	k := &key{secret: e.keyText(slot, it.app.clientID), itemID: it.ID, clientID: it.app.clientID, slot: slot,
		minted: e.now(), expires: expires, outOfBand: c.op == ""}
	it.app.slots[slot-1] = k
	e.keys[k.secret] = k
	e.history = append(e.history, k)
	e.portalKeywords(it)
	e.record(Event{Kind: EventMinted, Op: c.op, ItemID: it.ID, ClientID: k.clientID, Slot: slot, KeyTail: tail(k.secret),
		Late: c.late, OutOfBand: k.outOfBand})
	return k
}

// mintable says whether a key may be made with this date.
func (e *Emulator) mintable(date int64, now time.Time) bool {
	return date > millis(now) && date <= e.roundDate(millis(now.AddDate(maxKeyLifetimeYears, 0, 0)))
}

// clientItem is the credential that client_id and client_secret prove.
func (e *Emulator) clientItem(c *call) (*item, error) {
	it := e.items[e.clients[c.form.Get("client_id")]]
	if it == nil || it.app == nil {
		if e.is(SwitchMintWithoutApp, "no_such_item") {
			return nil, noSuchItem()
		}
		return nil, oauthError(400, "invalid_request", "Invalid client_id")
	}
	if it.app.secret != c.form.Get("client_secret") {
		return nil, oauthError(400, "invalid_request", "Invalid client_secret")
	}
	return it, nil
}

// slotParam is apiToken as 1 or 2, 0 for anything else.
func (c *call) slotParam() int {
	slot, err := strconv.Atoi(c.form.Get("apiToken"))
	if err != nil || slot < 1 || slot > 2 {
		return 0
	}
	return slot
}

// revokeToken ends the key in a slot, or in its other form a user's token; the latter succeeds whatever it is given.
func (e *Emulator) revokeToken(c *call) (any, error) {
	if c.op == OpRevokeToken {
		if t := e.tokens[c.form.Get("auth_token")]; t != nil && (t.kind == tokenOAuth || t.kind == tokenRefresh) {
			delete(e.tokens, c.form.Get("auth_token"))
		}
		return obj{"success": true}, nil
	}
	it, err := e.clientItem(c)
	if err != nil {
		return nil, err
	}
	slot := c.slotParam()
	if slot == 0 || !e.opts.Product.keepsKeys() {
		return nil, badRequest(textBadSlot)
	}
	if it.app.slots[slot-1] == nil && e.is(SwitchRevokeEmptySlot, "refuse") {
		return nil, badRequest(textBadSlot)
	}
	e.change(c, it, func() { e.revokeSlot(c, it, slot) })
	return obj{"success": true}, nil
}

func (e *Emulator) revokeSlot(c *call, it *item, slot int) {
	if k := it.app.slots[slot-1]; k != nil {
		e.endKey(c, it, k, EndedRevoked)
	}
	if e.is(SwitchItemDateAfterRevoke, "cleared") {
		it.dates[slot-1] = -1
	}
}

func (e *Emulator) endKeys(c *call, it *item, why string) {
	for _, k := range it.app.slots {
		if k != nil {
			e.endKey(c, it, k, why)
		}
	}
}

// endKey takes a key out of its slot.
func (e *Emulator) endKey(c *call, it *item, k *key, why string) {
	it.app.slots[k.slot-1] = nil
	k.ended, k.endedBy = e.now(), why
	e.record(Event{Kind: EventKeyEnded, Op: c.op, ItemID: it.ID, ClientID: k.clientID, Slot: k.slot, KeyTail: tail(k.secret),
		Why: why, Late: c.late, OutOfBand: c.op == ""})
}

// validateKey is the check of legacy keys.
func (e *Emulator) validateKey(c *call) (any, error) {
	k := e.keys[c.form.Get("key")]
	if k == nil {
		return obj{"valid": false}, nil
	}
	it := e.items[k.itemID]
	valid, _ := e.keyState(k, c.now)
	for p := range strings.SplitSeq(c.form.Get("privilege"), ",") {
		if p = strings.TrimSpace(p); p != "" && (it == nil || it.app == nil || !slices.Contains(it.app.privileges, p)) {
			valid = false
		}
	}
	return obj{"valid": valid}, nil
}
