package portaltest

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// keepsKeys says whether the product has API key credentials at all.
func (p Product) keepsKeys() bool { return p != Enterprise113 }

// manages says whether the identity may read and change the item's app and dates.
func (e *Emulator) manages(id identity, it *item) bool {
	switch {
	case it.org != "":
		return false
	case id.key != nil:
		all := id.has(privilegeViewAll) && id.has(privilegeEditAll)
		granted := id.keyOf.app.grantsItem(it.ID)
		switch e.switches[SwitchAPIKeyManagement] {
		case "privilege_only":
			return all
		case "privilege_and_item":
			return all && granted
		case "denied":
			return false
		}
		return all || granted
	case id.user == nil:
		return false
	case id.kind == tokenApp:
		return e.is(SwitchAppTokenManagement, "allowed") && id.user.Username == it.Owner
	}
	return id.user.Username == it.Owner || id.user.Role == roleAdmin || id.user.has(privilegeEditAll)
}

// sees says whether the identity may read the item.
func (e *Emulator) sees(id identity, it *item) bool {
	if it.Access == "public" || e.manages(id, it) {
		return true
	}
	switch {
	case it.org != "":
		return !id.anonymous() && id.key == nil // another organisation shares it with people
	case id.key != nil:
		return id.has(privilegeViewAll) || id.keyOf.app.grantsItem(it.ID)
	case id.user == nil || id.kind == tokenApp:
		return false
	}
	return id.user.has(privilegeViewAll) || it.Access == "org" || it.Access == "account"
}

// ownItem is the item of a content/users path that the caller manages.
func (e *Emulator) ownItem(c *call) (*item, error) {
	it := e.items[c.itemID]
	if it == nil || !e.sees(c.id, it) {
		return nil, noSuchItem()
	}
	if err := e.ownersPath(c, it); err != nil {
		return nil, err
	}
	if !e.manages(c.id, it) {
		return nil, forbidden()
	}
	return it, nil
}

// ownersPath refuses an item path under another user's name where the manner or switch owner_in_path does.
func (e *Emulator) ownersPath(c *call, it *item) error {
	if c.vars[0] == it.Owner {
		return nil
	}
	if err := e.violation(c, "the path names user "+c.vars[0]+", the item belongs to "+it.Owner); err != nil {
		return err
	}
	if e.is(SwitchOwnerInPath, "enforced") {
		return noSuchItem()
	}
	return nil
}

func (e *Emulator) readItem(c *call) (any, error) {
	it := e.items[c.itemID]
	if it == nil {
		return nil, noSuchItem()
	}
	if !e.sees(c.id, it) {
		if c.id.anonymous() {
			return nil, tokenRequired()
		}
		return nil, noSuchItem()
	}
	return e.view(it, c.id), nil
}

func (e *Emulator) readOwnItem(c *call) (any, error) {
	it := e.items[c.itemID]
	if it == nil || !e.sees(c.id, it) {
		return nil, noSuchItem()
	}
	return obj{"item": e.view(it, c.id), "sharing": obj{"access": it.Access, "groups": []string{}}}, nil
}

func (e *Emulator) readData(c *call) (any, error) {
	it := e.items[c.itemID]
	if it == nil || !e.sees(c.id, it) {
		return nil, noSuchItem()
	}
	var parsed any
	if json.Unmarshal([]byte(it.data), &parsed) == nil {
		return parsed, nil
	}
	return page{status: 200, contentType: "text/plain", body: it.data}, nil
}

// textFields are the item members that addItem and update keep as sent.
func textFields() []string {
	return []string{"description", "snippet", "url", "accessInformation", "licenseInfo", "culture", "properties", "extent",
		"documentation", "classification", "categories", "name", "subscriptionType"}
}

func (e *Emulator) addItem(c *call) (any, error) {
	owner, err := e.contentOwner(c)
	if err != nil {
		return nil, err
	}
	if c.form.Get("type") == "" || c.form.Get("title") == "" {
		return nil, badRequest("'type' and 'title' property required.")
	}
	it := &item{ID: e.hexID(), Owner: owner.Username, Type: c.form.Get("type"), Created: c.now, Access: "private",
		fields: map[string]string{}, dates: [2]int64{-1, -1}}
	if len(c.vars) > 1 && c.vars[1] != "/" {
		f, ok := owner.folder(c.vars[1])
		if !ok {
			return nil, badRequest(textFolderMissing)
		}
		it.Folder = f.ID
	}
	// A date sent here does not stick: the item is not registered yet.
	e.setFields(c, it)
	e.storeItem(owner, it)
	e.record(Event{Kind: EventItemAdded, Op: c.op, ItemID: it.ID, User: owner.Username, Late: c.late})
	return obj{"success": true, "id": it.ID, "folder": it.Folder}, nil
}

func (e *Emulator) storeItem(owner *account, it *item) {
	e.items[it.ID] = it
	e.order = append(e.order, it.ID)
	owner.items = append(owner.items, it.ID)
	e.reindex(it)
}

// contentOwner is the user of a content/users path, when the caller may add there.
func (e *Emulator) contentOwner(c *call) (*account, error) {
	owner := e.users[c.vars[0]]
	if owner == nil {
		return nil, badRequest(textUserMissing)
	}
	if c.id.kind != tokenApp && (c.id.user == owner || c.id.admin()) && c.id.has(privilegeCreate) {
		return owner, nil
	}
	return nil, forbidden()
}

