package wire

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

func TestHide(t *testing.T) {
	for in, want := range map[string]string{
		"the key AAPTxy8BH1VEsoebNVZXo8HurNeLiCZjvkxcvTgnlAHZk6eAT1_H4JC97kO was refused": "the key [hidden] was refused",
		"AT1_H4JC97kO-1a2b3c4d":                         "AT1_H4JC97kO-1a2b3c4d", // a fingerprint is public
		"hvs.CAESIJlWh0PyBq8bTUGx":                      "[hidden]",
		"xoxb-1234567890-abc and xapp-1-A0-12345":       "[hidden] and [hidden]",
		"https://hooks.slack.com/services/T0/B0/x":      "https://[hidden]",
		"https://u:p@x.example/a":                       "https[hidden]x.example/a",
		"https://x.example/a?token=abc&f=json":          "https://x.example/a[hidden]&f=json",
		"https://acme.example/home/item.html?id=4f1c":   "https://acme.example/home/item.html?id=4f1c",
		"Authorization: Bearer abcdefgh12345":           "Authorization: [hidden]",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw":        "[hidden]",
		"a\r\nb\x00c\u202Ed\u2028e\xff":                 "a \nb cde\uFFFD",
		"2026-04-01T23:59:59Z (in 3 days): shop, Grüße": "2026-04-01T23:59:59Z (in 3 days): shop, Grüße",
	} {
		if got := Hide(in); got != want {
			t.Errorf("Hide(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Line(" a\n b\tc "+strings.Repeat("é", 10), 8); got != "a b c é…" {
		t.Errorf("Line: %q", got)
	}
}

func TestAnswers(t *testing.T) {
	at := time.Date(2026, 3, 29, 10, 0, 0, 0, time.UTC)
	date := at.Format(http.TimeFormat)
	for _, tc := range []struct {
		status int
		header map[string]string
		kind   rotate.Kind
		wait   time.Duration
	}{
		{200, nil, "", 0}, {202, nil, "", 0}, {204, nil, "", 0},
		{302, nil, rotate.KindTransient, 0}, {400, nil, rotate.KindPermanent, 0}, {413, nil, rotate.KindPermanent, 0}, {422, nil, rotate.KindPermanent, 0},
		{401, nil, rotate.KindAuth, 0}, {403, nil, rotate.KindAuth, 0}, {404, nil, rotate.KindAuth, 0}, {405, nil, rotate.KindAuth, 0}, {407, nil, rotate.KindAuth, 0}, {410, nil, rotate.KindAuth, 0},
		{408, nil, rotate.KindTransient, 0}, {425, nil, rotate.KindTransient, 0}, {500, nil, rotate.KindTransient, 0}, {502, nil, rotate.KindTransient, 0}, {503, nil, rotate.KindTransient, 0},
		{429, nil, rotate.KindRateLimited, 0},
		{429, map[string]string{"Retry-After": "30"}, rotate.KindRateLimited, 30 * time.Second},
		{503, map[string]string{"Retry-After": "90"}, rotate.KindRateLimited, 90 * time.Second},
		{503, map[string]string{"Retry-After": at.Add(2 * time.Minute).Format(http.TimeFormat), "Date": date}, rotate.KindRateLimited, 2 * time.Minute},
		{429, map[string]string{"Retry-After": at.Add(-time.Minute).Format(http.TimeFormat), "Date": date}, rotate.KindRateLimited, 0},
		{429, map[string]string{"Retry-After": "4000000"}, rotate.KindRateLimited, time.Hour},
		{429, map[string]string{"Retry-After": "99999999999999999999"}, rotate.KindRateLimited, 0},
		{429, map[string]string{"Retry-After": "-5"}, rotate.KindRateLimited, 0},
		{429, map[string]string{"Retry-After": "soon"}, rotate.KindRateLimited, 0},
	} {
		h := http.Header{}
		for k, v := range tc.header {
			h.Set(k, v)
		}
		err := Answer{Status: tc.status, header: h}.Err("post")
		if rotate.KindOf(err) != tc.kind || rotate.WaitOf(err) != tc.wait {
			t.Errorf("%d %v: %v, wait %s; want %q, %s", tc.status, tc.header, err, rotate.WaitOf(err), tc.kind, tc.wait)
		}
	}
}

func TestAddress(t *testing.T) {
	for raw, ok := range map[string]bool{
		"https://x.example": true, "https://x.example:8443/a?b=c": true, "http://127.0.0.1:9093": true, "http://[::1]/": true, "http://localhost/x": true,
		"http://x.example": false, "http://127.0.0.1.x.example": false, "http://localhost.x.example": false, "ftp://x.example": false, "x.example": false, "": false,
		"https://": false, "https:///path": false, "://": false, "http://127.0.0.1@x.example/": false,
	} {
		if _, err := Address(raw); (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", raw, err, ok)
		} else if err != nil && raw != "" && strings.Contains(err.Error(), "x.example") {
			t.Errorf("%q is in its error: %v", raw, err)
		}
	}
}
