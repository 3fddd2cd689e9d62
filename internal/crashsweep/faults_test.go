package crashsweep

import (
	"fmt"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate/rotatetest"
)

// callKind is what kind of call a fault strikes.
type callKind string

const (
	callSave      callKind = "journal save"
	callEffect    callKind = "portal effect"
	callRead      callKind = "portal read"
	callSinkWrite callKind = "sink write"
	callSinkRead  callKind = "sink read"
	callHook      callKind = "hook"
	callGate      callKind = "gate"
)

// call is one thing that the program asked of the world.
type call struct {
	kind callKind
	what string
}

func (c call) String() string { return string(c.kind) + " " + c.what }

// faultKind is one way to break a call.
type faultKind string

const (
	none       faultKind = ""
	failBefore faultKind = "fails before"
	failAfter  faultKind = "fails after"
	loseReply  faultKind = "reply lost"
	lateOne    faultKind = "takes effect 1 step later"
	lateFour   faultKind = "takes effect 4 steps later"
	lateTime   faultKind = "takes effect 5 minutes later"
	dieBefore  faultKind = "process dies before the journal write"
	dieAfter   faultKind = "process dies after the journal write"
	stale      faultKind = "stale read"
	tooMany    faultKind = "429"
	lie        faultKind = "success without effect"
)

// kinds lists how a call can be broken.
func (k callKind) kinds() []faultKind {
	switch k {
	case callSave:
		return []faultKind{dieBefore, dieAfter}
	case callEffect:
		return []faultKind{failBefore, failAfter, loseReply, lateOne, lateFour, lateTime, tooMany, lie}
	case callRead:
		return []faultKind{failBefore, stale}
	case callSinkWrite:
		return []faultKind{failBefore, failAfter, loseReply, lateOne, lateFour}
	case callSinkRead:
		return []faultKind{failBefore, stale}
	case callHook:
		return []faultKind{failBefore, dieBefore, dieAfter}
	case callGate:
		return []faultKind{failBefore, stale}
	}
	return nil
}

// fault breaks the nth call of a run (from 0).
type fault struct {
	at   int
	kind faultKind
	call call // as traced when the fault was planned, for messages
}

func (f fault) String() string { return fmt.Sprintf("call %d (%s): %s", f.at, f.call, f.kind) }

// costsMint tells whether a fault may cost one extra mint (invariant 5): a crash,
// and an unknown or lied mint.
func (f fault) costsMint() bool {
	return f.kind == dieBefore || f.kind == dieAfter || (f.call.kind == callEffect && f.call.what == string(portaltest.OpMint))
}

// strike notes a call and returns what goes wrong with it.
func (w *world) strike(c call) faultKind {
	n := len(w.trace)
	w.trace = append(w.trace, c)
	if w.next != nil {
		if k := w.next(c); k != none {
			w.note("FAULT %s: %s", c, k)
			return k
		}
	}
	for _, f := range w.faults {
		if f.at == n {
			w.struck++
			w.note("FAULT %s", f)
			return f.kind
		}
	}
	return none
}

// hook makes portal and sinks ask for faults.
func (w *world) hook() {
	w.emu.SetHook(func(c portaltest.Call) *portaltest.Fault {
		switch c.Op {
		case portaltest.OpMint, portaltest.OpRevoke, portaltest.OpSetDate, portaltest.OpDeleteItem, portaltest.OpUnprotect:
			return portalFault(w.strike(call{callEffect, string(c.Op)}))
		case portaltest.OpAppInfo, portaltest.OpItem, portaltest.OpProve:
			return portalFault(w.strike(call{callRead, string(c.Op)}))
		default:
			return nil
		}
	})
	for _, s := range w.sinks {
		s.SetFaults(func(op rotatetest.SinkOp) rotatetest.SinkFault {
			switch op {
			case rotatetest.SinkWrite:
				return sinkFault(w.strike(call{callSinkWrite, s.Name()}))
			case rotatetest.SinkRead:
				return sinkFault(w.strike(call{callSinkRead, s.Name()}))
			case rotatetest.SinkEarlier:
			}
			return rotatetest.SinkFault{}
		})
	}
}

func portalFault(k faultKind) *portaltest.Fault {
	switch k {
	case failBefore:
		return &portaltest.Fault{Kind: portaltest.FailBefore}
	case failAfter:
		return &portaltest.Fault{Kind: portaltest.FailAfter}
	case loseReply:
		return &portaltest.Fault{Kind: portaltest.LoseReply}
	case lateOne:
		return &portaltest.Fault{Kind: portaltest.LateEffect, LateOps: 1}
	case lateFour:
		return &portaltest.Fault{Kind: portaltest.LateEffect, LateOps: 4}
	case lateTime:
		return &portaltest.Fault{Kind: portaltest.LateEffect, LateFor: 5 * time.Minute}
	case stale:
		return &portaltest.Fault{Kind: portaltest.StaleRead}
	case tooMany:
		return &portaltest.Fault{Kind: portaltest.RateLimited, RetryAfter: time.Minute}
	case lie:
		return &portaltest.Fault{Kind: portaltest.Lie}
	case none, dieBefore, dieAfter:
	}
	return nil
}

func sinkFault(k faultKind) rotatetest.SinkFault {
	switch k {
	case failBefore:
		return rotatetest.SinkFault{Kind: rotatetest.SinkFailBefore}
	case failAfter:
		return rotatetest.SinkFault{Kind: rotatetest.SinkFailAfter}
	case loseReply:
		return rotatetest.SinkFault{Kind: rotatetest.SinkLoseReply}
	case lateOne:
		return rotatetest.SinkFault{Kind: rotatetest.SinkLate, Steps: 1}
	case lateFour:
		return rotatetest.SinkFault{Kind: rotatetest.SinkLate, Steps: 4}
	case stale:
		return rotatetest.SinkFault{Kind: rotatetest.SinkStale}
	case none, lateTime, dieBefore, dieAfter, tooMany, lie:
	}
	return rotatetest.SinkFault{}
}
