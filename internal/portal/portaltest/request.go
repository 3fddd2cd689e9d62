package portaltest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// call is one request on its way through the emulator.
type call struct {
	e      *Emulator
	method string
	header http.Header
	remote string
	host   string // scheme and host, for links
	path   string
	vars   []string // what the route's braces matched
	query  url.Values
	form   url.Values // query and body together
	body   url.Values
	op     Op
	route  *route
	seq    int

	itemID string // the item aimed at, if there is one
	slot   int

	token string
	now   time.Time
	id    identity
	late  bool
	lied  bool
	// stale is set while the item aimed at is swapped for its earlier state.
	stale bool
}

// parse reads the request; it takes no lock but the one that looks up what is aimed at.
func (e *Emulator) parse(r *http.Request) (*call, error) {
	c := &call{e: e, method: r.Method, header: r.Header, remote: r.RemoteAddr, path: r.URL.Path, query: r.URL.Query(), body: url.Values{}}
	c.host = "http://" + r.Host
	if r.TLS != nil || r.URL.Scheme == "https" {
		c.host = "https://" + r.Host
	}
	if err := c.readBody(r); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	c.form = url.Values{}
	for _, from := range []url.Values{c.query, c.body} {
		for name, values := range from {
			c.form[name] = append(c.form[name], values...)
		}
	}
	c.token = c.findToken()
	c.find()
	return c, nil
}

func (c *call) readBody(r *http.Request) error {
	if r.Body == nil || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		if err := r.ParseMultipartForm(maxBody); err != nil {
			return fmt.Errorf("parse multipart form: %w", err)
		}
		c.body = r.MultipartForm.Value
		return errors.Join(r.MultipartForm.RemoveAll())
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	body, err := url.ParseQuery(string(raw))
	if err != nil {
		return fmt.Errorf("parse form: %w", err)
	}
	c.body = body
	return nil
}

func (c *call) findToken() string {
	if t := c.form.Get("token"); t != "" {
		return t
	}
	for _, name := range []string{"X-Esri-Authorization", "Authorization"} {
		if t, ok := strings.CutPrefix(c.header.Get(name), "Bearer "); ok {
			return strings.TrimSpace(t)
		}
	}
	return ""
}

// find decides the operation and what it aims at.
func (c *call) find() {
	c.op = OpUnknown
	rest, ok := strings.CutPrefix(c.path, c.e.root)
	if ok || strings.HasPrefix(c.path, servicePrefix) {
		if !ok {
			rest = c.path
		}
		segments := strings.FieldsFunc(rest, func(r rune) bool { return r == '/' })
		for i := range c.e.routes {
			if vars, hit := c.e.routes[i].match(segments); hit {
				c.route, c.vars, c.op = &c.e.routes[i], vars, c.e.routes[i].op
				break
			}
		}
	}
	switch c.op {
	case OpMint:
		if !c.form.Has("apiToken") {
			c.op = OpOAuthToken
			return
		}
		c.aimAtClient(c.form.Get("client_id"))
	case OpRevoke:
		if c.form.Has("auth_token") && !c.form.Has("apiToken") {
			c.op = OpRevokeToken
			return
		}
		c.aimAtClient(c.form.Get("client_id"))
	case OpSelf:
		if looksLikeKey(c.token) {
			c.op = OpProve
			c.aimAtKey(c.token)
		}
	case OpItem, OpItemData:
		c.itemID = c.vars[len(c.vars)-1]
	case OpUpdateItem, OpDeleteItem, OpCanDelete, OpMoveItem, OpProtect, OpUnprotect, OpShare, OpAppInfo:
		c.itemID = c.vars[len(c.vars)-1]
		c.aimAtDate()
	case OpApp, OpAppUpdate, OpUnregisterApp:
		c.aimAtClient(c.vars[0])
	case OpRegisterApp:
		c.itemID = c.form.Get("itemId")
	default: // aims at no one item
	}
}

func looksLikeKey(token string) bool {
	for _, prefix := range []string{"AAPT", "AAPK", "AATK", "AAST"} {
		if strings.HasPrefix(token, prefix) {
			return true
		}
	}
	return false
}

// aimAtDate turns an item update that names a slot's date into SetDate; with both dates the slot stays 0.
func (c *call) aimAtDate() {
	if c.op != OpUpdateItem {
		return
	}
	one, two := c.form.Has(dateParam(1)), c.form.Has(dateParam(2))
	switch {
	case one && two:
		c.op = OpSetDate
	case one:
		c.op, c.slot = OpSetDate, 1
	case two:
		c.op, c.slot = OpSetDate, 2
	}
}

func dateParam(slot int) string { return "apiToken" + strconv.Itoa(slot) + "ExpirationDate" }

func (c *call) aimAtClient(clientID string) {
	c.e.mu.Lock()
	c.itemID = c.e.clients[clientID]
	c.e.mu.Unlock()
	if slot, err := strconv.Atoi(c.form.Get("apiToken")); err == nil {
		c.slot = slot
	}
}

func (c *call) aimAtKey(secret string) {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	if k := c.e.keys[secret]; k != nil {
		c.itemID, c.slot = k.itemID, k.slot
	}
}

// intParam is a whole-number parameter, def when absent or unreadable.
func (c *call) intParam(name string, def int64) int64 {
	v, err := strconv.ParseInt(strings.TrimSpace(c.form.Get(name)), 10, 64)
	if err != nil {
		return def
	}
	return v
}

func (c *call) boolParam(name string) bool { return strings.EqualFold(c.form.Get(name), "true") }

// outcome is what goes back: an answer, or a broken connection.
type outcome struct {
	status  int
	header  http.Header
	body    []byte
	cut     error         // no answer at all: the connection ends with this
	cutBody bool          // the answer ends in the middle of its body
	slow    time.Duration // the body takes this long to arrive
}
