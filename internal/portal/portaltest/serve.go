package portaltest

import (
	"bytes"
	"context"
	"encoding/json"
	"html"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// page is an answer that is not a JSON object, such as the OAuth form or a redirect.
type page struct {
	status      int
	contentType string
	location    string
	body        string
}

// handle takes one request to its outcome. It runs in the caller's goroutine and leaves nothing behind.
func (e *Emulator) handle(r *http.Request) outcome {
	if e.opts.Control && strings.HasPrefix(r.URL.Path, controlPrefix) {
		return e.control(r)
	}
	c, err := e.parse(r)
	if err != nil {
		return outcome{status: http.StatusBadRequest, header: http.Header{}, body: []byte(err.Error())}
	}
	refused, leave := e.enter(c)
	defer leave()
	if refused != nil {
		return *refused
	}
	f := e.pickFault(c)
	if out := e.delay(r.Context(), c, f, e.opts.Latency); out != nil {
		return *out
	}
	if f == nil {
		return e.execute(c)
	}
	return e.applyFault(r.Context(), c, f)
}

// enter counts the request, lets due late effects happen before it, and refuses it where a limit says so.
func (e *Emulator) enter(c *call) (refused *outcome, leave func()) {
	e.mu.Lock()
	e.requests++
	c.seq = e.requests
	e.counts[c.op]++
	e.inFlight++
	e.peak = max(e.peak, e.inFlight)
	e.tickLate()
	switch {
	case e.opts.MaxInFlight > 0 && e.inFlight > e.opts.MaxInFlight:
		refused = new(e.tooMany(http.StatusTooManyRequests, 0, textTooManyRunning))
	case !e.is(SwitchRateLimit, valueOff):
		refused = e.limit()
	}
	e.unlock()
	return refused, func() {
		e.mu.Lock()
		e.inFlight--
		e.mu.Unlock()
	}
}

// limit applies switch rate_limit; the caller holds e.mu.
func (e *Emulator) limit() *outcome {
	after, ok := e.limiter.take(e.now(), e.opts.RateLimit)
	if ok {
		return nil
	}
	switch {
	case e.is(SwitchRateLimit, "body_429"):
		return new(e.tooMany(http.StatusOK, 0, textTooMany))
	case e.is(SwitchRateLimit, "http_429_bare"):
		return new(e.tooMany(http.StatusTooManyRequests, 0, textTooMany))
	default:
		return new(e.tooMany(http.StatusTooManyRequests, after, textTooMany))
	}
}

func (e *Emulator) tooMany(status int, after time.Duration, text string) outcome {
	out := e.answer(status, (&apiError{code: 429, message: text}).body())
	if after > 0 {
		out.header.Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	}
	return out
}

// limiter is a token bucket on the emulator's clock.
type limiter struct {
	level float64
	last  time.Time
}

func (l *limiter) take(now time.Time, rate int) (time.Duration, bool) {
	if l.last.IsZero() {
		l.level = rateBurst
	} else if passed := now.Sub(l.last); passed > 0 {
		l.level = min(rateBurst, l.level+passed.Seconds()*float64(rate))
	}
	l.last = now
	if l.level >= 1 {
		l.level--
		return 0, true
	}
	return time.Duration((1 - l.level) / float64(rate) * float64(time.Second)), false
}

// execute runs the operation on the state and renders its answer.
func (e *Emulator) execute(c *call) outcome {
	e.mu.Lock()
	out := e.run(c)
	if c.op.Effect() && !c.late {
		e.effects++
		if e.is(SwitchAmbiguousFailure, "always") || e.is(SwitchAmbiguousFailure, "every_third") && e.effects%3 == 0 {
			out = outcome{cut: syscall.ECONNRESET}
		}
	}
	e.unlock()
	return out
}

// run is execute under the lock.
func (e *Emulator) run(c *call) outcome {
	c.now = e.now()
	value, err := e.dispatch(c)
	return e.render(c, value, err)
}

func (e *Emulator) dispatch(c *call) (any, error) {
	if c.route == nil {
		if err := e.violation(c, "there is no such address"); err != nil {
			return nil, err
		}
		return page{status: http.StatusNotFound, contentType: "text/html;charset=utf-8", body: "<html><body>404 Not Found</body></html>"}, nil
	}
	if c.route.post && c.method != http.MethodPost {
		if err := e.violation(c, "the method must be POST"); err != nil {
			return nil, err
		}
		return nil, &apiError{code: 405, message: textMethod, status: http.StatusMethodNotAllowed}
	}
	if err := e.strict(c); err != nil {
		return nil, err
	}
	if c.stale {
		defer e.rewind(c)()
	}
	if c.route.auth != authNone {
		if err := c.identify(); err != nil {
			return nil, err
		}
		if c.route.auth == authNeeded && c.id.anonymous() {
			return nil, tokenRequired()
		}
	}
	return c.route.handler(c)
}

// rewind puts the item aimed at back to before its last effect, and gives what undoes that.
func (e *Emulator) rewind(c *call) (forward func()) {
	now := e.items[c.itemID]
	if now == nil || now.prev == nil {
		return func() {}
	}
	e.items[c.itemID] = now.prev
	return func() { e.items[c.itemID] = now }
}

// render writes the answer as JSON where f asks for it and as HTML otherwise, as the portal does.
func (e *Emulator) render(c *call, value any, err error) outcome {
	status := http.StatusOK
	if err != nil {
		apiErr := asAPIError(err)
		value = apiErr.body()
		if apiErr.status != 0 {
			status = apiErr.status
		}
	}
	if p, ok := value.(page); ok {
		return e.renderPage(p)
	}
	switch c.form.Get("f") {
	case "json", "pjson":
		return e.answer(status, value)
	}
	if e.is(SwitchManner, valueStrict) || c.op == OpService {
		return e.answer(status, value)
	}
	raw, _ := json.MarshalIndent(value, "", "  ") // obj of plain values: cannot fail
	return e.renderPage(page{status: status, contentType: "text/html;charset=utf-8",
		body: "<html><head><title>ArcGIS Portal Directory</title></head><body><pre>" + html.EscapeString(string(raw)) + "</pre></body></html>"})
}

func (e *Emulator) renderPage(p page) outcome {
	h := e.baseHeader()
	h.Set("Content-Type", p.contentType)
	if p.location != "" {
		h.Set("Location", p.location)
	}
	return outcome{status: p.status, header: h, body: []byte(p.body)}
}

// answer is a JSON answer.
func (e *Emulator) answer(status int, value any) outcome {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return outcome{status: http.StatusInternalServerError, header: http.Header{}, body: []byte(err.Error())}
	}
	h := e.baseHeader()
	h.Set("Content-Type", "application/json;charset=UTF-8")
	return outcome{status: status, header: h, body: bytes.TrimRight(buf.Bytes(), "\n")}
}

// baseHeader holds the Date of the emulator's clock; an empty list keeps net/http from adding its own.
func (e *Emulator) baseHeader() http.Header {
	h := http.Header{}
	if e.is(SwitchDateHeader, valueOff) {
		h["Date"] = nil
		return h
	}
	h.Set("Date", e.now().Add(e.duration(SwitchDateHeader)).Format(http.TimeFormat))
	h.Set("Cache-Control", "no-cache")
	return h
}

// wait blocks for d or until the context ends.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
