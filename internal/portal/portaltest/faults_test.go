package portaltest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// seen is what a client makes of an answer.
type seen struct {
	status     int
	retryAfter string
	body       string // the start of it
	broken     bool   // no answer, or one that ended early
}

type faultRow struct {
	fault  Fault
	effect bool
	want   seen
}

// faultRows has each kind at least once, struck on a mint.
func faultRows() map[string]faultRow {
	return map[string]faultRow{
		"fail_before":         {Fault{Kind: FailBefore}, false, seen{status: 200, body: `{"error":{"code":500`}},
		"fail_after":          {Fault{Kind: FailAfter}, true, seen{status: 200, body: `{"error":{"code":500`}},
		"lose_request":        {Fault{Kind: LoseRequest}, false, seen{broken: true}},
		"lose_reply":          {Fault{Kind: LoseReply}, true, seen{broken: true}},
		"delay":               {Fault{Kind: Delay, Delay: time.Millisecond}, true, seen{status: 200, body: `{"access_token":"AAPT`}},
		"delay_reply":         {Fault{Kind: DelayReply, Delay: time.Millisecond}, true, seen{status: 200, body: `{"access_token":"AAPT`}},
		"rate_limited":        {Fault{Kind: RateLimited}, false, seen{status: 429, body: `{"error":{"code":429`}},
		"rate_limited, after": {Fault{Kind: RateLimited, RetryAfter: 90 * time.Second, After: true}, true, seen{status: 429, retryAfter: "90", body: `{"error":{"code":429`}},
		"rate_limited_body":   {Fault{Kind: RateLimitedBody}, false, seen{status: 200, body: `{"error":{"code":429`}},
		"server_error":        {Fault{Kind: ServerError}, false, seen{status: 503, body: `{"error":{"code":503`}},
		"server_error, after": {Fault{Kind: ServerError, Status: 500, After: true}, true, seen{status: 500, body: `{"error":{"code":500`}},
		"server_error_html":   {Fault{Kind: ServerErrorHTML}, false, seen{status: 502, body: `<html>`}},
		"html_page":           {Fault{Kind: HTMLPage}, false, seen{status: 200, body: `<html>`}},
		"slow_body":           {Fault{Kind: SlowBody, Delay: 8 * time.Millisecond}, true, seen{status: 200, body: `{"access_token":"AAPT`}},
		"cut_body":            {Fault{Kind: CutBody}, true, seen{status: 200, body: `{"access_token":"AAPT`, broken: true}},
		"truncated_json":      {Fault{Kind: TruncatedJSON}, true, seen{status: 200, body: `{"access_token":"AAPT`}},
		"wrong_json":          {Fault{Kind: WrongJSON}, true, seen{status: 200, body: `["unexpected",1]`}},
		"lie":                 {Fault{Kind: Lie}, false, seen{status: 200, body: `{"access_token":"AAPT`}},
		"late_effect":         {Fault{Kind: LateEffect}, false, seen{broken: true}},
		"late_effect, status": {Fault{Kind: LateEffect, Status: 504}, false, seen{status: 504, body: "<html>"}},
		"stale_read":          {Fault{Kind: StaleRead}, true, seen{status: 200, body: `{"error":{"code":400`}},
		"invalid_token":       {Fault{Kind: InvalidToken}, false, seen{status: 200, body: `{"error":{"code":498`}},
		"forbidden":           {Fault{Kind: Forbidden}, false, seen{status: 200, body: `{"error":{"code":403`}},
	}
}

// look sends a form and reads the answer.
func look(t *testing.T, transport http.RoundTripper, address string, form url.Values) seen {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return seen{broken: true}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return seen{res.StatusCode, res.Header.Get("Retry-After"), string(body), err != nil}
}

func (s seen) matches(want seen) bool {
	return s.status == want.status && s.retryAfter == want.retryAfter && s.broken == want.broken && strings.HasPrefix(s.body, want.body)
}

