package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

// confirmFlag lets a command go on without asking.
func confirmFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVar(yes, "yes", false, "do not ask for the name again")
}

// sure wants the credential's name again before something that can hurt.
func (c *cli) sure(yes bool, name, what string) error {
	if yes {
		return nil
	}
	if !isTerminal(c.in) {
		return usage("%s %s: this can hurt consumers; there is no terminal to ask on, so add --yes", what, name)
	}
	_, _ = fmt.Fprintf(c.err, "%s %s: type the name again to go on: ", what, name)
	line, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the name: %w", err)
	}
	if strings.TrimSpace(line) != name {
		return usage("%s %s: the name was not repeated, nothing was done", what, name)
	}
	return nil
}

func (c *cli) rotateCmd() *cobra.Command {
	var compromised, accept, yes bool
	var fingerprints []string
	cmd := &cobra.Command{Use: "rotate NAME", Short: "Rotate a credential now, or because a key is compromised",
		Long: "Asks for a rotation that does not wait to be due. It keeps the overlap and every safety rule.\n\n" +
			"--compromised publishes one new key and revokes the named keys after it, without an overlap: consumers that cache the\n" +
			"old key fail until they read the new one. Without --fingerprint every other key of the credential is meant.\n" +
			"Whoever has the credential's client secret can mint keys too: then replace the credential.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			order := rotate.Command{Kind: rotate.CommandRotate}
			switch {
			case compromised:
				order.Kind, order.OutageOK = rotate.CommandCompromised, accept
				for _, f := range fingerprints {
					order.Fingerprints = append(order.Fingerprints, rotate.Fingerprint(f))
				}
				if err := c.sure(yes, args[0], "rotate --compromised"); err != nil {
					return err
				}
			case len(fingerprints) > 0 || accept:
				return usage("--fingerprint and --accept-outage go with --compromised")
			}
			return c.act(cmd.Context(), order, rotate.Name(args[0]))
		}}
	f := cmd.Flags()
	f.BoolVar(&compromised, "compromised", false, "a key is known to somebody else")
	f.StringArrayVar(&fingerprints, "fingerprint", nil, "compromised key's `FINGERPRINT`; may be repeated")
	f.BoolVar(&accept, "accept-outage", false, "revoke even where no new key can be published")
	confirmFlag(cmd, &yes)
	return cmd
}

func (c *cli) rollbackCmd() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{Use: "rollback NAME", Short: "Serve the previous key again, during overlap or hold",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.sure(yes, args[0], "rollback"); err != nil {
				return err
			}
			return c.act(cmd.Context(), rotate.Command{Kind: rotate.CommandRollback}, rotate.Name(args[0]))
		}}
	confirmFlag(cmd, &yes)
	return cmd
}

// slotCmd is a command on one slot, which can take a served key away.
func (c *cli) slotCmd(kind rotate.CommandKind, short, long string) *cobra.Command {
	var slot uint8
	var outage, yes bool
	cmd := &cobra.Command{Use: string(kind) + " NAME --slot N", Short: short, Long: long,
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s := rotate.Slot(slot)
			if !s.Valid() {
				return usage("--slot: want 1 or 2")
			}
			if err := c.sure(yes, args[0], string(kind)); err != nil {
				return err
			}
			return c.act(cmd.Context(), rotate.Command{Kind: kind, Slot: s, OutageOK: outage}, rotate.Name(args[0]))
		}}
	cmd.Flags().Uint8Var(&slot, "slot", 0, "slot 1 or 2")
	cmd.Flags().BoolVar(&outage, "outage-ok", false, "also where consumers are served the key of this slot")
	confirmFlag(cmd, &yes)
	return cmd
}

func (c *cli) regenerateCmd() *cobra.Command {
	return c.slotCmd(rotate.CommandRegenerate, "Make a new key in one slot",
		"Makes a new key in one slot; the key in it dies at once. A served slot is refused without --outage-ok.")
}

func (c *cli) invalidateCmd() *cobra.Command {
	return c.slotCmd(rotate.CommandInvalidate, "Invalidate the key in one slot",
		"Invalidates the key in one slot. A served slot is refused without --outage-ok.")
}

