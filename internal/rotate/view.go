package rotate

import "time"

// Need is a set of things to look at before a decision.
type Need uint16

// The needs.
const (
	NeedSinks   Need = 1 << iota // every sink's current entry
	NeedEarlier                  // earlier versions in the sinks
	NeedApp
	NeedItem
	NeedProof // the first sink's key at the portal, and a control call if it is refused
	NeedOld   // the previous key at the portal, where any sink still has it
	NeedGates // every gate's answer about the previous key
	NeedOther // app and item of the former item, or of the heir
)

// NeedAll is a deep look.
const NeedAll = NeedSinks | NeedApp | NeedItem | NeedProof

// View is what one Advance has seen, all of it within its own last seconds.
type View struct {
	Have    Need // looked at, with or without an error
	Sinks   []SinkView
	Earlier []Entry // of all sinks, the first sink's before the later ones', newest first
	App     App
	Item    Item
	Proof   Proof
	// ProofControl is the control call's error where the key was refused.
	ProofControl error
	Old          Proof
	OldControl   error // the control call's, where a key that is to be written back was refused
	OldHad       bool  // some sink or the session still had the previous key
	Other        App   // NeedOther's
	OtherItem    Item
	OtherHeld    [3]Held    // by Slot: what became of our keys of the former item
	Gates        []GateView // in the order of the config
	Errs         map[Need]error
	Skew         time.Duration
	SkewKnown    bool
	Since        time.Time // when the first look began
}

// Held is a key of ours that somebody still has, and the portal's word about it.
type Held struct{ Asked, Valid bool }

// SinkView is one sink's entry or the error of reading it.
type SinkView struct {
	Name  string
	Entry Entry
	Err   error
}

func (v *View) err(n Need) error { return v.Errs[n] }

// First entry; the zero Entry before a look.
func (v *View) first() Entry {
	if len(v.Sinks) == 0 {
		return Entry{}
	}
	return v.Sinks[0].Entry
}

// In is everything that a decision may depend on.
type In struct {
	Now    time.Time // our clock
	Portal time.Time // the portal's clock as far as known
	Record Record
	Policy Policy
	Mode   Mode
	ID     ID
	// ConfigHold is a reason to hold the credential that the config gives.
	ConfigHold string
	Instance   string
	Mem        Memory
	View       View
	Deaths     int // of keys on this portal in the last hour
	// Gated: the credential has gates. Hooks are the points at which it has hooks.
	Gated bool
	Hooks HookSet
	Peers Block // what the other credentials stand against a scheduled start
}

// Memory is what the session knows and the journal does not.
type Memory struct {
	Minted     Fingerprint  // of the key in memory; "" if there is none
	ClaimFresh bool         // our claim is younger than half an effect horizon
	ProofFresh bool         // the key in memory was proved within the last 10 s
	InFlight   [3]bool      // by Slot: a mint or revoke of ours may still act, by the steady clock
	Look       bool         // a deep look was asked for
	Listed     [3]ListedKey // by Slot: what a listing said since the last deep look
}

// Step is what to do next: one external effect, or a change of the journal alone.
type Step string

