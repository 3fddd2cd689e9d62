package portaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Transport calls the emulator in the caller's goroutine, without sockets. Any host name reaches it.
func (e *Emulator) Transport() http.RoundTripper { return roundTripper{e} }

type roundTripper struct{ e *Emulator }

// RoundTrip implements http.RoundTripper. A cut connection is an error, as it is from a real transport.
func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.WithContext(r.Context()) // a copy: a transport must not change its request, and parsing does
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	out := t.e.handle(in)
	if out.cut != nil {
		return nil, out.cut
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	for name, values := range out.header {
		if len(values) == 0 {
			delete(out.header, name) // an absent Date, see baseHeader
		}
	}
	res := &http.Response{Status: strconv.Itoa(out.status) + " " + http.StatusText(out.status), StatusCode: out.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: out.header, ContentLength: int64(len(out.body)), Request: r}
	res.Body = out.reader(r.Context())
	return res, nil
}

func (o outcome) reader(ctx context.Context) io.ReadCloser {
	if o.slow == 0 && !o.cutBody {
		return io.NopCloser(bytes.NewReader(o.body))
	}
	return &brokenBody{ctx: ctx, rest: o.pieces(), pause: o.slow / slowChunks, cut: o.cutBody}
}

// pieces are what arrives of the body, in slowChunks parts; half of it when the body is cut.
func (o outcome) pieces() [][]byte {
	body := o.body
	if o.cutBody {
		body = body[:len(body)/2]
	}
	size := max(1, (len(body)+slowChunks-1)/slowChunks)
	var parts [][]byte
	for len(body) > 0 {
		n := min(size, len(body))
		parts = append(parts, body[:n])
		body = body[n:]
	}
	return parts
}

// brokenBody is a response body that arrives slowly, or not to its end.
type brokenBody struct {
	ctx   context.Context
	rest  [][]byte
	here  bool // the first piece has arrived and is partly read
	pause time.Duration
	cut   bool
}

func (b *brokenBody) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		if b.cut {
			return 0, io.ErrUnexpectedEOF
		}
		return 0, io.EOF
	}
	if !b.here {
		if err := wait(b.ctx, b.pause); err != nil {
			return 0, fmt.Errorf("read body: %w", err)
		}
	}
	n := copy(p, b.rest[0])
	b.rest[0] = b.rest[0][n:]
	if b.here = len(b.rest[0]) > 0; !b.here {
		b.rest = b.rest[1:]
	}
	return n, nil
}

func (b *brokenBody) Close() error { return nil }

// ServeHTTP implements http.Handler for real sockets; a cut connection is closed under the client.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := e.handle(r)
	if out.cut != nil {
		cutConnection(w)
		return
	}
	maps.Copy(w.Header(), out.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(out.body)))
	w.WriteHeader(out.status)
	if out.slow == 0 && !out.cutBody {
		_, _ = w.Write(out.body) // a client that left is no concern of the portal
		return
	}
	control := http.NewResponseController(w)
	for _, part := range out.pieces() {
		if wait(r.Context(), out.slow/slowChunks) != nil {
			return
		}
		if _, err := w.Write(part); err != nil || control.Flush() != nil {
			return
		}
	}
	if out.cutBody {
		cutConnection(w)
	}
}

// cutConnection ends the connection without an answer. Where it cannot be taken over (HTTP/2), the abort that net/http
// offers does the same.
func cutConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if errors.Is(err, http.ErrNotSupported) || conn == nil {
		panic(http.ErrAbortHandler)
	}
	_ = conn.Close()
}
