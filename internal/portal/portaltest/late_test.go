package portaltest

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLateEffectByOperations(t *testing.T) {
	w := newWorld(t, Online)
	w.creator.setDate(w.cred, 1, w.e.Now().Add(5*day))
	inject(t, w.e, Fault{Op: OpMint, Kind: LateEffect, LateOps: 2})
	if _, _, err := w.admin.anonymous().send(t.Context(), "oauth2/token", mintPairs(w.cred, 1)...); err == nil {
		t.Fatal("the late request was answered")
	}
	flag := func() any { return w.creator.appInfo(w.cred)["apiToken1Active"] }
	w.want("first request after it", flag(), false)
	w.want("second request after it", flag(), true)
	w.want("pending", w.e.PendingLate(), 0)
}

// A late mint overwrites a key that was made after it was sent: the case that costs a live key.
func TestLateMintOverwrites(t *testing.T) {
	w := newWorld(t, Online)
	w.creator.setDate(w.cred, 1, w.e.Now().Add(5*day))
	inject(t, w.e, Fault{Op: OpMint, Kind: LateEffect})
	if _, _, err := w.admin.anonymous().send(t.Context(), "oauth2/token", mintPairs(w.cred, 1)...); err == nil {
		t.Fatal("the late request was answered")
	}
	key := w.creator.mint(w.cred, 1)
	w.want("before", w.valid(key), true)
	w.want("flushed", w.e.FlushLate(), 1)
	if valid, why := w.e.KeyValid(key); valid || why != EndedOverwritten {
		t.Errorf("after: valid %v, %q", valid, why)
	}
}

func TestLateEffectByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Online)
		key := w.creator.mint(w.cred, 1)
		inject(t, w.e, Fault{Op: OpRevoke, Kind: LateEffect, LateFor: time.Minute})
		revoke := []string{"client_id", w.cred.ClientID, "client_secret", w.cred.ClientSecret, "apiToken", "1"}
		if _, _, err := w.admin.anonymous().send(t.Context(), "oauth2/revokeToken", revoke...); err == nil {
			t.Fatal("the late request was answered")
		}
		var heard []Event
		w.e.OnEffect(func(ev Event) { heard = append(heard, ev) })
		pass(time.Minute - time.Second)
		w.want("early", w.valid(key), true)
		pass(time.Second)
		w.want("due", w.valid(key), false)
		if len(heard) != 1 || heard[0].Kind != EventKeyEnded || !heard[0].Late || heard[0].Slot != 1 {
			t.Errorf("heard %+v", heard)
		}
	})
}

func TestDropLate(t *testing.T) {
	w := newWorld(t, Online)
	w.creator.setDate(w.cred, 1, w.e.Now().Add(5*day))
	inject(t, w.e, Fault{Op: OpMint, Kind: LateEffect, LateOps: 5})
	if _, _, err := w.admin.anonymous().send(t.Context(), "oauth2/token", mintPairs(w.cred, 1)...); err == nil {
		t.Fatal("the late request was answered")
	}
	w.want("dropped", w.e.DropLate(), 1)
	for range 6 {
		w.item()
	}
	w.want("keys", len(w.e.Keys()), 0)
}
