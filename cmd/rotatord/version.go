package main

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what this binary was made from.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Time    string `json:"time,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func buildOf() build {
	b := build{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		b.Version = cmp.Or(b.Version, "unknown")
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		}
	}
	b.Version = cmp.Or(b.Version, info.Main.Version, "unknown")
	return b
}

func (c *cli) versionCmd() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Say which rotatord this is", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := buildOf()
			if c.json {
				return c.printJSON(b)
			}
			return c.print("rotatord %s (%s %s/%s, commit %s)\n", b.Version, b.Go, b.OS, b.Arch, orDash(b.Commit))
		}}
}
