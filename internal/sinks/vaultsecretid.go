package sinks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// SecretID of an AppRole. Zero times are unknown, or never.
type SecretID struct {
	ID       rotate.Secret
	Accessor string
	Obtained time.Time
	Expires  time.Time
}

// SecretIDs is what a SecretIDStore keeps. Next was made and has not yet been proved by
// a sign-in; Current is dropped only after that. Old are the accessors of those that
// were replaced and are still to be destroyed.
type SecretIDs struct {
	Current SecretID
	Next    SecretID
	Old     []string
}

// SecretIDStore keeps the secret id of an AppRole that rotatord renews. Save replaces
// everything atomically and returns nil only when it is durable.
type SecretIDStore interface {
	Load(ctx context.Context) (SecretIDs, error)
	Save(ctx context.Context, s SecretIDs) error
}

const (
	// renewRetry after a renewal that failed, or longer where much time is left.
	renewRetry   = time.Minute
	renewLongest = time.Hour
	// secretIDNote marks our secret ids in Vault's audit log and lists.
	secretIDNote = `{"made_by":"rotatord"}`
)

var (
	errNoSecretID  = errors.New("no secret id is stored; put one in with: rotatord login --vault")
	errLimitedUses = errors.New("the role's secret ids work for a limited number of sign-ins; set its secret_id_num_uses to 0")
)

// ownSecretID signs in with a secret id that is renewed before its end: make a new one,
// store it beside the old one, sign in with it, make it the current one, destroy the
// old one. A death between any two of these leaves a stored secret id that works.
type ownSecretID struct {
	conf VaultAuth
	role string // path of the role
	path string // of the sign-in
	// last is what was stored when it could last be read; owned by the one running signIn.
	last SecretIDs

	mu   sync.Mutex
	look time.Time // when a sign-in shall look at the secret id's age; zero: never
	next time.Time // when its renewal is due, or was
	ends time.Time
}

func newOwnSecretID(a VaultAuth, mount string) (*ownSecretID, error) {
	if a.RoleID == "" || a.RoleName == "" || a.SecretIDFile != "" || a.Wrapped {
		return nil, errors.New("approle with a secret id of its own needs a role id, the role's name, and no other secret id")
	}
	if err := checkPath(a.RoleName); err != nil || strings.Contains(a.RoleName, "/") {
		return nil, fmt.Errorf("role %q: %w", a.RoleName, errPath)
	}
	return &ownSecretID{conf: a, role: "auth/" + mount + "/role/" + a.RoleName, path: "auth/" + mount + "/login"}, nil
}

func (o *ownSecretID) stale() bool { return false }

// nextLook implements aging.
func (o *ownSecretID) nextLook() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.look
}

func (o *ownSecretID) lookAt(t time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.look = t
}

const opOwnSecretID = "sign in to vault by approle"

func (o *ownSecretID) signIn(ctx context.Context, v *Vault) (identity, error) {
	o.lookAt(time.Now().Add(renewRetry)) // whatever goes wrong, not at every call
	st, err := o.conf.SecretIDs.Load(ctx)
	switch {
	case err == nil:
		o.last = st
	case o.last.Current.ID.IsZero():
		return identity{}, refusedIdentity(opOwnSecretID, fmt.Errorf("load secret id: %w", err))
	default:
		v.opt.OnNotice(Notice{Text: "the stored AppRole secret id cannot be read; the one in memory is used until a restart", Err: err})
		st = o.last
	}
	if st.Current.ID.IsZero() && st.Next.ID.IsZero() {
		return identity{}, refusedIdentity(opOwnSecretID, errNoSecretID)
	}
	id, err := o.enter(ctx, v, &st)
	if err != nil {
		return identity{}, err
	}
	id = o.keep(ctx, v, id, &st)
	o.last = st
	return id, nil
}

// enter signs in: with a new secret id that a death left unproved, and if that is
// refused with the current one.
func (o *ownSecretID) enter(ctx context.Context, v *Vault, st *SecretIDs) (identity, error) {
	if !st.Next.ID.IsZero() {
		id, err := o.login(ctx, v, st.Next.ID)
		if err == nil {
			o.promote(ctx, v, st)
			return id, nil
		}
		if rotate.KindOf(err) != rotate.KindAuth || st.Current.ID.IsZero() {
			return identity{}, err
		}
		st.Old, st.Next = append(slices.Clone(st.Old), st.Next.Accessor), SecretID{} // tidy stores that
	}
	return o.login(ctx, v, st.Current.ID)
}

func (o *ownSecretID) login(ctx context.Context, v *Vault, secretID rotate.Secret) (identity, error) {
	return v.login(ctx, call{op: opOwnSecretID, path: o.path, body: map[string]any{
		"role_id": o.conf.RoleID, "secret_id": secretID.Reveal(),
	}})
}

