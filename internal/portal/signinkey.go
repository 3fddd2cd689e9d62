package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"rotatord/internal/rotate"
)

// OwnKeyIdentity manages credentials with an API key that rotatord rotates itself.
type OwnKeyIdentity struct {
	// Key reads the current key from the identity store; zero if it holds none.
	Key SecretReader
	// Earlier reads the keys before it, newest first. It is asked only when the portal
	// refused the current one.
	Earlier func(ctx context.Context) ([]rotate.Secret, error)
}

// fallbackLife is how long an earlier key is used before the current one is tried again.
const fallbackLife = 3 * time.Minute

// apiKeySignIn uses a key as the token. There is nothing to sign in to; the key is
// read again every unknownLife, and when the portal refused it.
type apiKeySignIn struct{ APIKeyIdentity }

func (a *apiKeySignIn) secret(ctx context.Context) (rotate.Secret, error) {
	s, err := a.Key(ctx)
	if err != nil {
		return rotate.Secret{}, fmt.Errorf("read api key: %w", err)
	}
	return s, nil
}

func (a *apiKeySignIn) signIn(_ context.Context, secret rotate.Secret) (grant, error) {
	return grant{token: secret}, nil
}

// ownKeySignIn uses the newest key of the store that the portal takes, and proves it
// before anything rests on it: whatever a crash or a restored store left behind, one of
// the two keys of the credential signs in.
type ownKeySignIn struct {
	OwnKeyIdentity
	c    *Client
	last rotate.Secret // as last read: a store that is away does not lock us out
	ends atomic.Pointer[time.Time]
}

func (o *ownKeySignIn) secret(ctx context.Context) (rotate.Secret, error) {
	key, err := o.Key(ctx)
	if err != nil && !o.last.IsZero() {
		o.c.opts.Log.LogAttrs(ctx, slog.LevelWarn, "own key cannot be read, the last one is used", slog.Any("err", err))
		return o.last, nil
	}
	if err != nil {
		return rotate.Secret{}, fmt.Errorf("read own key: %w", err)
	}
	if key.IsZero() {
		return rotate.Secret{}, errors.New("the identity store holds no key; put one in with: rotatord login PORTAL")
	}
	o.last = key
	return key, nil
}

func (o *ownKeySignIn) signIn(ctx context.Context, key rotate.Secret) (grant, error) {
	ctx = rotate.WithPurpose(ctx, rotate.PurposeSignIn)
	p, err := o.c.Prove(ctx, key, o.c.referer)
	if err != nil {
		return grant{}, err
	}
	if p.Valid {
		o.ends.Store(&p.Expires)
		return grant{token: key}, nil
	}
	earlier, err := o.Earlier(ctx)
	if err != nil {
		return grant{}, o.refused(key, fmt.Errorf("and earlier ones cannot be read: %w", err))
	}
	for _, old := range earlier {
		if p, err = o.c.Prove(ctx, old, o.c.referer); err != nil {
			return grant{}, err
		}
		if p.Valid {
			o.ends.Store(&p.Expires)
			o.c.opts.Log.LogAttrs(ctx, slog.LevelWarn, "own key refused, an earlier one is used",
				slog.String("refused", string(key.Fingerprint())), slog.String("used", string(old.Fingerprint())))
			return grant{token: old, life: fallbackLife}, nil
		}
	}
	return grant{}, o.refused(key, errors.New("and so are all earlier ones; make a key on the item's page and put it in with: rotatord login PORTAL"))
}

func (o *ownKeySignIn) refused(key rotate.Secret, err error) error {
	return &rotate.Error{Op: "sign in with own key " + string(key.Fingerprint()), Kind: rotate.KindAuth,
		Err: fmt.Errorf("the portal refuses it, %w", err)}
}

// SignInAnew makes the next call sign in again, because what the identity rests on has
// changed. The present token is used further where that fails.
func (c *Client) SignInAnew() { c.session.expire() }

// IdentityKey names the API key that our calls are made with, signing in where needed;
// "" where the identity is no key. An own key was taken by the portal when it signed in.
func (c *Client) IdentityKey(ctx context.Context) (rotate.Fingerprint, error) {
	if c.opts.Identity.APIKey == nil && c.opts.Identity.OwnKey == nil {
		return "", nil
	}
	token, _, err := c.session.current(ctx)
	if err != nil {
		return "", err
	}
	return token.Fingerprint(), nil
}

// IdentityExpires is when the refresh token or the own key that we live on ends, as last
// seen; zero where that is unknown or the identity is neither.
func (c *Client) IdentityExpires() time.Time {
	var at *time.Time
	switch id := c.session.id.(type) {
	case *refreshSignIn:
		at = id.ends.Load()
	case *ownKeySignIn:
		at = id.ends.Load()
	}
	if at == nil {
		return time.Time{}
	}
	return *at
}
