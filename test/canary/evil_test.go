package canary

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// front stands before a server that is sent secrets, and gives back what it can.
// It notes every secret that goes by and every address that is asked for.
type front struct {
	sieve     *sieve
	next      http.Handler
	elsewhere string // another host, where redirects lead

	mu    sync.Mutex
	every int // each so-many-th answer is spoilt; 0 is none
	n     int
	asked bytes.Buffer // methods, addresses and headers that hold no secret by their nature
	told  map[int]int  // spoilt answers by the way in which
}

// secretFields are the members of forms and answers whose values are secrets.
var secretFields = []string{"token", "access_token", "refresh_token", "client_secret", "password", "auth_token", "client_token", "secret_id", "code"}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(sent))
	answer := httptest.NewRecorder()
	f.next.ServeHTTP(answer, r)
	loot := append(f.harvest(answer.Body.Bytes(), r.Header), f.harvest(sent, nil)...)
	f.mu.Lock()
	f.n++
	fmt.Fprintf(&f.asked, "%s %s %q %q\n", r.Method, r.URL, r.UserAgent(), r.Referer())
	evil := f.every > 0 && f.n%f.every == 0 && len(loot) > 0
	way := f.n / max(f.every, 1) % len(ways)
	if evil {
		f.told[way]++
	}
	f.mu.Unlock()
	if evil {
		ways[way](&spoiler{w: w, loot: loot[0], all: strings.Join(loot, " "), true: answer.Body.Bytes(), elsewhere: f.elsewhere})
		return
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

func (f *front) spoil(every int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.every = every
}

// harvest notes and returns the secrets of a body and of headers, the body's first.
func (f *front) harvest(body []byte, h http.Header) (loot []string) {
	note := func(what, secret string) {
		if len(secret) >= window {
			f.sieve.add(what, secret)
			loot = append(loot, secret)
		}
	}
	var v any
	if json.Unmarshal(body, &v) == nil {
		walk(v, func(name, value string) string {
			if slices.Contains(secretFields, name) && !strings.HasPrefix(value, "AAPT") { // keys are known, with their tails
				note("the "+name, value)
			} else if strings.HasPrefix(value, "AAPT") {
				loot = append(loot, value)
			}
			return value
		})
	} else if form, err := url.ParseQuery(string(body)); err == nil {
		for _, name := range secretFields {
			if s := form.Get(name); strings.HasPrefix(s, "AAPT") {
				loot = append(loot, s)
			} else {
				note("the "+name, s)
			}
		}
	}
	for _, name := range []string{"X-Vault-Token", "Authorization", "X-Esri-Authorization"} {
		if s := strings.TrimPrefix(h.Get(name), "Bearer "); s != "" && !strings.HasPrefix(s, "AAPT") {
			note(name, s)
		}
	}
	return loot
}

// walk calls f for every scalar of a JSON value and puts what it returns in its place.
func walk(v any, f func(name, value string) string) any { return walkNamed("", v, f) }

func walkNamed(name string, v any, f func(name, value string) string) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = walkNamed(k, v[k], f)
		}
		return v
	case []any:
		for i := range v {
			v[i] = walkNamed(name, v[i], f)
		}
		return v
	case nil:
		return f(name, "")
	default:
		return f(name, fmt.Sprint(v))
	}
}

// spoiler answers one request badly.
type spoiler struct {
	w         http.ResponseWriter
	loot, all string // one secret of the request and its answer, and all of them
	true      []byte // the answer that was due
	elsewhere string
}

// ways in which an answer can give a secret back. What was asked for has been done.
var ways = []func(s *spoiler){
	func(s *spoiler) { s.json(200, fault(400, s)) },
	func(s *spoiler) { s.json(400, fault(498, s)) },
	func(s *spoiler) { s.json(200, fault(s.loot, s)) }, // the code is a secret
	func(s *spoiler) { s.json(400, map[string]any{"error": s.loot, "error_description": s.all}) },
	func(s *spoiler) {
		s.json(500, map[string]any{"errors": []string{s.all, s.loot}, "warnings": []string{s.loot}})
	},
	func(s *spoiler) { s.page(500, "text/html", "<html><title>"+s.loot+"</title><h1>"+s.all+"</h1>") },
	func(s *spoiler) { s.page(200, "text/html", "<html>"+s.all) },
	func(s *spoiler) { s.page(200, s.loot, s.loot) },
	func(s *spoiler) {
		s.page(200, "application/json", `{"access_token":"`+s.loot+`","expires_in":"`+s.loot)
	},
	func(s *spoiler) { // every value of the true answer is a secret, whatever its type: but for what it calls people and things
		var v any
		if json.Unmarshal(s.true, &v) != nil {
			v = s.loot
		}
		s.json(200, walk(v, func(name, value string) string {
			if slices.Contains([]string{"username", "owner", "id", "orgId", "title"}, name) {
				return value
			}
			return s.loot
		}))
	},
	func(s *spoiler) { s.json(200, []string{s.loot}) },
	func(s *spoiler) { s.redirect(302, s.elsewhere+"/steal?token="+url.QueryEscape(s.loot)) },
	func(s *spoiler) { s.redirect(307, s.elsewhere+"/"+url.PathEscape(s.loot)) },
	func(s *spoiler) { s.redirect(308, "/sharing/rest/"+url.PathEscape(s.loot)) }, // the same host
	func(s *spoiler) { s.redirect(302, "http://["+s.loot) },                       // no address at all
	func(s *spoiler) { s.redirect(302, s.loot+"://"+s.loot) },
	func(s *spoiler) { s.w.Header().Set("Retry-After", s.loot); s.page(429, "text/plain", s.loot) },
	func(s *spoiler) { s.w.Header().Set("Date", s.loot); s.page(503, "application/json", s.loot) },
	func(s *spoiler) {
		s.w.Header().Set("Www-Authenticate", s.loot)
		s.w.Header().Set("Set-Cookie", s.loot)
		s.page(401, "", s.all)
	},
	func(s *spoiler) { s.raw("HTTP/1.1 " + s.loot + " " + s.loot + "\r\n\r\n") },
	func(s *spoiler) { s.raw(s.loot + "\r\n\r\n") },
	func(s *spoiler) { s.raw("HTTP/1.1 200 OK\r\n" + s.loot + "\r\n\r\n") },
	func(s *spoiler) { s.raw("HTTP/1.1 200 OK\r\nContent-Length: " + s.loot + "\r\n\r\n") },
	func(s *spoiler) { s.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + s.loot + "\r\n\r\n") },
	func(s *spoiler) { s.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + s.loot + "\r\n") },
	func(s *spoiler) {
		s.raw("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 400\r\n\r\n" + s.loot)
	},
}

func fault(code any, s *spoiler) map[string]any {
	return map[string]any{"error": map[string]any{"code": code, "messageCode": s.loot, "message": "Invalid " + s.loot, "details": []string{s.all}}}
}

func (s *spoiler) page(status int, kind, body string) {
	s.w.Header().Set("Content-Type", kind)
	s.w.WriteHeader(status)
	_, _ = io.WriteString(s.w, body)
}

func (s *spoiler) json(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	s.page(status, "application/json", string(body))
}

func (s *spoiler) redirect(status int, to string) {
	s.w.Header().Set("Location", to)
	s.page(status, "text/plain", s.loot)
}

// raw answers with bytes that are no good HTTP.
func (s *spoiler) raw(text string) {
	c, _, err := http.NewResponseController(s.w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(c, text)
	_ = c.Close()
}
