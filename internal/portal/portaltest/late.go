package portaltest

import (
	"context"
	"slices"
	"syscall"
	"time"
)

// lateEffect is a request whose client has its failure already and whose effect is still to come.
type lateEffect struct {
	call *call
	ops  int       // requests left until it happens; below 1 when it does not count them
	due  time.Time // on the emulator's clock; zero when it does not wait for a time
}

// applyLate fails the request now and keeps its effect for later.
func (e *Emulator) applyLate(c *call, f *Fault) outcome {
	l := lateEffect{ops: f.LateOps}
	if f.LateFor > 0 {
		l.due = e.Now().Add(f.LateFor)
	}
	e.postpone(c, l)
	if f.Status == 0 {
		return outcome{cut: syscall.ECONNRESET}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.htmlError(f.Status)
}

// delay waits before the operation. A client that leaves meanwhile gets its error; the request has arrived, though, and its
// effect takes place when the wait would have ended. With a fault of its own it is lost.
func (e *Emulator) delay(ctx context.Context, c *call, f *Fault, d time.Duration) *outcome {
	due := e.Now().Add(d)
	err := wait(ctx, d)
	if err == nil {
		return nil
	}
	if f == nil && c.op.Effect() {
		e.postpone(c, lateEffect{due: due})
	}
	return &outcome{cut: err}
}

func (e *Emulator) postpone(c *call, l lateEffect) {
	c.late = true
	l.call = c
	e.mu.Lock()
	e.late = append(e.late, l)
	e.mu.Unlock()
}

// tickLate counts one request down and lets happen what is due; the caller holds e.mu.
func (e *Emulator) tickLate() {
	for i := range e.late {
		l := &e.late[i]
		if l.ops--; l.ops == 0 {
			l.due = e.now()
		}
	}
	e.settle()
}

// settle lets happen what is due by time; the caller holds e.mu.
func (e *Emulator) settle() {
	if len(e.late) == 0 {
		return
	}
	var due []lateEffect
	now := e.now()
	e.late = slices.DeleteFunc(e.late, func(l lateEffect) bool {
		if l.due.IsZero() || now.Before(l.due) {
			return false
		}
		due = append(due, l)
		return true
	})
	e.runLate(due)
}

func (e *Emulator) runLate(due []lateEffect) {
	slices.SortStableFunc(due, func(a, b lateEffect) int { return a.due.Compare(b.due) })
	for _, l := range due {
		e.run(l.call)
	}
}

// FlushLate lets every late effect happen now and says how many there were.
func (e *Emulator) FlushLate() int {
	e.mu.Lock()
	due := e.late
	e.late = nil
	e.runLate(due)
	e.unlock()
	return len(due)
}

// DropLate forgets every late effect and says how many there were.
func (e *Emulator) DropLate() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.late)
	e.late = nil
	return n
}

// PendingLate is how many late effects are still to come.
func (e *Emulator) PendingLate() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.late)
}
