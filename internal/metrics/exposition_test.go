package metrics

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"pgregory.net/rapid"

	"rotatord/internal/rotate"
)

const acceptProto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

// gathered is everything that a scrape tells, read back from its protobuf form.
func gathered(t *testing.T, m *Metrics) prometheus.Gatherer {
	t.Helper()
	families := parsed(t, expfmt.NewFormat(expfmt.TypeProtoDelim), scrape(t, m, acceptProto))
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })
}

func parsed(t interface {
	Helper()
	Fatal(...any)
}, format expfmt.Format, text string) []*dto.MetricFamily {
	t.Helper()
	var all []*dto.MetricFamily
	for dec := expfmt.NewDecoder(strings.NewReader(text), format); ; {
		f := &dto.MetricFamily{}
		switch err := dec.Decode(f); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, f)
	}
}

// lines of an exposition in any order: expfmt's parser keeps families in a map.
func lines(text string) []string {
	all := strings.Split(text, "\n")
	slices.Sort(all)
	return all
}

// written is a fleet as our encoder writes it.
func written(t interface {
	Helper()
	Fatal(...any)
}, all []CredentialView, format expfmt.Format) string {
	t.Helper()
	x := newExposition(&exposition{registry: prometheus.NewRegistry(), scales: newScales(), series: SeriesAlways, snapshot: each(all), portals: func() []rotate.PortalID { return nil }})
	var out bytes.Buffer
	if err := x.write(&out, format, x.take()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// reference is the same families as expfmt writes them.
func reference(t interface {
	Helper()
	Fatal(...any)
}, families []*dto.MetricFamily, format expfmt.Format) string {
	t.Helper()
	var out bytes.Buffer
	enc := expfmt.NewEncoder(&out, format)
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	if c, ok := enc.(expfmt.Closer); ok {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// TestLikeExpfmt holds our encoder to the one that everybody uses: what it writes is
// read back, and written by that one to the same bytes in every format, whatever an
// owner is called and whatever time it is.
func TestLikeExpfmt(t *testing.T) {
	formats := []expfmt.Format{expfmt.NewFormat(expfmt.TypeTextPlain), expfmt.NewFormat(expfmt.TypeOpenMetrics), expfmt.NewFormat(expfmt.TypeProtoDelim)}
	rapid.Check(t, func(t *rapid.T) {
		label := rapid.StringOf(rapid.SampledFrom([]rune("ab \\\"\n{}=,é€\U0001F511#")))
		seconds := rapid.Int64Range(1, 4e9*1000)
		all := views()
		for i := range all {
			v := &all[i]
			v.Owner, v.Environment = label.Draw(t, "owner"), label.Draw(t, "environment")
			v.DueAt = time.UnixMilli(seconds.Draw(t, "due"))
			v.Record.RetireAt = time.UnixMilli(seconds.Draw(t, "retire"))
		}
		text := written(t, all, formats[0])
		families := parsed(t, formats[0], text)
		if want := len(portalFamilies()) + len(credentialFamilies()); len(families) != want {
			t.Fatalf("%d families, want all %d", len(families), want)
		}
		for _, format := range formats {
			got, want := written(t, all, format), reference(t, families, format)
			if format.FormatType() == expfmt.TypeProtoDelim { // whose members have no fixed order
				got, want = reference(t, parsed(t, format, got), formats[0]), text
			}
			if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
				t.Fatalf("%s (-expfmt +ours):\n%s", format, diff)
			}
		}
	})
}

// TestLabelsAreWhatWasMeant: the order of a row's values is the order of its family's labels.
func TestLabelsAreWhatWasMeant(t *testing.T) {
	v := views()[0]
	v.Portal, v.Product, v.Owner, v.Environment, v.Item, v.Name = "portal", "product", "owner", "environment", "item", "credential"
	v.Record.Due, v.Record.Blocked = "due", "blocked"
	for _, f := range parsed(t, expfmt.NewFormat(expfmt.TypeTextPlain), written(t, []CredentialView{v}, expfmt.NewFormat(expfmt.TypeTextPlain))) {
		switch f.GetName() {
		case "rotatord_credential_info", "rotatord_credential_plan_info":
			for _, l := range f.GetMetric()[0].GetLabel() {
				if l.GetName() != l.GetValue() {
					t.Errorf("%s: label %s is %s", f.GetName(), l.GetName(), l.GetValue())
				}
			}
		case "rotatord_key_expiration_timestamp_seconds":
			if got := f.GetMetric()[0].String(); !strings.Contains(got, `name:"slot"`) || !strings.Contains(got, `value:"1"`) || !strings.Contains(got, `value:"spare"`) {
				t.Errorf("the first key is %s", got)
			}
		}
	}
}

func TestCompressed(t *testing.T) {
	m := scripted()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", "deflate, gzip;q=1.0")
	for range 2 { // the second reuses what the first left
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, r)
		if got := w.Header().Get("Content-Encoding"); got != "gzip" {
			t.Fatalf("Content-Encoding is %q", got)
		}
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil || !strings.Contains(string(text), "rotatord_credential_info") {
			t.Errorf("%d bytes, %v", len(text), err)
		}
	}
	for header, want := range map[string]bool{"": false, "identity": false, "gzip": true, "br, gzip": true, "gzip;q=0": false, "gzip; q=0": false} {
		if got := acceptsGzip(http.Header{"Accept-Encoding": {header}}); got != want {
			t.Errorf("Accept-Encoding %q: %v", header, got)
		}
	}
}

func TestSeriesSetting(t *testing.T) {
	few, many := manyViews(2), manyViews(autoLimit+1)
	for _, row := range []struct {
		series Series
		all    []CredentialView
		want   bool
	}{
		{"", few, true}, {SeriesAuto, few, true}, {SeriesAuto, many, false}, {SeriesAlways, many, true}, {SeriesNever, few, false},
	} {
		m := New(Options{Series: row.series, Snapshot: each(row.all)})
		var text bytes.Buffer
		if err := m.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(text.String(), "rotatord_credential_info"); got != row.want {
			t.Errorf("%q with %d: each credential is shown: %v", row.series, len(row.all), got)
		}
		if want := fmt.Sprintf(`rotatord_credentials_phase{phase="overlap",portal="esri"} %d`, len(row.all)); !strings.Contains(text.String(), want) &&
			!strings.Contains(text.String(), fmt.Sprintf(`rotatord_credentials_phase{portal="esri",phase="overlap"} %d`, len(row.all))) {
			t.Errorf("%q with %d: no aggregate", row.series, len(row.all))
		}
	}
}

// broken breaks off after some bytes, as a client that went away.
type broken struct {
	http.ResponseWriter
	left int
}

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("gone")
	}
	return len(p), nil
}

