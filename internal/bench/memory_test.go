package bench

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/testkit"
)

const (
	residents = 50
	// settle is how long the daemon does nothing before its memory is read.
	settle = 45 * time.Second
)

// BenchmarkMemory is the daemon as it ships with 50 credentials, SQLite, a real Vault and
// Slack, after it has made and published every key and then rested.
func BenchmarkMemory(b *testing.B) {
	bin := program(b)
	vault := testkit.Vault(b)
	// Nobody trusts its certificate: no message arrives, but the whole way there is in memory.
	slack := httptest.NewTLSServer(http.NotFoundHandler())
	slack.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer slack.Close()
	emu := startEmulator(b, bin)
	dir := b.TempDir()
	listen := fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(b, 1))
	config := residentConfig(b, dir, emu, vault, slack.URL, listen)
	for b.Loop() {
		said, err := os.Create(filepath.Join(dir, "said"))
		if err != nil {
			b.Fatal(err)
		}
		defer said.Close()
		daemon := launch(b, bin, said, said, "run", "--config", config)
		if err := waitFor(b, daemon, 2*time.Minute, func() bool { return idleCredentials(listen) == residents }); err != nil {
			text, _ := os.ReadFile(said.Name())
			b.Fatalf("rotatord: %v; it said:\n%s", err, text)
		}
		timer := time.NewTimer(settle)
		<-timer.C
		rss, peak := resident(b, daemon.pid, "VmRSS"), resident(b, daemon.pid, "VmHWM")
		b.ReportMetric(rss, "MB")
		claim{name: "memory: resident, idle, 50 credentials", measured: rss, unit: "MB", limit: 40}.report(b)
		claim{name: "memory: of it the program's own pages, shared and read from disk", measured: resident(b, daemon.pid, "RssFile"), unit: "MB"}.report(b)
		claim{name: "memory: its peak, while it made 50 keys at once", measured: peak, unit: "MB"}.report(b)
	}
}

func residentConfig(b *testing.B, dir string, emu *emulator, vault *testkit.VaultServer, slack, listen string) string {
	b.Helper()
	secret := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		return path
	}
	group, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	if err != nil {
		b.Fatal(err)
	}
	var c strings.Builder
	fmt.Fprintf(&c, `portals:
  p:
    url: %s
    product: online
    identity: {username: %s, password: "file:%s"}
    limits: {per_second: 1000}
vault:
  address: %s
  auth: {token_file: %s}
sinks:
  v: {vault: {mount: secret, path: "keys/{{.Name}}"}}
defaults:
  portal: p
  owner: maps
  environment: production
  sinks: [v]
  mode: rotate
  adopt: auto
  policy: {lifetime: 90d, renew_before: 30d, overlap: 7d, critical_before: 5d}
http: {listen: "%s"}
alerts: {slack: {webhook: "file:%s"}}
state: {dir: %s}
log: {level: warn}
admin: {socket: %s, group: %s}
credentials:
`, emu.URL, portaltest.AdminUser, secret("password", portaltest.StandardPassword), vault.Addr, secret("token", vault.Token), listen,
		secret("webhook", slack+"/services/T/B/x"), dir, filepath.Join(dir, "admin.sock"), group.Name)
	for i, m := range emu.add(b, residents, [2]time.Time{}) {
		fmt.Fprintf(&c, "  - {name: credential-%02d, item: %s, consumers: [shop, app]}\n", i, m.Item)
	}
	return secret("config.yaml", c.String())
}

// idleCredentials counts those that rest with a key, as /metrics tells.
func idleCredentials(listen string) int {
	res, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + listen + "/metrics")
	if err != nil {
		return 0 // it does not listen yet
	}
	defer res.Body.Close()
	idle, live := 0, 0
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "rotatord_credential_phase{") && strings.Contains(line, `phase="idle"`) && strings.HasSuffix(line, " 1"):
			idle++
		case strings.HasPrefix(line, "rotatord_key_expiration_timestamp_seconds{") && strings.Contains(line, `role="live"`):
			live++
		}
	}
	return min(idle, live)
}

// waitFor a condition of a running program.
func waitFor(b *testing.B, p process, limit time.Duration, ok func() bool) error {
	b.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-p.ended:
			return errors.New("it has ended")
		case <-end.C:
			return fmt.Errorf("not there after %s", limit)
		}
	}
	return nil
}

// resident memory of a process in MB, as the kernel tells.
func resident(b *testing.B, pid int, field string) float64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) * 1024 / 1e6
		}
	}
	b.Fatalf("no %s of process %d", field, pid)
	return 0
}
