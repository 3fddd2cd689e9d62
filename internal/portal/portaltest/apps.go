package portaltest

import (
	"encoding/json"
	"slices"
	"strings"
)

// appJSON is the object that registerApp, registeredAppInfo, apps/{id} and its update answer alike.
func (e *Emulator) appJSON(c *call, it *item) obj {
	a := it.app
	o := obj{"itemId": it.ID, "client_id": a.clientID, "client_secret": a.secret, "appType": a.appType,
		"redirect_uris": nonNil(a.redirectURIs), "registered": millis(a.registered) / 1000 * 1000,
		"modified": millis(a.modified) / 1000 * 1000, "apnsProdCert": nil, "apnsSandboxCert": nil, "gcmApiKey": nil}
	if a.legacyKey != nil {
		o["apiKey"] = a.legacyKey.secret
	}
	if e.opts.Product.keepsKeys() {
		o["httpReferrers"], o["privileges"] = nonNil(a.referrers), nonNil(a.privileges)
		o["isBeta"], o["isPersonalAPIToken"], o["customAppLoginShowTriage"] = false, a.personal, false
		o["apiToken1Active"], o["apiToken2Active"] = e.active(it, 1, c), e.active(it, 2, c)
	}
	return o
}

// active is apiTokenNActive.
func (e *Emulator) active(it *item, slot int, c *call) bool {
	k := it.app.slots[slot-1]
	return k != nil && !(e.is(SwitchActiveFlagAfterExpiry, "turns_false") && !c.now.Before(k.expires))
}

func (e *Emulator) registeredAppInfo(c *call) (any, error) {
	it := e.items[c.itemID]
	if it == nil {
		return nil, noSuchItem()
	}
	if err := e.ownersPath(c, it); err != nil {
		return nil, err
	}
	if !e.manages(c.id, it) {
		if e.is(SwitchAppInfoForOthers, "no_such_item") {
			return nil, noSuchItem()
		}
		return nil, forbidden()
	}
	if it.app == nil {
		return nil, badRequest(textNotRegistered)
	}
	return e.appJSON(c, it), nil
}

// appItem is the item of an oauth2/apps path that the caller manages.
func (e *Emulator) appItem(c *call) (*item, error) {
	it := e.items[e.clients[c.vars[0]]]
	if it == nil || it.app == nil {
		return nil, badRequest("Invalid client_id")
	}
	if !e.manages(c.id, it) {
		return nil, forbidden()
	}
	return it, nil
}

func (e *Emulator) readApp(c *call) (any, error) {
	it, err := e.appItem(c)
	if err != nil {
		return nil, err
	}
	return e.appJSON(c, it), nil
}

// arrayParam reads a parameter that must be a JSON array of strings. What is no JSON makes one wrong entry of the whole
// text, as a comma list does at the portal.
func (c *call) arrayParam(name string) ([]string, bool) {
	if !c.form.Has(name) {
		return nil, false
	}
	text := c.form.Get(name)
	if strings.TrimSpace(text) == "" {
		return nil, true
	}
	var list []string
	if json.Unmarshal([]byte(text), &list) == nil {
		return list, true
	}
	return []string{text}, true
}

func (e *Emulator) registerApp(c *call) (any, error) {
	it := e.items[c.itemID]
	if it == nil || !e.sees(c.id, it) {
		return nil, noSuchItem()
	}
	if c.id.kind == tokenApp || c.id.key != nil || c.id.user.Username != it.Owner {
		return nil, forbidden()
	}
	if it.app != nil {
		return e.registerAgain(c, it)
	}
	privileges, err := e.wantedPrivileges(c, it)
	if err != nil {
		return nil, err
	}
	e.change(c, it, func() {
		a := &app{clientID: e.text(16), secret: e.hexID(), appType: c.form.Get("appType"), registered: c.now, modified: c.now,
			privileges: privileges, personal: e.personal(c, privileges)}
		a.redirectURIs, _ = c.arrayParam("redirect_uris")
		a.referrers, _ = c.arrayParam("httpReferrers")
		it.app = a
		e.clients[a.clientID] = it.ID
		if e.is(SwitchOwnKeywords, "dropped") {
			it.Keywords = nil
		}
		e.portalKeywords(it)
		e.record(Event{Kind: EventRegistered, Op: c.op, ItemID: it.ID, ClientID: a.clientID, Late: c.late})
	})
	if it.app == nil {
		return obj{"itemId": it.ID, "success": true}, nil // a lie
	}
	return e.appJSON(c, it), nil
}

// registerAgain applies switch register_twice.
func (e *Emulator) registerAgain(c *call, it *item) (any, error) {
	if e.is(SwitchRegisterTwice, "refuse") {
		return nil, badRequest(textAlreadyAnApp)
	}
	if e.is(SwitchRegisterTwice, "updates") {
		return e.replaceApp(c, it)
	}
	privileges, err := e.wantedPrivileges(c, it)
	if err != nil || c.lied {
		return e.appJSON(c, it), err
	}
	e.dropApp(c, it, EndedUnregistered)
	it.app = &app{clientID: e.text(16), secret: e.hexID(), appType: c.form.Get("appType"), registered: c.now, modified: c.now,
		privileges: privileges, personal: e.personal(c, privileges)}
	it.app.redirectURIs, _ = c.arrayParam("redirect_uris")
	it.app.referrers, _ = c.arrayParam("httpReferrers")
	e.clients[it.app.clientID] = it.ID
	e.reindex(it)
	e.record(Event{Kind: EventRegistered, Op: c.op, ItemID: it.ID, ClientID: it.app.clientID, Late: c.late})
	return e.appJSON(c, it), nil
}

