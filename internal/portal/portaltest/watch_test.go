package portaltest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnEffect(t *testing.T) {
	w := newWorld(t, Online)
	var heard []string
	w.e.OnEffect(func(ev Event) {
		// A watcher may look at the state, and sees it with the effect done.
		live := 0
		for _, k := range w.e.Keys() {
			if ok, _ := w.e.KeyValid(k.Secret); ok {
				live++
			}
		}
		heard = append(heard, fmt.Sprint(ev.Kind, " ", ev.Slot, " ", ev.Why, " ", live))
	})
	w.creator.mint(w.cred, 1)
	w.creator.mint(w.cred, 1)
	w.creator.revoke(w.cred, 1)
	want := []string{"date_set 1  0", "item_updated 0  0", "minted 1  1", "item_updated 0  1", "key_ended 1 overwritten 1", "minted 1  1", "key_ended 1 revoked 0"}
	if fmt.Sprint(heard) != fmt.Sprint(want) {
		t.Errorf("heard %q\nwant  %q", heard, want)
	}
}

func TestKeyHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Online)
		start := w.e.Now()
		w.creator.mint(w.cred, 2)
		pass(time.Hour)
		w.creator.mint(w.cred, 2)
		keys := w.e.Keys()
		if len(keys) != 2 {
			t.Fatalf("%d keys, want 2", len(keys))
		}
		old, live := keys[0], keys[1]
		if !old.Minted.Equal(start) || !old.Ended.Equal(start.Add(time.Hour)) || old.EndedBy != EndedOverwritten {
			t.Errorf("old key %+v", old)
		}
		if old.Slot != 2 || old.ItemID != w.cred.ItemID || old.ClientID != w.cred.ClientID || old.Tail != tail(old.Secret) {
			t.Errorf("old key %+v", old)
		}
		for _, row := range []struct {
			at        time.Duration
			old, live bool
		}{{-time.Second, false, false}, {0, true, false}, {59 * time.Minute, true, false}, {time.Hour, false, true}, {400 * day, false, false}} {
			at := start.Add(row.at)
			if old.Valid(at) != row.old || live.Valid(at) != row.live {
				t.Errorf("after %v: %v %v, want %v %v", row.at, old.Valid(at), live.Valid(at), row.old, row.live)
			}
		}
	})
}

func TestSnapshot(t *testing.T) {
	e := New(Options{})
	e.AddLegacyKey(AdminUser, "old")
	e.AddOAuthApp(AdminUser, "sign-in", redirectBack)
	cred := e.AddCredential(CredentialSeed{Title: "k", Folder: "keys", Expires: [2]time.Time{e.Now().Add(day)}, Minted: true})
	s := e.Snapshot()
	if len(s.Credentials) != 1 || len(s.LegacyKeys) != 1 || len(s.Apps) != 1 || s.Items != 3 || len(s.Users) != 4 {
		t.Fatalf("snapshot %+v", s)
	}
	slot := s.Credentials[0].Slots[0]
	if !slot.Active || !slot.Valid || slot.KeyTail != tail(cred.Keys[0]) || !slot.Expires.Equal(slot.ItemDate) || s.Credentials[0].Slots[1].Active {
		t.Errorf("slots %+v", s.Credentials[0].Slots)
	}
	e.MoveClock(3 * day)
	if slot = e.Snapshot().Credentials[0].Slots[0]; slot.Valid || slot.Why != "expired" || !slot.Active {
		t.Errorf("after expiry %+v", slot)
	}
}

// Many clients at once: every answer is whole, every request is counted, and each credential ends with one live key.
func TestConcurrentClients(t *testing.T) {
	const clients, rounds = 8, 20
	e := New(Options{Switches: map[string]string{SwitchManner: valueStrict}})
	var effects atomic.Int64
	e.OnEffect(func(Event) { effects.Add(1) })
	var wg sync.WaitGroup
	for i := range clients {
		cred := e.AddCredential(CredentialSeed{Title: fmt.Sprint(i)})
		c := signedIn(t, e, AdminUser)
		wg.Go(func() {
			for range rounds {
				c.mint(cred, 1)
				c.appInfo(cred)
				c.ok("search", "q", "typekeywords:APIToken")
			}
		})
	}
	wg.Wait()
	live := 0
	for _, k := range e.Keys() {
		if k.Valid(e.Now()) {
			live++
		}
	}
	total, peak := e.Requests()
	if live != clients || total != clients*(1+4*rounds) || peak < 1 || len(e.Violations()) != 0 {
		t.Errorf("%d live keys, %d requests, peak %d, violations %v", live, total, peak, e.Violations())
	}
	if want := int64(len(e.Events())); effects.Load() != want {
		t.Errorf("watchers heard %d of %d effects", effects.Load(), want)
	}
}

func TestMaxInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Latency: 50 * time.Millisecond, MaxInFlight: 20})
		c := signedIn(t, e, AdminUser)
		start := time.Now()
		var refused atomic.Int64
		var wg sync.WaitGroup
		for range 25 {
			wg.Go(func() {
				_, head, err := c.send(t.Context(), "portals/self")
				if err != nil {
					t.Error(err)
				} else if head.status == 429 {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if refused.Load() != 5 || time.Since(start) != 50*time.Millisecond {
			t.Errorf("%d refused after %v, want 5 after 50ms", refused.Load(), time.Since(start))
		}
		if _, peak := e.Requests(); peak <= 20 {
			t.Errorf("peak %d, want the refused ones in it", peak)
		}
	})
}

func TestSeedRepeats(t *testing.T) {
	ids := func(seed uint64) string {
		e := New(Options{Seed: seed})
		cred := e.AddCredential(CredentialSeed{Title: "k", Expires: [2]time.Time{e.Now().Add(day)}, Minted: true})
		return e.OrgID() + cred.ItemID + cred.ClientID + cred.ClientSecret + cred.Keys[0]
	}
	one, again, other := ids(7), ids(7), ids(8)
	if one != again {
		t.Error("the same seed gave other ids")
	}
	if random, more := ids(0), ids(0); one == other || random == more {
		t.Error("other seeds gave the same ids")
	}
}
