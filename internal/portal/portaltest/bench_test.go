package portaltest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func benchPost(b *testing.B, e *Emulator, path string, form url.Values, header ...string) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "https://portal.test"+e.Root()+"/"+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := e.Transport().RoundTrip(req)
	if err != nil {
		b.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		b.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		b.Fatalf("status %d", res.StatusCode)
	}
}

func BenchmarkMint(b *testing.B) {
	e := New(Options{})
	cred := e.AddCredential(CredentialSeed{Title: "k", Expires: [2]time.Time{e.Now().Add(day)}})
	form := mintForm(cred, 1)
	for b.Loop() {
		benchPost(b, e, "oauth2/token", form)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mints/s")
}

// BenchmarkMintWithLatency has 200 clients at once against 50 ms a call.
func BenchmarkMintWithLatency(b *testing.B) {
	const clients = 200
	e := New(Options{Latency: 50 * time.Millisecond})
	creds := make([]Credential, clients)
	for i := range creds {
		creds[i] = e.AddCredential(CredentialSeed{Title: "k", Expires: [2]time.Time{e.Now().Add(day)}})
	}
	n := 0
	for b.Loop() {
		var wg sync.WaitGroup
		for _, cred := range creds {
			wg.Go(func() { benchPost(b, e, "oauth2/token", mintForm(cred, 1)) })
		}
		wg.Wait()
		n += clients
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "mints/s")
}

// BenchmarkListing pages once through 10,000 credentials.
func BenchmarkListing(b *testing.B) {
	for _, path := range []string{"portals/self/apiTokens", "search"} {
		b.Run(path, func(b *testing.B) {
			e := New(Options{})
			many(e, 10_000)
			key := e.AddCredential(CredentialSeed{Title: "admin", Privileges: []string{privilegeViewAll, privilegeEditAll},
				Expires: [2]time.Time{e.Now().Add(day)}, Minted: true}).Keys[0]
			for b.Loop() {
				e.MoveClock(0) // a new version: the lists are made anew for each pass
				for page := range 100 {
					benchPost(b, e, path, url.Values{"f": {"json"}, "token": {key}, "q": {"typekeywords:APIToken"}, "num": {"100"},
						"start": {fmt.Sprint(page*100 + 1)}})
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		New(Options{Switches: map[string]string{SwitchManner: valueStrict, SwitchDateRounding: "none"}})
	}
}
