package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/metrics"
	"rotatord/internal/portal"
)

const loginWait = 10 * time.Minute

func (c *cli) loginCmd() *cobra.Command {
	var listen string
	cmd := &cobra.Command{Use: "login PORTAL", Short: "Sign in with a browser and store the refresh token that the daemon lives on",
		Long: "For portals whose identity is oauth: opens the portal's sign-in page (OAuth with PKCE) and stores the refresh token in the\n" +
			"portal's identity_store. The app must have http://127.0.0.1/ among its redirect addresses.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completePortals,
		RunE: func(cmd *cobra.Command, args []string) error { return c.login(cmd.Context(), args[0], listen) }}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "loopback `ADDRESS` that the browser comes back to")
	return cmd
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
	if p.Identity.OAuth == nil {
		return usage("portal %s does not sign in by oauth; its identity needs no login", name)
	}
	log, err := c.logger(cfg)
	if err != nil {
		return err
	}
	a, err := newAdapters(cfg, log, metrics.New(metrics.Options{}))
	if err != nil {
		return err
	}
	defer a.close()
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
