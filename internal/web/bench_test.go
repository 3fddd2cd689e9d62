package web_test

import (
	"net/http"
	"testing"
	"time"

	"rotatord/internal/web"
	"rotatord/internal/web/webtest"
)

const fleetSize = 10_000

func large(t testing.TB) http.Handler {
	now := time.Now().UTC()
	list := webtest.Many(fleetSize, now)
	return site(t, func(o *web.Options) {
		o.Snapshot = func(time.Time) []web.Credential { return append([]web.Credential(nil), list...) } // as the daemon copies them
	})
}

func largePaths() []string {
	return []string{"/", "/?q=team-07&sort=expires", "/?size=1000", "/timeline?span=all", "/calendar", "/credential?name=credential-05000"}
}

// TestTenThousandCredentials: no page of a large fleet keeps a person waiting, on a
// machine that is busy with other tests, too.
func TestTenThousandCredentials(t *testing.T) {
	const limit = slower * time.Second
	h := large(t)
	for _, path := range largePaths() {
		best := time.Hour
		for range 3 {
			began := time.Now()
			if w := fetch(h, http.MethodGet, path); w.Code != http.StatusOK || w.Body.Len() > 4<<20 {
				t.Errorf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
			}
			best = min(best, time.Since(began))
		}
		if best > limit {
			t.Errorf("%s takes %s, want less than %s", path, best, limit)
		}
	}
}

// BenchmarkPage is each page of a fleet of 10,000.
func BenchmarkPage(b *testing.B) {
	h := large(b)
	for _, path := range largePaths() {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fetch(h, http.MethodGet, path)
			}
		})
	}
}
