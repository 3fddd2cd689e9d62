package portaltest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// FaultKind says how a request is broken.
type FaultKind string

// The closed set of fault kinds. "Effect" is whether the operation takes place.
const (
	FailBefore      FaultKind = "fail_before"       // no effect, error 500 in HTTP 200
	FailAfter       FaultKind = "fail_after"        // effect, error 500 in HTTP 200
	LoseRequest     FaultKind = "lose_request"      // no effect, connection cut
	LoseReply       FaultKind = "lose_reply"        // effect, connection cut
	Delay           FaultKind = "delay"             // waits, then the effect; a client that left does not stop it
	DelayReply      FaultKind = "delay_reply"       // effect, then waits, then the answer
	RateLimited     FaultKind = "rate_limited"      // no effect, HTTP 429, with Retry-After where RetryAfter is set
	RateLimitedBody FaultKind = "rate_limited_body" // no effect, HTTP 200 with error code 429
	ServerError     FaultKind = "server_error"      // no effect, HTTP 503 (or Status) with a JSON error
	ServerErrorHTML FaultKind = "server_error_html" // no effect, HTTP 502 (or Status) with HTML
	HTMLPage        FaultKind = "html_page"         // no effect, HTTP 200 with HTML
	SlowBody        FaultKind = "slow_body"         // effect, body takes Delay to arrive
	CutBody         FaultKind = "cut_body"          // effect, connection cut in the middle of the body
	TruncatedJSON   FaultKind = "truncated_json"    // effect, a whole answer whose JSON stops halfway
	WrongJSON       FaultKind = "wrong_json"        // effect, JSON of another shape
	Lie             FaultKind = "lie"               // no effect, the answer of success
	LateEffect      FaultKind = "late_effect"       // connection cut (or Status); effect after LateOps operations or LateFor
	StaleRead       FaultKind = "stale_read"        // a read sees the item as it was before its last effect
	InvalidToken    FaultKind = "invalid_token"     // no effect, error 498
	Forbidden       FaultKind = "forbidden"         // no effect, error 403
)

// FaultKinds lists every kind.
func FaultKinds() []FaultKind {
	return []FaultKind{FailBefore, FailAfter, LoseRequest, LoseReply, Delay, DelayReply, RateLimited, RateLimitedBody,
		ServerError, ServerErrorHTML, HTMLPage, SlowBody, CutBody, TruncatedJSON, WrongJSON, Lie, LateEffect, StaleRead,
		InvalidToken, Forbidden}
}

// Fault is a rule: which requests it strikes and how.
type Fault struct {
	Op   Op     `json:"op"`             // empty: every operation
	Item string `json:"item,omitempty"` // empty: every item
	Slot int    `json:"slot,omitempty"` // 0: either slot
	// Skip lets so many matching requests pass first.
	Skip int `json:"skip,omitempty"`
	// Count is how many requests it strikes: 0 is one, negative is all from then on.
	Count int       `json:"count,omitempty"`
	Kind  FaultKind `json:"kind"`
	// After makes RateLimited, ServerError and the other answers without effect come after the effect.
	After bool `json:"after,omitempty"`
	// Status replaces the HTTP status; for LateEffect it replaces the cut connection by an HTML answer.
	Status     int           `json:"status,omitempty"`
	Delay      time.Duration `json:"delay,omitempty"`
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	// LateOps lets a LateEffect happen just before the so-maniest following request. With LateOps and LateFor both
	// zero it waits for FlushLate.
	LateOps int           `json:"late_ops,omitempty"`
	LateFor time.Duration `json:"late_for,omitempty"`
}

// Call describes a request to a hook.
type Call struct {
	Op     Op
	ItemID string // the item aimed at, if any
	Slot   int    // the slot aimed at; 0 for none or both
	Seq    int    // 1 for the first request of all
}

type armedFault struct {
	Fault
	id int
}

// Inject arms a fault and gives the id with which Withdraw takes it back.
func (e *Emulator) Inject(f Fault) (int, error) {
	if err := f.validate(); err != nil {
		return 0, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faultSeq++
	if f.Count == 0 {
		f.Count = 1
	}
	e.faults = append(e.faults, &armedFault{f, e.faultSeq})
	return e.faultSeq, nil
}

func (f Fault) validate() error {
	switch {
	case f.Op != "" && !slices.Contains(Ops(), f.Op):
		return fmt.Errorf("inject fault: no operation %q", f.Op)
	case !slices.Contains(FaultKinds(), f.Kind):
		return fmt.Errorf("inject fault: no kind %q", f.Kind)
	case f.Op != "" && !f.applies(f.Op):
		return fmt.Errorf("inject fault: %s does not apply to %s", f.Kind, f.Op)
	}
	return nil
}

// applies says whether the kind can strike the operation: only a change of one item can be lied about, only a read be stale.
func (f Fault) applies(op Op) bool {
	switch f.Kind {
	case Lie:
		return op.onItem()
	case StaleRead:
		return !op.Effect()
	default:
		return true
	}
}

// Withdraw takes back one fault.
func (e *Emulator) Withdraw(id int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = slices.DeleteFunc(e.faults, func(a *armedFault) bool { return a.id == id })
}

// ClearFaults takes back every fault and the hook; late effects already under way stay.
func (e *Emulator) ClearFaults() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults, e.hook = nil, nil
}

