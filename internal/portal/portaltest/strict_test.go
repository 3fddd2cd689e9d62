package portaltest

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// ask is one request with everything that a careless client gets wrong.
type ask struct {
	method, path  string
	query, body   url.Values
	referer, auth string
	esriAuth      string
}

func (a ask) send(t *testing.T, e *Emulator) string {
	t.Helper()
	address := "https://portal.test" + e.Root() + "/" + a.path
	if len(a.query) > 0 {
		address += "?" + a.query.Encode()
	}
	req, err := http.NewRequestWithContext(t.Context(), a.method, address, strings.NewReader(a.body.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if a.method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range map[string]string{"Referer": a.referer, "Authorization": a.auth, "X-Esri-Authorization": a.esriAuth} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	return answerText(t, e, req)
}

func answerText(t *testing.T, e *Emulator, req *http.Request) string {
	t.Helper()
	res, err := e.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func values(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

// carelessAsks are requests that manner strict refuses, with a part of the sentence that it must say.
func carelessAsks(token, key string, cred Credential) map[string]struct {
	ask  ask
	want string
} {
	type row = struct {
		ask  ask
		want string
	}
	self := func(pairs ...string) url.Values {
		return values(append([]string{"f", "json", "token", token}, pairs...)...)
	}
	mint := func(pairs ...string) url.Values {
		v := mintForm(cred, 1)
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	post := func(path string, body url.Values) ask {
		return ask{method: "POST", path: path, body: body, referer: testReferer}
	}
	item := "content/users/" + cred.Owner + "/items/" + cred.ItemID
	return map[string]row{
		"missing f":              {post("portals/self", values("token", token)), "f must be json"},
		"unknown parameter":      {post("portals/self", self("pretty", "yes")), "unknown parameter pretty"},
		"twice":                  {post("portals/self", self("f", "json")), "f is sent twice"},
		"query and body":         {ask{method: "POST", path: "portals/self", query: values("f", "json"), body: values("token", token), referer: testReferer}, "parameters in the body"},
		"token in the query":     {ask{method: "GET", path: "portals/self", query: self(), referer: testReferer}, "must not stand in the query"},
		"token in two places":    {ask{method: "POST", path: "portals/self", body: self(), referer: testReferer, auth: "Bearer " + token}, "more than one place"},
		"token with a mint":      {post("oauth2/token", mint("token", token)), "must not carry a token"},
		"token header on revoke": {ask{method: "POST", path: "oauth2/revokeToken", body: values("f", "json", "client_id", cred.ClientID, "client_secret", cred.ClientSecret, "apiToken", "1"), esriAuth: "Bearer " + token, referer: testReferer}, "must not carry a token"},
		"no referer":             {ask{method: "POST", path: "portals/self", body: self()}, "no Referer header"},
		"other referer":          {ask{method: "POST", path: "portals/self", body: self(), referer: "https://elsewhere.test"}, "another referer"},
		"key without referer":    {ask{method: "POST", path: "portals/self", body: values("f", "json", "token", key)}, "bound to referrers"},
		"comma list":             {post("oauth2/apps/"+cred.ClientID+"/update", self("privileges", "a,b", "httpReferrers", "[]")), "must be a JSON array"},
		"left out list":          {post("oauth2/apps/"+cred.ClientID+"/update", self("privileges", "[]")), "httpReferrers is missing"},
		"regenerate false":       {post("oauth2/token", mint("regenerateApiToken", "false")), "must be true"},
		"slot 3":                 {post("oauth2/token", mint("apiToken", "3")), "must be 1 or 2"},
		"sign-in by ip":          {post("generateToken", values("f", "json", "username", "u", "password", "p", "client", "requestip", "referer", "r", "expiration", "60")), "client=referer"},
		"sign-in without life":   {post("generateToken", values("f", "json", "username", "u", "password", "p", "client", "referer", "referer", "r")), "expiration is missing"},
		"wrong owner":            {post("content/users/"+CreatorUser+"/items/"+cred.ItemID+"/registeredAppInfo", self()), "belongs to " + cred.Owner},
		"wrong owner, update":    {post("content/users/"+CreatorUser+"/items/"+cred.ItemID+"/update", self("title", "x")), "belongs to " + cred.Owner},
		"effect by GET":          {ask{method: "GET", path: item + "/protect", query: values("f", "json"), referer: testReferer, auth: "Bearer " + token}, "must be POST"},
		"odd method":             {ask{method: "PUT", path: "portals/self", body: self(), referer: testReferer}, "method must be GET or POST"},
		"unknown address":        {post("portals/self/nothing", self()), "no such address"},
	}
}

func TestStrictRefuses(t *testing.T) {
	for name := range carelessAsks("", "", Credential{ClientID: "12345678"}) {
		t.Run(name, func(t *testing.T) {
			e := New(Options{Switches: map[string]string{SwitchManner: valueStrict}})
			cred := e.AddCredential(CredentialSeed{Title: "careful", Expires: [2]time.Time{e.Now().Add(5 * day)}, Minted: true, Referrers: []string{"https://a.test"}})
			row := carelessAsks(signedIn(t, e, AdminUser).token, cred.Keys[0], cred)[name]
			events := len(e.Events())
			if got := row.ask.send(t, e); !strings.Contains(got, row.want) {
				t.Errorf("answer %s, want %q in it", got, row.want)
			}
			if len(e.Events()) != events {
				t.Error("the refused request had an effect")
			}
			if n := len(e.Violations()); n != 1 {
				t.Errorf("%d violations, want 1", n)
			}
			for _, v := range e.Violations() {
				if strings.Contains(v.Text, cred.ClientSecret) || strings.Contains(v.Text, cred.Keys[0]) {
					t.Errorf("violation tells a secret: %s", v.Text)
				}
			}
		})
	}
}

func TestStrictRefusesMultipart(t *testing.T) {
	e := New(Options{Switches: map[string]string{SwitchManner: valueStrict}})
	c := signedIn(t, e, AdminUser)
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, value := range map[string]string{"f": "json", "token": c.token, "type": "Application", "title": "t"} {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	send := func() string {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "https://portal.test"+e.Root()+"/content/users/"+AdminUser+"/addItem", bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", w.FormDataContentType())
		req.Header.Set("Referer", testReferer)
		return answerText(t, e, req)
	}
	if got := send(); !strings.Contains(got, "must be application/x-www-form-urlencoded") {
		t.Errorf("strict: %s", got)
	}
	if err := e.SetSwitch(SwitchManner, valuePortal); err != nil {
		t.Fatal(err)
	}
	if got := send(); !strings.Contains(got, `"success":true`) {
		t.Errorf("portal: %s", got)
	}
}

// What manner strict refuses for carelessness alone, the portal takes.
func TestPortalIsLenient(t *testing.T) {
	for _, name := range []string{"unknown parameter", "twice", "query and body", "token in the query", "token in two places",
		"token with a mint", "token header on revoke", "left out list", "regenerate false", "wrong owner", "wrong owner, update"} {
		t.Run(name, func(t *testing.T) {
			e := New(Options{Switches: map[string]string{SwitchRegenerateFalse: "regenerate"}})
			cred := e.AddCredential(CredentialSeed{Title: "lenient", Expires: [2]time.Time{e.Now().Add(5 * day)}, Minted: true})
			row := carelessAsks(signedIn(t, e, AdminUser).token, cred.Keys[0], cred)[name]
			if got := row.ask.send(t, e); !strings.HasPrefix(got, "{") || strings.Contains(got, `"error"`) {
				t.Errorf("answer %s", got)
			}
			if len(e.Violations()) != 0 {
				t.Error("manner portal kept a violation")
			}
		})
	}
}

func TestMissingFGivesHTML(t *testing.T) {
	e := New(Options{})
	got := ask{method: "GET", path: "portals/self"}.send(t, e)
	if !strings.HasPrefix(got, "<html>") || !strings.Contains(got, e.OrgID()) {
		t.Errorf("answer %.60s, want a page that shows the organisation", got)
	}
	if got := (ask{method: "POST", path: "oauth2/token", body: values("client_id", "x")}).send(t, e); !strings.HasPrefix(got, "<html>") {
		t.Errorf("error %.60s, want a page", got)
	}
}

func TestTokenPlaces(t *testing.T) {
	e := New(Options{})
	token := signedIn(t, e, AdminUser).token
	f := values("f", "json")
	for name, a := range map[string]ask{
		"body":                 {method: "POST", body: values("f", "json", "token", token)},
		"query":                {method: "GET", query: values("f", "json", "token", token)},
		"Authorization":        {method: "GET", query: f, auth: "Bearer " + token},
		"X-Esri-Authorization": {method: "GET", query: f, esriAuth: "Bearer " + token},
	} {
		a.path, a.referer = "community/self", testReferer
		if got := a.send(t, e); !strings.Contains(got, AdminUser) {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := (ask{method: "GET", path: "community/self", query: f}).send(t, e); !strings.Contains(got, "499") {
		t.Errorf("no token: %s", got)
	}
}

func TestOpsAreClosed(t *testing.T) {
	ops := Ops()
	slices.Sort(ops)
	if n := len(slices.Compact(ops)); n != len(Ops()) {
		t.Errorf("an operation is listed twice")
	}
	for _, r := range New(Options{}).routes {
		if !slices.Contains(Ops(), r.op) {
			t.Errorf("route %v has operation %q, which is not listed", r.segments, r.op)
		}
		if r.op.Effect() && !r.post {
			t.Errorf("effect %s takes GET", r.op)
		}
	}
}