// personal is isPersonalAPIToken as switch personal_flag has it. The privileges that do not act as the owner are those of
// the contract's section 4.1, and those of location services that Online has not.
func (e *Emulator) personal(c *call, privileges []string) bool {
	if e.is(SwitchPersonalFlag, "as_sent") {
		return c.boolParam("isPersonalAPIToken")
	}
	return slices.ContainsFunc(privileges, func(p string) bool {
		switch p {
		case "premium:publisher:rasteranalysis", "portal:publisher:publishDynamicImagery", "portal:publisher:publishTiledImagery",
			"portal:publisher:publishFeatures", privilegeCreate:
			return false
		}
		return !strings.HasPrefix(p, "premium:user:") && !strings.HasPrefix(p, itemGrantPrefix)
	})
}

// wantedPrivileges reads and checks the privileges of a registration or update.
func (e *Emulator) wantedPrivileges(c *call, it *item) ([]string, error) {
	wanted, _ := c.arrayParam("privileges")
	if len(wanted) == 0 || !e.opts.Product.keepsKeys() {
		return nil, nil
	}
	if !c.id.has(privilegeAssign) {
		return nil, forbidden()
	}
	grants := 0
	for _, p := range wanted {
		if strings.HasPrefix(p, itemGrantPrefix) {
			grants++
		}
	}
	if grants > maxItemGrants {
		return nil, badRequest(textTooManyGrants)
	}
	if e.is(SwitchUnknownPrivilege, "accept") {
		return wanted, nil
	}
	kept, refused := e.checkPrivileges(e.users[it.Owner], wanted)
	if len(refused) > 0 && e.is(SwitchUnknownPrivilege, "refuse") {
		return nil, &apiError{code: 500, message: "Unable to register app. Invalid Privileges", details: refused}
	}
	return kept, nil
}

func (e *Emulator) updateApp(c *call) (any, error) {
	it, err := e.appItem(c)
	if err != nil {
		return nil, err
	}
	return e.replaceApp(c, it)
}

// replaceApp replaces what is sent and resets what is left out; it kills the keys.
func (e *Emulator) replaceApp(c *call, it *item) (any, error) {
	privileges, err := e.wantedPrivileges(c, it)
	if err != nil {
		return nil, err
	}
	e.change(c, it, func() {
		referrers, _ := c.arrayParam("httpReferrers")
		redirects, sent := c.arrayParam("redirect_uris")
		if !sent {
			redirects = it.app.redirectURIs
		}
		same := slices.Equal(sorted(privileges), sorted(it.app.privileges)) && slices.Equal(sorted(referrers), sorted(it.app.referrers)) &&
			slices.Equal(redirects, it.app.redirectURIs)
		it.app.privileges, it.app.referrers, it.app.redirectURIs = privileges, referrers, redirects
		if c.form.Has("isPersonalAPIToken") || e.is(SwitchPersonalFlag, "computed") {
			it.app.personal = e.personal(c, privileges)
		}
		it.app.modified = c.now
		if !same || e.is(SwitchAppUpdateUnchanged, "clears_both") {
			e.endKeys(c, it, EndedAppUpdated)
		}
		e.record(Event{Kind: EventAppUpdated, Op: c.op, ItemID: it.ID, ClientID: it.app.clientID, Late: c.late})
	})
	return e.appJSON(c, it), nil
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func (e *Emulator) unregisterApp(c *call) (any, error) {
	it, err := e.appItem(c)
	if err != nil {
		return nil, err
	}
	if it.Protected && e.is(SwitchProtectedUnregister, "refused") {
		return nil, badRequest(textProtected)
	}
	if !c.lied {
		before := it.clone()
		e.dropApp(c, it, EndedUnregistered)
		it.prev = before
		it.Keywords = slices.DeleteFunc(it.Keywords, func(k string) bool { return k == "Registered App" || k == "APIToken" })
		e.reindex(it)
		e.record(Event{Kind: EventUnregistered, Op: c.op, ItemID: it.ID, Late: c.late})
	}
	return obj{"success": true, "itemId": it.ID}, nil
}

// dropApp takes the registration away, with its keys and tokens.
func (e *Emulator) dropApp(c *call, it *item, why string) {
	if it.app == nil {
		return
	}
	e.endKeys(c, it, why)
	if k := it.app.legacyKey; k != nil {
		k.ended, k.endedBy = e.now(), why
	}
	clientID := it.app.clientID
	delete(e.clients, clientID)
	for text, t := range e.tokens {
		if t.clientID == clientID {
			delete(e.tokens, text)
		}
	}
	it.app = nil
}
