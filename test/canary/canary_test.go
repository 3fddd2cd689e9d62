package canary

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rotatord/internal/daemon"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// TestCanary is one life of the daemon. Its stages are in order, since each leaves
// keys behind that must not show in any later one.
func TestCanary(t *testing.T) {
	w := newWorld(t)
	w.signIn("byoauth")
	p := w.start()
	own := []rotate.Name{"app-vault", "app-both", "app-file", "app-foreign"}
	w.awaitEach("the first keys", func(s daemon.Status) bool { return s.Live.Generation > 0 }, append(own, "app-gated", "app-oauth", "app-key")...)
	w.stage("people", func() { w.acknowledge(); w.presses() })

	w.stage("evil", func() { w.evil(own) })
	w.stage("commands", w.commands)
	w.stage("conflicts", w.conflicts)
	w.stage("pages", w.crawl)
	w.stage("socket", w.ask)
	w.stage("commands that look", w.commandsAsJSON)
	w.stage("files in use", w.files) // with the journal's write-ahead log
	w.stage("crashes", func() { w.crashes(p) })
	w.stage("files", w.files)
	w.stage("vault", w.vaultFacts)
	w.stage("verdict", func() { w.verdict(t) })
	w.covered(t)
}

// stage of the life, timed: the whole should stay under a minute.
func (w *world) stage(name string, do func()) {
	w.t.Helper()
	start := time.Now()
	do()
	w.t.Logf("%s: %.1f s", name, time.Since(start).Seconds())
}

// evil is a while in which every other server gives back what it was sent.
func (w *world) evil(names []rotate.Name) {
	w.t.Helper()
	stage := func(every int, lasting time.Duration) {
		for _, f := range w.fronts() {
			f.spoil(every)
		}
		w.mail.on.Store(true)
		ctx, cancel := context.WithTimeout(w.t.Context(), lasting)
		defer cancel() // of a command that retries, too
		for ctx.Err() == nil {
			for _, args := range [][]string{{"rotate", string(names[0]), "--json"}, {"check-config", "--online"}, {"discover"}, {"plan"}} {
				w.cliFor(ctx, args...)
			}
		}
	}
	stage(3, 4*time.Second)
	stage(1, 2*time.Second) // nothing works any more
	stage(2, 3*time.Second)
	w.pager.spoil(1)
	w.chat.spoil(1)
	for range 3 { // alerts are few: these are sure
		w.cli("notify", "--test", "--condition", "dead")
		w.cli("--config", w.hooked(), "notify", "--test", "--condition", "dead")
		w.cli("--config", w.hooked(), "check-config", "--online")
	}
	for _, f := range w.fronts() {
		f.spoil(0)
	}
	w.mail.on.Store(false)
	w.t.Log("calm")

	w.awaitEach("well again", func(s daemon.Status) bool {
		return s.Drift == "" && s.LastError == "" && (s.Phase == rotate.PhaseIdle || s.Phase == rotate.PhaseOverlap)
	}, names...)
}

func (w *world) fronts() []*front { return []*front{w.portal, w.store, w.pager, w.chat} }

// hooked is the config with Slack's incoming webhook in place of the app.
func (w *world) hooked() string {
	text, err := os.ReadFile(w.config)
	w.must(err)
	before, rest, _ := strings.Cut(string(text), "  slack:\n")
	_, after, found := strings.Cut(rest, "  webhook: {url")
	if !found {
		w.t.Fatal("the config has no Slack")
	}
	file := filepath.Join(w.dir, "hooked.yaml")
	w.must(os.WriteFile(file, []byte(before+"  slack: {webhook: 'file:"+w.dir+"/secrets/webhook'}\n  webhook: {url"+after), 0o600))
	return file
}

