package torture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rotatord/internal/portal/portaltest"
)

// trouble is what is done to the world before a kill.
type trouble string

const (
	quiet         trouble = "nothing"
	portalFault   trouble = "portal fault"
	vaultSealed   trouble = "vault sealed"
	vaultRestart  trouble = "vault restarted"
	vaultPaused   trouble = "vault paused"
	vaultReadOnly trouble = "vault read-only"
	vaultBack     trouble = "vault restored" // from a snapshot of a moment ago
	vaultFarBack  trouble = "vault restored far back"
	daemonPaused  trouble = "daemon paused"
	daemonStopped trouble = "daemon stopped" // SIGTERM, and killed if that takes too long
	second        trouble = "second daemon"
	secondInPause trouble = "second daemon while the first is paused"
	diskFull      trouble = "disk full"
)

// deed is one trouble and the kill that follows it.
type deed struct {
	what   trouble
	lasts  time.Duration    // of the trouble
	after  time.Duration    // from its end to the kill
	age    time.Duration    // vaultFarBack: the snapshot is at least so old
	waits  bool             // vaultFarBack: nothing else happens until rotatord has repaired it
	spare  int64            // diskFull: so many bytes stay free
	across bool             // diskFull: the daemon is killed, and starts, while it is full
	strike portaltest.Fault // portalFault
}

func (d deed) String() string {
	s := string(d.what)
	switch d.what {
	case quiet:
	case portalFault:
		s = fmt.Sprintf("%s: %s of %s", s, d.strike.Kind, d.strike.Op)
	case diskFull:
		s = fmt.Sprintf("%s but for %d bytes for %s", s, d.spare, d.lasts)
		if d.across {
			s += ", and a kill in the middle"
		}
	case vaultFarBack:
		s = fmt.Sprintf("%s, %s or more", s, d.age)
		if d.waits {
			s += ", and time to repair it"
		}
	case vaultBack:
		s = fmt.Sprintf("%s, %s", s, d.lasts)
	default:
		s = fmt.Sprintf("%s for %s", s, d.lasts)
	}
	return fmt.Sprintf("%s; kill after %s", s, d.after)
}

// deckSize is how many deeds it takes until each trouble has happened.
const deckSize = 14

// makePlan deals so many deeds from one deck after the other, each in an order of its
// own. The first deck holds every trouble, so that a short run leaves none out; of the
// later ones each leaves out about half of what takes seconds, for more kills an hour.
// Restores are rarer still: each makes Vault fall silent for six seconds and
// rotations that nothing else asks for.
func makePlan(seed uint64, kills int) []deed {
	rng := rand.New(rand.NewPCG(seed, 1))
	var plan []deed
	for n := 0; len(plan) < kills; n++ {
		deck := []trouble{vaultBack, vaultFarBack, vaultSealed, vaultRestart, vaultPaused, vaultReadOnly, daemonPaused, daemonStopped,
			second, secondInPause, diskFull, portalFault, portalFault, portalFault}
		for i, what := range deck {
			light := []trouble{portalFault, quiet}[rng.IntN(2)]
			switch {
			case n == 0 || what == vaultFarBack && n%6 == 0 || what == vaultBack && n%3 == 0 || what == portalFault:
			case what == vaultFarBack, what == vaultBack, rng.IntN(2) == 0:
				deck[i] = light
			}
		}
		rng.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		if n == 0 { // only late there is a snapshot of keys that are retired by then
			at := slices.Index(deck, vaultFarBack)
			deck[at], deck[deckSize-1] = deck[deckSize-1], deck[at]
		}
		for _, what := range deck {
			d := makeDeed(rng, what)
			d.waits = d.waits && n%12 == 0
			if n == 0 {
				d.age, d.lasts = 20*time.Second, d.lasts/2
			}
			plan = append(plan, d)
		}
	}
	return plan[:kills]
}

func makeDeed(rng *rand.Rand, what trouble) deed {
	ms := func(from, to int) time.Duration { return time.Duration(from+rng.IntN(to-from)) * time.Millisecond }
	d := deed{what: what, lasts: ms(200, 2000), after: ms(0, 900)}
	if rng.IntN(10) == 0 {
		d.after = ms(900, 3000) // now and then it gets further
	}
	switch what {
	case portalFault:
		faults := portalFaults()
		d.strike = faults[rng.IntN(len(faults))]
	case vaultRestart:
		d.lasts /= 2
	case vaultFarBack:
		d.age, d.waits = ms(6_000, 45_000), true
	case daemonPaused, secondInPause:
		d.lasts *= 3
	case second:
		d.lasts *= 2
	case diskFull:
		d.spare = []int64{0, 0, 4 << 10, 64 << 10}[rng.IntN(4)]
		d.across = rng.IntN(2) == 0
	case quiet, vaultSealed, vaultPaused, vaultReadOnly, vaultBack, daemonStopped:
	}
	return d
}

// portalFaults are ways to break a coming request, or several.
func portalFaults() []portaltest.Fault {
	return []portaltest.Fault{
		{Op: portaltest.OpMint, Kind: portaltest.LoseReply, Count: 1}, {Op: portaltest.OpMint, Kind: portaltest.FailBefore, Count: 1},
		{Op: portaltest.OpMint, Kind: portaltest.LateEffect, LateFor: 2 * time.Second, Count: 1}, {Op: portaltest.OpMint, Kind: portaltest.ServerErrorHTML, Count: 1},
		{Op: portaltest.OpMint, Kind: portaltest.LoseReply, Count: 1}, {Op: portaltest.OpMint, Kind: portaltest.TruncatedJSON, Count: 1},
		{Op: portaltest.OpRevoke, Kind: portaltest.LoseReply, Count: 1}, {Op: portaltest.OpRevoke, Kind: portaltest.LateEffect, LateFor: 2 * time.Second, Count: 1},
		{Op: portaltest.OpRevoke, Kind: portaltest.FailAfter, Count: 1}, {Op: portaltest.OpSetDate, Kind: portaltest.LoseReply, Count: 1},
		{Op: portaltest.OpSetDate, Kind: portaltest.HTMLPage, Count: 1}, {Op: portaltest.OpAppInfo, Kind: portaltest.ServerError, Count: 5},
		{Op: portaltest.OpAppInfo, Kind: portaltest.RateLimited, RetryAfter: time.Second, Count: 3}, {Op: portaltest.OpItem, Kind: portaltest.TruncatedJSON, Count: 1},
		{Op: portaltest.OpSignIn, Kind: portaltest.ServerErrorHTML, Count: 1}, {Op: portaltest.OpAppInfo, Kind: portaltest.DelayReply, Delay: time.Second, Count: 10},
	}
}

func TestPlan(t *testing.T) {
	a, b, longer := makePlan(7, 3*deckSize), makePlan(7, 3*deckSize), makePlan(7, 10*deckSize)
	if !slices.Equal(a, b) || !slices.Equal(a, longer[:len(a)]) {
		t.Error("one seed gives two plans")
	}
	if slices.Equal(a, makePlan(8, 3*deckSize)) {
		t.Error("two seeds give one plan")
	}
	for _, what := range []trouble{portalFault, vaultSealed, vaultRestart, vaultPaused, vaultReadOnly, vaultBack, vaultFarBack,
		daemonPaused, daemonStopped, second, secondInPause, diskFull} {
		if !slices.ContainsFunc(a[:deckSize], func(d deed) bool { return d.what == what }) {
			t.Errorf("the first %d deeds leave out: %s", deckSize, what)
		}
	}
}
