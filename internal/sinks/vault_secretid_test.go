package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

var errDied = errors.New("the process dies here")

// mortal is a process that dies around one of its effects on Vault and on the store;
// nothing that it does afterwards reaches anybody. Without dieAt it only counts.
type mortal struct {
	mu     sync.Mutex
	stored SecretIDs
	fail   error // of each Save
	saves  []SecretIDs
	points int
	dieAt  int // -1: never
	after  bool
	dead   bool
}

func (m *mortal) around(effect func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.points
	m.points++
	if m.dead || n == m.dieAt && !m.after {
		m.dead = true
		return errDied
	}
	err := effect()
	if n == m.dieAt {
		m.dead = true
		return errDied
	}
	return err
}

// end of the process: how far it came, whether it died, and what is on disk.
func (m *mortal) end() (points int, dead bool, stored SecretIDs) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.points, m.dead, m.stored
}

func (m *mortal) Load(context.Context) (SecretIDs, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stored, nil
}

func (m *mortal) Save(_ context.Context, s SecretIDs) error {
	return m.around(func() error {
		if m.fail != nil {
			return m.fail
		}
		m.stored = s
		m.saves = append(m.saves, s)
		return nil
	})
}

// proxy to Vault, around whose requests the process may die.
func (m *mortal) proxy(t *testing.T, backend string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var resp *http.Response
		var answer []byte
		err := m.around(func() error {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			req, err := http.NewRequestWithContext(r.Context(), r.Method, backend+r.URL.RequestURI(), bytes.NewReader(body))
			if err != nil {
				return err
			}
			req.Header = r.Header.Clone()
			if resp, err = http.DefaultTransport.RoundTrip(req); err != nil {
				return err
			}
			defer resp.Body.Close()
			answer, err = io.ReadAll(resp.Body)
			return err
		})
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(answer)
	}))
	server.Config.ErrorLog = nil
	t.Cleanup(server.Close)
	return server.URL
}

// ownRole is a server with one role per call, whose secret ids live an hour, and that
// may do what the printed policy says.
func ownRole(t *testing.T, srv *testkit.VaultServer, role string, params map[string]any) VaultAuth {
	t.Helper()
	srv.Policy("own-"+role, allSecrets+SecretIDPolicy("approle", role))
	all := map[string]any{"token_policies": []string{"own-" + role}, "secret_id_ttl": "1h"}
	maps.Copy(all, params)
	return VaultAuth{Method: AuthAppRole, RoleID: srv.AppRole(role, all), RoleName: role}
}

// seeded is a store with a secret id whose life is as good as over.
func seeded(t *testing.T, srv *testkit.VaultServer, role string) *mortal {
	t.Helper()
	now := time.Now()
	status, reply := srv.Do(http.MethodPut, "auth/approle/role/"+role+"/secret-id", map[string]any{})
	if status != http.StatusOK {
		t.Fatalf("make secret id: %d", status)
	}
	data, _ := reply["data"].(map[string]any)
	id, _ := data["secret_id"].(string)
	accessor, _ := data["secret_id_accessor"].(string)
	return &mortal{dieAt: -1, stored: SecretIDs{Current: SecretID{ID: rotate.NewSecret(id), Accessor: accessor,
		Obtained: now.Add(-50 * time.Minute), Expires: now.Add(10 * time.Minute)}}}
}

func accessors(t *testing.T, srv *testkit.VaultServer, role string) []string {
	t.Helper()
	_, reply := srv.Do("LIST", "auth/approle/role/"+role+"/secret-id", nil)
	data, _ := reply["data"].(map[string]any)
	keys, _ := data["keys"].([]any)
	var out []string
	for _, k := range keys {
		text, _ := k.(string)
		out = append(out, text)
	}
	return out
}

// live signs in as a new process would.
func live(t *testing.T, auth VaultAuth, store SecretIDStore, address string, notes *notices) (*Vault, error) {
	t.Helper()
	auth.SecretIDs = store
	v := mustVault(t, VaultOptions{Address: address, Timeout: 10 * time.Second, Auth: auth, OnNotice: notes.add})
	_, err := v.signedIn(t.Context())
	return v, err
}

