package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

func TestDistance(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		d    time.Duration
		want string
	}{
		{0, "now"}, {999 * time.Millisecond, "now"}, {time.Second, "in 1 second"}, {90 * time.Second, "in 90 seconds"},
		{2 * time.Minute, "in 2 minutes"}, {119 * time.Minute, "in 119 minutes"}, {2 * time.Hour, "in 2 hours"},
		{47 * time.Hour, "in 47 hours"}, {12*24*time.Hour + time.Hour, "in 12 days"}, {-3 * time.Hour, "3 hours ago"},
		{-time.Second, "1 second ago"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			if got := distance(now.Add(tt.d), now); got != tt.want {
				t.Errorf("distance of %s = %q, want %q", tt.d, got, tt.want)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	known := []string{"maps-prod", "maps-test", "routing"}
	tests := []struct{ word, want string }{
		{"maps-prd", "maps-prod"}, {"map-test", "maps-test"}, {"rooting", "routing"}, {"weather", ""}, {"", ""},
	}
	for _, tt := range tests {
		t.Run(tt.word, func(t *testing.T) {
			if got := nearest(tt.word, known); got != tt.want {
				t.Errorf("nearest(%q) = %q, want %q", tt.word, got, tt.want)
			}
		})
	}
}

func sampleStatus() []daemon.Status {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return []daemon.Status{
		{Name: "maps", Portal: "online", Item: "0123456789abcdef0123456789abcdef", Mode: rotate.ModeRotate, Phase: rotate.PhaseOverlap,
			RotationID: "01JN", Live: rotate.KeyFacts{Slot: 2, Fingerprint: "AT2_H4JC97kO-1a2b3c4d", Generation: 4, Expires: at}, RetireAt: at,
			Slots: [2]daemon.SlotStatus{{Use: rotate.UsePrevious, Active: true}, {Use: rotate.UseLive, Active: true}}},
		{Name: "routing", Portal: "online", Mode: rotate.ModeWatch, Phase: rotate.PhaseIdle, Attention: "never adopted", Cure: "rotatord adopt routing"},
	}
}

func TestStatusJSON(t *testing.T) {
	var out bytes.Buffer
	c := &cli{stdio: stdio{out: &out}, json: true}
	if err := c.showStatus(sampleStatus(), false); err != nil {
		t.Fatal(err)
	}
	golden(t, "status.json.golden", out.String())
}

func TestStatusTableIsPlainInAPipe(t *testing.T) {
	var out bytes.Buffer
	c := &cli{stdio: stdio{out: &out}}
	if err := c.showStatus(sampleStatus(), false); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b│─") {
		t.Errorf("lines or colours in a pipe:\n%s", out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "NAME") || !strings.Contains(lines[2], "never adopted") {
		t.Errorf("table:\n%s", out.String())
	}
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"fine", nil, exitOK},
		{"a command's work failed", &ranError{errors.New("no")}, exitFailed},
		{"wrong flags", errors.New("unknown flag"), exitUsage},
		{"wrong use, found by the command", &ranError{usage("no")}, exitUsage},
		{"attention", &ranError{attentionOf(sampleStatus())}, exitAttention},
		{"no attention", attentionOf(sampleStatus()[:1]), exitOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &cli{stdio: stdio{err: &bytes.Buffer{}}}
			if got := c.exit(tt.err); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
		})
	}
}

func TestJournalLinesHavePriorities(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(newJournalHandler(&out, slog.LevelDebug)).With(slog.String("a", "b"))
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		log.LogAttrs(t.Context(), l, "said")
	}
	want := "<7>level=DEBUG msg=said a=b\n<6>level=INFO msg=said a=b\n<4>level=WARN msg=said a=b\n<3>level=ERROR msg=said a=b\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestLogIsJSONElsewhere(t *testing.T) {
	var out bytes.Buffer
	eventLog{newLogger(&out, slog.LevelInfo, "auto")}.Observe(rotate.Event{Kind: rotate.EventDrift, Name: "maps", Drift: rotate.DriftSinkEmpty})
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if line["level"] != "ERROR" || line["credential"] != "maps" || line["drift"] != "sink_empty" {
		t.Errorf("line = %v", line)
	}
}

func TestIdentityFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identities", "online.json")
	store := fileIdentity{identityFile(path)}
	if _, err := store.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "rotatord login") {
		t.Errorf("load of nothing = %v, want the cure", err)
	}
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	want := portal.RefreshGrant{Current: portal.RefreshToken{Token: rotate.NewSecret("current"), Obtained: at, Expires: at.Add(time.Hour)},
		Next: portal.RefreshToken{Token: rotate.NewSecret("next")}, RedirectURI: "http://127.0.0.1:1/"}
	if err := store.Save(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file = %v, %v, want mode 0600", info, err)
	}
	got, err := store.Load(t.Context())
	if err != nil || !got.Current.Token.Equal(want.Current.Token) || !got.Next.Token.Equal(want.Next.Token) ||
		!got.Current.Expires.Equal(want.Current.Expires) || got.RedirectURI != want.RedirectURI {
		t.Errorf("load = %+v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("a secret that is no JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(t.Context()); err == nil || strings.Contains(err.Error(), "a secret") {
		t.Errorf("load of something else = %v, want an error without its content", err)
	}
}

func TestSecretFile(t *testing.T) {
	t.Setenv(config.CredentialsDir, "/run/credentials/rotatord.service")
	tests := []struct{ ref, want string }{
		{"file:/etc/rotatord/secret-id", "/etc/rotatord/secret-id"},
		{"credential:secret-id", "/run/credentials/rotatord.service/secret-id"},
		{"env:SECRET_ID", ""},
	}
	for _, tt := range tests {
		t.Run(tt.ref, func(t *testing.T) {
			var ref config.SecretRef
			if err := ref.UnmarshalText([]byte(tt.ref)); err != nil {
				t.Fatal(err)
			}
			got, err := secretFile(ref)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("secretFile = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestAsksForTheNameAgain(t *testing.T) {
	c := &cli{stdio: stdio{in: strings.NewReader("maps\n"), err: &bytes.Buffer{}}}
	if err := c.sure(false, "maps", "invalidate"); err == nil {
		t.Error("a pipe is no person, and nothing was refused")
	}
	if err := c.sure(true, "maps", "invalidate"); err != nil {
		t.Errorf("with --yes: %v", err)
	}
}

func TestHeartbeatErrorHasNoAddress(t *testing.T) {
	t.Setenv("BEAT", "http://127.0.0.1:1/secret-token")
	var ref config.SecretRef
	if err := ref.UnmarshalText([]byte("env:BEAT")); err != nil {
		t.Fatal(err)
	}
	beat := heartbeat(&config.Config{Heartbeat: &config.Heartbeat{URL: ref, Timeout: config.Duration(time.Second)}})
	err := beat(t.Context())
	if err == nil || strings.Contains(err.Error(), "secret-token") {
		t.Errorf("heartbeat = %v, want an error without the address", err)
	}
}
