package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"rotatord/internal/rotate"
)

// manyViews of n credentials in the middle of their overlap, with a key in each slot.
func manyViews(n int) []CredentialView {
	all := make([]CredentialView, n)
	for i := range all {
		all[i] = views()[0]
		all[i].Name = rotate.Name(fmt.Sprintf("credential-%06d", i))
		all[i].Item = rotate.ItemID(fmt.Sprintf("%032x", i))
	}
	return all
}

// BenchmarkScrape is one scrape as Prometheus asks for it. What it takes over HTTP
// from the whole program, and its memory, is in internal/bench.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		for _, form := range []struct{ name, accept, encoding string }{
			{"text", "text/plain;version=0.0.4", ""},
			{"text+gzip", "text/plain;version=0.0.4", "gzip"},
			{"openmetrics+gzip", "application/openmetrics-text;version=1.0.0", "gzip"},
			{"protobuf+gzip", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", "gzip"},
		} {
			b.Run(fmt.Sprintf("%d/%s", n, form.name), func(b *testing.B) {
				all := manyViews(n)
				h := New(Options{Series: SeriesAlways, Snapshot: each(all)}).Handler()
				r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
				r.Header.Set("Accept", form.accept)
				r.Header.Set("Accept-Encoding", form.encoding)
				w := &counter{header: http.Header{}}
				b.ReportAllocs()
				for b.Loop() {
					w.n = 0
					h.ServeHTTP(w, r)
				}
				b.ReportMetric(float64(w.n)/1e6, "MB")
			})
		}
	}
}

// counter is a response that nobody keeps.
type counter struct {
	header http.Header
	n      int
}

func (c *counter) Header() http.Header { return c.header }
func (c *counter) WriteHeader(int)     {}
func (c *counter) Write(b []byte) (int, error) {
	c.n += len(b)
	return len(b), nil
}
