package sinks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

// shows renders a value in every way that a log or a page could.
func shows(t *testing.T, v any) bool {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v %+v %#v %s ", v, v, v, v)
	log := slog.New(slog.NewJSONHandler(&b, nil))
	log.Info("seen", "value", v)
	slog.New(slog.NewTextHandler(&b, nil)).Info("seen", "value", v)
	if raw, err := json.Marshal(v); err == nil {
		b.Write(raw)
	}
	if err, ok := v.(error); ok {
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(&b, "%v %#v", err, err)
		}
	}
	return strings.Contains(b.String(), canary)
}

// The server repeats everything it was sent in its errors, with every status, at every
// step: nothing of that, key or token, comes back out of the package.
func TestVaultShowsNoSecret(t *testing.T) {
	const steps = 8
	for _, status := range []int{200, 204, 301, 307, 400, 401, 403, 404, 405, 412, 413, 429, 473, 500, 502, 503} {
		for good := range steps {
			t.Run(fmt.Sprintf("%d after %d", status, good), func(t *testing.T) {
				t.Parallel()
				srv := echoServer(t, status, int32(good))
				var told notices
				opt := VaultOptions{
					Address: srv.URL, OnNotice: told.add,
					Auth: VaultAuth{Method: AuthTokenFile, TokenFile: tokenAt(t, "hvs."+canary)},
				}
				if status == 403 {
					secretID := tokenAt(t, canary)
					opt.Auth = VaultAuth{Method: AuthAppRole, RoleID: "r", SecretIDFile: secretID, Wrapped: good%2 == 0}
				}
				v := mustVault(t, opt)
				s := mustSink(t, v, SinkSpec{Name: "v", Mount: "secret", Path: "app"})
				_, writeErr := s.Write(t.Context(), testEntry(1), "")
				_, readErr := s.Read(t.Context())
				_, earlierErr := s.Earlier(t.Context())
				for _, seen := range []any{writeErr, readErr, earlierErr, told.all, v.Check(t.Context(), []SinkSpec{s.spec}), v.session.present(), opt} {
					if shows(t, seen) {
						t.Errorf("%T shows a secret", seen)
					}
				}
			})
		}
	}
}

// echoServer behaves for a number of requests and then fails with this status.
func echoServer(t *testing.T, status int, good int32) *httptest.Server {
	t.Helper()
	var n atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if strings.Contains(r.URL.String(), canary) {
			t.Error("a secret stands in a URL")
		}
		if n.Add(1) <= good {
			wellBehaved(w, r)
			return
		}
		echo, err := json.Marshal(map[string]any{
			"errors": []string{string(body) + r.Header.Get("X-Vault-Token")}, "data": map[string]any{"data": canary, "creation_path": canary},
		})
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Location", "/v1/"+canary)
		w.WriteHeader(status)
		_, _ = w.Write(echo)
	}))
	t.Cleanup(srv.Close)
	return srv
}