// Faults lists the faults still armed, with what is left of Skip and Count.
func (e *Emulator) Faults() []Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]Fault, len(e.faults))
	for i, a := range e.faults {
		list[i] = a.Fault
	}
	return list
}

// SetHook has f asked about every request before the armed faults; nil lets it pass. f may call the emulator.
func (e *Emulator) SetHook(f func(Call) *Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hook = f
}

func (e *Emulator) pickFault(c *call) *Fault {
	e.mu.Lock()
	hook := e.hook
	e.mu.Unlock()
	if hook != nil {
		if f := hook(Call{Op: c.op, ItemID: c.itemID, Slot: c.slot, Seq: c.seq}); f != nil {
			return f
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, a := range e.faults {
		if a.Op != "" && a.Op != c.op || a.Item != "" && a.Item != c.itemID || a.Slot != 0 && a.Slot != c.slot || !a.applies(c.op) {
			continue
		}
		if a.Skip > 0 {
			a.Skip--
			continue
		}
		f := a.Fault
		if a.Count > 0 {
			if a.Count--; a.Count == 0 {
				e.faults = slices.Delete(e.faults, i, i+1)
			}
		}
		return &f
	}
	return nil
}

// applyFault answers a struck request.
func (e *Emulator) applyFault(ctx context.Context, c *call, f *Fault) outcome {
	switch f.Kind {
	case LoseRequest:
		return outcome{cut: syscall.ECONNRESET}
	case LoseReply:
		e.execute(c)
		return outcome{cut: io.ErrUnexpectedEOF}
	case Delay:
		if out := e.delay(ctx, c, nil, f.Delay); out != nil {
			return *out
		}
		return e.execute(c)
	case DelayReply:
		out := e.execute(c)
		if err := wait(ctx, f.Delay); err != nil {
			return outcome{cut: err}
		}
		return out
	case SlowBody, CutBody, TruncatedJSON, WrongJSON:
		return e.spoil(e.execute(c), f)
	case Lie:
		c.lied = c.op.onItem()
		return e.execute(c)
	case StaleRead:
		c.stale = !c.op.Effect()
		return e.execute(c)
	case LateEffect:
		return e.applyLate(c, f)
	case FailAfter:
		e.execute(c)
	default:
		if f.After {
			e.execute(c)
		}
	}
	return e.errorAnswer(f)
}

// spoil breaks a good answer on its way out.
func (e *Emulator) spoil(out outcome, f *Fault) outcome {
	if out.cut != nil {
		return out
	}
	switch f.Kind {
	case SlowBody:
		out.slow = f.Delay
	case CutBody:
		out.cutBody = true
	case TruncatedJSON:
		out.body = out.body[:len(out.body)/2]
	default:
		out.body = []byte(`["unexpected",1]`)
	}
	return out
}

// errorAnswer is what a client sees of a fault that answers.
func (e *Emulator) errorAnswer(f *Fault) outcome {
	e.mu.Lock()
	defer e.mu.Unlock()
	status := func(def int) int {
		if f.Status != 0 {
			return f.Status
		}
		return def
	}
	switch f.Kind {
	case RateLimited:
		out := e.tooMany(status(http.StatusTooManyRequests), f.RetryAfter, textTooMany)
		return out
	case RateLimitedBody:
		return e.tooMany(status(http.StatusOK), f.RetryAfter, textTooMany)
	case ServerError:
		s := status(http.StatusServiceUnavailable)
		return e.answer(s, (&apiError{code: s, message: "Service unavailable."}).body())
	case ServerErrorHTML:
		return e.htmlError(status(http.StatusBadGateway))
	case HTMLPage:
		return e.htmlError(status(http.StatusOK))
	case InvalidToken:
		return e.answer(status(http.StatusOK), invalidToken().body())
	case Forbidden:
		return e.answer(status(http.StatusOK), forbidden().body())
	default:
		return e.answer(status(http.StatusOK), (&apiError{code: 500, message: "Internal server error."}).body())
	}
}

func (e *Emulator) htmlError(status int) outcome {
	return e.renderPage(page{status: status, contentType: "text/html;charset=utf-8",
		body: "<html><head><title>" + strconv.Itoa(status) + "</title></head><body><h1>" + http.StatusText(status) + "</h1></body></html>"})
}