func TestBrokenOff(t *testing.T) {
	m := scripted()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	func() {
		defer func() {
			if cause := recover(); cause != http.ErrAbortHandler { //nolint:errorlint // it is a panic's value
				t.Errorf("a scrape that broke off ended with %v: the client takes it for whole", cause)
			}
		}()
		m.Handler().ServeHTTP(&broken{httptest.NewRecorder(), 3000}, r)
	}()
	if text := scrape(t, m, ""); !strings.Contains(text, "rotatord_credential_info") {
		t.Error("the next scrape is not whole")
	}
}

// TestTooManyScrapes: they end at once, and do not pile up.
func TestTooManyScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		m := New(Options{Snapshot: func(func(*CredentialView)) { <-release }})
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		codes := make(chan int, scrapesAtOnce)
		for range scrapesAtOnce {
			go func() {
				w := httptest.NewRecorder()
				m.Handler().ServeHTTP(w, r)
				codes <- w.Code
			}()
		}
		synctest.Wait()
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("one scrape too many got %d", w.Code)
		}
		close(release)
		for range scrapesAtOnce {
			if code := <-codes; code != http.StatusOK {
				t.Errorf("a scrape got %d", code)
			}
		}
	})
}

func TestULIDTime(t *testing.T) {
	if at, ok := ulidTime("01ARZ3NDEKTSV4RRFFQ69G5FAV"); !ok || at.UnixMilli() != 1469922850259 {
		t.Errorf("the specification's example is from %v (%v)", at, ok)
	}
	for _, id := range []string{"", "R1", "01ARZ3NDEUTSV4RRFFQ69G5FAV", "U1ARZ3NDEKTSV4RRFFQ69G5FAV"} {
		if at, ok := ulidTime(id); ok {
			t.Errorf("%q is from %v", id, at)
		}
	}
}
