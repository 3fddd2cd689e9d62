package bench

import (
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rotatord/internal/journal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

// scrapes whose median counts.
const scrapes = 41

// BenchmarkScrapeOfMany is the daemon as it ships at rest with many credentials, two keys
// each, scraped over HTTP as Prometheus does. Somebody is told of alerts, for which every
// pass looks at every credential.
func BenchmarkScrapeOfMany(b *testing.B) {
	bin := program(b)
	slack := httptest.NewTLSServer(http.NotFoundHandler()) // its certificate is trusted by nobody
	slack.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer slack.Close()
	grown := map[int][2]float64{} // by credentials: ms and MB
	for _, row := range []struct {
		credentials int
		took, size  float64 // limits, in ms and MB; 0: none
	}{{credentials: 1_000}, {credentials: 10_000, took: 100, size: 100}, {credentials: 100_000}} {
		b.Run(strconv.Itoa(row.credentials), func(b *testing.B) {
			emu := startEmulator(b, bin)
			dir := b.TempDir()
			listen := fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(b, 1))
			config := manyConfig(b, dir, emu, slack.URL, listen, row.credentials)
			restingJournal(b, dir, row.credentials)
			for b.Loop() {
				said, err := os.Create(filepath.Join(dir, "said"))
				if err != nil {
					b.Fatal(err)
				}
				defer said.Close()
				daemon := launch(b, bin, said, said, "run", "--config", config)
				if err := waitFor(b, daemon, 5*time.Minute, func() bool { return ready(listen) }); err != nil {
					text, _ := os.ReadFile(said.Name())
					b.Fatalf("rotatord: %v; it said:\n%.2000s", err, text)
				}
				took, wire, before := make([]float64, scrapes), 0, cpuOf(b, daemon.pid)
				for i := range took {
					var series int
					if took[i], wire, series = scrape(b, listen); series < 20*row.credentials {
						b.Fatalf("%d series of %d credentials", series, row.credentials)
					}
				}
				cpu := (cpuOf(b, daemon.pid) - before).Seconds() * 1000 / scrapes
				timer := time.NewTimer(settle)
				<-timer.C
				slices.Sort(took)
				median, rss := took[scrapes/2], resident(b, daemon.pid, "VmRSS")
				grown[row.credentials] = [2]float64{median, rss}
				b.ReportMetric(median, "ms")
				b.ReportMetric(rss, "MB")
				name := fmt.Sprintf("scrape of %d credentials: ", row.credentials)
				claim{name: name + "median", measured: median, unit: "ms", limit: row.took, quiet: true}.report(b)
				claim{name: name + "CPU time of one", measured: cpu, unit: "ms"}.report(b)
				claim{name: name + "slowest of 41", measured: took[scrapes-1], unit: "ms"}.report(b)
				claim{name: name + "sent, compressed", measured: float64(wire) / 1e6, unit: "MB"}.report(b)
				claim{name: name + "resident memory of the process after it", measured: rss, unit: "MB", limit: row.size}.report(b)
				claim{name: name + "of it the program's own pages", measured: resident(b, daemon.pid, "RssFile"), unit: "MB"}.report(b)
				claim{name: name + "its peak, from the start on", measured: resident(b, daemon.pid, "VmHWM"), unit: "MB"}.report(b)
			}
		})
	}
	reportGrowth(b, grown, 1_000, 10_000)
	reportGrowth(b, grown, 10_000, 100_000)
	reportGrowth(b, grown, 1_000, 100_000)
}

// reportGrowth is what each credential more costs, where both sizes were measured.
func reportGrowth(b *testing.B, grown map[int][2]float64, from, to int) {
	b.Helper()
	small, ok := grown[from]
	big, both := grown[to]
	if !ok || !both {
		return
	}
	name, more := fmt.Sprintf("growth from %d to %d credentials: ", from, to), float64(to-from)
	claim{name: name + "median scrape of 1,000 more", measured: (big[0] - small[0]) * 1000 / more, unit: "ms"}.report(b)
	claim{name: name + "resident memory of one more", measured: (big[1] - small[1]) * 1000 / more, unit: "KB"}.report(b)
}

