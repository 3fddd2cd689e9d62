package rotate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestCanary runs a bootstrap, a rotation with faults, a compromised one and a
// roll-back, writes down everything that goes by in every way that a log could, and
// finds no key in it.
func TestCanary(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var out bytes.Buffer
		o := &slog.HandlerOptions{Level: slog.LevelDebug}
		loggers := []*slog.Logger{slog.New(slog.NewTextHandler(&out, o)), slog.New(slog.NewJSONHandler(&out, o))}
		say := func(what string, v any) {
			fmt.Fprintf(&out, "%s %+v %#v\n", what, v, v)
			if b, err := json.Marshal(v); err == nil {
				out.Write(b)
			}
			for _, l := range loggers {
				l.DebugContext(t.Context(), "canary", what, v)
			}
		}
		g := newRig(t)
		last := ""
		g.each = func(r AdvanceResult) {
			now := fmt.Sprint(r.Step, r.Blocked, r.Record.Phase)
			if now == last {
				return // one of a row of equal waits and probes
			}
			last = now
			say("result", r)
			say("record", g.record())
			say("session", g.session)
			say("portal", *g.portal)
			in, err := g.engine.input(t.Context(), g.cred, g.session, g.record())
			if err != nil {
				t.Fatal(err)
			}
			g.engine.gather(t.Context(), g.cred, &Session{}, &in, NeedAll|NeedEarlier|NeedOld)
			say("view", in.View)
			say("in", in)
			say("decision", Decide(in))
			f, err := g.engine.Forecast(t.Context(), g.cred)
			if err != nil {
				t.Fatal(err)
			}
			say("forecast", f)
			for _, s := range []*fakeSink{g.vault, g.file} {
				say("entry", s.current())
				say("meta", s.current().Meta)
			}
		}
		g.until("bootstrap", func(r AdvanceResult) bool { return r.Step == StepPromote })
		g.portal.fail["mint"] = []fault{{err: errLost, after: true}}
		g.vault.fail["write"] = []fault{{err: errBusy}}
		g.portal.slow = time.Minute
		g.untilPhase(PhaseOverlap)
		for _, cmd := range []Command{{Kind: CommandRollback, By: "ann"}, {Kind: CommandResume, By: "ann"}, {Kind: CommandCompromised, By: "ann"}} {
			if _, err := g.engine.Command(t.Context(), g.cred, cmd); err != nil {
				say("refused", err)
				t.Fatal(err)
			}
			g.until(string(cmd.Kind), func(r AdvanceResult) bool {
				return cmd.Kind == CommandResume || r.Step == StepPromote || r.Record.Phase == PhaseIdle
			})
		}
		for _, e := range g.journal.events {
			say("event", e)
		}
		for _, b := range g.journal.records {
			out.Write(b)
		}
		text := out.String()
		if len(g.portal.keys) < 4 || len(text) < 1_000_000 {
			t.Fatalf("%d keys and %d bytes show nothing", len(g.portal.keys), len(text))
		}
		clean(t, "the whole log", text)
		for _, k := range g.portal.keys {
			if strings.Contains(text, k.secret.Reveal()) || strings.Contains(text, fmt.Sprintf("%x", k.secret.Reveal())) {
				t.Errorf("the key %s is in it", k.secret.Fingerprint())
			}
		}
	})
}