// commands of every kind, as people give them, mistakes too.
func (w *world) commands() {
	w.t.Helper()
	old := w.served("app-vault")
	for _, args := range [][]string{
		{"rotate", "app-both"}, {"rollback", "app-both", "--yes"}, {"resume", "app-both"},
		{"rotate", "app-vault", "--compromised", "--yes"},
		{"rotate", "app-vault", "--compromised", "--yes", "--fingerprint", old}, // somebody pastes the key itself
		{"hold", "app-vault", "--reason", "they know " + old}, {"ack", "app-vault", "--consumer", "web", "--fingerprint", old},
		{"ack", "app-vault", "--consumer", old, "--generation", "1"}, {"ack", "app-vault", "--consumer", "web", "--generation", "1"},
		{"invalidate", "app-file", "--slot", "1", "--yes"}, {"invalidate", "app-file", "--slot", "2", "--yes", "--outage-ok"},
		{"regenerate", "app-file", "--slot", "1", "--yes"}, {"regenerate", "app-file", "--slot", "2", "--yes", "--outage-ok"},
		{"adopt", "app-old", "--yes"}, {"hold", "app-old", "--reason", "a release", "--for", "1h"}, {"resume", "--all"},
		{"cancel", "app-vault"}, {"confirm", "app-vault"}, {"rotate", "nobody"},
	} {
		w.cli(args...)
	}
	w.awaitEach("adopted", func(s daemon.Status) bool { return !s.AdoptedAt.IsZero() }, "app-old")
}

// commandsAsJSON is what only looks, for people and machines.
func (w *world) commandsAsJSON() {
	w.t.Helper()
	for _, args := range [][]string{
		{"status"}, {"status", "app-vault"}, {"plan"}, {"history", "app-vault", "--limit", "0"}, {"history", "--verify"}, {"history", "--export"},
		{"check-config"}, {"check-config", "--online"}, {"config", "schema"}, {"discover"}, {"healthcheck"}, {"reload"}, {"vault-policy"}, {"version"},
		{"acks", "app-vault"}, {"notify", "--test", "--condition", "dead"}, {"orphans"}, {"simulate", "--days", "1"}, {"privileges"},
		{"alerts"}, {"alerts", "ack", "dead/app-vault"}, {"alerts", "snooze", "dead/app-vault", "--for", "1h"}, {"alerts", "unsnooze", "dead/app-vault"},
		{"import", "app-vault"}, {"apply", "--dry-run"}, {"rename", "app-vault", "other", "--dry-run"}, {"retire", "app-vault", "--dry-run"}, {"usage"}, {"usage", "app-vault"}, {"usage", "import", w.config},
		{"discover", "--write", filepath.Join(w.dir, "out", "discovered.yaml")}, {"login", "online"}, {"once"},
		{"backup", filepath.Join(w.dir, "out", "backup.db")}, {"support-bundle", filepath.Join(w.dir, "out", "bundle.tar.gz")},
	} {
		w.cli(args...)
		w.cli(append([]string{"--json"}, args...)...)
	}
}

// served is what consumers of a credential read from Vault.
func (w *world) served(name string) string {
	w.t.Helper()
	_, reply := w.vault.Do(http.MethodGet, "kv/data/apps/"+name, nil)
	data, _ := reply["data"].(map[string]any)
	fields, _ := data["data"].(map[string]any)
	key, _ := fields["api_key"].(string)
	if key == "" {
		w.t.Fatalf("no key of %s in Vault", name)
	}
	return key
}

// conflicts: people change sinks and slots meanwhile.
func (w *world) conflicts() {
	w.t.Helper()
	foreign, err := w.emu.MintOutOfBand(w.items["app-vault"], 2, time.Now().Add(time.Hour))
	w.must(err)
	w.write("app-foreign", foreign) // the key of another credential
	secret, err := w.emu.ResetSecret(w.items["app-both"])
	w.must(err)
	w.sieve.add("the new client secret of app-both", secret)
	w.must(os.WriteFile(filepath.Join(w.dir, "keys", "app-both"), []byte("ARCGIS_API_KEY="+foreign+"\n"), 0o600))
	for range 3 {
		w.cli("rotate", "app-foreign")
		w.cli("rotate", "app-both")
		w.cli("plan")
	}
	w.awaitEach("drift", func(s daemon.Status) bool { return s.Drift != "" }, "app-foreign")
}

