package portaltest

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// CredentialSeed describes a credential to put into the portal. Zero dates leave a slot without one.
type CredentialSeed struct {
	Owner      string // AdminUser when empty
	Title      string
	Folder     string // title or id; made when it does not exist
	Tags       []string
	Referrers  []string
	Privileges []string // one that the product offers when nil
	// Expires are the dates of slots 1 and 2; with Minted each slot that has one gets a key, as if a person had made it.
	Expires [2]time.Time
	Minted  bool
}

// Credential is what the portal knows of a seeded credential or app.
type Credential struct {
	ItemID, ClientID, ClientSecret string
	Owner                          string
	Keys                           [2]string // of slots 1 and 2, where minted
}

// AddUser adds an account, or replaces the one of that name.
func (e *Emulator) AddUser(u User) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := &account{User: u}
	if old := e.users[u.Username]; old != nil {
		a.folders, a.items, a.passwordGeneration = old.folders, old.items, old.passwordGeneration
	}
	e.users[u.Username] = a
	e.version++
}

// Users lists the accounts, sorted by name.
func (e *Emulator) Users() []User {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []User
	for _, a := range e.users {
		list = append(list, a.User)
	}
	slices.SortFunc(list, func(a, b User) int { return cmp.Compare(a.Username, b.Username) })
	return list
}

// SetPassword changes a password, which kills the user's tokens.
func (e *Emulator) SetPassword(username, password string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a := e.users[username]; a != nil {
		a.Password = password
		a.passwordGeneration++
	}
}

// AddCredential puts a credential into the portal. It panics on an owner that does not exist.
func (e *Emulator) AddCredential(s CredentialSeed) Credential {
	if s.Privileges == nil {
		s.Privileges = []string{privilegeCreate}
		if !e.opts.Product.enterprise() {
			s.Privileges = []string{"premium:user:basemaps"}
		}
	}
	e.mu.Lock()
	it := e.seedItem(s, "Application", "multiple")
	for i, at := range s.Expires {
		if !at.IsZero() {
			it.dates[i] = e.roundDate(millis(at))
		}
	}
	e.portalKeywords(it)
	made := Credential{ItemID: it.ID, ClientID: it.app.clientID, ClientSecret: it.app.secret, Owner: it.Owner}
	if s.Minted {
		for i, ms := range it.dates {
			if ms > 0 {
				made.Keys[i] = e.newKey(&call{e: e, now: e.now()}, it, i+1, time.UnixMilli(ms).UTC()).secret
			}
		}
	}
	it.prev = it.clone()
	e.reindex(it)
	e.unlock()
	return made
}

func (e *Emulator) seedItem(s CredentialSeed, kind, appType string) *item {
	owner := e.users[cmp.Or(s.Owner, AdminUser)]
	if owner == nil {
		e.mu.Unlock()
		panic(fmt.Sprintf("portaltest: no user %q", s.Owner))
	}
	now := e.now()
	it := &item{ID: e.hexID(), Owner: owner.Username, Type: kind, Title: s.Title, Tags: s.Tags, Created: now, Modified: now,
		Access: "private", fields: map[string]string{}, dates: [2]int64{-1, -1}}
	if s.Folder != "" {
		f, ok := owner.folder(s.Folder)
		if !ok {
			f = e.addFolder(owner, s.Folder)
		}
		it.Folder = f.ID
	}
	it.app = &app{clientID: e.text(16), secret: e.hexID(), appType: appType, redirectURIs: []string{outOfBandURI},
		referrers: s.Referrers, privileges: s.Privileges, registered: now, modified: now}
	e.clients[it.app.clientID] = it.ID
	e.storeItem(owner, it)
	e.portalKeywords(it)
	return it
}

// AddOAuthApp registers an app for OAuth sign-in, without APIToken. Loopback redirect URIs match any port.
func (e *Emulator) AddOAuthApp(owner, title string, redirectURIs ...string) Credential {
	e.mu.Lock()
	it := e.seedItem(CredentialSeed{Owner: owner, Title: title}, "Application", "native")
	it.app.redirectURIs = redirectURIs
	made := Credential{ItemID: it.ID, ClientID: it.app.clientID, ClientSecret: it.app.secret, Owner: it.Owner}
	e.reindex(it)
	e.unlock()
	return made
}

