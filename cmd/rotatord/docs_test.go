package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"rotatord/internal/testkit"
)

const docsHead = `# Commands

This page is made from the program's own help; ` + "`go test ./cmd/rotatord -run TestDocs -update`" + ` writes it anew.

- Data goes to standard output, everything else to standard error. Every command that prints data takes ` + "`--json`" + `.
- Exit codes: 0 fine, 1 failed, 2 wrong usage or config, 3 some credentials need attention.
- Times are UTC, RFC 3339, with how far away they are beside them.
- Where a daemon runs, commands reach it over its admin socket (` + "`admin.socket`" + `): members of ` + "`admin.group`" + ` may read, root and
  ` + "`admin.users`" + ` may change, and who asked is in the history by the kernel's word. Where none runs, reading commands read the
  journal, and changing ones take its lock and act by themselves; both say so.
- Commands that can hurt a consumer want the credential's name typed again on a terminal, or ` + "`--yes`" + `.
- ` + "`rotatord completion bash|zsh|fish|powershell`" + ` prints a completion script; credentials complete with the end of their key.
- Logs: colour on a terminal (unless ` + "`NO_COLOR`" + ` is set), lines with systemd's priorities in its journal, JSON elsewhere.

Signals of ` + "`rotatord run`" + `: SIGTERM and SIGINT stop it gracefully, a second one at once; SIGHUP loads the config again.

`

// docsPage is docs/commands.md as the code says.
func docsPage(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(docsHead)
	b.WriteString("Flags of every command:\n\n")
	writeFlags(&b, root.PersistentFlags())
	writeCommands(&b, root)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func writeCommands(b *strings.Builder, cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.Name() == "help" || sub.Name() == "completion" || sub.Hidden {
			continue
		}
		if sub.Runnable() && (!sub.HasSubCommands() || sub.LocalNonPersistentFlags().HasAvailableFlags()) { // usage and alerts do something by themselves
			fmt.Fprintf(b, "\n## `%s`\n\n%s.\n", strings.TrimSuffix(sub.UseLine(), " [flags]"), sub.Short)
			if sub.Long != "" {
				fmt.Fprintf(b, "\n%s\n", sub.Long)
			}
			if sub.LocalNonPersistentFlags().HasAvailableFlags() {
				b.WriteString("\n")
				writeFlags(b, sub.LocalNonPersistentFlags())
			}
		}
		writeCommands(b, sub)
	}
}

func writeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	b.WriteString("| flag | default | meaning |\n| --- | --- | --- |\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if value != "" {
			name += " " + value
		}
		def := "-"
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" {
			def = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, def, strings.ReplaceAll(usage, "|", "\\|"))
	})
}

func TestDocsSayWhatTheCodeDoes(t *testing.T) {
	path := filepath.Join(testkit.Root(t), "docs", "commands.md")
	got := docsPage((&cli{}).root())
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error("docs/commands.md is not what the commands say; run go test ./cmd/rotatord -run TestDocs -update and read the difference")
	}
}

func TestEveryCommandIsDescribed(t *testing.T) {
	wanted := []string{"ack", "acks", "adopt", "backup", "check-config", "completion", "config", "confirm", "demo", "discover", "emulator", "healthcheck",
		"history", "hold", "invalidate", "login", "once", "orphans", "plan", "regenerate", "reload", "rename", "resume", "retire", "rollback", "rotate", "run", "simulate", "status",
		"support-bundle", "vault-policy", "version"}
	root := (&cli{}).root()
	root.InitDefaultCompletionCmd()
	var names []string
	for _, cmd := range root.Commands() {
		names = append(names, cmd.Name())
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: its short help is %q; want a phrase without a full stop", cmd.Name(), cmd.Short)
		}
	}
	for _, w := range wanted {
		if !slices.Contains(names, w) {
			t.Errorf("no command %s", w)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, name := range []string{"", "rotate", "hold", "demo"} {
		t.Run("help "+name, func(t *testing.T) {
			r := runCLI(t, append(strings.Fields(name), "--help")...)
			if r.code != exitOK || r.err != "" {
				t.Errorf("exit code %d, standard error %q", r.code, r.err)
			}
			golden(t, strings.TrimSuffix("help-"+name, "-")+".golden", r.out)
		})
	}
}
