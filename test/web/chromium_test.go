package web

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rotatord/internal/testkit"
)

// patience of one call to the browser: only a broken one uses it up.
const patience = 60 * time.Second

// browser is a Chromium that is spoken to in the DevTools protocol, as JSON with a
// zero byte behind each message, through two pipes: no port, no other client library.
type browser struct {
	to io.Writer

	mu      sync.Mutex
	next    int                     // guarded by mu
	waiting map[int]chan<- *message // guarded by mu; nil after the end
	events  map[string][]*message   // guarded by mu: by session, of what is listened to
	changed chan struct{}           // holds at most one: an event came
}

// message of the protocol, in either direction.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// chromium starts one for the test; it ends with the test.
func chromium(t *testing.T) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	testkit.Need(t, err == nil, "chromium", "apt-get install chromium")
	var pipes [4]*os.File // ours to write, its to read; its to write, ours to read
	for i := 0; i < 4; i += 2 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		pipes[i], pipes[i+1] = r, w
	}
	dir := t.TempDir()
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb",
		"--remote-debugging-pipe", "--user-data-dir="+dir, "about:blank")
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
	cmd.ExtraFiles = []*os.File{pipes[0], pipes[3]} // its 3 and 4
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pipes[0].Close()
	pipes[3].Close()
	b := &browser{to: pipes[1], waiting: map[int]chan<- *message{}, events: map[string][]*message{}, changed: make(chan struct{}, 1)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b.read(pipes[2])
	}()
	t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // its own group: the browser and its helpers, nobody else
		_ = cmd.Wait()                                // killed: its error says so
		pipes[1].Close()
		<-read
		pipes[2].Close()
		if t.Failed() {
			text := said.String() // mostly of a missing D-Bus
			t.Logf("chromium said last:\n%s", text[max(0, len(text)-600):])
		}
	})
	return b
}

func (b *browser) read(from io.Reader) {
	in := bufio.NewReader(from)
	for {
		raw, err := in.ReadBytes(0)
		if err != nil {
			break
		}
		m := &message{}
		if err := json.Unmarshal(raw[:len(raw)-1], m); err != nil {
			break
		}
		b.mu.Lock()
		if m.ID != 0 {
			b.waiting[m.ID] <- m
			delete(b.waiting, m.ID)
		} else {
			b.events[m.Session] = append(b.events[m.Session], m)
		}
		b.mu.Unlock()
		select {
		case b.changed <- struct{}{}:
		default:
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.waiting {
		close(c)
	}
	b.waiting = nil
}

func (b *browser) call(session, method string, params, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer := make(chan *message, 1)
	b.mu.Lock()
	if b.waiting == nil {
		b.mu.Unlock()
		return fmt.Errorf("%s: the browser has ended", method)
	}
	b.next++
	m := message{ID: b.next, Session: session, Method: method, Params: raw}
	b.waiting[m.ID] = answer
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.to.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case got, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: the browser has ended", method)
		case got.Error != nil:
			return fmt.Errorf("%s: %s", method, got.Error.Message)
		case result != nil:
			return json.Unmarshal(got.Result, result)
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("%s: no answer within %s", method, patience)
	}
}

// tab is one page.
type tab struct {
	t       *testing.T
	b       *browser
	session string
}

func (b *browser) tab(t *testing.T) *tab {
	t.Helper()
	var target struct {
		ID string `json:"targetId"`
	}
	var attached struct {
		Session string `json:"sessionId"`
	}
	if err := errors.Join(b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target),
		b.call("", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached)); err != nil {
		t.Fatal(err)
	}
	p := &tab{t, b, attached.Session}
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.do(domain+".enable", nil, nil)
	}
	p.do("Page.setLifecycleEventsEnabled", map[string]any{"enabled": true}, nil)
	return p
}

func (p *tab) do(method string, params map[string]any, result any) {
	p.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	if err := p.b.call(p.session, method, params, result); err != nil {
		p.t.Fatal(err)
	}
}

