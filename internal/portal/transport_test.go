package portal

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

// What a server sends instead of HTTP may be a key: nothing of it is in the error.
func TestTransportErrorsQuoteNoAnswer(t *testing.T) {
	const loot = "AAPTthisIsAKeyThatNobodyMaySee0123456789.AT1_H4JC97kO"
	for _, answer := range []string{
		loot + "\r\n\r\n",
		"HTTP/1.1 " + loot + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + loot + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\n " + loot + ": x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: " + loot + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + loot + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + loot + "\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://[" + loot + "\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: " + loot + "://" + loot + "\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 308 Moved\r\nLocation: https://" + loot + ".example/\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 308 Moved\r\nLocation: /sharing/rest/" + loot + "\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(strings.ReplaceAll(answer, loot, "KEY"), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.String(), loot) {
					t.Error("the redirect was followed")
				}
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					panic(err)
				}
				_, _ = io.WriteString(conn, answer)
				_ = conn.Close()
			}))
			defer server.Close()
			c, err := New(Options{URL: server.URL, Identity: by("u")})
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []nature{reading, happening} {
				_, err = c.do(t.Context(), call{op: opSelf, what: "ask", path: "/portals/self", nature: n, anon: true}, nil)
				if err == nil || strings.Contains(err.Error(), loot[:16]) {
					t.Errorf("the error is %v", err)
				}
			}
		})
	}
}

func TestOwnWords(t *testing.T) {
	const bad = "something that an answer said"
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{dial, dial.Error()},
		{fmt.Errorf("%s: %w", bad, dial), dial.Error()},
		{fmt.Errorf("%s: %w", bad, io.ErrUnexpectedEOF), "unexpected EOF"},
		{fmt.Errorf("%s: %w", bad, context.DeadlineExceeded), "no answer in time"},
		{fmt.Errorf("%s: %w", bad, context.Canceled), "context canceled"},
		{&tls.RecordHeaderError{Msg: "x"}, "the answer is no HTTP that can be read"},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "tls: first record does not look like a TLS handshake"},
		{&net.DNSError{Err: "no such host", Name: "portal.example"}, "lookup portal.example: no such host"},
		{errors.New(bad), "the answer is no HTTP that can be read"},
		{bufio.ErrTooLong, "the answer is no HTTP that can be read"},
	} {
		if got := ownWords(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestRedirectHost(t *testing.T) {
	for location, want := range map[string]string{
		"":                                    "the same host",
		"/somewhere":                          "the same host",
		"https://login.microsoftonline.com/x": "login.microsoftonline.com",
		"http://127.0.0.1:8080/":              "127.0.0.1:8080",
		"https://0123456789abcdef0123456789abcdef/": "another host",
		"https://a_b.example/":                      "another host",
		"ftp://portal.example/":                     "another host",
	} {
		if got := redirectHost(http.Header{"Location": {location}}); got != want {
			t.Errorf("%q: %q, want %q", location, got, want)
		}
	}
}

func TestAddsLongPart(t *testing.T) {
	from, _ := url.Parse("https://portal.example/sharing/rest/content/items/da7720ef00c0ffee00c0ffee00c0ffee")
	for to, want := range map[string]bool{
		"https://portal.example/arcgis/sharing/rest/content/items/da7720ef00c0ffee00c0ffee00c0ffee/": false,
		"https://portal.example/sharing/rest/0123456789abcdef0123":                                   true,
		"https://portal.example/?token=0123456789abcdef0123":                                         true,
	} {
		u, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		if got := addsLongPart(from, u); got != want {
			t.Errorf("%s: %v", to, got)
		}
	}
}

func TestIdent(t *testing.T) {
	for raw, want := range map[string]ident{
		`"da7720ef00c0ffee00c0ffee00c0ffee"`: "da7720ef00c0ffee00c0ffee00c0ffee", `"lgalmA3rH4JC97kO"`: "lgalmA3rH4JC97kO", `null`: "", `{}`: "",
		`"` + strings.Repeat("a", 33) + `"`: "", `"AAPT_with.AT1_H4JC97kO"`: "", `"x y"`: "", `12`: "12",
	} {
		var got ident
		if err := got.UnmarshalJSON([]byte(raw)); err != nil || got != want {
			t.Errorf("%s: %q, %v", raw, got, err)
		}
	}
}