// AddLegacyKey puts a retired kind of key (AAPK) into the portal.
func (e *Emulator) AddLegacyKey(owner, title string) Credential {
	e.mu.Lock()
	it := e.seedItem(CredentialSeed{Owner: owner, Title: title, Privileges: []string{"premium:user:basemaps"}}, "API Key", "apikey")
	k := &key{secret: "AAPK" + e.hexID() + e.text(48), itemID: it.ID, clientID: it.app.clientID, minted: e.now()}
	it.app.legacyKey = k
	e.keys[k.secret] = k
	e.history = append(e.history, k)
	e.portalKeywords(it)
	made := Credential{ItemID: it.ID, ClientID: it.app.clientID, ClientSecret: it.app.secret, Owner: it.Owner, Keys: [2]string{k.secret}}
	e.reindex(it)
	e.unlock()
	return made
}

// MintOutOfBand makes a key as a person does on the portal's page: date and key at once. It gives the key.
func (e *Emulator) MintOutOfBand(itemID string, slot int, expires time.Time) (string, error) {
	e.mu.Lock()
	defer e.unlock()
	it, c, err := e.byHand(itemID, slot)
	if err != nil {
		return "", fmt.Errorf("mint out of band: %w", err)
	}
	var k *key
	e.change(c, it, func() {
		it.dates[slot-1] = e.roundDate(millis(expires))
		k = e.newKey(c, it, slot, time.UnixMilli(it.dates[slot-1]).UTC())
	})
	return k.secret, nil
}

// RevokeOutOfBand ends the key in a slot as a person does.
func (e *Emulator) RevokeOutOfBand(itemID string, slot int) error {
	e.mu.Lock()
	defer e.unlock()
	it, c, err := e.byHand(itemID, slot)
	if err != nil {
		return fmt.Errorf("revoke out of band: %w", err)
	}
	e.change(c, it, func() { e.revokeSlot(c, it, slot) })
	return nil
}

// SetDateOutOfBand writes a slot's date as a person does.
func (e *Emulator) SetDateOutOfBand(itemID string, slot int, expires time.Time) error {
	e.mu.Lock()
	defer e.unlock()
	it, c, err := e.byHand(itemID, slot)
	if err != nil {
		return fmt.Errorf("set date out of band: %w", err)
	}
	e.change(c, it, func() {
		e.setDate(c, it, slot, e.roundDate(millis(expires)))
		e.portalKeywords(it)
	})
	return nil
}

// EditAppOutOfBand replaces referrers and privileges as a person does, which kills both keys.
func (e *Emulator) EditAppOutOfBand(itemID string, referrers, privileges []string) error {
	e.mu.Lock()
	defer e.unlock()
	it, c, err := e.byHand(itemID, 1)
	if err != nil {
		return fmt.Errorf("edit app out of band: %w", err)
	}
	e.change(c, it, func() {
		it.app.referrers, it.app.privileges, it.app.modified = referrers, privileges, e.now()
		e.endKeys(c, it, EndedAppUpdated)
		e.record(Event{Kind: EventAppUpdated, ItemID: it.ID, ClientID: it.app.clientID, OutOfBand: true})
	})
	return nil
}

// ResetSecret gives the app of an item a new client secret.
func (e *Emulator) ResetSecret(itemID string) (string, error) {
	e.mu.Lock()
	defer e.unlock()
	it, _, err := e.byHand(itemID, 1)
	if err != nil {
		return "", fmt.Errorf("reset secret: %w", err)
	}
	it.app.secret = e.hexID()
	return it.app.secret, nil
}

// DeleteItem deletes an item as a person does, protected or not.
func (e *Emulator) DeleteItem(itemID string) error {
	e.mu.Lock()
	defer e.unlock()
	it := e.items[itemID]
	if it == nil {
		return fmt.Errorf("delete item out of band: %w", noSuchItem())
	}
	e.settle()
	e.dropItem(&call{e: e, now: e.now()}, it)
	return nil
}

func (e *Emulator) byHand(itemID string, slot int) (*item, *call, error) {
	e.settle()
	it := e.items[itemID]
	if it == nil || it.app == nil || slot < 1 || slot > 2 {
		return nil, nil, fmt.Errorf("item %s slot %d: %w", itemID, slot, noSuchItem())
	}
	return it, &call{e: e, now: e.now()}, nil
}