// setFields stores what the request sends of an item's ordinary members.
func (e *Emulator) setFields(c *call, it *item) {
	// said: an update's empty value counts only as switch empty_fields has it.
	said := func(name string) bool {
		return c.form.Has(name) && (c.form.Get(name) != "" || c.op == OpAddItem || c.boolParam("clearEmptyFields") || e.is(SwitchEmptyFields, "clear"))
	}
	for _, name := range textFields() {
		if said(name) {
			it.fields[name] = c.form.Get(name)
		}
	}
	if c.form.Get("title") != "" { // an item always has one
		it.Title = c.form.Get("title")
	}
	if c.form.Has("text") {
		it.data = c.form.Get("text")
	}
	if said("tags") {
		it.Tags = splitList(c.form.Get("tags"))
	}
	if c.form.Has("typeKeywords") {
		it.Keywords = splitList(c.form.Get("typeKeywords"))
		e.portalKeywords(it)
	}
	if c.form.Has("isPersonalAPIToken") {
		it.personal = c.boolParam("isPersonalAPIToken")
	}
	it.Modified = c.now
}

// portalKeywords puts back the keywords that the portal itself maintains.
func (e *Emulator) portalKeywords(it *item) {
	if it.app == nil {
		return
	}
	it.addKeyword("Registered App")
	if it.legacy() {
		it.addKeyword("API Key")
		return
	}
	if !e.opts.Product.keepsKeys() {
		return
	}
	if it.dates[0] > 0 || it.dates[1] > 0 || it.app.slots[0] != nil || it.app.slots[1] != nil ||
		e.is(SwitchKeywordAppears, "registration") {
		it.addKeyword("APIToken")
	}
}

func splitList(text string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func (e *Emulator) updateItem(c *call) (any, error) {
	it, err := e.ownItem(c)
	if err != nil {
		return nil, err
	}
	dates, err := e.newDates(c, it)
	if err != nil {
		return nil, err
	}
	e.change(c, it, func() {
		e.setFields(c, it)
		for i, d := range dates {
			if d != 0 && d != it.dates[i] {
				e.setDate(c, it, i+1, d)
			}
		}
		e.portalKeywords(it)
		e.record(Event{Kind: EventItemUpdated, Op: c.op, ItemID: it.ID, Late: c.late})
	})
	return obj{"success": true, "id": it.ID}, nil
}

// newDates reads the slots' dates from an update; 0 is a date that was not sent.
func (e *Emulator) newDates(c *call, it *item) (dates [2]int64, err error) {
	if !e.opts.Product.keepsKeys() {
		return dates, nil // surplus parameters of an older portal
	}
	for i := range dates {
		name := dateParam(i + 1)
		if !c.form.Has(name) {
			continue
		}
		if c.id.key == nil && !c.id.user.has(privilegeGenerate) {
			return dates, forbidden()
		}
		d, err := strconv.ParseInt(c.form.Get(name), 10, 64)
		if err != nil || d == 0 || d < -1 {
			return dates, badRequest(textBadDate)
		}
		if d > 0 {
			d = e.roundDate(d)
			if e.is(SwitchBadDate, "refuse_update") && !e.mintable(d, c.now) {
				return dates, badRequest(textBadDate)
			}
		}
		dates[i] = d
	}
	return dates, nil
}

// roundDate applies switch date_rounding to epoch milliseconds.
func (e *Emulator) roundDate(ms int64) int64 {
	if e.is(SwitchDateRounding, "none") {
		return ms
	}
	t := time.UnixMilli(ms).UTC()
	end := time.Date(t.Year(), t.Month(), t.Day(), 23, 59, 59, 0, time.UTC)
	if e.is(SwitchDateRounding, "end_of_day_ms") {
		end = end.Add(999 * time.Millisecond)
	}
	return millis(end)
}

// setDate stores a slot's date and does to a live key what switch date_update_on_live_slot says.
func (e *Emulator) setDate(c *call, it *item, slot int, d int64) {
	it.dates[slot-1] = d
	e.record(Event{Kind: EventDateSet, Op: c.op, ItemID: it.ID, Slot: slot, Late: c.late})
	if it.app == nil || it.app.slots[slot-1] == nil {
		return
	}
	k := it.app.slots[slot-1]
	switch e.switches[SwitchDateUpdateOnLiveSlot] {
	case "kills_key":
		e.endKey(c, it, k, EndedDateUpdated)
	case "moves_expiry":
		if d > 0 {
			k.expires = time.UnixMilli(d).UTC()
		}
	}
}

// change lets f change the item, keeps its earlier state for stale reads, and for a lie takes everything back.
func (e *Emulator) change(c *call, it *item, f func()) {
	before := it.clone()
	seen, keys, untold := len(e.events), len(e.history), len(e.untold)
	f()
	if !c.lied {
		it.prev = before
		e.reindex(it)
		return
	}
	prev := it.prev
	*it = *before
	it.prev = prev
	e.events, e.untold = e.events[:seen], e.untold[:untold]
	for _, k := range e.history[keys:] {
		k.ended, k.endedBy, k.neverValid = c.now, EndedNeverWas, true
	}
	for _, k := range it.keysHeld() {
		k.ended, k.endedBy = time.Time{}, ""
	}
	e.version++
}

// keysHeld are the keys now in the item's slots.
func (it *item) keysHeld() []*key {
	if it.app == nil {
		return nil
	}
	return slices.DeleteFunc([]*key{it.app.slots[0], it.app.slots[1], it.app.legacyKey}, func(k *key) bool { return k == nil })
}
