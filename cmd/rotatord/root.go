package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"rotatord/internal/config"
)

// stdio is what a command reads and writes: data to out, everything else to err.
type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// The exit codes.
const (
	exitOK        = 0
	exitFailed    = 1
	exitUsage     = 2
	exitAttention = 3
)

// exitError ends the program with a code; a nil err says nothing more.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return "some credentials need attention"
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// ranError tells an error of a command's work from one of its usage.
type ranError struct{ err error }

func (e *ranError) Error() string { return e.err.Error() }
func (e *ranError) Unwrap() error { return e.err }

// cli is one invocation: the global flags and where to talk.
type cli struct {
	stdio

	configPath string
	json       bool
	logLevel   string
	serving    bool          // this invocation is the daemon: it logs as the config says
	levels     slog.LevelVar // of the log; a reload may change it
}

// run the program and return its exit code.
func run(ctx context.Context, args []string, io stdio) int {
	c := &cli{stdio: io}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	return c.exit(root.ExecuteContext(ctx))
}

func (c *cli) exit(err error) int {
	if err == nil {
		return exitOK
	}
	code := exitUsage // what cobra itself refuses
	if _, ok := errors.AsType[*ranError](err); ok {
		code = exitFailed
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		code = e.code
		if e.err == nil {
			return code // the command has said it already
		}
	}
	_, _ = fmt.Fprintln(c.err, "rotatord:", err)
	return code
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "rotatord",
		Short: "Rotates ArcGIS API keys without anybody noticing",
		Long: "rotatord watches when the keys of ArcGIS API key credentials expire, makes the next key in time, proves it,\n" +
			"puts it where its consumers read it, waits while they move over, and invalidates the old one.\n\n" +
			"Exit codes: 0 fine, 1 failed, 2 wrong usage or config, 3 some credentials need attention.",
		SilenceErrors: true, SilenceUsage: true, Version: buildOf().Version,
		RunE: c.needSub,
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	f := root.PersistentFlags()
	f.StringVar(&c.configPath, "config", config.DefaultPath, "config `FILE`")
	f.BoolVar(&c.json, "json", false, "print data as JSON")
	f.StringVar(&c.logLevel, "log-level", "", "debug, info, warn or error; the daemon's is in the config")
	root.AddCommand(c.runCmd(), c.onceCmd(), c.checkConfigCmd(), c.planCmd(), c.statusCmd(), c.rotateCmd(), c.rollbackCmd(),
		c.regenerateCmd(), c.invalidateCmd(), c.holdCmd(), c.resumeCmd(), c.adoptCmd(), c.confirmCmd(), c.cancelCmd(), c.ackCmd(), c.acksCmd(), c.alertsCmd(), c.notifyCmd(), c.historyCmd(), c.usageCmd(),
		c.reloadCmd(), c.discoverCmd(), c.applyCmd(), c.renameCmd(), c.retireCmd(), c.importCmd(), c.privilegesCmd(), c.orphansCmd(), c.simulateCmd(), c.demoCmd(), c.emulatorCmd(), c.loginCmd(), c.vaultPolicyCmd(), c.backupCmd(),
		c.supportBundleCmd(), c.healthcheckCmd(), c.configCmd(), c.versionCmd())
	markRan(root)
	return root
}

// needSub answers a command that does nothing without one of its sub-commands.
func (c *cli) needSub(cmd *cobra.Command, _ []string) error {
	cmd.SetOut(c.err)
	if err := cmd.Help(); err != nil {
		return err
	}
	return &exitError{exitUsage, errors.New("name a command")}
}

// markRan has every command's own errors told from those of its usage.
func markRan(cmd *cobra.Command) {
	if work := cmd.RunE; work != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := work(cmd, args); err != nil {
				return &ranError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markRan(sub)
	}
}

// loadConfig reads the config file of this invocation.
func (c *cli) loadConfig() (*config.Config, error) {
	cfg, err := config.Load(c.configPath)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return cfg, nil
}

// level of the log: the flag's; else the config's for the daemon, and warnings for a command.
func (c *cli) level(cfg *config.Config) (slog.Level, error) {
	text := c.logLevel
	switch {
	case text != "":
	case c.serving && cfg != nil:
		text = cfg.Log.Level
	default:
		text = "warn" // a command's own words are enough
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(text)); err != nil {
		return 0, usage("--log-level %s: want debug, info, warn or error", text)
	}
	return l, nil
}

// say something to the person, not to the pipe.
func (c *cli) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.err, format+"\n", args...) // a closed stderr leaves nobody to tell
}

// isTerminal tells whether a stream is one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && terminal(f.Fd())
}
