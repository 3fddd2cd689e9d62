package web

import (
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"rotatord/docs"
	"rotatord/internal/web"
	"rotatord/internal/web/webtest"
)

func handler(t testing.TB, list func(time.Time) []web.Credential) http.Handler {
	t.Helper()
	o := webtest.Options(list, time.Now().UTC())
	o.Protocol, o.Runbook = docs.Protocol, docs.Runbook
	s, err := web.New(o)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", s.Root())
	for pattern, h := range s.Handlers() {
		mux.Handle(pattern, h)
	}
	return mux
}

// TestServe shows the pages to whoever works on them: WEB_SERVE=127.0.0.1:8088.
func TestServe(t *testing.T) {
	address := os.Getenv("WEB_SERVE")
	if address == "" {
		return
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Fatal(http.Serve(l, handler(t, webtest.Fleet)))
}