// open an address and wait until it is loaded.
func (p *tab) open(url string) {
	p.t.Helper()
	p.take() // what an earlier page said
	var nav struct {
		Loader string `json:"loaderId"` // "" where only the fragment differs
		Error  string `json:"errorText"`
	}
	p.do("Page.navigate", map[string]any{"url": url}, &nav)
	if nav.Error != "" {
		p.t.Fatalf("open %s: %s", url, nav.Error)
	}
	if nav.Loader != "" {
		p.awaitLoad(nav.Loader)
	}
}

// awaitLoad waits until a document is loaded: that of the loader, or any for "".
func (p *tab) awaitLoad(loader string) {
	p.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for !p.loaded(loader) {
		select {
		case <-p.b.changed:
		case <-timer.C:
			p.t.Fatalf("the page is not loaded within %s", patience)
		}
	}
}

func (p *tab) loaded(loader string) bool {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	for _, m := range p.b.events[p.session] {
		var v struct {
			Loader string `json:"loaderId"`
			Name   string `json:"name"`
		}
		if m.Method == "Page.lifecycleEvent" && json.Unmarshal(m.Params, &v) == nil && v.Name == "load" && (loader == "" || loader == v.Loader) {
			return true
		}
	}
	return false
}

// take the events that came.
func (p *tab) take() []*message {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	out := p.b.events[p.session]
	p.b.events[p.session] = nil
	return out
}

// complaints are what the browser itself found wrong with the page: errors on its
// console (a breach of the content policy is one), and requests to anywhere else.
func (p *tab) complaints(origin string) []string {
	var out []string
	for _, m := range p.take() {
		var v struct {
			Entry struct {
				Level, Text string
			} `json:"entry"`
			Request struct{ URL string }  `json:"request"`
			Details struct{ Text string } `json:"exceptionDetails"`
		}
		if err := json.Unmarshal(m.Params, &v); err != nil {
			continue
		}
		switch m.Method {
		case "Log.entryAdded":
			out = append(out, v.Entry.Level+": "+v.Entry.Text)
		case "Runtime.exceptionThrown":
			out = append(out, "exception: "+v.Details.Text)
		case "Network.requestWillBeSent":
			if len(v.Request.URL) < len(origin) || v.Request.URL[:len(origin)] != origin {
				out = append(out, "request to "+v.Request.URL)
			}
		}
	}
	return out
}

// eval an expression and decode its value into out.
func (p *tab) eval(expression string, out any) {
	p.t.Helper()
	var r struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	p.do("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if r.Exception != nil {
		p.t.Fatalf("evaluate: %s %s", r.Exception.Text, r.Exception.Exception.Description)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(r.Result.Value, out); err != nil {
		p.t.Fatalf("evaluate: %v: %s", err, r.Result.Value)
	}
}

// key is pressed and let go.
func (p *tab) key(name string, code int, modifiers int) {
	p.t.Helper()
	press := map[string]any{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": modifiers}
	if name == "Enter" {
		press["text"] = "\r"
	}
	p.do("Input.dispatchKeyEvent", press, nil)
	press["type"] = "keyUp"
	delete(press, "text")
	p.do("Input.dispatchKeyEvent", press, nil)
}

func (p *tab) scheme(name string) {
	p.t.Helper()
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": name}}}, nil)
}

func (p *tab) size(width, height int) {
	p.t.Helper()
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// shot keeps a picture of the whole page where ROTATORD_SHOTS names a folder, for
// people to look at.
func (p *tab) shot(name string) {
	p.t.Helper()
	if dir := os.Getenv("ROTATORD_SHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), p.picture(), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *tab) picture() []byte {
	p.t.Helper()
	var r struct{ Data string }
	p.do("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &r)
	png, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		p.t.Fatal(err)
	}
	return png
}
