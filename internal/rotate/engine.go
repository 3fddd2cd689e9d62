package rotate

import (
	"time"
)

// Credential is one configured credential with its adapters.
type Credential struct {
	Name     Name
	ID       ID
	Policy   Policy
	Mode     Mode
	Referrer string // sent with probes; the first of the app's own if empty
	Portal   Portal
	Sinks    []Sink // the first is the commit point
	Parity   Parity // nil: no probe URLs
}

// Session is what the driver keeps in memory for one credential between two calls
// of Advance, and hands to no second caller at the same time: the minted key until
// the first sink's commit, and the claim's age. Its zero value is a fresh start.
type Session struct {
	minted    Secret
	old       Secret        // the key that the claim saw, for the proof of its end
	claimedAt time.Duration // on Options.Elapsed
	claimID   string        // rotation id and version of the claim that claimedAt belongs to
	proofAt   time.Time
}

// HoldsKey tells whether a minted key is in memory and in no sink: a graceful stop
// waits for it (rule 13).
func (s *Session) HoldsKey() bool { return !s.minted.IsZero() }

// Options of an Engine.
type Options struct {
	Journal  Journal
	Observer Observer // nil: nobody
	Instance string   // this rotatord's own id, kept in the state directory
	// Elapsed is a clock that never jumps and counts sleep (CLOCK_BOOTTIME); nil
	// takes the wall clock.
	Elapsed func() time.Duration
	// NewID makes rotation ids (ULIDs); nil takes crypto/rand.
	NewID func(now time.Time) string
}

// AdvanceResult is what one Advance did.
type AdvanceResult struct {
	Record  Record    // as journalled
	Effect  Effect    // "" if there was none
	Reason  Reason    // why it did, or did not
	Detail  string    // the same for people
	Next    time.Time // when to call again; now or earlier: at once
	Err     error     // the effect's or the journal's error; the former is journalled
	Healthy bool      // nothing is due, or it advanced, or it is knowingly held
}

// Engine advances credentials. It owns no goroutine, no timer and no lock; the
// caller gives each credential to one Advance at a time. It is safe for concurrent
// use on different credentials.
type Engine struct{ o Options }
