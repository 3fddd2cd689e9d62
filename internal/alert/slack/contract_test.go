package slack

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"rotatord/internal/alert"
	"rotatord/internal/alert/notifytest"
	"rotatord/internal/alert/slack/slacktest"
)

// front stands before the workspace and answers as it is told.
type front struct {
	slack *slacktest.Server

	mu     sync.Mutex
	answer notifytest.Answer
	told   []string
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	answer := f.answer
	f.mu.Unlock()
	refuse := func(api, hook string, status int) {
		if r.URL.Path == slacktest.Hook {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, hook)
			return
		}
		_, _ = fmt.Fprintf(w, `{"ok":false,"error":%q}`, api)
	}
	switch answer {
	case notifytest.Takes:
		r.Body = io.NopCloser(bytes.NewReader(body))
		f.slack.ServeHTTP(w, r)
		f.took()
	case notifytest.RefusesIt:
		refuse("invalid_blocks", "invalid_blocks", http.StatusBadRequest)
	case notifytest.RefusesUs:
		refuse("invalid_auth", "invalid_token", http.StatusForbidden)
	case notifytest.Busy:
		w.WriteHeader(http.StatusServiceUnavailable)
	case notifytest.Limits:
		w.Header().Set("Retry-After", strconv.Itoa(int(notifytest.LimitWait.Seconds())))
		w.WriteHeader(http.StatusTooManyRequests)
	case notifytest.Hangs:
		<-r.Context().Done()
	case notifytest.Closes:
		panic(http.ErrAbortHandler)
	case notifytest.Echoes:
		echo(w, r, body, http.StatusBadRequest)
	case notifytest.EchoesAsBusy:
		echo(w, r, body, http.StatusBadGateway)
	case notifytest.Garbles:
		_, _ = io.WriteString(w, "SSH-2.0-OpenSSH_9.2p1 "+r.URL.String()+string(body))
	}
}

// echo gives back all that was sent.
func echo(w http.ResponseWriter, r *http.Request, body []byte, status int) {
	w.Header().Set("Location", "https://elsewhere.example"+r.URL.String())
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "%s %s\n%v\n%s", r.Method, r.URL, r.Header, body)
}

// took notes what readers see after a call.
func (f *front) took() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.slack.Calls() {
		if c.Method != "conversations.history" {
			f.told = append(f.told, c.Text+"\n"+slacktest.Read(c.Blocks)+c.RawBlocks+c.Metadata)
		}
	}
}

func TestContract(t *testing.T) {
	for name, tt := range map[string]struct {
		options func(*slacktest.Server) Options
		loud    bool
	}{"webhook": {byHook, true}, "bot token": {byToken, false}} {
		t.Run(name, func(t *testing.T) {
			notifytest.Run(t, func(t *testing.T) notifytest.Rig { return rig(t, tt.options, tt.loud) })
		})
	}
}

func rig(t *testing.T, options func(*slacktest.Server) Options, loud bool) notifytest.Rig {
	t.Helper()
	f := &front{slack: newServer(t), answer: notifytest.Takes}
	f.slack.Links = append(f.slack.Links, "Item")
	srv := httptest.NewUnstartedServer(f)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	srv.Start()
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections) // first: a handler that hangs waits for its client
	o := options(f.slack)
	o.Timeout = notifytest.TimeLimit / 4
	if o.Webhook != nil {
		o.Webhook = fixed(srv.URL + slacktest.Hook)
	} else {
		o.API = srv.URL + "/api/"
	}
	var secrets []string
	for _, s := range slacktest.Secrets() {
		secrets = append(secrets, s, url.QueryEscape(s), base64.StdEncoding.EncodeToString([]byte(s)))
	}
	return notifytest.Rig{
		Notifier: notifier(t, o),
		Told: func() []string {
			f.mu.Lock()
			defer f.mu.Unlock()
			return append([]string{}, f.told...)
		},
		Answer: func(a notifytest.Answer) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.answer = a
		},
		Secrets: secrets,
		Log:     func() string { return "" }, // a Notifier logs nothing; what an Actor logs is looked at in its tests
		Loud:    loud,
		Tells:   func(k alert.NoticeKind, _ alert.State) bool { return !loud || k != alert.NoticeRoutine },
	}
}
