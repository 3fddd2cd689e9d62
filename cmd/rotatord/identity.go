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

	"rotatord/internal/config"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
	"rotatord/internal/sinks"
)

// identityStore is where a portal's refresh token lives.
func (a *adapters) identityStore(p *config.Portal) (portal.RefreshStore, error) {
	if p.IdentityStore.Vault == nil {
		return fileIdentity{string(p.IdentityStore.File)}, nil
	}
	if a.vault == nil {
		return nil, errors.New("identity_store is in vault, and the config has no vault section")
	}
	s, err := a.vault.Sink(sinks.SinkSpec{Name: "identity_store", Mount: p.IdentityStore.Vault.Mount, Path: p.IdentityStore.Vault.Path,
		KeyField: "refresh_grant"})
	if err != nil {
		return nil, err
	}
	return vaultIdentity{s}, nil
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

func encodeGrant(g portal.RefreshGrant) ([]byte, error) {
	token := func(t portal.RefreshToken) storedToken {
		return storedToken{Token: t.Token.Reveal(), Obtained: t.Obtained, Expires: t.Expires} //nolint:forbidigo // this is where it is stored
	}
	b, err := json.Marshal(storedGrant{Current: token(g.Current), Next: token(g.Next), RedirectURI: g.RedirectURI})
	if err != nil {
		return nil, fmt.Errorf("encode identity: %w", err)
	}
	return b, nil
}

func decodeGrant(b []byte) (portal.RefreshGrant, error) {
	var s storedGrant
	if err := json.Unmarshal(b, &s); err != nil {
		return portal.RefreshGrant{}, errors.New("decode identity: it is not what rotatord login stores") // the cause may quote it
	}
	token := func(t storedToken) portal.RefreshToken {
		return portal.RefreshToken{Token: rotate.NewSecret(t.Token), Obtained: t.Obtained, Expires: t.Expires}
	}
	return portal.RefreshGrant{Current: token(s.Current), Next: token(s.Next), RedirectURI: s.RedirectURI}, nil
}

// fileIdentity keeps it in a 0600 file.
type fileIdentity struct{ path string }

// Load implements portal.RefreshStore.
func (f fileIdentity) Load(context.Context) (portal.RefreshGrant, error) {
	b, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return portal.RefreshGrant{}, fmt.Errorf("read identity: %s is not there; make it with: rotatord login PORTAL", f.path)
	}
	if err != nil {
		return portal.RefreshGrant{}, fmt.Errorf("read identity: %w", err)
	}
	return decodeGrant(b)
}

// Save implements portal.RefreshStore: whole or not at all, and on disk when it returns.
func (f fileIdentity) Save(_ context.Context, g portal.RefreshGrant) error {
	b, err := encodeGrant(g)
	if err != nil {
		return err
	}
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	if err := replaceFile(dir, f.path, b); err != nil {
		return fmt.Errorf("save identity: %w", err)
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
	return decodeGrant([]byte(e.Key.Reveal())) //nolint:forbidigo // this is where it is stored
}

// Save implements portal.RefreshStore.
func (v vaultIdentity) Save(ctx context.Context, g portal.RefreshGrant) error {
	b, err := encodeGrant(g)
	if err != nil {
		return err
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
