package rotate

import (
	"context"
	"time"
)

// App is the registered app behind a credential, as registeredAppInfo answers
// (arcgis-portal-contract 4.1).
type App struct {
	ClientID     string
	ClientSecret Secret
	Active       [3]bool // by Slot; index 0 is unused
	Privileges   []string
	Referrers    []string
	Date         time.Time // the answer's HTTP Date; zero if it had none
}

// Item is the credential's portal item (contract 3.3). A date of -1 is the zero time.
type Item struct {
	Owner     string
	Title     string
	Folder    string
	Protected bool
	Expires   [3]time.Time // by Slot; zero is unknown
	Date      time.Time
}

// Minted is a new key. Expires is computed from expires_in and the answer's Date
// (or our clock without one); zero if the portal did not say.
type Minted struct {
	Key     Secret
	Expires time.Time
	Date    time.Time
}

// Proof is what portals/self says to a key. Valid false means that the portal
// refused the key itself (498, 499 or their HTTP status); everything else that goes
// wrong is an error.
type Proof struct {
	Valid      bool
	ClientID   string
	Item       ItemID
	Expires    time.Time // zero is unknown
	Privileges []string  // nil if the portal does not tell
	Date       time.Time
}

// Portal is what rotation needs of one portal. Every method is one request, but
// that reads may be repeated by the adapter, and that any may first sign in. Mint
// and Revoke are sent at most once.
type Portal interface {
	App(ctx context.Context, id ID, owner string) (App, error)
	Item(ctx context.Context, id ID) (Item, error)
	SetExpiry(ctx context.Context, id ID, owner string, slot Slot, expires time.Time) error
	Mint(ctx context.Context, id ID, app App, slot Slot) (Minted, error)
	Revoke(ctx context.Context, id ID, app App, slot Slot) error
	Prove(ctx context.Context, key Secret, referrer string) (Proof, error)
	// Control is a cheap call with our own identity that tells whether the portal
	// answers at all; it is what makes a key's 498 evidence (rule 8).
	Control(ctx context.Context) error
	// Remove deletes an item that has no keys any more, protected or not; nil also where
	// it is gone already.
	Remove(ctx context.Context, id ID, owner string) error
}

// Parity compares what configured probe URLs answer to the old and the new key. It
// returns nil where they agree, an *Error otherwise. Keys go only to allowed hosts.
type Parity interface {
	Compare(ctx context.Context, old, minted Secret, referrer string) error
}

// Grants asks the services and items that an app's privileges name whether they let a
// new key in. It returns nil where nothing shows that one does not; what the old key,
// if there is one to compare with, is refused too is nothing that the new one lacks.
// Keys go only to allowed hosts.
type Grants interface {
	Prove(ctx context.Context, old, minted Secret, privileges []string, referrer string) error
}

// Entry is what one sink holds for one credential.
type Entry struct {
	Version Version // of the current version; also set for a deleted one
	Ever    bool    // some version exists or existed
	Key     Secret  // zero if the current version is missing, deleted or has no key
	Meta    *Meta   // nil if rotatord never wrote here
}

// Sink is one place that consumers read one credential's key from. Write replaces
// key and meta, keeps every foreign field, and succeeds only on the version cas
// ("" for a secret that never existed); it returns nil only if the sink confirmed
// exactly the next version. KindConflict may hide one's own earlier write: read.
type Sink interface {
	Name() string
	Read(ctx context.Context) (Entry, error)
	Write(ctx context.Context, e Entry, cas Version) (Version, error)
	// Earlier returns readable versions older than the current one, newest first.
	Earlier(ctx context.Context) ([]Entry, error)
}

// Journal is the durable record of every credential. Save is a compare-and-swap on
// Record.Epoch (KindConflict if it lost), appends the events in the same
// transaction, is on disk when it returns, and returns the record with its new
// epoch. Load of an unknown name gives a zero Record with that name.
type Journal interface {
	Load(ctx context.Context, name Name) (Record, error)
	Save(ctx context.Context, r Record, events ...Event) (Record, error)
	List(ctx context.Context) ([]Record, error)
	// Deaths counts key_dead events of one portal since a time, but for those that
	// somebody ordered, which have an actor (rule 8).
	Deaths(ctx context.Context, portal PortalID, since time.Time) (int, error)
}

// Observer is told every event after it is journalled. It must not block.
type Observer interface {
	Observe(Event)
}

// Purpose says why a portal request is made; adapters count by it.
type Purpose string

// The purposes.
const (
	PurposeProtocol Purpose = "protocol" // the steps of a rotation
	PurposeSafety   Purpose = "safety"   // reads that rule 1 wants before a mint or revoke
	PurposeProbe    Purpose = "probe"    // probes of the served key
	PurposeSurvey   Purpose = "survey"   // passes that observe and change nothing
	PurposeSignIn   Purpose = "sign_in"
	PurposeParity   Purpose = "parity"
)

type purposeKey struct{}

// WithPurpose marks the requests made under ctx.
func WithPurpose(ctx context.Context, p Purpose) context.Context {
	return context.WithValue(ctx, purposeKey{}, p)
}

// PurposeOf ctx; PurposeSurvey without one.
func PurposeOf(ctx context.Context) Purpose {
	if p, ok := ctx.Value(purposeKey{}).(Purpose); ok {
		return p
	}
	return PurposeSurvey
}
