package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// verdict prints the tally and fails on what must not be.
func (w *world) verdict(c *consumers, seed uint64) {
	w.t.Helper()
	history := w.history()
	promoted, rotations := promotions(history)
	lost, orphans, now := 0, 0, w.emu.Now()
	for _, k := range w.emu.Keys() {
		if k.Valid(now) && !promoted[fingerprint(k.Secret)] {
			orphans++
		}
	}
	for _, n := range w.names {
		if ok, _ := w.emu.KeyValid(w.served(w.t.Context(), n)); !ok {
			lost++
		}
	}
	worst := w.worstExtra(promoted)
	needless := w.needless(promoted)
	repaired, longest, faults := w.repairs(history)
	fmt.Printf("kills: %d, rotations: %d, consumer requests: %d, consumer failures: %d, keys lost: %d, orphans left at the end: %d, worst extra mints a crash: %d\n",
		w.interval, rotations, c.requests.Load(), len(c.failures), lost, orphans, worst)
	fmt.Printf("dead keys that a restored Vault served: %d, refused until repaired: %d requests, longest repair: %s, mints without a reason: %d\n",
		repaired, c.excused.Load(), longest.Round(10*time.Millisecond), len(needless))
	fmt.Printf("troubles: %s; times the daemon ended on a full disk: %d (%s); seed: %d\n", w.tally(), w.diskEnds, w.disk.kind, seed)
	for what, list := range map[string][]string{"consumer failures": c.failures, "mints without a reason": needless, "restores": faults} {
		if len(list) > 0 {
			w.t.Errorf("%s:\n%s\n%s", what, strings.Join(list[:min(len(list), 20)], "\n"), w.stories(list))
		}
	}
	if lost > 0 || orphans > 0 || worst > 1 || rotations == 0 || c.requests.Load() == 0 {
		w.t.Error("the numbers above must be 0, 0 and at most 1, of some rotations and requests")
	}
}

func (w *world) tally() string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(w.done)) {
		parts = append(parts, fmt.Sprintf("%s %d", what, w.done[what]))
	}
	return strings.Join(parts, ", ")
}

// worstExtra is how many keys of one credential were made and never served between
// two kills, less those that a broken mint request explains.
func (w *world) worstExtra(promoted map[rotate.Fingerprint]bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	extra := map[string]int{}
	for _, k := range w.emu.Keys() {
		m := w.minted[k.Secret]
		if at := during(k.ItemID, m.interval); !promoted[fingerprint(k.Secret)] && !m.late {
			extra[at]++
		}
	}
	worst := 0
	for at, n := range extra {
		worst = max(worst, n-w.struck[at])
	}
	return worst
}

// needless lists the mints for which there was no reason: the key served before was
// not due by its date, the mint before it was not lost, and Vault was not restored
// in between, which may take the served key away or its life short.
func (w *world) needless(promoted map[rotate.Fingerprint]bool) []string {
	byItem := map[string][]portaltest.KeyInfo{}
	for _, k := range w.emu.Keys() {
		byItem[k.ItemID] = append(byItem[k.ItemID], k)
	}
	var list []string
	for _, n := range w.names {
		keys := byItem[w.items[n]]
		slices.SortFunc(keys, func(a, b portaltest.KeyInfo) int { return a.Minted.Compare(b.Minted) })
		for i := 1; i < len(keys); i++ {
			before, k := keys[i-1], keys[i]
			due := before.Expires.Add(-renewBefore - time.Second)
			if !promoted[fingerprint(before.Secret)] || !k.Minted.Before(due) || w.restoredBetween(before.Minted, k.Minted) {
				continue
			}
			list = append(list, fmt.Sprintf("%s: %s at %s, %s after %s", n, fingerprint(k.Secret), k.Minted.UTC().Format("15:04:05.000"),
				k.Minted.Sub(before.Minted).Round(time.Millisecond), fingerprint(before.Secret)))
		}
	}
	return list
}

func (w *world) restoredBetween(from, to time.Time) bool {
	return slices.ContainsFunc(w.restores, func(r *restore) bool { return r.done.After(from) && r.began.Before(to) })
}