func TestSecretIDIsRenewed(t *testing.T) {
	srv := authServer(t)
	auth := ownRole(t, srv, "r", nil)
	store, notes := seeded(t, srv, "r"), &notices{}
	old := store.stored.Current
	v, err := live(t, auth, store, srv.Addr, notes)
	if err != nil {
		t.Fatal(err)
	}
	now := store.stored
	if now.Current.ID.Equal(old.ID) || !now.Next.ID.IsZero() || len(now.Old) > 0 || notes.count() > 0 {
		t.Errorf("stored %+v, notices %v", now, notes.all)
	}
	if got := accessors(t, srv, "r"); len(got) != 1 || got[0] != now.Current.Accessor {
		t.Errorf("vault holds the secret ids %v, want %s alone", got, now.Current.Accessor)
	}
	if len(store.saves) != 4 || !store.saves[1].Current.ID.Equal(old.ID) || store.saves[1].Next.ID.IsZero() || len(store.saves[2].Old) != 1 {
		t.Errorf("%d writes to the store; want the old state, both, the new one with the old accessor, the new one", len(store.saves))
	}
	if left := time.Until(v.SecretIDExpiry()); left < 55*time.Minute || left > time.Hour {
		t.Errorf("the secret id is said to end in %s", left)
	}
	if left := time.Until(v.SecretIDDue()); left < 25*time.Minute || left > 30*time.Minute {
		t.Errorf("its renewal is said to be due in %s, want half its life", left)
	}
	if _, err := v.signedIn(t.Context()); err != nil || len(store.saves) != 4 {
		t.Errorf("signed in again: %v, %d writes", err, len(store.saves))
	}
	s := mustSink(t, v, SinkSpec{Name: "v", Mount: "secret", Path: "app"})
	mustWrite(t, s, testEntry(1), mustRead(t, s).Version)
}

// A token that lives for ever does not keep the secret id from being renewed.
func TestSecretIDIsRenewedUnderALongToken(t *testing.T) {
	srv := authServer(t)
	auth := ownRole(t, srv, "r", map[string]any{"token_period": "24h"})
	store, notes := seeded(t, srv, "r"), &notices{}
	store.stored.Current.Obtained = time.Now()
	v, err := live(t, auth, store, srv.Addr, notes)
	if err != nil || len(store.saves) != 0 {
		t.Fatalf("first sign-in: %v, %d writes", err, len(store.saves))
	}
	method, _ := v.session.method.(*ownSecretID)
	store.stored.Current.Obtained = time.Now().Add(-time.Hour)
	if wait := v.session.untilRenewal(time.Now()); wait <= 0 {
		t.Errorf("aged already: %s", wait)
	}
	method.lookAt(time.Now())
	if wait := v.session.untilRenewal(time.Now()); wait > 0 {
		t.Errorf("Run would wait for %s", wait)
	}
	mustRead(t, mustSink(t, v, SinkSpec{Name: "v", Mount: "secret", Path: "app"}))
	if len(store.saves) != 4 {
		t.Errorf("%d writes, want a whole renewal", len(store.saves))
	}
}

