package portaltest

import "slices"

// deleteItem deletes for good; where a recycle bin exists the keys are dead there too.
func (e *Emulator) deleteItem(c *call) (any, error) {
	it, err := e.ownItem(c)
	if err != nil {
		return nil, err
	}
	if it.Protected {
		return nil, badRequest(textProtected)
	}
	if !c.lied {
		e.dropItem(c, it)
	}
	return obj{"success": true, "itemId": it.ID}, nil
}

func (e *Emulator) dropItem(c *call, it *item) {
	e.dropApp(c, it, EndedDeleted)
	delete(e.items, it.ID)
	e.order = without(e.order, it.ID)
	if owner := e.users[it.Owner]; owner != nil { // none for another organisation's item
		owner.items = without(owner.items, it.ID)
	}
	e.unindex(it)
	e.record(Event{Kind: EventItemDeleted, Op: c.op, ItemID: it.ID, Late: c.late, OutOfBand: c.op == ""})
}

func without(list []string, one string) []string {
	if i := slices.Index(list, one); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

func (e *Emulator) canDelete(c *call) (any, error) {
	it, err := e.ownItem(c)
	if err != nil {
		return nil, err
	}
	if it.Protected {
		return nil, badRequest(textProtected)
	}
	return obj{"success": true, "itemId": it.ID}, nil
}

func (e *Emulator) protectItem(c *call) (any, error) {
	it, err := e.ownItem(c)
	if err != nil {
		return nil, err
	}
	e.change(c, it, func() {
		it.Protected = c.op == OpProtect
		e.record(Event{Kind: EventItemUpdated, Op: c.op, ItemID: it.ID, Late: c.late})
	})
	return obj{"success": true, "itemId": it.ID}, nil
}

func (e *Emulator) moveItem(c *call) (any, error) {
	it, err := e.ownItem(c)
	if err != nil {
		return nil, err
	}
	target := ""
	if to := c.form.Get("folder"); to != "/" && to != "" {
		f, ok := e.users[it.Owner].folder(to)
		if !ok {
			return nil, badRequest(textFolderMissing)
		}
		target = f.ID
	}
	e.change(c, it, func() {
		it.Folder = target
		e.record(Event{Kind: EventItemMoved, Op: c.op, ItemID: it.ID, Late: c.late})
	})
	return obj{"success": true, "itemId": it.ID, "owner": it.Owner, "folder": target}, nil
}

// shareItem sets who may see an item, as Esri's page "Share item (as item owner)" has it; groups are those it is in alone.
func (e *Emulator) shareItem(c *call) (any, error) {
	it, err := e.ownItem(c)
	if err != nil {
		return nil, err
	}
	access, needs := "private", ""
	switch {
	case c.boolParam("everyone"):
		access, needs = "public", "portal:user:shareToPublic"
	case c.boolParam("org"):
		access, needs = "org", "portal:user:shareToOrg"
	}
	if needs != "" && !c.id.has(needs) {
		return nil, forbidden()
	}
	e.change(c, it, func() {
		it.Access = access
		if groups := splitList(c.form.Get("groups")); len(groups) > 0 {
			it.groups = groups
		}
		e.record(Event{Kind: EventItemUpdated, Op: c.op, ItemID: it.ID, Late: c.late})
	})
	return obj{"notSharedWith": []string{}, "itemId": it.ID}, nil
}

func (e *Emulator) createFolder(c *call) (any, error) {
	owner, err := e.contentOwner(c)
	if err != nil {
		return nil, err
	}
	title := c.form.Get("title")
	if title == "" {
		return nil, badRequest("'title' must be specified.")
	}
	if owner.hasTitle(title) && e.is(SwitchFolderTaken, "refuse") {
		return nil, badRequest(textFolderExists)
	}
	f := e.addFolder(owner, title)
	e.record(Event{Kind: EventFolderAdded, Op: c.op, User: owner.Username, Late: c.late})
	return obj{"success": true, "folder": obj{"id": f.ID, "title": f.Title, "username": f.Username}}, nil
}

func (e *Emulator) addFolder(owner *account, title string) folder {
	f := folder{ID: e.hexID(), Title: title, Username: owner.Username, Created: millis(e.now())}
	owner.folders = append(owner.folders, f)
	return f
}

// userContent lists one folder of a user's items; it is not index-based and so always fresh.
func (e *Emulator) userContent(c *call) (any, error) {
	owner := e.users[c.vars[0]]
	if owner == nil {
		return nil, badRequest(textUserMissing)
	}
	if c.id.kind == tokenApp || c.id.user != owner && !c.id.has(privilegeViewAll) {
		return nil, forbidden()
	}
	in, current := "", any(nil)
	if len(c.vars) > 1 {
		f, ok := owner.folder(c.vars[1])
		if !ok {
			return nil, badRequest(textFolderMissing)
		}
		in, current = f.ID, f
	}
	list := e.cached("content "+owner.Username+" "+in, func() []*item {
		var found []*item
		for _, id := range owner.items {
			if it := e.items[id]; it.Folder == in {
				found = append(found, it)
			}
		}
		return found
	})
	from, to, next := pageOf(len(list), c.intParam("start", 1), c.intParam("num", defaultPage))
	items := make([]itemView, 0, to-from)
	for _, it := range list[from:to] {
		items = append(items, e.view(it, c.id))
	}
	folders := owner.folders
	if folders == nil || in != "" {
		folders = []folder{}
	}
	return obj{"username": owner.Username, "total": len(list), "start": from + 1, "num": len(items), "nextStart": next,
		"items": items, "folders": folders, "currentFolder": current}, nil
}

// pageOf turns a 1-based start and a page size into slice bounds; next is -1 on the last page.
func pageOf(total int, start, num int64) (from, to, next int) {
	if num < 0 {
		num = defaultPage
	}
	num = min(num, maxPage)
	from = min(int(max(start, 1)-1), total)
	to = min(from+int(num), total)
	if next = to + 1; to >= total {
		next = -1
	}
	return from, to, next
}

// listCache keeps the last few filtered lists, so that paging through one costs its size once and not once a page.
type listCache struct {
	version uint64
	items   map[string][]*item
	tokens  map[string][]tokenEntry
}

// cached gives the list under the name, made anew when anything has changed since.
func (e *Emulator) cached(name string, build func() []*item) []*item {
	e.freshCache()
	list, ok := e.cache.items[name]
	if !ok {
		list = build()
		e.cache.items[name] = list
	}
	return list
}

func (e *Emulator) freshCache() {
	if e.cache.items == nil || e.cache.version != e.version || len(e.cache.items)+len(e.cache.tokens) > 32 {
		e.cache = listCache{version: e.version, items: map[string][]*item{}, tokens: map[string][]tokenEntry{}}
	}
}
