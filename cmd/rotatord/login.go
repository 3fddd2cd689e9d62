package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/config"
	"rotatord/internal/metrics"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

const (
	loginWait = 10 * time.Minute
	maxTyped  = 64 << 10 // bytes of a secret on standard input
)

func (c *cli) loginCmd() *cobra.Command {
	var listen string
	var vault bool
	cmd := &cobra.Command{Use: "login [PORTAL]", Short: "Give the daemon the identity that it lives on and renews itself",
		Long: "For a portal whose identity is oauth: opens the portal's sign-in page (OAuth with PKCE) and stores the refresh token in the\n" +
			"portal's identity_store. The app must have http://127.0.0.1/ among its redirect addresses.\n" +
			"For a portal whose identity is own_key: reads the first key from standard input, proves it, and stores it there.\n" +
			"With --vault: reads the first AppRole secret id from standard input, proves it, and stores it (vault.auth.approle.rotate).",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.completePortals,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case vault == (len(args) == 1):
				return usage("name one portal, or give --vault")
			case vault:
				return c.loginVault(cmd.Context())
			}
			return c.login(cmd.Context(), args[0], listen)
		}}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "loopback `ADDRESS` that the browser comes back to")
	cmd.Flags().BoolVar(&vault, "vault", false, "store the secret id that rotatord signs in to Vault with")
	return cmd
}

// writableByDaemon refuses to make identity files that the daemon could not replace: it runs as the owner of its
// state directory.
func writableByDaemon(cfg *config.Config) error {
	info, err := os.Stat(string(cfg.State.Dir))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil // whoever makes it is the daemon's user
	case err != nil:
		return fmt.Errorf("look at the state directory: %w", err)
	}
	if uid, _ := ownerOf(info); uid >= 0 && uid != os.Geteuid() {
		owner := strconv.Itoa(uid)
		if u, err := user.LookupId(owner); err == nil {
			owner = u.Username
		}
		return usage("%s belongs to %s, and what is stored there must too; run this as: sudo -u %s rotatord login ...", cfg.State.Dir, owner, owner)
	}
	return nil
}

// parts are what a sign-in by hand needs.
func (c *cli) parts(cfg *config.Config) (*adapters, error) {
	log, err := c.logger(cfg)
	if err != nil {
		return nil, err
	}
	return newAdapters(cfg, log, metrics.New(metrics.Options{}))
}

func (c *cli) login(ctx context.Context, name, listen string) error {
	cfg, err := c.loadConfig()
	if err != nil {
		return err
	}
	p := cfg.Portals[name]
	if p == nil {
		return unknownPortal(name, slices.Sorted(maps.Keys(cfg.Portals)))
	}
	if p.Identity.OAuth == nil && p.Identity.OwnKey == "" {
		return usage("portal %s signs in by neither oauth nor own_key; its identity needs no login", name)
	}
	if p.IdentityStore.Vault == nil {
		if err := writableByDaemon(cfg); err != nil {
			return err
		}
	}
	a, err := c.parts(cfg)
	if err != nil {
		return err
	}
	defer a.close()
	if p.Identity.OAuth == nil {
		return c.loginOwnKey(ctx, a, name)
	}
	return c.loginBrowser(ctx, a, name, listen)
}

func (c *cli) loginBrowser(ctx context.Context, a *adapters, name, listen string) error {
	p := a.cfg.Portals[name]
	store, err := a.identityStore(p)
	if err != nil {
		return err
	}
	o, err := a.portalOptions(name, p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, loginWait, errors.New("nobody signed in within 10 minutes"))
	defer cancel()
	res, err := portal.Login(ctx, portal.LoginOptions{Portal: o, ClientID: p.Identity.OAuth.ClientID, ListenAddr: listen,
		OpenURL: func(address string) {
			c.say("open this address in a browser on this machine and sign in:\n\n  %s\n", address)
		}})
	if err != nil {
		return err
	}
	if err := store.Save(ctx, res.Grant); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]any{"portal": name, "user": res.User, "expires": res.Grant.Current.Expires})
	}
	return c.print("signed in to %s as %s; the refresh token ends %s and is renewed before\n", name, res.User,
		stamp(res.Grant.Current.Expires, time.Now()))
}