// What keeps a renewal from working leaves the present secret id in use, and does not
// ask Vault at every call.
func TestSecretIDThatCannotBeRenewed(t *testing.T) {
	srv := authServer(t)
	for _, tt := range []struct {
		name   string
		params map[string]any
		policy string // instead of the right one
		spoil  func(*mortal)
		text   string
	}{
		{"the policy forbids it", nil, allSecrets, nil, "forbidden"},
		{"limited uses", map[string]any{"secret_id_num_uses": 5}, "", nil, "secret_id_num_uses"},
		{"the store takes no writes", nil, "", func(m *mortal) { m.fail = errors.New("disk full") }, "disk full"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			role := strings.ReplaceAll(tt.name, " ", "-")
			auth := ownRole(t, srv, role, tt.params)
			if tt.policy != "" {
				srv.Policy("own-"+role, tt.policy)
			}
			store, notes := seeded(t, srv, role), &notices{}
			if tt.spoil != nil {
				tt.spoil(store)
			}
			old := store.stored.Current
			v, err := live(t, auth, store, srv.Addr, notes)
			if err != nil || !store.stored.Current.ID.Equal(old.ID) {
				t.Fatalf("signed in: %v; the secret id must stay", err)
			}
			if notes.count() != 1 || !strings.Contains(fmt.Sprint(notes.all[0].Err), tt.text) {
				t.Fatalf("told %v, want one notice with %q", notes.all, tt.text)
			}
			if got := accessors(t, srv, role); len(got) != 1 {
				t.Errorf("vault holds %d secret ids, want the old one alone", len(got))
			}
			if _, err := v.signedIn(t.Context()); err != nil || notes.count() != 1 {
				t.Errorf("at once again: %v, %d notices", err, notes.count())
			}
		})
	}
}

// A death between any two steps leaves a stored secret id that signs in, and one
// secret id too many at most.
func TestNoDeathInASecretIDRenewalLocksOut(t *testing.T) {
	srv := authServer(t)
	run := func(role string, dieAt int, after bool) int {
		auth := ownRole(t, srv, role, nil)
		store := seeded(t, srv, role)
		store.dieAt, store.after = dieAt, after
		notes := &notices{}
		_, err := live(t, auth, store, store.proxy(t, srv.Addr), notes)
		points, dead, stored := store.end()
		if dead != (dieAt >= 0) {
			t.Errorf("%s: dead %v, %v", role, dead, err)
		}
		// Two processes more, on what is on disk: the first may still have to tidy up.
		again := &mortal{dieAt: -1, stored: stored}
		for range 2 {
			if _, err := live(t, auth, again, srv.Addr, notes); err != nil {
				t.Errorf("%s: locked out: %v", role, err)
			}
		}
		if _, _, s := again.end(); !s.Next.ID.IsZero() || len(s.Old) > 0 {
			t.Errorf("%s: left over: %+v", role, s)
		}
		if got := accessors(t, srv, role); len(got) > 2 {
			t.Errorf("%s: vault holds %d secret ids", role, len(got))
		}
		return points
	}
	points := run("whole", -1, false)
	if points < 8 {
		t.Fatalf("a whole renewal has %d points", points)
	}
	for n := range points {
		for _, after := range []bool{false, true} {
			run(fmt.Sprintf("r%d-%v", n, after), n, after)
		}
	}
}

func TestARefusedNextSecretIDIsDropped(t *testing.T) {
	srv := authServer(t)
	auth := ownRole(t, srv, "r", nil)
	store, notes := seeded(t, srv, "r"), &notices{}
	store.stored.Current.Obtained = time.Now()
	store.stored.Next = SecretID{ID: rotate.NewSecret("never-issued"), Accessor: "never-issued"}
	if _, err := live(t, auth, store, srv.Addr, notes); err != nil {
		t.Fatal(err)
	}
	if s := store.stored; !s.Next.ID.IsZero() || len(s.Old) > 0 || notes.count() > 0 {
		t.Errorf("left over: %+v, notices %v", s, notes.all)
	}
}

