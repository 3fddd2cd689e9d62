package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheckFiles(t *testing.T) {
	for name, row := range map[string]struct {
		prepare func(t *testing.T, file string)
		want    string // in the message; "" wants no problem
	}{
		"good":           {prepare: func(t *testing.T, f string) { put(t, f, "s", 0o600) }},
		"group_may_read": {prepare: func(t *testing.T, f string) { put(t, f, "s", 0o640) }},
		"missing":        {prepare: func(*testing.T, string) {}, want: "does not exist"},
		"world_readable": {prepare: func(t *testing.T, f string) { put(t, f, "s", 0o644) }, want: "is open to every user (mode 0644)"},
		"world_writable": {prepare: func(t *testing.T, f string) { put(t, f, "s", 0o602) }, want: "is open to every user (mode 0602)"},
		"group_writable": {prepare: func(t *testing.T, f string) { put(t, f, "s", 0o660) }, want: "can be written by its group (mode 0660)"},
		"empty":          {prepare: func(t *testing.T, f string) { put(t, f, "", 0o600) }, want: "is empty"},
		"too_long":       {prepare: func(t *testing.T, f string) { put(t, f, strings.Repeat("x", maxSecret+1), 0o600) }, want: "longer than 64 KiB"},
		"folder": {prepare: func(t *testing.T, f string) {
			if err := os.Mkdir(f, 0o700); err != nil {
				t.Fatal(err)
			}
		}, want: "is no regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			secret, token := filepath.Join(dir, "secret"), filepath.Join(dir, "token")
			put(t, token, "t", 0o600)
			row.prepare(t, secret)
			c := minimal(t, "/etc/rotatord/secrets/main", secret, "/run/vault/token", token)
			ps := c.CheckFiles()
			if row.want == "" {
				if len(ps) != 0 {
					t.Errorf("problems %v", ps)
				}
				return
			}
			if len(ps) != 1 || !strings.Contains(ps[0].Message, row.want) || ps[0].Warning {
				t.Fatalf("problems %v, want one with %q", ps, row.want)
			}
			if ps[0].Line != 7 || ps[0].Column != 17 || ps[0].Path != "portals.main.identity.password" || ps[0].Cure == "" || !strings.Contains(ps[0].Excerpt, "password: [hidden]") {
				t.Errorf("problem %+v", ps[0])
			}
		})
	}
}

// Another user's secret may be swapped by that user.
func TestCheckFilesOwner(t *testing.T) {
	dir := t.TempDir()
	secret, token := filepath.Join(dir, "secret"), filepath.Join(dir, "token")
	put(t, secret, "s", 0o600)
	put(t, token, "t", 0o600)
	owner := os.Geteuid()
	if owner == 0 { // root's files are accepted, so root gives it away
		owner = 65534
		if err := os.Chown(secret, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	c := minimal(t, "/etc/rotatord/secrets/main", secret, "    token_file: /run/vault/token", "    kubernetes: {role: r, jwt_file: "+token+"}")
	if ps := c.checkFiles(owner, time.Now()); len(ps) != 0 {
		t.Errorf("its owner sees %v", ps)
	}
	ps := c.checkFiles(owner+1, time.Now())
	if len(ps) != 1 || ps[0].Path != "portals.main.identity.password" || !strings.Contains(ps[0].Message, fmt.Sprintf("belongs to another user (uid %d)", owner)) {
		t.Errorf("problems %v", ps)
	}
}

func TestCheckFilesElsewhere(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	put(t, token, "t", 0o600)
	hook := filepath.Join(dir, "hook")
	put(t, hook, "#!/bin/sh\n", 0o600)
	t.Setenv(CredentialsDir, "")
	t.Setenv("CONFIG_TEST_EMPTY", "")
	c := minimal(t, "/run/vault/token", token, "file:/etc/rotatord/secrets/main", "credential:main",
		"    vault:\n      mount: kv\n      path: keys/{{.Name}}", "    file:\n      path: /run/{{.Name}}\n      after_write: {command: ["+hook+"]}",
		"defaults:\n", "heartbeat:\n  url: env:CONFIG_TEST_NONE\nalerts:\n  slack:\n    webhook: env:CONFIG_TEST_EMPTY\ndefaults:\n")
	var got []string
	for _, p := range c.CheckFiles() {
		line := p.Path + ": " + strings.ReplaceAll(p.Message, dir, "DIR")
		if p.Warning {
			line = "warning: " + line
		}
		got = append(got, line)
	}
	want := []string{
		"warning: portals.main.identity.password: systemd credential main cannot be seen from here; systemd shows it to the service alone",
		"sinks.kv.file.after_write.command[0]: DIR/hook is not executable",
		"warning: heartbeat.url: environment variable CONFIG_TEST_NONE is not set here",
		"alerts.slack.webhook: environment variable CONFIG_TEST_EMPTY is empty",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	t.Setenv(CredentialsDir, dir)
	put(t, filepath.Join(dir, "main"), "s", 0o600)
	for _, p := range c.CheckFiles() {
		if strings.HasPrefix(p.Path, "portals.") {
			t.Errorf("with a credentials folder: %v", p)
		}
	}
}

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