// promote makes the proved next secret id the current one. Where the store does not
// take that, both stay in it and the next sign-in does it again.
func (o *ownSecretID) promote(ctx context.Context, v *Vault, st *SecretIDs) {
	then := SecretIDs{Current: st.Next, Old: slices.Clone(st.Old)}
	if st.Current.Accessor != "" {
		then.Old = append(then.Old, st.Current.Accessor)
	}
	if err := o.conf.SecretIDs.Save(ctx, then); err != nil {
		v.opt.OnNotice(Notice{Text: "the new AppRole secret id is stored, but not yet as the current one; the next sign-in does it", Err: err})
		return
	}
	*st = then
}

// keep what is stored tidy and young. Trouble is told and undoes nothing: id is signed
// in, and so is what is returned.
func (o *ownSecretID) keep(ctx context.Context, v *Vault, id identity, st *SecretIDs) identity {
	o.tidy(ctx, v, id, st)
	if !st.Next.ID.IsZero() { // the store does not take it as the current one
		o.putOff(st.Next)
		return id
	}
	if !o.due(st.Current, time.Now()) {
		o.note(st.Current)
		return id
	}
	renewed, err := o.renew(ctx, v, id, st)
	if err != nil {
		o.putOff(st.Current)
		v.opt.OnNotice(Notice{Text: "the AppRole secret id was not renewed; the present one is used and the next try follows", Err: err})
		return id
	}
	o.note(st.Current)
	return renewed
}

// tidy destroys what was replaced or refused, and forgets it.
func (o *ownSecretID) tidy(ctx context.Context, v *Vault, id identity, st *SecretIDs) {
	if len(st.Old) == 0 {
		return
	}
	left := *st
	left.Old = nil
	var errs []error
	for _, accessor := range st.Old {
		if accessor == st.Current.Accessor || accessor == st.Next.Accessor {
			continue
		}
		if err := o.destroy(ctx, v, id, accessor); err != nil {
			errs, left.Old = append(errs, err), append(left.Old, accessor)
		}
	}
	if err := o.conf.SecretIDs.Save(ctx, left); err != nil {
		errs = append(errs, fmt.Errorf("store secret id: %w", err))
	} else {
		*st = left
	}
	if err := errors.Join(errs...); err != nil {
		v.opt.OnNotice(Notice{Text: "a replaced AppRole secret id was not destroyed; the next sign-in tries again", Err: err})
	}
}

// due when RenewBefore of the end, or MaxAge, is reached.
func (o *ownSecretID) due(s SecretID, now time.Time) bool {
	at := o.dueAt(s)
	return !at.IsZero() && !now.Before(at)
}

// dueAt is zero for a secret id that never needs to be renewed.
func (o *ownSecretID) dueAt(s SecretID) time.Time {
	var at time.Time
	if !s.Expires.IsZero() && !s.Obtained.IsZero() {
		life := s.Expires.Sub(s.Obtained)
		lead := life / 2
		switch {
		case o.conf.RenewBeforeShare > 0 && o.conf.RenewBeforeShare < 1:
			lead = time.Duration(float64(life) * o.conf.RenewBeforeShare)
		case o.conf.RenewBefore > 0 && o.conf.RenewBefore < life:
			lead = o.conf.RenewBefore
		}
		at = s.Expires.Add(-lead)
	}
	if o.conf.MaxAge > 0 && !s.Obtained.IsZero() {
		if old := s.Obtained.Add(o.conf.MaxAge); at.IsZero() || old.Before(at) {
			at = old
		}
	}
	return at
}

func (o *ownSecretID) note(s SecretID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next, o.ends = o.dueAt(s), s.Expires
	o.look = o.next
}