// typed is a secret from standard input, where neither the process list nor a shell's history has it.
func (c *cli) typed(what, example string) (rotate.Secret, error) {
	c.say("reading %s from standard input, as in: %s", what, example)
	b, err := io.ReadAll(io.LimitReader(c.in, maxTyped))
	if err != nil {
		return rotate.Secret{}, fmt.Errorf("read %s: %w", what, err)
	}
	s := rotate.NewSecret(strings.TrimSpace(string(b)))
	if s.IsZero() {
		return s, usage("nothing came on standard input; write for example: %s", example)
	}
	return s, nil
}

// loginOwnKey stores the key that we sign in with from now on, once the portal says that it is the credential's.
func (c *cli) loginOwnKey(ctx context.Context, a *adapters, name string) error {
	own := a.cfg.Portals[name].Identity.OwnKey
	key, err := c.typed("the first key of "+string(own), "rotatord login "+name+" < key.txt")
	if err != nil {
		return err
	}
	proof, err := a.proveOwnKey(ctx, name, key)
	if err != nil {
		return err
	}
	store := a.stores[name]
	e, err := store.Read(ctx)
	if err != nil {
		return err
	}
	if !e.Key.IsZero() && !e.Key.Equal(key) {
		switch was, err := a.portals[name].Prove(ctx, e.Key, a.cfg.Portals[name].Referer); {
		case err != nil:
			return err
		case was.Valid:
			return fmt.Errorf("the identity_store of portal %s already holds a key that works, %s; rotatord rotates it by itself: rotatord rotate %s",
				name, e.Key.Fingerprint(), own)
		}
	}
	if _, err := store.Write(ctx, rotate.Entry{Key: key, Meta: e.Meta}, e.Version); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]any{"portal": name, "credential": own, "key": key.Fingerprint(), "expires": proof.Expires})
	}
	return c.print("rotatord signs in to %s with %s of %s from now on; the key ends %s and is rotated before, once %s is adopted: rotatord adopt %s\n",
		name, key.Fingerprint(), own, stamp(proof.Expires, time.Now()), own, own)
}

// proveOwnKey wants a key that works, of the credential that the config names.
func (a *adapters) proveOwnKey(ctx context.Context, name string, key rotate.Secret) (rotate.Proof, error) {
	p := a.cfg.Portals[name]
	proof, err := a.portals[name].Prove(ctx, key, p.Referer)
	if err != nil {
		return proof, err
	}
	if !proof.Valid {
		return proof, fmt.Errorf("portal %s refuses the key %s; make a new one on the item's page", name, key.Fingerprint())
	}
	for _, cr := range a.cfg.Credentials {
		if cr.OwnKeyOf() == name && rotate.ItemID(cr.Item) != proof.Item {
			return proof, fmt.Errorf("the key %s is of item %s, and not of %s, which is item %s; it was not stored", key.Fingerprint(), proof.Item, cr.Name, cr.Item)
		}
	}
	return proof, nil
}

func (c *cli) loginVault(ctx context.Context) error {
	cfg, err := c.loadConfig()
	if err != nil {
		return err
	}
	if cfg.Vault == nil || cfg.Vault.Auth.AppRole == nil || cfg.Vault.Auth.AppRole.Rotate == nil {
		return usage("vault.auth.approle.rotate is not in the config: rotatord does not renew its own secret id")
	}
	if err := writableByDaemon(cfg); err != nil {
		return err
	}
	a, err := c.parts(cfg)
	if err != nil {
		return err
	}
	defer a.close()
	role := cfg.Vault.Auth.AppRole.Role
	secretID, err := c.typed("the first secret id of role "+role,
		"vault write -f -field=secret_id auth/"+cfg.Vault.Auth.AppRole.Mount+"/role/"+role+"/secret-id | rotatord login --vault")
	if err != nil {
		return err
	}
	got, err := a.vault.AdoptSecretID(ctx, secretID)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]any{"role": role, "accessor": got.Accessor, "expires": got.Expires})
	}
	if got.Expires.IsZero() {
		return c.print("rotatord signs in to Vault by role %s from now on; the secret id never ends, so it is renewed by max_age alone\n", role)
	}
	return c.print("rotatord signs in to Vault by role %s from now on; the secret id ends %s and is renewed before\n", role, stamp(got.Expires, time.Now()))
}