func (c *cli) holdCmd() *cobra.Command {
	var all bool
	var reason, lasts string
	cmd := &cobra.Command{Use: "hold NAME|--all --reason TEXT", Short: "Start no rotation and retire no key for a while",
		Long: "A hold stops the start of rotations and the retiring of old keys. What is between minting and the last sink runs on;\n" +
			"a rotation as compromised overrides it. It is written into the first sink and survives a lost journal.",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return usage("hold: name one credential, or --all")
			}
			if strings.TrimSpace(reason) == "" {
				return usage("hold: --reason is needed; the next person wants to know")
			}
			order := rotate.Command{Kind: rotate.CommandHold, Text: reason}
			if lasts != "" {
				d, err := model.ParseDuration(lasts)
				if err != nil || d <= 0 {
					return usage("hold: --for %q is no duration; write it as 4h or 2d", lasts)
				}
				order.Until = time.Now().Add(time.Duration(d)).UTC().Round(0)
			}
			return c.act(cmd.Context(), order, namesFrom(args)...)
		}}
	cmd.Flags().BoolVar(&all, "all", false, "every credential")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the history and the next person")
	cmd.Flags().StringVar(&lasts, "for", "", "how long, as in 4h or 2d; until resumed if left out")
	return cmd
}

func (c *cli) resumeCmd() *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "resume NAME|--all", Short: "End a hold or a quarantine, and forget failures",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return usage("resume: name one credential, or --all")
			}
			return c.act(cmd.Context(), rotate.Command{Kind: rotate.CommandResume}, namesFrom(args)...)
		}}
	cmd.Flags().BoolVar(&all, "all", false, "every credential")
	return cmd
}

func (c *cli) adoptCmd() *cobra.Command {
	var take uint8
	var yes bool
	cmd := &cobra.Command{Use: "adopt NAME", Short: "Take a credential into care",
		Long: "Finds out which slot the first sink serves and takes the credential into care; nothing is created or destroyed for one\n" +
			"that was never adopted. --take-slot N gives rotatord the slot that somebody unknown uses: their key dies at the next rotation.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			slot := rotate.Slot(take)
			if cmd.Flags().Changed("take-slot") {
				if !slot.Valid() {
					return usage("--take-slot: want 1 or 2")
				}
				if err := c.sure(yes, args[0], "adopt --take-slot"); err != nil {
					return err
				}
			}
			return c.act(cmd.Context(), rotate.Command{Kind: rotate.CommandAdopt, Slot: slot}, rotate.Name(args[0]))
		}}
	cmd.Flags().Uint8Var(&take, "take-slot", 0, "use this slot whoever sits in it")
	confirmFlag(cmd, &yes)
	return cmd
}

// simpleCmd is a command on one credential without options.
func (c *cli) simpleCmd(kind rotate.CommandKind, short string) *cobra.Command {
	return &cobra.Command{Use: string(kind) + " NAME", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.act(cmd.Context(), rotate.Command{Kind: kind}, rotate.Name(args[0]))
		}}
}

func (c *cli) confirmCmd() *cobra.Command {
	return c.simpleCmd(rotate.CommandConfirm, "After a rebuilt journal: what the sink serves is right")
}

func (c *cli) cancelCmd() *cobra.Command {
	return c.simpleCmd(rotate.CommandCancel, "Drop a request that was not begun")
}

func (c *cli) reloadCmd() *cobra.Command {
	return &cobra.Command{Use: "reload", Short: "Have the running daemon load its config again, whole or not at all",
		Long: "The daemon reads its own config file and decides. A config that it refuses changes nothing: the one before it stays in\n" +
			"force, every problem is answered with its line and cure, and the command ends with 2. The refusal is also in the\n" +
			"daemon's log and metrics, and alerts tell of it until a reload succeeds.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.reload(cmd.Context()) }}
}

func (c *cli) reload(ctx context.Context) error {
	client, err := c.running(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	res, err := client.Reload(ctx)
	switch {
	case daemon.RefusedConfig(err):
		return &exitError{exitUsage, fmt.Errorf("the daemon refuses the config and goes on with the one before:\n%w", err)}
	case err != nil:
		return err
	}
	if len(res.NeedRestart) > 0 {
		c.say("these changes need a restart: %s", strings.Join(res.NeedRestart, ", "))
	}
	for _, text := range res.Left {
		c.say("%s: what it has there stays, and its key works until the next rotation; see docs/credentials.md", text)
	}
	if c.json {
		return c.printJSON(res)
	}
	return c.print("reloaded: %s, %d added, %d removed\n", plural(res.Credentials, "credential"), len(res.Added), len(res.Removed))
}
