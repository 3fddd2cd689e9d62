package bench

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"rotatord/docs"
	"rotatord/internal/web"
	"rotatord/internal/web/webtest"
)

// BenchmarkStatusPage is the first page of a fleet of 10,000: problems, the table's
// first hundred, the chart.
func BenchmarkStatusPage(b *testing.B) {
	now := time.Now().UTC()
	list := webtest.Many(10_000, now)
	o := webtest.Options(func(time.Time) []web.Credential { return slices.Clone(list) }, now) // the daemon copies them, too
	o.Protocol, o.Runbook = docs.Protocol, docs.Runbook
	site, err := web.New(o)
	if err != nil {
		b.Fatal(err)
	}
	page := site.Root()
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
	claim{name: "status page, first page of 10,000 credentials", measured: nsPerOp(b) / 1e6, unit: "ms", limit: 250, quiet: true}.report(b)
}
