package portaltest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// testReferer is what the tests' sign-ins are bound to.
const testReferer = "https://rotatord.test"

// caller sends requests as a careful client does, over the emulator's own transport.
type caller struct {
	t       *testing.T
	e       *Emulator
	token   string
	referer string
}

// signedIn is a caller with the user's token.
func signedIn(t *testing.T, e *Emulator, user string) *caller {
	t.Helper()
	c := &caller{t: t, e: e, referer: testReferer}
	got := c.ok("generateToken", "username", user, "password", StandardPassword, "client", "referer", "referer", testReferer,
		"expiration", "20160")
	c.token = got["token"].(string)
	return c
}

// reply is what an answer says besides its body.
type reply struct {
	status int
	header http.Header
}

// send posts the pairs with f=json and the token, and gives the answer or the transport's error.
func (c *caller) send(ctx context.Context, path string, pairs ...string) (map[string]any, reply, error) {
	form := url.Values{"f": {"json"}}
	if c.token != "" {
		form.Set("token", c.token)
	}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return c.raw(ctx, http.MethodPost, path, form)
}

func (c *caller) raw(ctx context.Context, method, path string, form url.Values) (map[string]any, reply, error) {
	c.t.Helper()
	address := "https://portal.test" + c.e.Root() + "/" + path
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	} else {
		address += "?" + form.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		c.t.Fatalf("make request: %v", err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.referer != "" {
		req.Header.Set("Referer", c.referer)
	}
	client := &http.Client{Transport: c.e.Transport(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return nil, reply{}, err
	}
	defer res.Body.Close()
	head := reply{res.StatusCode, res.Header}
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, head, err
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		return map[string]any{"html": string(raw)}, head, nil
	}
	return got, head, nil
}

// ok sends and fails the test on any error.
func (c *caller) ok(path string, pairs ...string) map[string]any {
	c.t.Helper()
	got, _, err := c.send(c.t.Context(), path, pairs...)
	if err != nil {
		c.t.Fatalf("%s: %v", path, err)
	}
	if got["error"] != nil || got["html"] != nil {
		c.t.Fatalf("%s: got error %v", path, got)
	}
	return got
}

// refused sends and gives the error's code and message; it fails the test on success.
func (c *caller) refused(path string, pairs ...string) string {
	c.t.Helper()
	got, _, err := c.send(c.t.Context(), path, pairs...)
	if err != nil {
		c.t.Fatalf("%s: %v", path, err)
	}
	inner, _ := got["error"].(map[string]any)
	if inner == nil {
		c.t.Fatalf("%s: got %v, want an error", path, got)
	}
	return fmt.Sprintf("%v %v", inner["code"], inner["message"])
}

func (c *caller) anonymous() *caller { return &caller{t: c.t, e: c.e, referer: c.referer} }

func (c *caller) as(token string) *caller {
	return &caller{t: c.t, e: c.e, referer: c.referer, token: token}
}

// setDate writes a slot's date.
func (c *caller) setDate(cred Credential, slot int, at time.Time) {
	c.t.Helper()
	c.ok("content/users/"+cred.Owner+"/items/"+cred.ItemID+"/update", dateParam(slot), fmt.Sprint(at.UnixMilli()))
}

func mintPairs(cred Credential, slot int) []string {
	return []string{"client_id", cred.ClientID, "client_secret", cred.ClientSecret, "grant_type", "client_credentials",
		"apiToken", fmt.Sprint(slot), "regenerateApiToken", "true"}
}

// mint sets a date a month ahead and makes a key.
func (c *caller) mint(cred Credential, slot int) string {
	c.t.Helper()
	c.setDate(cred, slot, c.e.Now().AddDate(0, 1, 0))
	return c.anonymous().ok("oauth2/token", mintPairs(cred, slot)...)["access_token"].(string)
}

func (c *caller) revoke(cred Credential, slot int) {
	c.t.Helper()
	c.anonymous().ok("oauth2/revokeToken", "client_id", cred.ClientID, "client_secret", cred.ClientSecret, "apiToken", fmt.Sprint(slot))
}

func (c *caller) appInfo(cred Credential) map[string]any {
	c.t.Helper()
	return c.ok("content/users/" + cred.Owner + "/items/" + cred.ItemID + "/registeredAppInfo")
}

// pass lets fake time go by; in a bubble it costs nothing.
func pass(d time.Duration) { <-time.NewTimer(d).C }
