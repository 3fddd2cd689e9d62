package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"rotatord/internal/portal"
	"rotatord/internal/rotate"
	"rotatord/internal/sinks"
)

// identityFile is a 0600 JSON file of something that we renew, by its path. Its errors quote nothing of it.
type identityFile string

// load into what save was given; cure is the command that makes the file.
func (f identityFile) load(into any, cure string) error {
	b, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read identity: %s is not there; make it with: %s", f, cure)
	}
	if err != nil {
		return fmt.Errorf("read identity: %w", err)
	}
	return decodeIdentity(b, into)
}

// save whole or not at all, and on disk when it returns.
func (f identityFile) save(what any) error {
	b, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	dir := filepath.Dir(string(f))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	if err := replaceFile(dir, string(f), b); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	return nil
}

func decodeIdentity(b []byte, into any) error {
	if json.Unmarshal(b, into) != nil {
		return errors.New("decode identity: it is not what rotatord login stores") // the cause may quote it
	}
	return nil
}

// replaceFile writes beside path, syncs, renames and syncs the folder.
func replaceFile(dir, path string, b []byte) error {
	tmp, err := os.CreateTemp(dir, ".identity-") // 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// storedGrant is the stored form of a portal.RefreshGrant.
type storedGrant struct {
	Current     storedToken `json:"current"`
	Next        storedToken `json:"next,omitzero"`
	RedirectURI string      `json:"redirect_uri,omitempty"`
}

type storedToken struct {
	Token    string    `json:"token,omitempty"`
	Obtained time.Time `json:"obtained,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
}

func storeGrant(g portal.RefreshGrant) storedGrant {
	token := func(t portal.RefreshToken) storedToken {
		return storedToken{Token: t.Token.Reveal(), Obtained: t.Obtained, Expires: t.Expires} //nolint:forbidigo // this is where it is stored
	}
	return storedGrant{Current: token(g.Current), Next: token(g.Next), RedirectURI: g.RedirectURI}
}

func (s storedGrant) grant() portal.RefreshGrant {
	token := func(t storedToken) portal.RefreshToken {
		return portal.RefreshToken{Token: rotate.NewSecret(t.Token), Obtained: t.Obtained, Expires: t.Expires}
	}
	return portal.RefreshGrant{Current: token(s.Current), Next: token(s.Next), RedirectURI: s.RedirectURI}
}

// fileIdentity keeps a refresh token in a file.
type fileIdentity struct{ identityFile }

// Load implements portal.RefreshStore.
func (f fileIdentity) Load(context.Context) (portal.RefreshGrant, error) {
	var s storedGrant
	err := f.load(&s, "rotatord login PORTAL")
	return s.grant(), err
}

// Save implements portal.RefreshStore.
func (f fileIdentity) Save(_ context.Context, g portal.RefreshGrant) error {
	return f.save(storeGrant(g))
}

// vaultIdentity keeps it in a Vault secret.
type vaultIdentity struct{ sink *sinks.VaultSink }

// Load implements portal.RefreshStore.
func (v vaultIdentity) Load(ctx context.Context) (portal.RefreshGrant, error) {
	e, err := v.sink.Read(ctx)
	if err != nil {
		return portal.RefreshGrant{}, fmt.Errorf("read identity: %w", err)
	}
	if e.Key.IsZero() {
		return portal.RefreshGrant{}, errors.New("read identity: the Vault secret is not there; make it with: rotatord login PORTAL")
	}
	var s storedGrant
	err = decodeIdentity([]byte(e.Key.Reveal()), &s) //nolint:forbidigo // this is where it is stored
	return s.grant(), err
}

// Save implements portal.RefreshStore.
func (v vaultIdentity) Save(ctx context.Context, g portal.RefreshGrant) error {
	b, err := json.Marshal(storeGrant(g))
	if err != nil {
		return fmt.Errorf("encode identity: %w", err)
	}
	e, err := v.sink.Read(ctx)
	if err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	if _, err := v.sink.Write(ctx, rotate.Entry{Key: rotate.NewSecret(string(b)), Meta: e.Meta}, e.Version); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	return nil
}

// storedSecretIDs is the stored form of sinks.SecretIDs.
type storedSecretIDs struct {
	Current storedSecretID `json:"current"`
	Next    storedSecretID `json:"next,omitzero"`
	Old     []string       `json:"old_accessors,omitempty"`
}

type storedSecretID struct {
	ID       string    `json:"secret_id,omitempty"`
	Accessor string    `json:"accessor,omitempty"`
	Obtained time.Time `json:"obtained,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
}

// secretIDFile keeps the secret id of our own AppRole in a file.
type secretIDFile struct{ identityFile }

// Load implements sinks.SecretIDStore.
func (f secretIDFile) Load(context.Context) (sinks.SecretIDs, error) {
	var s storedSecretIDs
	if err := f.load(&s, "rotatord login --vault"); err != nil {
		return sinks.SecretIDs{}, err
	}
	id := func(s storedSecretID) sinks.SecretID {
		return sinks.SecretID{ID: rotate.NewSecret(s.ID), Accessor: s.Accessor, Obtained: s.Obtained, Expires: s.Expires}
	}
	return sinks.SecretIDs{Current: id(s.Current), Next: id(s.Next), Old: s.Old}, nil
}

// Save implements sinks.SecretIDStore.
func (f secretIDFile) Save(_ context.Context, s sinks.SecretIDs) error {
	id := func(s sinks.SecretID) storedSecretID {
		return storedSecretID{ID: s.ID.Reveal(), Accessor: s.Accessor, Obtained: s.Obtained, Expires: s.Expires} //nolint:forbidigo // this is where it is stored
	}
	return f.save(storedSecretIDs{Current: id(s.Current), Next: id(s.Next), Old: s.Old})
}
