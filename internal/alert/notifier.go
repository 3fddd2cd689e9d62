package alert

import (
	"context"
	"time"
)

// Notifier tells people what the engine decided is worth telling. There is one for
// each way: Slack, webhook, Alertmanager, e-mail. It decides nothing about what, when
// or whether; its errors are classified by rotate.Kind (a permanent one is about this
// notice, any other about the way), carry rotate.WaitOf where the other side asked for
// a pause, and hold no token, address that is a secret, or key.
type Notifier interface {
	// Name is the route's word: "slack", "webhook", "alertmanager", "email".
	Name() string
	// Tell brings the reader's view of the notice's Key to what it says now, and
	// returns what finds it again: a message's channel and timestamp, say. The engine
	// keeps that and hands it back as Notice.Ref. A notice may be told twice.
	Tell(ctx context.Context, n Notice) (ref string, err error)
	// Check tries what Tell needs, without telling anybody, for check-config --online.
	Check(ctx context.Context) error
}

// Refresher is a Notifier whose other side forgets what it is not told again, as
// Alertmanager does. What is not resolved is told again, quietly, at least so often.
type Refresher interface {
	RefreshEvery() time.Duration
}

// NoticeKind is the closed set of what is told.
type NoticeKind string

// The kinds.
const (
	NoticeAlert   NoticeKind = "alert"   // a condition, from its opening to its end
	NoticeRoutine NoticeKind = "routine" // a day's rotations that went well
	NoticeDigest  NoticeKind = "digest"  // what was, what comes, what needs a person
	NoticeSample  NoticeKind = "sample"  // notify --test
)

// State of an alert.
type State string

// The states.
const (
	StateOpen         State = "open"
	StateAcknowledged State = "acknowledged" // somebody works on it: not repeated
	StateSnoozed      State = "snoozed"      // quiet until a time
	StateResolved     State = "resolved"
)

// Notice is the whole present state of one thing that is told, never a difference:
// the newest wins, and one that was never delivered is simply replaced.
type Notice struct {
	Key     string // identity: the same from the opening to the end
	Ref     string // what Tell returned for this Key before; "" at the first time
	Kind    NoticeKind
	State   State
	By      string    // who acknowledged or snoozed
	Until   time.Time // of a snooze
	Message Message
	// Loud asks for attention (a mention, a new message in the thread): the opening, what
	// got worse, a repetition, the end of a snooze, and the end of an alert that was told.
	// A quiet notice only brings what stands there up to date; a way that cannot do that
	// tells it to nobody and returns Ref. Routine notices are always quiet, and each has
	// new lines of Story.
	Loud bool
	// Story are the lines of its history that this notifier has not told yet, oldest
	// first: what a thread holds.
	Story []StoryLine
}

// StoryLine is one line of an alert's history.
type StoryLine struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
	By   string    `json:"by,omitempty"` // a person; "" is rotatord
}