// crashes: whatever ends the daemon while a new key is in its memory only.
func (w *world) crashes(p *process) {
	w.t.Helper()
	for _, s := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGTERM} {
		_, err := w.emu.Inject(portaltest.Fault{Op: portaltest.OpProve, Kind: portaltest.DelayReply, Delay: time.Second, Count: 20})
		w.must(err)
		_, err = w.client.Command(w.t.Context(), rotate.Command{Kind: rotate.CommandRotate}, "app-vault", "app-both", "app-file", "app-old")
		w.must(err)
		w.await("a key in memory", func(ctx context.Context) bool {
			all, _ := w.client.Status(ctx)
			for _, s := range all {
				if s.Phase == rotate.PhaseProving {
					return true
				}
			}
			return false
		})
		if ended := p.end(s); (ended == nil) != (s == syscall.SIGTERM) {
			w.t.Errorf("ended by %s with %v", s, ended)
		}
		w.emu.ClearFaults()
		if s != syscall.SIGTERM {
			p = w.start()
		}
	}
	log, err := os.ReadFile(filepath.Join(w.dir, "out", "daemon.log"))
	w.must(err)
	for _, dump := range []string{"SIGQUIT: quit", "SIGABRT: abort", "SIGSEGV: segmentation violation", "goroutine 1 "} {
		if !strings.Contains(string(log), dump) {
			w.t.Errorf("the log has no %q: there was no crash to look into", dump)
		}
	}
}

// covered holds the test to what it says: a scenario that stopped happening proves nothing.
func (w *world) covered(t *testing.T) {
	t.Helper()
	if n := len(w.emu.Keys()); n < 12 {
		t.Errorf("only %d keys were ever minted", n)
	}
	for what, f := range map[string]*front{"portal": w.portal, "Vault": w.store, "webhook": w.pager, "Slack": w.chat} {
		total := 0
		for _, n := range f.told {
			total += n
		}
		if least := map[string]int{"portal": len(ways), "Vault": len(ways) / 2, "webhook": 12, "Slack": 3}[what]; total < least {
			t.Errorf("the %s spoilt %d answers, want %d at least", what, total, least)
		}
	}
	for where, least := range map[string]int{"file out/daemon.log": 100_000, "messages": 500, "file hooked": 500, "file state/journal.db": 10_000,
		"file out/backup.db": 10_000, "file out/bundle.tar.gz": 10_000, "rotatord history --export": 5_000, "the process list": 100, "Vault's other fields": 1000,
		"file asked": 1000, "questions": 1000, "events": 1000, "alerts": 500, "Slack": 1000, "Slack's dialogs": 50, "mails": 1000, "the listener for acknowledgements": 500} {
		if w.surfaces[where] == nil || w.surfaces[where].Len() < least {
			t.Errorf("%s: less than %d bytes", where, least)
		}
	}
	for _, command := range commandsOfThePage(t) {
		found := map[string]bool{"run": true, "demo": true, "emulator": true}[command] // the daemon itself; these two have no real key
		for where := range w.surfaces {
			found = found || strings.HasPrefix(where+" ", "rotatord "+command+" ") || strings.HasPrefix(where, "rotatord --json "+command)
		}
		if !found {
			t.Errorf("rotatord %s was not run", command)
		}
	}
	// And the search finds what is there: a key in the log is a hit.
	log := w.surfaces["file out/daemon.log"].Bytes()
	key := w.emu.Keys()[0].Secret
	planted := fmt.Appendf(nil, "%s{\"msg\":\"token=%s\"}\n%s", log[:len(log)/2], key[30:30+window], log[len(log)/2:])
	if w.sieve.hits(planted) == "" {
		t.Error("a key that was planted in the log is not found")
	}
}
