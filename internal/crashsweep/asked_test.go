package crashsweep

import (
	"context"
	"errors"

	"rotatord/internal/rotate"
)

// ask gives the credential hooks at every point, and a gate.
func (w *world) ask() {
	w.cred.Hooks = []rotate.Hook{&worldHook{w: w}}
	w.cred.Gates = []rotate.Gate{&worldGate{w: w}}
}

// worldHook agrees unless a fault strikes it or it is set against.
type worldHook struct {
	w    *world
	veto bool
}

func (h *worldHook) Name() string               { return "world" }
func (h *worldHook) Points() []rotate.HookPoint { return rotate.HookPoints() }

func (h *worldHook) Call(_ context.Context, c rotate.HookCall) error {
	switch h.w.strike(call{callHook, string(c.Point)}) {
	case failBefore:
		return errors.New("not now")
	case dieBefore, dieAfter:
		panic(errDied)
	default:
	}
	if h.veto {
		return errors.New("not at all")
	}
	return nil
}

// worldGate is quiet unless a fault strikes it or somebody is busy.
type worldGate struct {
	w    *world
	busy bool
}

func (g *worldGate) Name() string { return "world" }

func (g *worldGate) Ask(context.Context, rotate.Quiet) (rotate.QuietAnswer, error) {
	switch g.w.strike(call{callGate, "ask"}) {
	case failBefore:
		return rotate.QuietAnswer{}, errors.New("no answer")
	case stale:
		return rotate.QuietAnswer{Detail: "still in use"}, nil
	default:
	}
	return rotate.QuietAnswer{Quiet: !g.busy, Detail: "busy"}, nil
}

// asked is the world's hook and gate; made where there are none.
func (w *world) asked() (*worldHook, *worldGate) {
	if len(w.cred.Hooks) == 0 {
		w.ask()
	}
	return w.cred.Hooks[0].(*worldHook), w.cred.Gates[0].(*worldGate)
}
