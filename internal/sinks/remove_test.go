package sinks

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

// A file that holds the key alone is removed with what lies beside it; of one that others
// write to, the key alone.
func TestFileRemove(t *testing.T) {
	for _, tt := range []struct {
		name, before, after string
		format              FileFormat
	}{
		{"bare", "", "", FormatBare},
		{"dotenv", "", "", FormatDotenv},
		{"json", "", "", FormatJSON},
		{"dotenv of others", "# ours\nPORT=80\n", "# ours\nPORT=80\n", FormatDotenv},
		{"json of others", `{"port":80}`, "{\n  \"port\": 80\n}\n", FormatJSON},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if tt.before != "" {
				put(t, path, tt.before)
			}
			f, err := NewFile(FileOptions{Name: "f", Path: path, Format: tt.format, KeepPrevious: 2})
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"AAPTkey1", "AAPTkey2"} {
				now, err := f.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.Write(t.Context(), rotate.Entry{Key: rotate.NewSecret(key), Meta: &rotate.Meta{Format: 1}}, now.Version); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // after a crash it is done again
				if err := f.Remove(t.Context()); errors.Is(err, ErrShared) != (tt.after != "") || err != nil && tt.after == "" {
					t.Errorf("remove: %v", err)
				}
			}
			left, err := os.ReadDir(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			want := 0
			if tt.after != "" {
				want = 1
				if b, err := os.ReadFile(path); err != nil || string(b) != tt.after {
					t.Errorf("left %q, %v, want %q", b, err, tt.after)
				}
			}
			if len(left) != want {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A secret that is rotatord's alone is deleted, not destroyed; other people's fields stay; and
// without the right the error says so.
func TestVaultRemove(t *testing.T) {
	srv := testkit.Vault(t)
	v := mustVault(t, VaultOptions{Address: srv.Addr, Auth: VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, srv.Token)}})
	sink := func(path string) *VaultSink {
		s, err := v.Sink(SinkSpec{Name: "kv", Mount: "secret", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ours, shared := sink("ours"), sink("shared")
	srv.Do(http.MethodPost, "secret/data/shared", map[string]any{"data": map[string]any{"team": "maps"}})
	entry := rotate.Entry{Key: rotate.NewSecret("AAPTkey"), Meta: &rotate.Meta{Format: 1}}
	_, err1 := ours.Write(t.Context(), entry, "")
	_, err2 := shared.Write(t.Context(), entry, "1")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := ours.Remove(t.Context()); err != nil {
			t.Errorf("remove: %v", err)
		}
		if err := shared.Remove(t.Context()); !errors.Is(err, ErrShared) {
			t.Errorf("remove what is shared: %v", err)
		}
	}
	if e, err := ours.Read(t.Context()); err != nil || !e.Key.IsZero() || !e.Ever {
		t.Errorf("after the removal: %+v, %v", e.Version, err)
	}
	if status, _ := srv.Do(http.MethodPut, "secret/undelete/ours", map[string]any{"versions": []int{1}}); status/100 != 2 {
		t.Errorf("it cannot be undeleted: %d", status)
	}
	_, body := srv.Do(http.MethodGet, "secret/data/shared", nil)
	data, _ := body["data"].(map[string]any)
	if left, _ := data["data"].(map[string]any); len(left) != 1 || left["team"] != "maps" {
		t.Errorf("what others have: %v", left)
	}
	srv.Policy("least", Policy([]SinkSpec{{Name: "kv", Mount: "secret", Path: "ours"}}))
	token := srv.NewToken(map[string]any{"policies": []string{"least"}})
	least := mustVault(t, VaultOptions{Address: srv.Addr, Auth: VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, token)}})
	s, err := least.Sink(SinkSpec{Name: "kv", Mount: "secret", Path: "ours"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context()); rotate.CauseOf(err) != rotate.CauseForbidden {
		t.Errorf("without the right: %v", err)
	}
}
