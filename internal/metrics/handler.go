package metrics

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"rotatord/internal/rotate"
)

// Series says whether every credential has its own series; what is counted by portal
// is always there.
type Series string

// The settings.
const (
	SeriesAuto   Series = "auto" // up to autoLimit credentials
	SeriesAlways Series = "always"
	SeriesNever  Series = "never"
)

// autoLimit is how many credentials have their own series under auto: about 25 series
// each, so half a million for the Prometheus that keeps them.
const autoLimit = 20_000

func (s Series) each(credentials int) bool {
	switch s {
	case SeriesAlways:
		return true
	case SeriesNever:
		return false
	case SeriesAuto, "":
	}
	return credentials <= autoLimit
}

// scrapesAtOnce bounds the memory of scrapes; a pair of Prometheus servers and a
// person fit in.
const scrapesAtOnce = 4

// scratch is what a scrape needs and the next one can use again. One is kept, also
// through collections: at ten thousand credentials it is five megabytes, which would
// have to be collected between two scrapes.
type scratch struct {
	credentials []credential
	usage       []usageInfo
	figures     []UsageView
	settings    []SettingsView
	buf         []byte
	gzip        *squeezer // nil until somebody wants it
}

// exposition of everything there is.
type exposition struct {
	registry *prometheus.Registry
	scales   scales
	snapshot func(yield func(*CredentialView))
	series   Series
	portals  func() []rotate.PortalID // that have aggregates, with credentials or without
	usage    func(yield func(*UsageView))
	settings func(yield func(*SettingsView))

	turn   chan struct{} // holds one element for each scrape under way
	kept   chan *scratch // at most one that nobody uses
	blocks *blocks
}

// newExposition of x, whose own members are made here.
func newExposition(x *exposition) *exposition {
	x.turn = make(chan struct{}, scrapesAtOnce)
	x.kept = make(chan *scratch, 1)
	x.blocks = newBlocks()
	return x
}

func (x *exposition) take() *scratch {
	select {
	case s := <-x.kept:
		return s
	default:
		return &scratch{}
	}
}

// put back what take gave. Its strings may belong to a config that is gone.
func (x *exposition) put(s *scratch) {
	clear(s.credentials)
	clear(s.usage)
	clear(s.figures)
	clear(s.settings)
	s.credentials, s.usage, s.figures, s.settings, s.buf = s.credentials[:0], s.usage[:0], s.figures[:0], s.settings[:0], s.buf[:0]
	select {
	case x.kept <- s:
	default:
	}
}

// write everything in a format. What is known of the credentials is one moment's.
func (x *exposition) write(w io.Writer, format expfmt.Format, s *scratch) error {
	families, err := x.registry.Gather()
	if err != nil {
		return fmt.Errorf("gather metrics: %w", err)
	}
	f := x.fleet(s)
	s.credentials = f.credentials
	enc := expfmt.NewEncoder(w, format)
	for _, family := range families {
		if err := enc.Encode(family); err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
	}
	e := encoder{w: w, layout: layoutOf(format), buf: s.buf[:0]}
	e.known, _ = w.(*squeezer)
	f.write(&e, &x.scales, x.series.each(len(f.credentials)))
	x.writeUsage(&e, s, x.series.each(len(f.credentials)))
	x.writeSettings(&e, s, x.series.each(len(f.credentials)))
	e.flush()
	s.buf, err = e.buf, e.err
	if closer, ok := enc.(expfmt.Closer); ok && err == nil {
		err = closer.Close() // OpenMetrics' end mark
	}
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

func (x *exposition) fleet(s *scratch) *fleet {
	f := &fleet{credentials: s.credentials, portals: map[rotate.PortalID]*summary{}}
	for _, id := range x.portals() {
		f.portal(&x.scales, id)
	}
	if x.snapshot != nil {
		now := time.Now()
		x.snapshot(func(v *CredentialView) { f.add(&x.scales, v, now) })
	}
	return f
}

// ServeHTTP implements http.Handler.
func (x *exposition) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case x.turn <- struct{}{}:
		defer func() { <-x.turn }()
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, fmt.Sprintf("%d scrapes are under way; come back later", scrapesAtOnce), http.StatusServiceUnavailable)
		return
	}
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	w.Header().Set("Content-Type", string(format))
	w.Header().Add("Vary", "Accept-Encoding")
	out := &answer{w: w}
	err := x.compressed(out, r, format)
	switch {
	case err == nil:
	case out.begun:
		panic(http.ErrAbortHandler) // the answer is cut, so that nobody takes it for whole
	default:
		w.Header().Del("Content-Encoding")
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (x *exposition) compressed(w *answer, r *http.Request, format expfmt.Format) error {
	s := x.take()
	defer x.put(s)
	if !acceptsGzip(r.Header) {
		return x.write(w, format, s)
	}
	w.w.Header().Set("Content-Encoding", "gzip")
	if s.gzip == nil {
		var err error
		if s.gzip, err = newSqueezer(x.blocks); err != nil {
			return err
		}
	}
	s.gzip.reset(w, layoutOf(format))
	if err := x.write(s.gzip, format, s); err != nil {
		return err
	}
	return s.gzip.Close()
}

// answer knows whether anything of it was sent.
type answer struct {
	w     http.ResponseWriter
	begun bool
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	return a.w.Write(b)
}

// acceptsGzip as Prometheus asks for it.
func acceptsGzip(h http.Header) bool {
	for part := range strings.SplitSeq(h.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" {
			return strings.ReplaceAll(weight, " ", "") != "q=0"
		}
	}
	return false
}
