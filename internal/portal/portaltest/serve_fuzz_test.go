package portaltest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzServe sends arbitrary requests: the emulator answers each one and never panics.
func FuzzServe(f *testing.F) {
	f.Add("POST", "oauth2/token", "f=json&client_id=a&apiToken=1", "Bearer x")
	f.Add("GET", "content/users/ops_admin/items/0/update?f=json", "", "")
	f.Add("POST", "portals/self/usage", "startTime=1&endTime=9&period=1h&vars=num", "Bearer KEY")
	f.Add("POST", "search", `q=owner:(a OR "b")&start=-5&num=99999`, "Bearer KEY")
	f.Add("POST", "oauth2/authorize", "response_type=code&redirect_uri=%3A", "")
	e := New(Options{Seed: 1, Control: true})
	cred := e.AddCredential(CredentialSeed{Title: "k", Privileges: Privileges(Online), Expires: [2]time.Time{e.Now().Add(day)}, Minted: true})
	f.Fuzz(func(t *testing.T, method, path, body, auth string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "https://portal.test"+e.Root()+"/"+path, strings.NewReader(body))
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Authorization", strings.ReplaceAll(auth, "KEY", cred.Keys[0]))
		res, err := e.Transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil || len(raw) == 0 && res.StatusCode != http.StatusFound {
			t.Errorf("answer of %d bytes, status %d, %v", len(raw), res.StatusCode, err)
		}
		if bytes.Contains(raw, []byte(cred.Keys[0])) && !strings.Contains(auth, "KEY") {
			t.Error("an answer shows a key")
		}
	})
}
