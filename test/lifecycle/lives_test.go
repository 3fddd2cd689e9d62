package lifecycle

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rotatord/internal/portal/portaltest"
)

// deed is what somebody does, and what strikes the process that does it.
type deed struct {
	what   string
	strike strike
}

func (d deed) String() string { return d.what + "/" + d.strike.String() }

// life is a world and what its person wants by now.
type life struct {
	*world
	ending  bool // retire was begun
	deletes bool // with its item
	kept    bool // items that were replaced may be there still, without keys
}

// name in the config as it is.
func (l *life) name() string {
	if strings.Contains(l.read("config.yaml"), "name: path-map") {
		return "path-map"
	}
	return "trail-map"
}

func (l *life) other() string {
	if l.name() == "trail-map" {
		return "path-map"
	}
	return "trail-map"
}

// swap one text of the config for the other one, whichever is there.
func (l *life) swap(a, b string) {
	if strings.Contains(l.read("config.yaml"), a) {
		l.edit(a, b)
	} else {
		l.edit(b, a)
	}
}

// deeds by their names; each is one process, but for what is done by hand.
func deeds() map[string]func(l *life, s strike) {
	command := func(args ...string) func(l *life, s strike) {
		return func(l *life, s strike) { l.run(s, args...) }
	}
	return map[string]func(l *life, s strike){
		"apply":   command("apply", "--yes"),
		"replace": func(l *life, s strike) { l.run(s, "apply", l.name(), "--replace", "--yes") },
		"keep": func(l *life, s strike) {
			l.kept = true
			l.run(s, "apply", l.name(), "--replace", "--keep-item", "--yes")
		},
		"compromised": func(l *life, s strike) { l.run(s, "apply", l.name(), "--replace", "--compromised", "--yes") },
		"rotate":      func(l *life, s strike) { l.run(s, "rotate", l.name()) },
		"cancel":      func(l *life, s strike) { l.run(s, "cancel", l.name()) },
		"rename":      func(l *life, s strike) { l.run(s, "rename", l.name(), l.other()) },
		"once":        command("once"),
		"retire": func(l *life, s strike) {
			l.retire(s, false)
		},
		"retire and delete": func(l *life, s strike) {
			l.retire(s, true)
		},
		"title":  func(l *life, _ strike) { l.swap("title: Trail map", "title: Path map") },
		"folder": func(l *life, _ strike) { l.swap("folder: API keys", "folder: Keys of apps") },
		"rights": func(l *life, _ strike) {
			l.swap("[premium:user:basemaps]", "[premium:user:basemaps, premium:user:geocode]")
		},
		"person unprotects": func(l *life, _ strike) {
			for _, it := range l.items() {
				off := false
				_ = l.emu.EditItemOutOfBand(it.ItemID, portaltest.ItemPage{Protected: &off})
			}
		},
	}
}

func (l *life) retire(s strike, deletes bool) {
	if l.served() == "" {
		return // nothing to retire yet
	}
	args := []string{"retire", l.name(), "--yes"}
	if deletes {
		args = append(args, "--item", "delete")
	}
	begun := l.ending
	l.run(s, args...)
	if !begun && (l.served() == "" || l.progress()) || begun {
		l.ending, l.deletes = true, l.deletes || deletes && !begun
	}
}

// progress of a retirement is on disk.
func (l *life) progress() bool {
	return l.read("state/retirements/"+l.name()+".json") != ""
}

// check what holds after each process, however it ended.
func (l *life) check(d deed, had bool) {
	if had && !l.ending && !l.progress() {
		if valid, why := l.emu.KeyValid(l.served()); !valid {
			l.fail("after %s the served key is %s", d, why)
		}
	}
}

// finish undisturbed: a person brings about what the config says, or the end that was begun.
func (l *life) finish() {
	if l.ending || l.progress() {
		l.finishRetire()
		return
	}
	if !within(calm, func() bool {
		l.run(strike{}, "once")
		return l.run(strike{}, "apply", l.name(), "--replace", "--yes") == 0
	}) {
		l.fail("never as the config says")
	}
	l.settle(1)
	if !l.kept {
		l.gone(1)
	}
	l.servedWorks()
	if l.run(strike{}, "apply", "--yes") != 0 {
		l.fail("the config and the portal differ still")
	}
	before := l.served()
	l.ok("rotate", l.name())
	if l.served() == before {
		l.fail("it does not rotate any more")
	}
	l.settle(1)
}