// The steps.
const (
	StepNone    Step = ""
	StepSurvey  Step = "survey"  // a deep look, for its own sake
	StepAdopt   Step = "adopt"   // write the mark, or journal it where the sink is empty
	StepRebuild Step = "rebuild" // journal only: from the sink's meta (rule 10)
	StepMark    Step = "mark"
	StepStart   Step = "start" // journal only: a rotation begins; phase claiming
	StepClaim   Step = "claim"
	StepReclaim Step = "reclaim" // journal only: the key is lost or the claim stale; phase claiming
	StepDate    Step = "date"
	StepMint    Step = "mint"
	StepProve   Step = "prove"
	StepPublish Step = "publish"
	StepCommit  Step = "commit"  // journal only: the first sink shows the new key
	StepPromote Step = "promote" // probe of the served key; then overlap
	StepProbe   Step = "probe"
	StepSwap    Step = "swap" // journal only: the sink serves the previous key again (rule 9)
	StepRetire  Step = "retire"
	StepFinish  Step = "finish" // journal only: the old slot is empty
	StepTaken   Step = "taken"  // journal only: somebody minted into our slot
	StepAbort   Step = "abort"  // journal only: give the rotation up before its mint
	StepRevoke  Step = "revoke" // an orphan, or invalidate by hand
	StepRefuse  Step = "refuse" // journal only: the request cannot be carried out
	StepFail    Step = "fail"   // journal only: a look failed; back off
	StepHook    Step = "hook"   // call the hooks of Decision.Hook

	StepHandover     Step = "hand_over"     // journal only: another item takes over, and its first rotation begins
	StepBack         Step = "hand_back"     // journal only: the former item stays
	StepRetireFormer Step = "retire_former" // revoke a key of the former item
	StepRemoveFormer Step = "remove_former" // delete the former item
	StepFormerEnd    Step = "former_end"    // journal only: nothing is left of the former item
	StepForget       Step = "forget"        // journal only: no sink has the live key any more; another one is made
)

// Decision is what to do now and why.
type Decision struct {
	Step    Step
	Need    Need // look at these first, then decide again; Step is void
	Due     Reason
	Blocked Reason
	Detail  string // a sentence for people
	Drift   Drift  // where that is the reason and no look has told the record
	Slot    Slot
	Sink    int       // publish: which
	Hook    HookPoint // hook: which
	Key     KeyFacts  // start of a republishing rotation: which key; adopt and swap: the live one
	Next    time.Time // when Step is StepNone
	Err     error     // StepFail
}

func look(n Need) Decision { return Decision{Need: n} }

func wait(blocked Reason, next time.Time, detail string) Decision {
	return Decision{Blocked: blocked, Next: next, Detail: detail}
}

// latest of the two clocks: an overlap counts from there, so that a clock that is
// put right does not cut it short.
func (in *In) latest() time.Time { return later(in.Now, in.Portal) }

// hold that binds now: a person's, or the config's; nil if none does.
func (in *In) hold() *Hold {
	if h := in.Record.Hold; h.Active(in.Now) {
		return h
	}
	if in.ConfigHold != "" {
		return &Hold{Reason: in.ConfigHold, By: "the config"}
	}
	return nil
}

// unreachable is a look that failed: back off and look again.
func unreachable(err error) Decision {
	return Decision{Step: StepFail, Blocked: ReasonUnreachable, Err: err, Detail: err.Error()}
}

// backingOff waits for the end of a back-off.
func (in *In) backingOff() Decision {
	r := &in.Record
	if r.LastKind == KindVeto {
		return wait(ReasonVeto, r.RetryAt, r.LastError)
	}
	return wait(ReasonBackoff, r.RetryAt, "after "+plural(r.Attempts, "failure"))
}

// rebuiltUntil is until when occupied slots wait after a rebuild of the journal
// (rule 10); false if they do not wait.
func (in *In) rebuiltUntil() (time.Time, bool) {
	until := in.Record.RebuiltAt.Add(in.Policy.Overlap)
	return until, !in.Record.RebuiltAt.IsZero() && in.Now.Before(until)
}

// missing returns what of n was not looked at yet.
func (in *In) missing(n Need) Need { return n &^ in.View.Have }

// lookedAt makes sure that n was looked at without an error: ok, or the decision to
// look or to fail. A later sink's error is not one here.
func (in *In) lookedAt(n Need) (Decision, bool) {
	if m := in.missing(n); m != 0 {
		return look(m), false
	}
	for _, one := range []Need{NeedSinks, NeedApp, NeedItem, NeedProof, NeedOld, NeedEarlier} {
		if n&one == 0 {
			continue
		}
		if err := in.View.err(one); err != nil {
			return unreachable(err), false
		}
	}
	return Decision{}, true
}