func TestAdoptSecretID(t *testing.T) {
	srv := authServer(t)
	auth := ownRole(t, srv, "r", nil)
	store := &mortal{dieAt: -1}
	notes := &notices{}
	v, err := live(t, auth, store, srv.Addr, notes)
	if rotate.KindOf(err) != rotate.KindAuth || !strings.Contains(err.Error(), "rotatord login --vault") {
		t.Errorf("an empty store: %v", err)
	}
	for _, wrong := range []string{"nonsense", srv.SecretID(ownRoleOf(t, srv, "other"))} {
		if _, err := v.AdoptSecretID(t.Context(), rotate.NewSecret(wrong)); rotate.KindOf(err) != rotate.KindAuth || strings.Contains(err.Error(), wrong) {
			t.Errorf("a wrong secret id: %v", err)
		}
	}
	if !store.stored.Current.ID.IsZero() {
		t.Fatal("a wrong secret id was stored")
	}
	got, err := v.AdoptSecretID(t.Context(), rotate.NewSecret(srv.SecretID("r")))
	if err != nil || got.Accessor == "" || time.Until(got.Expires) < 55*time.Minute || time.Since(got.Obtained) > time.Minute {
		t.Fatalf("adopted %+v, %v", got, err)
	}
	if _, err := v.signedIn(t.Context()); err != nil || !store.stored.Current.ID.Equal(got.ID) {
		t.Errorf("signed in: %v", err)
	}
	if found := v.checkOwnSecretID(t.Context()); len(found) > 0 {
		t.Errorf("the printed policy lacks: %v", found)
	}
	srv.Policy("own-r", allSecrets)
	if found := v.checkOwnSecretID(t.Context()); len(found) != 4 {
		t.Errorf("without the rights: %v", found)
	}
}

func ownRoleOf(t *testing.T, srv *testkit.VaultServer, role string) string {
	t.Helper()
	ownRole(t, srv, role, nil)
	return role
}

// A secret id that never ends is renewed by age alone.
func TestWhenASecretIDIsDue(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	bounded := SecretID{Obtained: at, Expires: at.Add(100 * time.Hour)}
	for _, tt := range []struct {
		name string
		auth VaultAuth
		id   SecretID
		want time.Time
	}{
		{"half its life", VaultAuth{}, bounded, at.Add(50 * time.Hour)},
		{"a share", VaultAuth{RenewBeforeShare: 0.1}, bounded, at.Add(90 * time.Hour)},
		{"a duration", VaultAuth{RenewBefore: time.Hour}, bounded, at.Add(99 * time.Hour)},
		{"a duration longer than its life", VaultAuth{RenewBefore: 200 * time.Hour}, bounded, at.Add(50 * time.Hour)},
		{"age first", VaultAuth{MaxAge: time.Hour}, bounded, at.Add(time.Hour)},
		{"end first", VaultAuth{MaxAge: 70 * time.Hour}, bounded, at.Add(50 * time.Hour)},
		{"no end", VaultAuth{}, SecretID{Obtained: at}, time.Time{}},
		{"no end, but age", VaultAuth{MaxAge: time.Hour}, SecretID{Obtained: at}, at.Add(time.Hour)},
	} {
		if got := (&ownSecretID{conf: tt.auth}).dueAt(tt.id); !got.Equal(tt.want) {
			t.Errorf("%s: due %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestOwnSecretIDOptions(t *testing.T) {
	good := VaultAuth{Method: AuthAppRole, RoleID: "x", RoleName: "r", SecretIDs: &mortal{}}
	for name, change := range map[string]func(*VaultAuth){
		"no role name": func(a *VaultAuth) { a.RoleName = "" },
		"wrapped":      func(a *VaultAuth) { a.Wrapped = true },
		"a file too":   func(a *VaultAuth) { a.SecretIDFile = "/x" },
		"a path":       func(a *VaultAuth) { a.RoleName = "a/b" },
	} {
		auth := good
		change(&auth)
		if _, err := NewVault(VaultOptions{Address: "http://127.0.0.1:1", Auth: auth}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if v, err := NewVault(VaultOptions{Address: "http://127.0.0.1:1", Auth: good}); err != nil || !v.SecretIDExpiry().IsZero() {
		t.Errorf("good options: %v", err)
	}
	other := mustVault(t, rootOptions(t, &testkit.VaultServer{Addr: "http://127.0.0.1:1"}))
	if _, err := other.AdoptSecretID(t.Context(), rotate.NewSecret("x")); err == nil || !other.SecretIDExpiry().IsZero() {
		t.Errorf("another sign-in adopted a secret id: %v", err)
	}
}
