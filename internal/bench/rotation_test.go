package bench

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/journal"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

const day = 24 * time.Hour

func policy() rotate.Policy {
	return rotate.Policy{RenewBefore: 30 * day, Overlap: 3 * day, CriticalBefore: 7 * day, Lifetime: 90 * day, Precision: rotate.PrecisionDay,
		MinInterval: day, MinGain: 2 * day, ProbeEvery: 4 * day, DeepEvery: 200 * day, OrphanDelay: 4 * day, EffectHorizon: 10 * time.Minute,
		RetryBase: 30 * time.Second, RetryMax: time.Hour, MaxAttempts: 8, DeadProbes: 3, DeadAfter: 10 * time.Minute, DeathsPerHour: 3,
		AutoAdopt: true}
}

// requestLog is what a portal client sent, in order.
type requestLog struct {
	mu   sync.Mutex
	list []string // guarded by mu: "purpose op"
}

func (l *requestLog) add(op string, p rotate.Purpose, _ rotate.Result, _ time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, string(p)+" "+op)
}

func (l *requestLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list
	l.list = nil
	return list
}

// TestRequestsOfARotation: exactly these requests, in this order, in days of fake time,
// where nothing goes wrong.
func TestRequestsOfARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent requestLog
		emu := portaltest.New(portaltest.Options{Seed: 3, Switches: map[string]string{portaltest.SwitchManner: "strict"}})
		client := newClient(t, portal.Options{URL: "https://portal.example.com", Transport: emu.Transport(), OnRequest: sent.add})
		db, err := journal.Open(t.Context(), journal.Options{Path: filepath.Join(t.TempDir(), "journal.db")})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		engine, err := rotate.New(rotate.Options{Journal: db, Instance: "bench"})
		if err != nil {
			t.Fatal(err)
		}
		cr := emu.AddCredential(portaltest.CredentialSeed{Title: "map", Minted: true, Expires: [2]time.Time{time.Now().Add(80 * day)}})
		sink := rotatetest.NewMemSink("memory")
		sink.Overwrite(rotate.NewSecret(cr.Keys[0]), nil)
		c := &rotate.Credential{Name: "map", ID: rotate.ID{Portal: "p", Item: rotate.ItemID(cr.ItemID)}, Policy: policy(),
			Mode: rotate.ModeRotate, Portal: client, Sinks: []rotate.Sink{sink}}
		s := &rotate.Session{}

		rotateTo(t, engine, c, s, rotate.StepNone, rotate.PhaseIdle)
		sent.take() // adoption
		rotateTo(t, engine, c, s, rotate.StepRetire, rotate.PhaseIdle)
		checkRequests(t, sent.take())
		if v := emu.Violations(); len(v) > 0 {
			t.Errorf("the emulator refused: %v", v)
		}
		if keys := emu.Keys(); len(keys) != 2 || keys[0].EndedBy != portaltest.EndedRevoked || sink.Served().Key.Reveal() != keys[1].Secret {
			t.Errorf("no whole rotation: %+v", keys)
		}
	})
}

// rotateTo advances until a step ended in a phase.
func rotateTo(t *testing.T, e *rotate.Engine, c *rotate.Credential, s *rotate.Session, step rotate.Step, phase rotate.Phase) {
	t.Helper()
	for range 60 {
		res := e.Advance(t.Context(), c, s)
		if res.Err != nil || res.Blocked == rotate.ReasonDrift {
			t.Fatalf("%s: %v %s", res.Step, res.Err, res.Detail)
		}
		if res.Step == step && res.Record.Phase == phase && !res.Record.AdoptedAt.IsZero() {
			return
		}
		timer := time.NewTimer(max(time.Until(res.Next), 0))
		<-timer.C
	}
	t.Fatalf("%s/%s not reached in 60 steps", step, phase)
}

func checkRequests(t *testing.T, sent []string) {
	t.Helper()
	by := map[rotate.Purpose][]string{}
	for _, line := range sent {
		purpose, op, _ := strings.Cut(line, " ")
		by[rotate.Purpose(purpose)] = append(by[rotate.Purpose(purpose)], op)
	}
	claim{name: "requests of a rotation: protocol", measured: float64(len(by[rotate.PurposeProtocol])), unit: "requests", limit: 8}.report(t)
	for _, p := range []rotate.Purpose{rotate.PurposeSafety, rotate.PurposeProbe, rotate.PurposeSurvey, rotate.PurposeSignIn} {
		claim{name: fmt.Sprintf("requests of a rotation: %s (apart)", p), measured: float64(len(by[p])), unit: "requests"}.report(t)
	}
	claim{name: "requests of a rotation: all together", measured: float64(len(sent)), unit: "requests"}.report(t)
	want := []string{
		"sign_in sign_in",                           // the session of weeks ago has ended
		"survey item", "survey app", "survey prove", // is it due, and do journal, sink and portal agree
		"protocol app", "protocol set_expiry",
		"safety app", "safety prove", // afresh, before the mint
		"protocol mint", "protocol prove",
		"probe prove", // the served key, right after it was written
		"sign_in sign_in",
		"safety app", "protocol prove", "safety prove", // afresh, before the old key is revoked: flags, served key, old key
		"protocol revoke", "protocol app", "protocol prove", // and the proof that it is gone
	}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("requests of a rotation (-want +got):\n%s", diff)
	}
}
