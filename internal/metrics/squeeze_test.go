package metrics

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"rotatord/internal/rotate"
)

// unpacked is a gzip answer of one member, which is all that some clients read.
func unpacked(t interface {
	Helper()
	Fatal(...any)
}, packed []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	text, err := io.ReadAll(z) // its sum and length are checked
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSqueezer: whatever is written, as a block or not, new or known, comes out again.
func TestSqueezer(t *testing.T) {
	texts := rapid.OneOf(rapid.StringN(0, 50, 200), rapid.Map(rapid.IntRange(0, 30_000), func(n int) string { return strings.Repeat(fmt.Sprintf("row %d 1\n", n%7), n) }))
	rapid.Check(t, func(t *rapid.T) {
		s, err := newSqueezer(newBlocks())
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 4).Draw(t, "scrapes") {
			var got bytes.Buffer
			var want strings.Builder
			s.reset(&got, layoutText)
			for n := range rapid.IntRange(0, 6).Draw(t, "parts") {
				text := texts.Draw(t, "text")
				want.WriteString(text)
				if rapid.Bool().Draw(t, "block") {
					err = s.block("f", n%3, []byte(text))
				} else {
					_, err = s.Write([]byte(text))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if unpacked(t, got.Bytes()) != want.String() {
				t.Fatal("it is not what was written")
			}
		}
	})
}

func packed(t *testing.T, m *Metrics, accept string) []byte {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK || w.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("status %d, encoding %q", w.Code, w.Header().Get("Content-Encoding"))
	}
	return w.Body.Bytes()
}

// TestScrapeShowsWhatChanged: blocks that are known hide no change, in no format.
func TestScrapeShowsWhatChanged(t *testing.T) {
	all := manyViews(3 * blockOf)
	m := New(Options{Series: SeriesAlways, Snapshot: each(all)})
	m.ShowUsage(func(yield func(*UsageView)) {
		for i := range all {
			yield(&UsageView{Credential: all[i].Name, Missing: all[i].Environment})
		}
	})
	credentials := func(text string) string { // what the process tells of itself differs from scrape to scrape
		var b strings.Builder
		for line := range strings.Lines(text) {
			if strings.Contains(line, "credential-") {
				b.WriteString(line)
			}
		}
		return b.String()
	}
	for _, change := range []func(){func() {}, func() {}, func() { all[blockOf].Environment = "elsewhere" }, func() { all[0].Record.Attempts = 3 },
		func() { all[len(all)-1].Record.Phase = rotate.PhaseIdle }, func() { all[7].Name = "credential-renamed" }} {
		change()
		for _, accept := range []string{"text/plain", "application/openmetrics-text;version=1.0.0"} {
			if got, want := credentials(unpacked(t, packed(t, m, accept))), credentials(scrape(t, m, accept)); got != want {
				t.Fatalf("%s: %d bytes unlike the %d that are not compressed", accept, len(got), len(want))
			}
		}
		if got := len(unpacked(t, packed(t, m, acceptProto))); got < 100_000 {
			t.Fatalf("only %d bytes of protobuf", got)
		}
	}
}

// TestBlocksAreForgotten once no scrape has them any more.
func TestBlocksAreForgotten(t *testing.T) {
	all := manyViews(3 * blockOf)
	m := New(Options{Series: SeriesAlways, Snapshot: func(yield func(*CredentialView)) { each(all)(yield) }})
	packed(t, m, "text/plain")
	many := len(m.exposition.blocks.known)
	before := maps.Clone(m.exposition.blocks.known)
	if packed(t, m, "text/plain"); !maps.Equal(before, m.exposition.blocks.known) {
		t.Error("what has not changed was compressed again")
	}
	all = all[:1]
	for range 2*scrapesAtOnce + 2 {
		packed(t, m, "text/plain")
	}
	if few := len(m.exposition.blocks.known); few*3 != many {
		t.Errorf("%d blocks are known of a third of the credentials, and were %d of all", few, many)
	}
}

// TestScrapesAtOnce share what is known and nothing else.
func TestScrapesAtOnce(t *testing.T) {
	m := New(Options{Series: SeriesAlways, Snapshot: each(manyViews(2 * blockOf))})
	var scrapes sync.WaitGroup
	for range scrapesAtOnce {
		scrapes.Go(func() {
			for range 5 {
				if n := strings.Count(unpacked(t, packed(t, m, "text/plain")), "rotatord_credential_info{"); n != 2*blockOf {
					t.Errorf("%d credentials, want %d", n, 2*blockOf)
				}
			}
		})
	}
	scrapes.Wait()
}
