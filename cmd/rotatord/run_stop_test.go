package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A SIGTERM that comes while the journal is being opened ends the daemon like any
// other: a unit that is stopped just after its start has not failed.
func TestStoppedWhileItStarts(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PAUSES_TEST_KEY", "AAPT-key-of-the-test")
	file := filepath.Join(dir, "config.yaml")
	text := strings.NewReplacer("DIR", dir, "URL", "https://portal.example").Replace(pausesConfig)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var out, errOut bytes.Buffer
	code := run(ctx, []string{"--config", file, "run"}, stdio{in: bytes.NewReader(nil), out: &out, err: &errOut})
	if code != exitOK || !strings.Contains(errOut.String(), "stopped before it had started") {
		t.Errorf("got exit code %d and %q", code, errOut.String())
	}
}
