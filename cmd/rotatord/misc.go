package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
)

// running is a client of the running daemon, or an error that says that none runs.
func (c *cli) running(ctx context.Context) (*daemon.Client, error) {
	cfg, refused := c.loadConfig()
	if refused != nil {
		return c.behind(ctx, refused)
	}
	client := daemon.NewClient(string(cfg.Admin.Socket))
	if _, err := client.Health(ctx); err != nil {
		client.Close()
		if daemon.Unreachable(err) {
			return nil, fmt.Errorf("no daemon answers on %s: %w", cfg.Admin.Socket, err)
		}
		return nil, err
	}
	return client, nil
}

// behind is a client of the daemon that runs on the config before one that is refused.
// Whoever broke the file by hand is in need of status, hold and reload, too.
func (c *cli) behind(ctx context.Context, refused error) (*daemon.Client, error) {
	socket, ok, err := config.SocketOf(c.configPath)
	if err != nil || !ok {
		return nil, refused
	}
	client := daemon.NewClient(socket)
	if _, err := client.Health(ctx); err != nil {
		client.Close()
		return nil, refused
	}
	return client, nil
}

func (c *cli) vaultPolicyCmd() *cobra.Command {
	return &cobra.Command{Use: "vault-policy", Short: "Print the least that rotatord's Vault identity must be allowed", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := c.loadConfig()
			if err != nil {
				return err
			}
			policy := vaultPolicy(cfg)
			if c.json {
				return c.printJSON(map[string]string{"policy": policy})
			}
			return c.print("%s", policy)
		}}
}

func (c *cli) backupCmd() *cobra.Command {
	return &cobra.Command{Use: "backup FILE", Short: "Copy the journal to a new file, while the daemon runs or not",
		Long: "Copies the journal, which holds no key, to a new file of mode 0600. A copy that is put back into service observes first:\n" +
			"no occupied slot is minted into or revoked until one overlap has passed.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.backup(cmd.Context(), args[0]) }}
}

func (c *cli) backup(ctx context.Context, path string) (err error) {
	s, err := c.connect(ctx, "backup")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	err = createFile(path, func(f *os.File) error { return s.Backup(ctx, f) })
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]string{"file": path})
	}
	return c.print("journal copied to %s\n", path)
}

// createFile makes a new 0600 file, and removes it again where it cannot be filled.
func createFile(path string, fill func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usage("%s is there already; it is not overwritten, name another file", path)
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	err = errors.Join(fill(f), f.Sync(), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func (c *cli) healthcheckCmd() *cobra.Command {
	return &cobra.Command{Use: "healthcheck", Short: "Tell whether the daemon is alive, for containers and monitors", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := c.running(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			h, err := client.Health(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(h)
			}
			return c.print("%s\n", h.Headline)
		}}
}

func (c *cli) configCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "About the config file", Args: cobra.NoArgs,
		RunE: c.needSub}
	cmd.AddCommand(&cobra.Command{Use: "schema", Short: "Print the config file's JSON Schema, for editors", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			return c.print("%s\n", schema)
		}})
	return cmd
}

// ownerOf a file; -1 where the system does not tell.
func ownerOf(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return -1, -1
}