// putOff the next look to a tenth of the time that is left.
func (o *ownSecretID) putOff(s SecretID) {
	wait := renewLongest
	if !s.Expires.IsZero() {
		wait = min(max(time.Until(s.Expires)/10, renewRetry), renewLongest)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.look, o.next, o.ends = time.Now().Add(wait), o.dueAt(s), s.Expires
}

// renew: prove that the store takes writes, make, store, prove, promote, destroy. The
// identity is that of the new secret id.
func (o *ownSecretID) renew(ctx context.Context, v *Vault, id identity, st *SecretIDs) (identity, error) {
	if err := o.conf.SecretIDs.Save(ctx, *st); err != nil {
		return identity{}, fmt.Errorf("store secret id: %w", err)
	}
	next, err := o.generate(ctx, v, id)
	if err != nil {
		return identity{}, err
	}
	with := *st
	with.Next = next
	if err := o.conf.SecretIDs.Save(ctx, with); err != nil {
		return identity{}, errors.Join(fmt.Errorf("store new secret id: %w", err), o.destroy(ctx, v, id, next.Accessor))
	}
	*st = with
	renewed, err := o.login(ctx, v, next.ID)
	if err != nil { // it stays stored: the next sign-in proves it, or drops it
		return identity{}, fmt.Errorf("prove new secret id: %w", err)
	}
	o.promote(ctx, v, st)
	if st.Next.ID.IsZero() {
		o.tidy(ctx, v, renewed, st)
	}
	return renewed, nil
}

// generate a secret id of our own role. A lost answer leaves one in Vault that nobody
// has; it ends by itself.
func (o *ownSecretID) generate(ctx context.Context, v *Vault, id identity) (SecretID, error) {
	c := call{op: "make a new approle secret id", path: o.role + "/secret-id", token: id.token, effect: true,
		body: map[string]any{"metadata": secretIDNote}}
	var body struct {
		Data struct {
			ID       string `json:"secret_id"`
			Accessor string `json:"secret_id_accessor"`
			TTL      int64  `json:"secret_id_ttl"` // seconds; 0: it never ends
			Uses     int64  `json:"secret_id_num_uses"`
		} `json:"data"`
	}
	if err := v.ask(ctx, c, &body); err != nil {
		return SecretID{}, err
	}
	if body.Data.ID == "" || body.Data.Accessor == "" {
		return SecretID{}, malformed(c.op, errNotVault)
	}
	if body.Data.Uses != 0 {
		return SecretID{}, errors.Join(&rotate.Error{Op: c.op, Kind: rotate.KindPermanent, Err: errLimitedUses}, o.destroy(ctx, v, id, body.Data.Accessor))
	}
	made := SecretID{ID: rotate.NewSecret(body.Data.ID), Accessor: body.Data.Accessor, Obtained: time.Now().UTC().Truncate(time.Second)}
	if body.Data.TTL > 0 {
		made.Expires = made.Obtained.Add(time.Duration(body.Data.TTL) * time.Second)
	}
	return made, nil
}

// destroy by accessor; one that is gone already is no error. Vault answers 500 to
// destroying what it does not have (seen on 1.21), so that only a look tells.
func (o *ownSecretID) destroy(ctx context.Context, v *Vault, id identity, accessor string) error {
	at := map[string]any{"secret_id_accessor": accessor}
	err := v.ask(ctx, call{op: "destroy the replaced approle secret id", path: o.role + "/secret-id-accessor/destroy", token: id.token, body: at}, nil)
	if err == nil {
		return nil
	}
	look := v.ask(ctx, call{op: "look for the replaced approle secret id", path: o.role + "/secret-id-accessor/lookup", token: id.token, body: at}, nil)
	if rotate.CauseOf(look) == rotate.CauseNotFound {
		return nil
	}
	return err
}

// ask sends a call with its own token; any 2xx is a success, and into may be nil.
func (v *Vault) ask(ctx context.Context, c call, into any) error {
	rep, err := v.send(ctx, v.client, c)
	if err != nil {
		return err
	}
	if rep.status/100 != http.StatusOK/100 {
		return judge(c, rep)
	}
	if into == nil {
		return nil
	}
	if err := rep.decode(into); err != nil {
		return malformed(c.op, err)
	}
	return nil
}

// AdoptSecretID proves a secret id that a person made by a sign-in, looks up when it
// ends, and stores it as the one to live on.
func (v *Vault) AdoptSecretID(ctx context.Context, secretID rotate.Secret) (SecretID, error) {
	o, ok := v.session.method.(*ownSecretID)
	if !ok {
		return SecretID{}, errors.New("adopt secret id: the config does not let rotatord renew its own")
	}
	id, err := o.login(ctx, v, secretID)
	if err != nil {
		return SecretID{}, err
	}
	c := call{op: "look up the approle secret id", path: o.role + "/secret-id/lookup", token: id.token, body: map[string]any{"secret_id": secretID.Reveal()}}
	var body struct {
		Data struct {
			Accessor string    `json:"secret_id_accessor"`
			Created  time.Time `json:"creation_time"`
			Expires  time.Time `json:"expiration_time"` // the zero time: never
			Uses     int64     `json:"secret_id_num_uses"`
		} `json:"data"`
	}
	if err := v.ask(ctx, c, &body); err != nil {
		return SecretID{}, err
	}
	switch {
	case body.Data.Accessor == "": // 204: not of this role
		return SecretID{}, refusedIdentity(c.op, fmt.Errorf("it is not one of role %s", o.conf.RoleName))
	case body.Data.Uses != 0:
		return SecretID{}, &rotate.Error{Op: c.op, Kind: rotate.KindPermanent, Err: errLimitedUses}
	}
	s := SecretID{ID: secretID, Accessor: body.Data.Accessor, Obtained: body.Data.Created.UTC(), Expires: body.Data.Expires.UTC()}
	if body.Data.Expires.Year() <= 1 {
		s.Expires = time.Time{}
	}
	if err := o.conf.SecretIDs.Save(ctx, SecretIDs{Current: s}); err != nil {
		return SecretID{}, fmt.Errorf("store secret id: %w", err)
	}
	return s, nil
}

// SecretIDExpiry is when our own AppRole secret id ends; zero if it never does, is not
// ours to renew, or was not looked at yet.
func (v *Vault) SecretIDExpiry() time.Time {
	_, ends := v.secretIDTimes()
	return ends
}

// SecretIDDue is when its renewal is due, or was and did not succeed; zero likewise.
func (v *Vault) SecretIDDue() time.Time {
	due, _ := v.secretIDTimes()
	return due
}

func (v *Vault) secretIDTimes() (due, ends time.Time) {
	o, ok := v.session.method.(*ownSecretID)
	if !ok {
		return due, ends
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next, o.ends
}