func wellBehaved(w http.ResponseWriter, r *http.Request) {
	switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); {
	case path == "sys/internal/ui/mounts/secret":
		fmt.Fprint(w, `{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}`)
	case path == "sys/wrapping/lookup":
		fmt.Fprint(w, `{"data":{"creation_path":"auth/approle/role/r/secret-id"}}`)
	case path == "sys/wrapping/unwrap":
		fmt.Fprint(w, `{"data":{"secret_id":"`+canary+`"}}`)
	case strings.HasPrefix(path, "auth/token/lookup"):
		fmt.Fprint(w, `{"data":{"ttl":3600}}`)
	case strings.HasPrefix(path, "auth/"):
		fmt.Fprint(w, `{"auth":{"client_token":"hvs.`+canary+`","lease_duration":3600}}`)
	case path == "sys/seal-status":
		fmt.Fprint(w, `{"initialized":true,"sealed":false}`)
	case r.Method == http.MethodPut:
		fmt.Fprint(w, `{"data":{"version":1}}`)
	case r.Method == http.MethodPatch:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[]}`)
	}
}

// Trouble of the disk at any step of a write is classified by whether the key file was
// replaced, and shows nothing.
func TestFileTroubleAtEachStep(t *testing.T) {
	prepare := func(t *testing.T) (FileOptions, rotate.Version) {
		opt := FileOptions{Path: filepath.Join(t.TempDir(), "key"), Format: FormatDotenv, KeepPrevious: 1}
		return opt, mustWrite(t, mustFile(t, opt), testEntry(1), "")
	}
	committed := false
	for _, point := range crashPoints(t, testEntry(2), prepare) {
		committed = committed || point == "key_renamed"
		opt, v := prepare(t)
		f := mustFile(t, opt)
		f.crash = func(at string) error {
			if at == point {
				return &os.PathError{Op: "write", Path: f.base, Err: syscall.EIO}
			}
			return nil
		}
		_, err := f.Write(t.Context(), testEntry(2), v)
		want := rotate.KindTransient
		if committed {
			want = rotate.KindUnknownOutcome
		}
		if rotate.KindOf(err) != want || shows(t, err) || shows(t, f) {
			t.Errorf("%s: got %v, want %s and no secret", point, err, want)
		}
	}
	if !committed {
		t.Error("no point was past the commit")
	}
}

// A full disk fails the write and leaves the old key as it was.
func TestFileOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0700")
	testkit.Need(t, err == nil, "the right to mount a tmpfs", "run the tests as root")
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	f := mustFile(t, FileOptions{Path: filepath.Join(dir, "key"), Format: FormatJSON, KeepPrevious: 2})
	v := mustWrite(t, f, testEntry(1), "")
	big := filepath.Join(dir, "big")
	fill, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = fill.Write(make([]byte, 4096))
	}
	if !errors.Is(errors.Join(err, fill.Close()), syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	_, err = f.Write(t.Context(), testEntry(2), v)
	wantError(t, "write", err, rotate.KindTransient, rotate.CauseNone)
	if got := mustRead(t, f); got.Version != v || !sameEntry(got, testEntry(1)) {
		t.Errorf("got version %q, want %q and the old key", got.Version, v)
	}
	remove(t, big)
	mustWrite(t, f, testEntry(2), v)
	noTemporaries(t, dir)

	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	got := mustRead(t, f)
	_, err = f.Write(t.Context(), testEntry(3), got.Version)
	wantError(t, "write", err, rotate.KindPermanent, rotate.CauseReadOnly)
}

func benchSink(b *testing.B, s rotate.Sink) {
	v := mustWrite(b, s, testEntry(1), "")
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			mustRead(b, s)
		}
	})
	b.Run("write", func(b *testing.B) {
		v = mustRead(b, s).Version
		for n := 0; b.Loop(); n++ {
			v = mustWrite(b, s, testEntry(2+n%2), v)
		}
	})
}

func BenchmarkFile(b *testing.B) {
	for _, format := range []FileFormat{FormatDotenv, FormatJSON, FormatBare} {
		b.Run(string(format), func(b *testing.B) {
			benchSink(b, mustFile(b, FileOptions{Path: filepath.Join(b.TempDir(), "key"), Format: format, KeepPrevious: 1}))
		})
	}
}

func BenchmarkVault(b *testing.B) {
	for name, opts := range map[string][]testkit.VaultOption{"memory": nil, "raft": {testkit.WithRaft()}} {
		b.Run(name, func(b *testing.B) {
			srv := testkit.Vault(b, opts...)
			if opts != nil {
				srv.MountKV("secret", 2)
			}
			opt := rootOptions(b, srv)
			opt.Timeout = time.Minute
			benchSink(b, mustSink(b, mustVault(b, opt), SinkSpec{Name: "v", Mount: "secret", Path: "app"}))
		})
	}
}
