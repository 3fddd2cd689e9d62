package rotate

import (
	"cmp"
	"context"
	"time"
)

// fakePortals is a portal of several items.
type fakePortals map[ItemID]*fakePortal

func (m fakePortals) App(ctx context.Context, id ID, owner string) (App, error) {
	return m[id.Item].App(ctx, id, owner)
}

func (m fakePortals) Item(ctx context.Context, id ID) (Item, error) {
	return m[id.Item].Item(ctx, id)
}

func (m fakePortals) SetExpiry(ctx context.Context, id ID, owner string, slot Slot, at time.Time) error {
	return m[id.Item].SetExpiry(ctx, id, owner, slot, at)
}

func (m fakePortals) Mint(ctx context.Context, id ID, app App, slot Slot) (Minted, error) {
	return m[id.Item].Mint(ctx, id, app, slot)
}

func (m fakePortals) Revoke(ctx context.Context, id ID, app App, slot Slot) error {
	return m[id.Item].Revoke(ctx, id, app, slot)
}

func (m fakePortals) Remove(ctx context.Context, id ID, owner string) error {
	return m[id.Item].Remove(ctx, id, owner)
}

// Prove asks the item whose client the key names.
func (m fakePortals) Prove(ctx context.Context, key Secret, referrer string) (Proof, error) {
	for _, p := range m {
		if tailOf(p.clientID()) == key.Fingerprint().ClientTail() {
			return p.Prove(ctx, key, referrer)
		}
	}
	return Proof{}, nil
}

func (m fakePortals) Control(ctx context.Context) error {
	for _, p := range m {
		return p.Control(ctx)
	}
	return nil
}

func (p *fakePortal) clientID() string { return cmp.Or(p.client, clientID) }
func (p *fakePortal) item() ItemID     { return cmp.Or(p.id, testItem) }

// missing is what the portal says of an item that was deleted.
func (p *fakePortal) missing() error {
	if p.gone {
		return &Error{Op: "read item " + string(p.item()), Kind: KindPermanent, Cause: CauseNotFound}
	}
	return nil
}
