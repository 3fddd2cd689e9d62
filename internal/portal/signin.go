package portal

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// grant is a token with what is left of its life; 0 is unknown.
type grant struct {
	token rotate.Secret
	life  time.Duration
}

// identity is one way to get a token. Its methods are called by one goroutine at a time.
type identity interface {
	// secret is what the next sign-in will use, read anew.
	secret(ctx context.Context) (rotate.Secret, error)
	signIn(ctx context.Context, secret rotate.Secret) (grant, error)
}

// session holds the client's token. One sign-in runs at a time; the others wait for it
// and share its outcome.
type session struct {
	id   identity
	turn chan struct{} // holds one element while somebody signs in

	mu         sync.Mutex // guards everything below
	token      rotate.Secret
	generation uint64
	renewAt    time.Time
	endsAt     time.Time
	attempts   uint64
	lastErr    error
	// A refused secret is not tried again before notBefore: accounts lock.
	refused   rotate.Secret
	refusals  int
	notBefore time.Time
}

func newSession(id identity) *session {
	return &session{id: id, turn: make(chan struct{}, 1)}
}

const (
	renewEarly     = 5 * time.Minute
	shortLife      = 15 * time.Minute // below it, a token is renewed after two thirds
	unknownLife    = 15 * time.Minute // assumed where the portal does not tell
	renewRetry     = 30 * time.Second // after a renewal that failed while the token still lives
	firstRefusal   = time.Minute
	longestRefusal = time.Hour
)

// current is the token to use, and its generation for drop.
func (s *session) current(ctx context.Context) (rotate.Secret, uint64, error) {
	token, generation, seen, ok := s.held()
	if ok {
		return token, generation, nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return rotate.Secret{}, 0, &rotate.Error{Op: "sign in", Kind: rotate.KindTransient, Err: context.Cause(ctx)}
	}
	defer func() { <-s.turn }()
	if token, generation, _, ok = s.held(); ok {
		return token, generation, nil
	}
	if err := s.failedSince(seen); err != nil {
		return rotate.Secret{}, 0, err
	}
	return s.renew(ctx)
}

func (s *session) held() (token rotate.Secret, generation, attempts uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token, s.generation, s.attempts, !s.token.IsZero() && time.Now().Before(s.renewAt)
}

// failedSince is the error of a sign-in that somebody else tried while we waited.
func (s *session) failedSince(seen uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempts == seen {
		return nil
	}
	return s.lastErr
}

// expire makes the next caller sign in anew; the present token outlasts a failure of that.
func (s *session) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewAt = time.Time{}
}

// drop gives up a token that the portal refused, unless it was replaced meanwhile.
func (s *session) drop(generation uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generation == generation {
		s.token = rotate.Secret{}
	}
}

// renew signs in; the caller holds turn. A token that still lives outlasts a failure.
func (s *session) renew(ctx context.Context) (rotate.Secret, uint64, error) {
	g, err := s.attempt(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if err == nil {
		life := g.life
		if life <= 0 {
			life = unknownLife
		}
		early := renewEarly
		if life < shortLife {
			early = life / 3
		}
		s.token, s.endsAt, s.renewAt = g.token, now.Add(life), now.Add(life-early)
		s.generation++
		s.attempts++
		s.lastErr, s.refusals, s.refused, s.notBefore = nil, 0, rotate.Secret{}, time.Time{}
		return s.token, s.generation, nil
	}
	if ctx.Err() == nil {
		s.attempts++
		s.lastErr = err
	}
	if !s.token.IsZero() && now.Before(s.endsAt) {
		s.renewAt = now.Add(renewRetry)
		return s.token, s.generation, nil
	}
	return rotate.Secret{}, 0, err
}

func (s *session) attempt(ctx context.Context) (grant, error) {
	secret, err := s.id.secret(ctx)
	if err != nil {
		return grant{}, &rotate.Error{Op: "sign in", Kind: rotate.KindAuth, Err: err}
	}
	if secret.IsZero() {
		return grant{}, &rotate.Error{Op: "sign in", Kind: rotate.KindAuth, Err: errors.New("the secret is empty")}
	}
	if err := s.backingOff(secret); err != nil {
		return grant{}, err
	}
	g, err := s.id.signIn(ctx, secret)
	if rotate.KindOf(err) == rotate.KindAuth {
		s.noteRefusal(secret)
	}
	return g, err
}

func (s *session) backingOff(secret rotate.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := time.Until(s.notBefore)
	if wait <= 0 || !secret.Equal(s.refused) {
		return nil
	}
	return &rotate.Error{Op: "sign in", Kind: rotate.KindAuth, Wait: wait,
		Err: fmt.Errorf("refused %d times with this secret, next try in %s", s.refusals, wait.Round(time.Second))}
}

func (s *session) noteRefusal(secret rotate.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !secret.Equal(s.refused) {
		s.refusals = 0
	}
	delay := min(firstRefusal<<min(s.refusals, 10), longestRefusal)
	s.refused, s.notBefore = secret, time.Now().Add(delay)
	s.refusals++
}

// passwordSignIn is generateToken with client=referer.
type passwordSignIn struct {
	PasswordIdentity
	c *Client
}

func (p *passwordSignIn) secret(ctx context.Context) (rotate.Secret, error) {
	s, err := p.Password(ctx)
	if err != nil {
		return rotate.Secret{}, fmt.Errorf("read password: %w", err)
	}
	return s, nil
}

func (p *passwordSignIn) signIn(ctx context.Context, secret rotate.Secret) (grant, error) {
	minutes := orElse(p.Minutes, defaultMinutes)
	var w wireToken
	r, err := p.c.do(ctx, call{op: opSignIn, what: "sign in as " + p.Username, path: "/generateToken", anon: true,
		form: url.Values{"username": {p.Username}, "password": {secret.Reveal()}, "client": {"referer"},
			"referer": {p.c.referer}, "expiration": {strconv.Itoa(minutes)}},
		secrets: []string{secret.Reveal()}, purpose: rotate.PurposeSignIn, refine: refusedSignIn}, &w)
	if err != nil {
		return grant{}, err
	}
	if w.Token == "" {
		return grant{}, incomplete("sign in as "+p.Username, "token")
	}
	g := grant{token: rotate.NewSecret(string(w.Token))}
	if ends := w.Expires.time(); !ends.IsZero() {
		g.life = ends.Sub(r.portalTime()) // not above 0: a clock is wrong, so the life is unknown
	}
	return g, nil
}

// refusedSignIn: whatever clean word the portal refuses a sign-in with, it is our
// identity that it refuses.
func refusedSignIn(_ *fault, e *rotate.Error) {
	if e.Kind == rotate.KindPermanent {
		e.Kind = rotate.KindAuth
	}
}

// incomplete is a whole answer that lacks what the contract promises.
func incomplete(what, member string) *rotate.Error {
	return &rotate.Error{Op: what, Kind: rotate.KindTransient, Cause: rotate.CauseNotAPortal,
		Err: fmt.Errorf("the answer has no %s", member)}
}
