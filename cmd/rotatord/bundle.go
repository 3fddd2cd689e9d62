package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
)

func (c *cli) supportBundleCmd() *cobra.Command {
	return &cobra.Command{Use: "support-bundle [FILE]", Short: "Collect masked config, status, history, metrics and version in one archive",
		Long: "Writes a tar.gz of mode 0600 for whoever helps you. No key, password or token is in it; names, items and people's\n" +
			"user names are. Look through it before you send it.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "rotatord-support-" + time.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
			if len(args) == 1 {
				path = args[0]
			}
			return c.supportBundle(cmd.Context(), path)
		}}
}

func (c *cli) supportBundle(ctx context.Context, path string) (err error) {
	s, err := c.connect(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	files, err := c.bundleFiles(ctx, s)
	if err != nil {
		return err
	}
	err = createFile(path, func(f *os.File) error { return writeBundle(f, files) })
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]string{"file": path})
	}
	return c.print("%s written; look through it before you send it\n", path)
}

// bundleFile is one file of the archive.
type bundleFile struct {
	name string
	body []byte
}

// bundleFiles collects what can be had. A part that fails leaves its error in its place.
func (c *cli) bundleFiles(ctx context.Context, s *session) ([]bundleFile, error) {
	cfg, refused := c.loadConfig()
	asJSON := func(v any, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return json.MarshalIndent(v, "", "  ")
	}
	parts := []struct {
		name string
		get  func() ([]byte, error)
	}{
		{"version.json", func() ([]byte, error) { return asJSON(buildOf(), nil) }},
		{"config.yaml", func() ([]byte, error) {
			if refused != nil {
				return nil, refused
			}
			return cfg.Masked()
		}},
		{"config-problems.json", func() ([]byte, error) {
			if problems, ok := errors.AsType[config.Problems](refused); ok {
				return asJSON(problems, nil)
			}
			if refused != nil {
				return nil, refused
			}
			return asJSON(cfg.CheckFiles(), nil)
		}},
		{"status.json", func() ([]byte, error) { return asJSON(s.Status(ctx)) }},
		{"health.json", func() ([]byte, error) { return asJSON(s.Health(ctx)) }},
		{"history.json", func() ([]byte, error) { return asJSON(s.History(ctx, daemon.HistoryQuery{Limit: bundleEvents})) }},
		{"metrics.txt", func() ([]byte, error) {
			var b bytes.Buffer
			err := s.Metrics(ctx, &b)
			return b.Bytes(), err
		}},
	}
	var files []bundleFile
	for _, p := range parts {
		body, err := p.get()
		if err != nil {
			files = append(files, bundleFile{p.name + ".error", []byte(err.Error() + "\n")})
			continue
		}
		files = append(files, bundleFile{p.name, body})
	}
	return files, nil
}

// bundleEvents is how much history goes into a bundle.
const bundleEvents = 5000

func writeBundle(w io.Writer, files []bundleFile) error {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	now := time.Now().UTC()
	for _, f := range files {
		header := &tar.Header{Name: "rotatord-support/" + f.name, Mode: 0o600, Size: int64(len(f.body)), ModTime: now}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("write bundle: %w", err)
		}
		if _, err := archive.Write(f.body); err != nil {
			return fmt.Errorf("write bundle: %w", err)
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}
