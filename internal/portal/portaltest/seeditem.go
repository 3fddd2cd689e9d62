package portaltest

import (
	"encoding/json"
	"fmt"
	"slices"
)

// AddItem puts an ordinary item into the portal.
func (e *Emulator) AddItem(owner, kind, title, access string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	u := e.users[owner]
	if u == nil {
		panic(fmt.Sprintf("portaltest: no user %q", owner))
	}
	now := e.now()
	it := &item{ID: e.hexID(), Owner: owner, Type: kind, Title: title, Created: now, Modified: now, Access: access,
		fields: map[string]string{}, dates: [2]int64{-1, -1}}
	e.storeItem(u, it)
	e.version++
	return it.ID
}

// AddService puts a hosted feature layer into the portal and gives its item and its address, which any host serves.
func (e *Emulator) AddService(owner, title, access string) (itemID, address string) {
	itemID = e.AddItem(owner, "Feature Service", title, access)
	address = "https://services.arcgis.com" + servicePrefix + "Hosted/" + itemID + "/FeatureServer"
	e.setURL(itemID, address)
	return itemID, address
}

// AddForeignItem puts another organisation's item where the portal's users can see it.
func (e *Emulator) AddForeignItem(kind, title string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	it := &item{ID: e.hexID(), Owner: "partner_user", Type: kind, Title: title, Created: now, Modified: now, Access: "shared",
		fields: map[string]string{}, dates: [2]int64{-1, -1}, org: e.text(16)}
	e.items[it.ID] = it
	e.order = append(e.order, it.ID)
	e.reindex(it)
	return it.ID
}

// ShareWithGroup makes search find an item by group:"id".
func (e *Emulator) ShareWithGroup(itemID, groupID string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	it := e.items[itemID]
	if it == nil {
		return fmt.Errorf("share item: %w", noSuchItem())
	}
	it.groups = append(it.groups, groupID)
	e.reindex(it)
	return nil
}

// ItemPage is what a person writes on an item's page; nil leaves a member as it is.
type ItemPage struct {
	Title, Snippet, Description *string
	Tags                        *[]string
	Protected                   *bool
}

// EditItemOutOfBand edits an item's page as a person does, which ends no key.
func (e *Emulator) EditItemOutOfBand(itemID string, p ItemPage) error {
	e.mu.Lock()
	defer e.unlock()
	e.settle()
	it := e.items[itemID]
	if it == nil {
		return fmt.Errorf("edit item out of band: %w", noSuchItem())
	}
	e.change(&call{e: e, now: e.now()}, it, func() {
		for name, text := range map[string]*string{"snippet": p.Snippet, "description": p.Description} {
			if text != nil {
				it.fields[name] = *text
			}
		}
		if p.Title != nil {
			it.Title = *p.Title
		}
		if p.Tags != nil {
			it.Tags = slices.Clone(*p.Tags)
		}
		if p.Protected != nil {
			it.Protected = *p.Protected
		}
		it.Modified = e.now()
		e.record(Event{Kind: EventItemUpdated, ItemID: it.ID, OutOfBand: true})
	})
	return nil
}

// controlItem seeds an item; a Feature Service without a url is a hosted layer of the emulator's.
func (e *Emulator) controlItem(body []byte) (any, error) {
	s := struct{ Owner, Type, Title, Access, URL, Group string }{Owner: AdminUser, Type: "Web Map", Access: "private"}
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("read item: %w", err)
	}
	if !slices.ContainsFunc(e.Users(), func(u User) bool { return u.Username == s.Owner }) {
		return nil, fmt.Errorf("read item: no user %q", s.Owner)
	}
	made := obj{"owner": s.Owner, "url": s.URL}
	if s.Type == "Feature Service" && s.URL == "" {
		made["id"], made["url"] = e.AddService(s.Owner, s.Title, s.Access)
	} else {
		made["id"] = e.AddItem(s.Owner, s.Type, s.Title, s.Access)
		e.setURL(made["id"].(string), s.URL)
	}
	if s.Group != "" {
		return made, e.ShareWithGroup(made["id"].(string), s.Group)
	}
	return made, nil
}

func (e *Emulator) setURL(itemID, address string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if it := e.items[itemID]; it != nil && address != "" {
		it.fields["url"] = address
		e.reindex(it)
	}
}