// repairs counts the keys that a restore broke, and names those that were not
// repaired in time and those of which the history says nothing.
func (w *world) repairs(history map[string][]rotate.Event) (n int, longest time.Duration, faults []string) {
	for _, r := range w.restores {
		what := fmt.Sprintf("restored at %s to a state of %s before", r.began.UTC().Format("15:04:05.000"), r.age)
		slices.Sort(r.stuck)
		if len(r.stuck) > 0 {
			faults = append(faults, fmt.Sprintf("%s: no working key in time (%d): %s", what, len(r.stuck), strings.Join(r.stuck, " ")))
		}
		for _, name := range slices.Sorted(maps.Keys(r.took)) {
			took := r.took[name]
			n, longest = n+1, max(longest, took)
			if took > time.Second && !reported(history[name], r.began, r.done.Add(took)) {
				faults = append(faults, fmt.Sprintf("%s: %s was repaired within %s and its history does not say so", what, name, took))
			}
		}
	}
	return n, longest, faults
}

// reported: the history has a word for what the restore did.
func reported(events []rotate.Event, from, to time.Time) bool {
	return slices.ContainsFunc(events, func(e rotate.Event) bool {
		says := e.Kind == rotate.EventDrift || e.Kind == rotate.EventRebuilt || e.Kind == rotate.EventKeyDead ||
			e.Kind == rotate.EventStarted && e.Reason == rotate.ReasonRestore || e.Kind == rotate.EventPromoted // a rotation under way wrote over it
		return says && !e.At.Before(from) && !e.At.After(to.Add(time.Second))
	})
}

// history of every credential, from the program itself.
func (w *world) history() map[string][]rotate.Event {
	w.t.Helper()
	all := map[string][]rotate.Event{}
	for _, n := range w.names {
		out, err := exec.CommandContext(context.Background(), w.binary, "--config", w.config, "--json", "history", n, "--limit", "0").Output()
		if err != nil {
			w.t.Fatalf("history %s: %v", n, err)
		}
		var events []rotate.Event
		w.must(json.Unmarshal(out, &events))
		all[n] = events
	}
	return all
}

// promotions are the keys that every sink served at some time, and how many there
// were.
func promotions(history map[string][]rotate.Event) (keys map[rotate.Fingerprint]bool, rotations int) {
	keys = map[rotate.Fingerprint]bool{}
	for _, events := range history {
		for _, e := range events {
			if e.Kind == rotate.EventPromoted || (e.Effect == rotate.EffectPublish && e.Result == rotate.ResultOK) {
				keys[e.Fingerprint] = true
			}
			if e.Kind == rotate.EventPromoted {
				rotations++
			}
		}
	}
	return keys, rotations
}

// stories of the first credentials that the lines name: what the program itself says
// about them to the person who has to find out.
func (w *world) stories(lines []string) string {
	var b strings.Builder
	var told []string
	for _, line := range lines {
		for _, n := range w.names {
			if len(told) < 3 && strings.Contains(line, n) && !slices.Contains(told, n) {
				told = append(told, n)
			}
		}
	}
	for _, n := range told {
		for _, args := range [][]string{{"status", n}, append([]string{"history", n}, around(lines, n)...)} {
			out, err := exec.CommandContext(context.Background(), w.binary, append([]string{"--config", w.config}, args...)...).CombinedOutput()
			fmt.Fprintf(&b, "$ rotatord %s\n%s%v\n", strings.Join(args, " "), out, err)
		}
	}
	return b.String()
}

// around are the flags of history for the time of the first line that names a credential.
func around(lines []string, name string) []string {
	for _, line := range lines {
		at, err := time.Parse("15:04:05", regexp.MustCompile(`\d\d:\d\d:\d\d`).FindString(line))
		if err != nil || !strings.Contains(line, name) {
			continue
		}
		y, m, d := time.Now().UTC().Date()
		at = at.AddDate(y-at.Year(), int(m)-int(at.Month()), d-at.Day())
		return []string{"--since", at.Add(-100 * time.Second).Format(time.RFC3339), "--until", at.Add(60 * time.Second).Format(time.RFC3339), "--limit", "0"}
	}
	return []string{"--limit", "120"}
}

func (w *world) logTail() string {
	raw, _ := os.ReadFile(filepath.Join(w.dir, "daemon.log"))
	lines := strings.Split(string(raw), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}
