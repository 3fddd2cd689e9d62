// Package identity keeps rotatord from locking itself out of a portal while it rotates
// the API key that it signs in with.
//
// Such a key is an ordinary credential whose first sink is the portal's identity store,
// so that the protocol which every other key goes through (claim, mint, prove, publish,
// overlap, retire) goes for it too. What is added here: the client takes a key as soon as
// it is published (Store), the credential goes last (Last), and no key is retired that
// the daemon itself signs in with (Gate).
package identity

import (
	"context"
	"fmt"
	"slices"

	"rotatord/internal/rotate"
)

// Client is what is asked of a portal's client.
type Client interface {
	// SignInAnew makes the next call sign in again.
	SignInAnew()
	// IdentityKey names the key that calls are made with; "" where the identity is none.
	IdentityKey(ctx context.Context) (rotate.Fingerprint, error)
}

// Store is the identity store of an own key, as the first sink of its credential.
type Store struct {
	rotate.Sink
	changed func() // nil until OnWrite
}

// NewStore over the sink that the key lives in.
func NewStore(sink rotate.Sink) *Store { return &Store{Sink: sink} }

// OnWrite is called after each write that may have changed the key; set it before use.
func (s *Store) OnWrite(changed func()) { s.changed = changed }

// Write implements rotate.Sink.
func (s *Store) Write(ctx context.Context, e rotate.Entry, cas rotate.Version) (rotate.Version, error) {
	v, err := s.Sink.Write(ctx, e, cas)
	if s.changed != nil && (err == nil || rotate.KindOf(err) == rotate.KindUnknownOutcome) {
		s.changed()
	}
	return v, err
}

// Key is the current one; zero if there is none.
func (s *Store) Key(ctx context.Context) (rotate.Secret, error) {
	e, err := s.Read(ctx)
	return e.Key, err
}

// maxEarlier bounds the keys that are tried: a credential has two slots, and a way back
// republishes the older of them.
const maxEarlier = 3

// EarlierKeys that differ from the current one and from each other, newest first.
func (s *Store) EarlierKeys(ctx context.Context) ([]rotate.Secret, error) {
	now, err := s.Read(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := s.Earlier(ctx)
	if err != nil {
		return nil, err
	}
	seen := map[rotate.Fingerprint]bool{now.Key.Fingerprint(): true}
	var keys []rotate.Secret
	for _, e := range entries {
		if fp := e.Key.Fingerprint(); fp != "" && !seen[fp] && len(keys) < maxEarlier {
			seen[fp] = true
			keys = append(keys, e.Key)
		}
	}
	return keys, nil
}

// Gate calls a previous key unused once the daemon itself does not sign in with it any
// more. For an own key the daemon must besides have signed in with the new one.
type Gate struct {
	Client Client
	Own    bool
}

var _ rotate.Gate = Gate{}

// Name implements rotate.Gate.
func (Gate) Name() string { return "own_identity" }

// Ask implements rotate.Gate.
func (g Gate) Ask(ctx context.Context, q rotate.Quiet) (rotate.QuietAnswer, error) {
	used, err := g.Client.IdentityKey(ctx)
	if err == nil && (used == q.Previous.Fingerprint || g.Own && used != q.Live.Fingerprint) {
		g.Client.SignInAnew()
		used, err = g.Client.IdentityKey(ctx)
	}
	switch {
	case err != nil:
		return rotate.QuietAnswer{}, fmt.Errorf("ask which key rotatord signs in with: %w", err)
	case used != "" && used == q.Previous.Fingerprint:
		return rotate.QuietAnswer{Detail: "rotatord itself signs in to the portal with " + string(used)}, nil
	case g.Own && used != q.Live.Fingerprint:
		return rotate.QuietAnswer{Detail: fmt.Sprintf("rotatord itself has not signed in with %s yet, but with %s", q.Live.Fingerprint, used)}, nil
	case g.Own:
		return rotate.QuietAnswer{Quiet: true, Detail: "rotatord itself signs in with " + string(used)}, nil
	}
	return rotate.QuietAnswer{Quiet: true, Detail: "rotatord itself does not sign in with it"}, nil
}

// Last lets an own key's rotation begin only when no other credential of its portal is
// between claim and promotion, or due and about to be. A rotation that is urgent does
// not wait for it: that is the hooks' rule.
type Last struct {
	Journal rotate.Journal
	Others  map[rotate.Name]bool // the portal's other credentials
}

var _ rotate.Hook = Last{}

// Name implements rotate.Hook.
func (Last) Name() string { return "own_key_last" }

// Points implements rotate.Hook.
func (Last) Points() []rotate.HookPoint { return []rotate.HookPoint{rotate.BeforeClaiming} }

// Call implements rotate.Hook.
func (l Last) Call(ctx context.Context, _ rotate.HookCall) error {
	records, err := l.Journal.List(ctx)
	if err != nil {
		return fmt.Errorf("see whether other credentials go first: %w", err)
	}
	for _, r := range records {
		switch {
		case !l.Others[r.Name]:
		case r.Phase.InCutOver():
			return fmt.Errorf("rotatord's own key goes last: %s is being rotated", r.Name)
		case r.Due != "" && goesOn(r.Blocked):
			return fmt.Errorf("rotatord's own key goes last: %s is due (%s)", r.Name, r.Due)
		}
	}
	return nil
}

// goesOn tells whether a due credential waits for nothing but what passes by itself and
// soon. One that waits for a person or a calendar would hold up the own key for good.
func goesOn(blocked rotate.Reason) bool {
	return slices.Contains([]rotate.Reason{"", rotate.ReasonWorking, rotate.ReasonBackoff, rotate.ReasonPropagation, rotate.ReasonHorizon}, blocked)
}
