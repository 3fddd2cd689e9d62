package portaltest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// strictly is a strict emulator of the product that must stay without violations.
func strictly(t *testing.T, p Product) *Emulator {
	t.Helper()
	e := New(Options{Product: p, Switches: map[string]string{SwitchManner: valueStrict}})
	t.Cleanup(func() {
		for _, v := range e.Violations() {
			t.Errorf("violation: %s: %s", v.Op, v.Text)
		}
	})
	return e
}

func TestRotation(t *testing.T) {
	for _, product := range []Product{LocationPlatform, Online, Enterprise114} {
		t.Run(string(product), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { rotateOnce(t, strictly(t, product)) })
		})
	}
}

func rotateOnce(t *testing.T, e *Emulator) {
	cred := e.AddCredential(CredentialSeed{Title: "web map", Referrers: []string{"https://*.example.com"}})
	c := signedIn(t, e, AdminUser)
	one := c.mint(cred, 1)
	if got, want := tail(one), "AT1_"+cred.ClientID[8:]; got != want {
		t.Errorf("tail %q, want %q", got, want)
	}
	if !strings.HasPrefix(one, "AAPT") || one[len(one)-13] != '.' {
		t.Errorf("key form: prefix %q, dot %q", one[:4], one[len(one)-13])
	}
	two := c.mint(cred, 2)
	info := c.appInfo(cred)
	if info["apiToken1Active"] != true || info["apiToken2Active"] != true {
		t.Errorf("flags %v %v, want both true", info["apiToken1Active"], info["apiToken2Active"])
	}
	app := &caller{t: t, e: e, referer: "https://maps.example.com/page", token: two}
	proof := app.ok("portals/self")["appInfo"].(map[string]any)
	end := e.Now().AddDate(0, 1, 0)
	wantEnd := time.Date(end.Year(), end.Month(), end.Day(), 23, 59, 59, 0, time.UTC).UnixMilli()
	if proof["appId"] != cred.ClientID || proof["itemId"] != cred.ItemID || int64(proof["expirationDate"].(float64)) != wantEnd {
		t.Errorf("appInfo %v, want app %s, item %s, end %d", proof, cred.ClientID, cred.ItemID, wantEnd)
	}
	c.revoke(cred, 1)
	if got := app.as(one).refused("portals/self"); got != "498 Invalid token." {
		t.Errorf("revoked key: %s", got)
	}
	if valid, why := e.KeyValid(one); valid || why != EndedRevoked {
		t.Errorf("revoked key: valid %v, %q", valid, why)
	}
	if valid, _ := e.KeyValid(two); !valid {
		t.Error("the other slot's key died")
	}
	e.MoveClock(40 * 24 * time.Hour)
	if valid, why := e.KeyValid(two); valid || why != "expired" {
		t.Errorf("expired key: valid %v, %q", valid, why)
	}
	if n := e.Counts()[OpProve]; n != 2 {
		t.Errorf("%d proofs counted, want 2", n)
	}
}