func (l *life) finishRetire() {
	if !within(calm, func() bool {
		l.run(strike{}, "once")
		l.run(strike{}, "retire", l.name(), "--yes")
		return strings.Contains(l.log[len(l.log)-1], "was retired on ") && !l.progress()
	}) {
		l.fail("the retirement never ends")
	}
	want := 1
	if l.deletes {
		want = 0
	}
	if l.served() != "" || !l.kept && len(l.items()) != want || len(l.unserved()) > 0 {
		l.fail("retired, and there are %d items, want %d, keys %v, served %t", len(l.items()), want, l.unserved(), l.served() != "")
	}
}

// live one life; the text says what was wrong, "" nothing.
func live(t testing.TB, all []deed) (wrong string) {
	l := &life{world: newWorld(t)}
	l.soft = true
	l.edit("probe_every: 1s", "probe_every: 1m") // a command without a daemon waits for what comes sooner
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			wrong = string(p)
		default:
			panic(p)
		}
	}()
	for _, d := range all {
		had := l.served() != ""
		deeds()[d.what](l, d.strike)
		l.check(d, had)
	}
	l.finish()
	return ""
}

// randomLife of one seed.
func randomLife(seed uint64) []deed {
	r := rand.New(rand.NewPCG(seed, 1))
	var names []string
	for name := range deeds() {
		names = append(names, name)
	}
	slices.Sort(names)
	names = append(names, "apply", "apply", "replace", "rights", "rotate", "once") // and these more often
	out := []deed{{what: "apply", strike: anyStrike(r)}}
	for range 2 + r.IntN(7) {
		out = append(out, deed{names[r.IntN(len(names))], anyStrike(r)})
	}
	return out
}

func anyStrike(r *rand.Rand) strike {
	if r.IntN(2) == 0 {
		return strike{kind: "none"}
	}
	return strike{at: 1 + r.IntN(60), kind: kinds()[r.IntN(len(kinds()))]}
}

func lifeText(all []deed) string {
	parts := make([]string, len(all))
	for i, d := range all {
		parts[i] = d.String()
	}
	return strings.Join(parts, ", ")
}

func parseLife(text string) (out []deed, err error) {
	for part := range strings.SplitSeq(text, ", ") {
		f := strings.Split(part, "/")
		if len(f) != 3 || deeds()[f[0]] == nil {
			return nil, fmt.Errorf("%q is no deed: write WHAT/KIND/REQUEST", part)
		}
		at, err := strconv.Atoi(f[2])
		if err != nil {
			return nil, fmt.Errorf("%q: %w", part, err)
		}
		out = append(out, deed{f[0], strike{at: at, kind: portaltest.FaultKind(f[1])}})
	}
	return out, nil
}

// shrunk leaves out what a failing life does not need, and its wrong.
func shrunk(t testing.TB, all []deed, wrong string) ([]deed, string) {
	for tries, i := 0, 0; i < len(all) && tries < 40; tries++ {
		fewer := slices.Delete(slices.Clone(all), i, i+1)
		if again := live(t, fewer); again != "" {
			all, wrong = fewer, again
		} else {
			i++
		}
	}
	return all, wrong
}

// TestLives drives random commands, edits of the config and strikes. After each the served key
// works; at the end all is as the config says, or retired. ROTATORD_RANDOM=N plays N lives of a
// new seed, ROTATORD_LIFE one life; without them some of a fixed seed.
func TestLives(t *testing.T) {
	if text := os.Getenv("ROTATORD_LIFE"); text != "" {
		all, err := parseLife(text)
		if err != nil {
			t.Fatal(err)
		}
		if wrong := live(t, all); wrong != "" {
			t.Fatal(wrong)
		}
		return
	}
	n, seed := 16, uint64(1)
	if text := os.Getenv("ROTATORD_RANDOM"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		seed = rand.Uint64() >> 16
	}
	for i := range uint64(n) {
		t.Run(strconv.FormatUint(seed+i, 10), func(t *testing.T) {
			t.Parallel()
			all := randomLife(seed + i)
			wrong := live(t, all)
			if wrong == "" {
				return
			}
			all, wrong = shrunk(t, all, wrong)
			t.Errorf("this life again: ROTATORD_LIFE='%s' go test -count=1 -run 'TestLives$' ./test/lifecycle\n%s", lifeText(all), wrong)
		})
	}
}

// What a failure prints is the life that failed.
func TestLifeText(t *testing.T) {
	for seed := range uint64(20) {
		all := randomLife(seed)
		if got, err := parseLife(lifeText(all)); err != nil || !slices.Equal(got, all) {
			t.Errorf("%v, %v", got, err)
		}
	}
}
