package config

import (
	"os"
	"path/filepath"
	"testing"
)

// Of a refused config the socket is known where it can be; never another one is guessed.
func TestSocketOfARefusedConfig(t *testing.T) {
	t.Parallel()
	const standard = "/run/rotatord/admin.sock"
	for _, tt := range []struct {
		name, text, want string
	}{
		{"nothing said", "portals: {}\ncredentials: no\n", standard},
		{"said, and the rest is wrong", "nonsense: 1\nadmin: {socket: /run/a.sock, users: 7}\n", "/run/a.sock"},
		{"a section without it", "admin:\n  group: ops\nportals: 7\n", standard},
		{"relative", "admin: {socket: admin.sock}\n", ""},
		{"no path", "admin: {socket: [1]}\n", ""},
		{"not a section", "admin: 7\n", ""},
		{"no YAML, and it says nothing", "portals:\n  - {a: [\n", standard},
		{"no YAML, a block", "admin:\n  socket: \"/run/b.sock\" # mine\nportals: [\n", "/run/b.sock"},
		{"no YAML, in braces", "admin: {group: x, socket: /run/c.sock}\nportals: [\n", "/run/c.sock"},
		{"no YAML, said in a comment", "# socket: /run/d.sock\nportals: [\n", standard},
		{"no YAML, said twice", "admin:\n  socket: /run/e.sock\n  socket: /run/f.sock\nportals: [\n", ""},
		{"no YAML, relative", "admin: {socket: g.sock}\nportals: [\n", ""},
		{"empty", "", standard},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(path); err == nil {
				t.Fatal("this config is not refused")
			}
			got, ok, err := SocketOf(path)
			if err != nil || ok != (tt.want != "") || ok && got != tt.want {
				t.Errorf("SocketOf = %q, %v, %v, want %q", got, ok, err, tt.want)
			}
		})
	}
	if _, _, err := SocketOf(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("a file that is not there named a socket")
	}
}