// cpuOf another process so far, in user and kernel mode; what else runs there counts too
// (proc(5): fields 14 and 15, in hundredths of a second).
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // the name may hold blanks
	var ticks int
	for _, field := range strings.Fields(rest)[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func ready(listen string) bool {
	res, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + listen + "/readyz")
	if err != nil {
		return false // it does not listen yet
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// scrape as Prometheus does, and count the series.
func scrape(b *testing.B, listen string) (ms float64, wire, series int) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+listen+"/metrics", nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
	req.Header.Set("Accept-Encoding", "gzip")
	began := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	// The answer is taken as it comes and looked at later: unpacking it is Prometheus' work.
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		b.Fatalf("scrape: status %d, %v", res.StatusCode, err)
	}
	ms = float64(time.Since(began).Microseconds()) / 1000
	z, err := gzip.NewReader(strings.NewReader(string(body)))
	if err != nil {
		b.Fatal(err)
	}
	lines := &lineCounter{}
	if _, err := io.Copy(lines, z); err != nil {
		b.Fatal(err)
	}
	return ms, len(body), lines.n
}

type lineCounter struct{ n int }

func (c *lineCounter) Write(p []byte) (int, error) {
	c.n += strings.Count(string(p), "\n")
	return len(p), nil
}

// manyItem is the i-th credential's item id.
func manyItem(i int) string { return fmt.Sprintf("%032x", i+1) }

// manyConfig keeps keys in files, which a daemon at rest does not touch.
func manyConfig(b *testing.B, dir string, emu *emulator, slack, listen string, n int) string {
	b.Helper()
	group, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	if err != nil {
		b.Fatal(err)
	}
	password, webhook := filepath.Join(dir, "password"), filepath.Join(dir, "webhook")
	var c strings.Builder
	fmt.Fprintf(&c, `portals:
  p:
    url: %s
    product: online
    identity: {username: %s, password: "file:%s"}
    usage: never
sinks:
  f: {file: {path: "%s/keys/{{.Name}}"}}
defaults:
  portal: p
  owner: maps
  environment: production
  sinks: [f]
  mode: rotate
  policy: {lifetime: 360d, renew_before: 20d, overlap: 7d, critical_before: 5d}
http: {listen: "%s", credential_series: always}
alerts: {slack: {webhook: "file:%s"}}
schedules: {tick: "@every 20s"}
state: {dir: %s}
log: {level: warn}
admin: {socket: %s, group: %s}
credentials:
`, emu.URL, portaltest.AdminUser, password, dir, listen, webhook, dir, filepath.Join(dir, "admin.sock"), group.Name)
	for i := range n {
		fmt.Fprintf(&c, "  - {name: credential-%05d, item: %s}\n", i, manyItem(i))
	}
	config := filepath.Join(dir, "config.yaml")
	for path, text := range map[string]string{password: portaltest.StandardPassword, webhook: slack + "/services/T/B/x", config: c.String()} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		b.Fatal(err)
	}
	return config
}

// restingJournal holds an adopted credential's record for each.
func restingJournal(b *testing.B, dir string, n int) {
	b.Helper()
	db, err := journal.Open(b.Context(), journal.Options{Path: filepath.Join(dir, "journal.db")})
	if err != nil {
		b.Fatal(err)
	}
	next := make(chan int)
	var writers sync.WaitGroup
	for range 100 { // so that they share commits
		writers.Go(func() {
			for i := range next {
				fingerprints := [2]rotate.Fingerprint{rotate.NewSecret(fmt.Sprint("first", i)).Fingerprint(), rotate.NewSecret(fmt.Sprint("second", i)).Fingerprint()}
				if _, err := db.Save(b.Context(), idleRecord(i, rotate.ItemID(manyItem(i)), fingerprints, [2]time.Time{keyEnd(i), keyEnd(i + 7)})); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	writers.Wait()
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
}
