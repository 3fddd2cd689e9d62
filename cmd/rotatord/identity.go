package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"rotatord/internal/config"
	"rotatord/internal/identity"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
	"rotatord/internal/sinks"
)

// portalIdentity is who we are at a portal.
func (a *adapters) portalIdentity(name string, p *config.Portal) (out portal.Identity, err error) {
	switch id := p.Identity; {
	case id.OAuth != nil:
		store, err := a.identityStore(p)
		if err != nil {
			return out, err
		}
		out.Refresh = &portal.RefreshIdentity{ClientID: id.OAuth.ClientID, Store: store}
		if before := id.OAuth.RenewBefore; before != nil {
			out.Refresh.RenewBefore, out.Refresh.RenewBeforeShare = before.Time, before.Share
		}
	case id.OwnKey != "":
		store, err := a.ownStore(name, p)
		if err != nil {
			return out, err
		}
		out.OwnKey = &portal.OwnKeyIdentity{Key: store.Key, Earlier: store.EarlierKeys}
	case !id.APIKey.IsZero():
		out.APIKey = &portal.APIKeyIdentity{Key: id.APIKey.Resolve}
	default:
		out.Password = &portal.PasswordIdentity{Username: id.Username, Password: id.Password.Resolve}
	}
	return out, nil
}

// identityStore is where a portal's refresh token lives.
func (a *adapters) identityStore(p *config.Portal) (portal.RefreshStore, error) {
	if p.IdentityStore.Vault == nil {
		return fileIdentity{identityFile(p.IdentityStore.File)}, nil
	}
	if a.vault == nil {
		return nil, errNoVault
	}
	s, err := a.vault.Sink(grantSpec(p.IdentityStore.Vault))
	if err != nil {
		return nil, err
	}
	return vaultIdentity{s}, nil
}

var errNoVault = errors.New("identity_store is in vault, and the config has no vault section")

// grantSpec is the Vault secret of a refresh token.
func grantSpec(v *config.VaultPath) sinks.SinkSpec {
	return sinks.SinkSpec{Name: config.StoreSink, Mount: v.Mount, Path: v.Path, KeyField: "refresh_grant"}
}

// ownStore is where a portal's own key lives; made once, for the client and for the rotation.
func (a *adapters) ownStore(name string, p *config.Portal) (*identity.Store, error) {
	if store := a.stores[name]; store != nil {
		return store, nil
	}
	t := p.StoreTarget()
	switch {
	case t.Vault != nil && a.vault == nil:
		return nil, errNoVault
	case t.File != nil:
		if err := os.MkdirAll(filepath.Dir(t.Path), 0o700); err != nil {
			return nil, fmt.Errorf("make identity_store: %w", err)
		}
	}
	sink, err := a.newSink(t)
	if err != nil {
		return nil, err
	}
	a.stores[name] = identity.NewStore(sink)
	return a.stores[name], nil
}

// sinksOf a credential, in the order of the config.
func (a *adapters) sinksOf(cr *config.Credential) ([]rotate.Sink, error) {
	var out []rotate.Sink
	for _, t := range cr.Targets() {
		s, err := a.sinkOf(cr, t)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// sinkOf a credential: an own key's first one is its portal's identity store.
func (a *adapters) sinkOf(cr *config.Credential, t config.Target) (rotate.Sink, error) {
	if name := cr.OwnKeyOf(); name != "" && t.Sink == config.StoreSink {
		return a.ownStore(name, a.cfg.Portals[name])
	}
	return a.newSink(t)
}

// ownGates keep the key that we sign in with from being retired, whoever it belongs to.
func (a *adapters) ownGates(cr *config.Credential) []rotate.Gate {
	if name := cr.OwnKeyOf(); name != "" {
		return []rotate.Gate{identity.Gate{Client: a.portals[name], Own: true}}
	}
	if !a.cfg.Portals[cr.Portal].Identity.APIKey.IsZero() {
		return []rotate.Gate{identity.Gate{Client: a.portals[cr.Portal]}}
	}
	return nil
}

// ownKeysLast gives each own key the hook that lets it go after the credentials that it
// is needed for, and those that are rotated beside it. Of other own keys it waits only
// for those that are rotated with its help: the config allows no cycle of these.
func (a *adapters) ownKeysLast(j rotate.Journal) {
	for i, cr := range a.cfg.Made() {
		signsIn := cr.OwnKeyOf()
		if signsIn == "" {
			continue
		}
		others := map[rotate.Name]bool{}
		for _, o := range a.cfg.Made() {
			if o != cr && (o.Portal == signsIn || o.Portal == cr.Portal && o.OwnKeyOf() == "") {
				others[rotate.Name(o.Name)] = true
			}
		}
		m := a.fleet.Credentials[i]
		m.Hooks = append(m.Hooks, identity.Last{Journal: j, Others: others})
	}
}

// appRoleAuth signs in with a secret id that somebody delivers, or with one that we renew.
func appRoleAuth(r *config.AppRole) (sinks.VaultAuth, error) {
	out := sinks.VaultAuth{Method: sinks.AuthAppRole, Mount: r.Mount, RoleID: r.RoleID, RoleName: r.Role, Wrapped: r.Wrapped}
	if own := r.Rotate; own != nil {
		out.SecretIDs = secretIDFile{identityFile(own.IdentityStore.File)}
		if own.RenewBefore != nil {
			out.RenewBefore, out.RenewBeforeShare = own.RenewBefore.Time, own.RenewBefore.Share
		}
		if own.MaxAge != nil {
			out.MaxAge = own.MaxAge.Std()
		}
		return out, nil
	}
	var err error
	if out.SecretIDFile, err = secretFile(r.SecretID); err != nil {
		return out, fmt.Errorf("vault.auth.approle.secret_id: %w", err)
	}
	return out, nil
}

// secretFile is where a reference's secret lies, for a reader that looks at the file again by itself.
func secretFile(ref config.SecretRef) (string, error) {
	kind, arg, _ := strings.Cut(ref.String(), ":")
	switch kind {
	case "file":
		return arg, nil
	case "credential":
		dir := os.Getenv(config.CredentialsDir)
		if dir == "" {
			return "", fmt.Errorf("secret %s: %s is not set: no systemd unit with LoadCredential started this", ref, config.CredentialsDir)
		}
		return filepath.Join(dir, arg), nil
	}
	return "", fmt.Errorf("secret %s: it must lie in a file here; write file:/PATH or credential:NAME", ref)
}
