package sinks

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// identity is a token and what Vault said of it.
type identity struct {
	token     rotate.Secret
	renewable bool
	lease     time.Duration // 0: it never ends, or Vault did not say
}

// session keeps one good token. One sign-in or renewal runs at a time; whoever comes
// meanwhile waits for its result. It starts no goroutine.
type session struct {
	method signer

	mu      sync.Mutex
	id      identity      // zero token: none, or it was refused
	first   time.Duration // longest lease of this token
	expiry  time.Time     // wall clock, which counts sleep; zero: never
	renewAt time.Time
	running *attempt
}

type attempt struct {
	done chan struct{}
	err  error // valid after done
}

const (
	// A token is renewed when two thirds of its lease are over.
	renewNum, renewDen = 2, 3
	// expiryMargin before its end a token is not used any more.
	expiryMargin = time.Second
)

// signedIn returns a token that should work, renewing or signing in where needed. A
// renewal that fails is no error while the token still works.
func (v *Vault) signedIn(ctx context.Context) (identity, error) {
	s := &v.session
	for {
		if err := ctx.Err(); err != nil {
			return identity{}, &rotate.Error{Op: "sign in to vault", Kind: rotate.KindTransient, Err: err}
		}
		stale := s.method.stale()
		s.mu.Lock()
		if stale {
			s.id.token.Forget()
		}
		now := time.Now()
		usable := s.usable(now)
		if usable && (s.renewAt.IsZero() || now.Before(s.renewAt)) && !s.aged(now) {
			defer s.mu.Unlock()
			return s.id, nil
		}
		if a := s.running; a != nil {
			s.mu.Unlock()
			if err := a.wait(ctx); err != nil {
				return identity{}, err
			}
			continue
		}
		a := &attempt{done: make(chan struct{})}
		s.running = a
		s.mu.Unlock()

		err := v.refresh(ctx, usable)
		s.mu.Lock()
		s.running = nil
		if ctx.Err() == nil { // else those who wait try on their own account
			a.err = err
		}
		close(a.done)
		s.mu.Unlock()
		if err != nil {
			return identity{}, err
		}
	}
}

func (a *attempt) wait(ctx context.Context) error {
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return &rotate.Error{Op: "sign in to vault", Kind: rotate.KindTransient, Err: ctx.Err()}
	}
}

// usable is called with mu held.
func (s *session) usable(now time.Time) bool {
	return !s.id.token.IsZero() && (s.expiry.IsZero() || now.Add(expiryMargin).Before(s.expiry))
}

// refuse forgets a token that the server did not take, unless it was replaced
// meanwhile.
func (s *session) refuse(id identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id.token == id.token {
		s.id.token.Forget()
	}
}

// aged tells whether the method's own secret wants a sign-in.
func (s *session) aged(now time.Time) bool {
	at := s.nextLook()
	return !at.IsZero() && !now.Before(at)
}

// nextLook is zero for a method whose secret does not age.
func (s *session) nextLook() time.Time {
	if a, ok := s.method.(aging); ok {
		return a.nextLook()
	}
	return time.Time{}
}

// untilRenewal is how long Run may wait.
func (s *session) untilRenewal(now time.Time) time.Duration {
	look := s.nextLook()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.usable(now) {
		return 0
	}
	wait := time.Hour
	for _, at := range []time.Time{s.renewAt, look} {
		if !at.IsZero() {
			wait = min(wait, at.Sub(now))
		}
	}
	return max(wait, 0)
}

// refresh renews a token that is still usable, and signs in if that gains nothing:
// near its maximal lifetime a renewal succeeds with an ever shorter lease.
func (v *Vault) refresh(ctx context.Context, usable bool) error {
	s := &v.session
	s.mu.Lock()
	old, first := s.id, s.first
	s.mu.Unlock()
	if usable && old.renewable && !s.aged(time.Now()) {
		id, err := v.renew(ctx, old)
		if err == nil && id.lease*2 > first {
			s.keep(id, max(first, id.lease))
			return nil
		}
		if err == nil {
			old = id
		}
	}
	id, err := s.method.signIn(ctx, v)
	if err == nil {
		s.keep(id, id.lease)
		return nil
	}
	if !usable {
		return err
	}
	s.putOff(old)
	if !errors.Is(err, errSameToken) {
		v.opt.OnNotice(Notice{Text: "the sign-in to Vault could not be renewed; the present token is used while it works", Err: err})
	}
	return nil
}

// keep a token that was just had.
func (s *session) keep(id identity, first time.Duration) {
	now := time.Now().Round(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id, s.first, s.expiry, s.renewAt = id, first, time.Time{}, time.Time{}
	if id.lease > 0 {
		s.expiry = now.Add(id.lease)
		s.renewAt = now.Add(id.lease * renewNum / renewDen)
	}
}

// putOff the next try to a third of the time that is left.
func (s *session) putOff(id identity) {
	now := time.Now().Round(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	if id.lease > 0 && id.lease != s.id.lease {
		s.expiry = now.Add(id.lease)
	}
	s.id = id
	s.renewAt = now.Add(max(retryWait, s.expiry.Sub(now)/renewDen))
}

// renew the token itself.
func (v *Vault) renew(ctx context.Context, id identity) (identity, error) {
	c := call{op: "renew vault token", path: "auth/token/renew-self", token: id.token, body: map[string]any{}}
	rep, err := v.send(ctx, v.client, c)
	if err != nil {
		return identity{}, err
	}
	if rep.status != http.StatusOK {
		return identity{}, judge(c, rep)
	}
	renewed, err := authOf(c, rep)
	if err != nil {
		return identity{}, err
	}
	renewed.token = id.token
	return renewed, nil
}

// authOf reads the "auth" of a sign-in or a renewal.
func authOf(c call, rep reply) (identity, error) {
	var body struct {
		Auth *struct {
			Token     string `json:"client_token"`
			Renewable bool   `json:"renewable"`
			Lease     int64  `json:"lease_duration"` // seconds
		} `json:"auth"`
	}
	err := rep.decode(&body)
	if err == nil && (body.Auth == nil || body.Auth.Token == "") {
		err = errors.New("the reply has no token (is a second factor asked for?)")
	}
	if err != nil {
		return identity{}, &rotate.Error{Op: c.op, Kind: rotate.KindPermanent, Cause: rotate.CauseMalformed, Err: err}
	}
	return identity{
		token:     rotate.NewSecret(body.Auth.Token),
		renewable: body.Auth.Renewable,
		lease:     time.Duration(body.Auth.Lease) * time.Second,
	}, nil
}