func mintForm(cred Credential, slot int) url.Values {
	form := url.Values{"f": {"json"}}
	pairs := mintPairs(cred, slot)
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

func TestFaultKinds(t *testing.T) {
	left := FaultKinds()
	for name, row := range faultRows() {
		left = slices.DeleteFunc(left, func(k FaultKind) bool { return k == row.fault.Kind })
		if row.fault.Kind == StaleRead {
			continue // strikes reads only: TestStaleRead
		}
		row.fault.Op = OpMint
		t.Run(name+" in process", func(t *testing.T) {
			e := New(Options{})
			strikeMint(t, e, e.Transport(), "https://portal.test", row)
		})
		t.Run(name+" over a socket", func(t *testing.T) {
			e := New(Options{})
			srv := httptest.NewServer(e)
			defer srv.Close()
			strikeMint(t, e, srv.Client().Transport, srv.URL, row)
		})
	}
	if len(left) > 0 {
		t.Errorf("kinds without a row: %v", left)
	}
}

func strikeMint(t *testing.T, e *Emulator, transport http.RoundTripper, base string, row faultRow) {
	t.Helper()
	cred := e.AddCredential(CredentialSeed{Title: "struck", Expires: [2]time.Time{e.Now().Add(5 * day)}})
	if _, err := e.Inject(row.fault); err != nil {
		t.Fatal(err)
	}
	address := base + e.Root() + "/oauth2/token"
	if got := look(t, transport, address, mintForm(cred, 1)); !got.matches(row.want) {
		t.Errorf("got %+.80v, want %+v", got, row.want)
	}
	live := 0
	for _, k := range e.Keys() {
		if k.Valid(e.Now()) {
			live++
		}
	}
	if (live == 1) != row.effect {
		t.Errorf("%d live keys, want an effect: %v", live, row.effect)
	}
	if got := look(t, transport, address, mintForm(cred, 1)); got.status != 200 || !strings.HasPrefix(got.body, `{"access_token"`) {
		t.Errorf("the next mint was struck too: %+.80v", got)
	}
}

func TestCutInProcess(t *testing.T) {
	e := New(Options{})
	c := signedIn(t, e, AdminUser)
	for _, row := range []struct {
		kind FaultKind
		want error
	}{{LoseRequest, syscall.ECONNRESET}, {LoseReply, io.ErrUnexpectedEOF}, {LateEffect, syscall.ECONNRESET}} {
		inject(t, e, Fault{Op: OpSelf, Kind: row.kind})
		if _, _, err := c.send(t.Context(), "portals/self"); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.kind, err, row.want)
		}
	}
}

func inject(t *testing.T, e *Emulator, f Fault) int {
	t.Helper()
	id, err := e.Inject(f)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestFaultAim(t *testing.T) {
	e := New(Options{})
	one := e.AddCredential(CredentialSeed{Title: "one", Expires: [2]time.Time{e.Now().Add(5 * day), e.Now().Add(5 * day)}})
	two := e.AddCredential(CredentialSeed{Title: "two", Expires: [2]time.Time{e.Now().Add(5 * day)}})
	c := signedIn(t, e, AdminUser)
	struck := func(ask func() string) bool { return strings.HasPrefix(ask(), "500") }
	mint := func(cred Credential, slot int) func() string {
		return func() string {
			got, _, err := c.anonymous().send(t.Context(), "oauth2/token", mintPairs(cred, slot)...)
			if err != nil {
				t.Fatal(err)
			}
			if got["error"] != nil {
				return "500"
			}
			return "ok"
		}
	}
	inject(t, e, Fault{Op: OpMint, Item: one.ItemID, Slot: 2, Skip: 1, Count: 2, Kind: FailBefore})
	var got []bool
	for _, ask := range []func() string{mint(two, 1), mint(one, 1), mint(one, 2), mint(two, 1), mint(one, 2), mint(one, 2), mint(one, 2)} {
		got = append(got, struck(ask))
	}
	if want := []bool{false, false, false, false, true, true, false}; !slices.Equal(got, want) {
		t.Errorf("struck %v, want %v", got, want)
	}
	id := inject(t, e, Fault{Op: OpSelf, Count: -1, Kind: Forbidden})
	for range 3 {
		if got := c.refused("portals/self"); !strings.HasPrefix(got, "403") {
			t.Errorf("a lasting fault let a request pass: %s", got)
		}
	}
	if n := len(e.Faults()); n != 1 {
		t.Errorf("%d faults armed, want 1", n)
	}
	e.Withdraw(id)
	c.ok("portals/self")
}

func TestInjectRefusesNonsense(t *testing.T) {
	e := New(Options{})
	for name, f := range map[string]Fault{
		"operation":   {Op: "brew", Kind: FailBefore},
		"kind":        {Op: OpMint, Kind: "sulk"},
		"lying read":  {Op: OpItem, Kind: Lie},
		"stale write": {Op: OpMint, Kind: StaleRead},
	} {
		if _, err := e.Inject(f); err == nil {
			t.Errorf("%s: injected", name)
		}
	}
}

func TestHook(t *testing.T) {
	e := New(Options{})
	cred := e.AddCredential(CredentialSeed{Title: "hooked"})
	c := signedIn(t, e, AdminUser)
	var calls []Call
	e.SetHook(func(call Call) *Fault {
		calls = append(calls, call)
		e.Keys() // a hook may call the emulator
		if call.Op == OpMint {
			return &Fault{Kind: LoseReply}
		}
		return nil
	})
	c.setDate(cred, 2, e.Now().Add(day))
	if _, _, err := c.anonymous().send(t.Context(), "oauth2/token", mintPairs(cred, 2)...); err == nil {
		t.Error("the hook's fault did not strike")
	}
	want := []Call{{OpSetDate, cred.ItemID, 2, 2}, {OpMint, cred.ItemID, 2, 3}}
	if !slices.Equal(calls, want) {
		t.Errorf("calls %v, want %v", calls, want)
	}
	e.ClearFaults()
	c.anonymous().ok("oauth2/token", mintPairs(cred, 2)...)
}

func TestLieTakesEverythingBack(t *testing.T) {
	w := newWorld(t, Online)
	key := w.creator.mint(w.cred, 1)
	before, events := w.item(), len(w.e.Events())
	path := "content/users/" + CreatorUser + "/items/" + w.cred.ItemID
	stays := inject(t, w.e, Fault{Kind: StaleRead, Item: w.cred.ItemID}) // strikes no effect
	for _, ask := range [][]string{
		append([]string{"oauth2/token"}, mintPairs(w.cred, 1)...),
		{"oauth2/revokeToken", "client_id", w.cred.ClientID, "client_secret", w.cred.ClientSecret, "apiToken", "1"},
		{path + "/update", dateParam(1), "1893456000000", "title", "other"},
		{path + "/protect"}, {path + "/delete"},
		{"oauth2/apps/" + w.cred.ClientID + "/update", "privileges", "[]", "httpReferrers", "[]"},
		{"oauth2/apps/" + w.cred.ClientID + "/unregister"},
	} {
		inject(t, w.e, Fault{Kind: Lie})
		w.creator.ok(ask[0], ask[1:]...)
	}
	w.e.Withdraw(stays)
	w.want("key", w.valid(key), true)
	w.want("item", w.item(), before)
	w.want("events", len(w.e.Events()), events)
	if keys := w.e.Keys(); len(keys) != 2 || keys[1].EndedBy != EndedNeverWas || keys[1].Valid(w.e.Now()) {
		t.Errorf("keys %+v, want a second one that never was", keys)
	}
}

func TestStaleRead(t *testing.T) {
	w := newWorld(t, Online)
	stale := func(op Op, ask func() any) any {
		inject(t, w.e, Fault{Op: op, Kind: StaleRead})
		return ask()
	}
	flag := func() any { return w.creator.appInfo(w.cred)["apiToken1Active"] }
	key := w.creator.mint(w.cred, 1)
	proof := func() any {
		got, _, err := w.admin.as(key).send(t.Context(), "portals/self")
		return err == nil && got["appInfo"] != nil
	}
	w.want("flag before the mint", stale(OpAppInfo, flag), false)
	w.want("flag", flag(), true)
	w.want("proof before the mint", stale(OpProve, proof), false)
	w.want("proof", proof(), true)
	w.creator.revoke(w.cred, 1)
	w.want("flag before the revocation", stale(OpAppInfo, flag), true)
	w.want("proof before the revocation", stale(OpProve, proof), true)
	w.want("proof", proof(), false)
	old := w.item()[dateParam(2)]
	w.creator.setDate(w.cred, 2, w.e.Now().Add(day))
	w.want("date before the update", stale(OpItem, func() any { return w.item()[dateParam(2)] }), old)
}

func TestDelayOutlivesItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Online)
		w.creator.setDate(w.cred, 1, w.e.Now().Add(5*day))
		inject(t, w.e, Fault{Op: OpMint, Kind: Delay, Delay: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, _, err := w.admin.anonymous().send(ctx, "oauth2/token", mintPairs(w.cred, 1)...)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		w.want("keys at the time-out", len(w.e.Keys()), 0)
		pass(59 * time.Second)
		w.want("keys after the delay", len(w.e.Keys()), 1)
		last := w.e.Events()[len(w.e.Events())-1]
		w.want("late", last.Late, true)
	})
}

func TestSlowBodyInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Online)
		inject(t, w.e, Fault{Op: OpSelf, Kind: SlowBody, Delay: 80 * time.Second})
		start := time.Now()
		w.admin.ok("portals/self")
		w.want("took", time.Since(start), 80*time.Second)
		inject(t, w.e, Fault{Op: OpSelf, Kind: SlowBody, Delay: 80 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		if _, _, err := w.admin.send(ctx, "portals/self"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("impatient client: %v", err)
		}
	})
}

func TestLatencyOutlivesItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{Latency: time.Minute})
		cred := e.AddCredential(CredentialSeed{Title: "slow", Expires: [2]time.Time{e.Now().Add(5 * day)}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := &caller{t: t, e: e}
		if _, _, err := c.send(ctx, "oauth2/token", mintPairs(cred, 1)...); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if n := len(e.Keys()); n != 0 {
			t.Errorf("%d keys before the latency is over", n)
		}
		pass(time.Minute)
		if n := len(e.Keys()); n != 1 {
			t.Errorf("%d keys after it, want 1", n)
		}
	})
}

// HTTP/2 connections cannot be taken over; the stream is aborted instead.
func TestCutOverHTTP2(t *testing.T) {
	e := New(Options{})
	srv := httptest.NewUnstartedServer(e)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	inject(t, e, Fault{Op: OpSelf, Kind: LoseReply})
	form := values("f", "json")
	if got := look(t, srv.Client().Transport, srv.URL+e.Root()+"/portals/self", form); !got.broken {
		t.Errorf("got %+v, want a broken answer", got)
	}
	if got := look(t, srv.Client().Transport, srv.URL+e.Root()+"/portals/self", form); got.status != http.StatusOK {
		t.Errorf("afterwards %+v", got)
	}
}
