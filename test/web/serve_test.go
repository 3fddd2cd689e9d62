package web

import (
	"net/http"
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
