package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"

	"rotatord/internal/journal"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

// diary keeps what happened to each credential, and when.
type diary struct {
	mu      sync.Mutex
	entries map[rotate.Name][]string // guarded by mu
}

// Observe implements rotate.Observer.
func (d *diary) Observe(ev rotate.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries[ev.Name] = append(d.entries[ev.Name], fmt.Sprint(time.Now().UTC().Format(time.RFC3339), " ", ev.Kind, " ", ev.Effect, " ", ev.Result))
}

// hangingTransport is a portal that takes connections and never answers, or late.
type hangingTransport struct{ after time.Duration } // 0: never

func (h hangingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	var late <-chan time.Time
	if h.after > 0 {
		late = time.After(h.after)
	}
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-late:
		return &http.Response{StatusCode: http.StatusGatewayTimeout, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}
}

// hangingSink answers nothing.
type hangingSink struct{ rotate.Sink }

func (hangingSink) Read(ctx context.Context) (rotate.Entry, error) {
	<-ctx.Done()
	return rotate.Entry{}, ctx.Err()
}

func (hangingSink) Write(ctx context.Context, _ rotate.Entry, _ rotate.Version) (rotate.Version, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

// trouble is a world of one daemon: portal b with six credentials in good order, and whatever else a test adds.
type trouble struct {
	fleet *Fleet
	diary diary
}

func (w *trouble) add(t *testing.T, id rotate.PortalID, transport http.RoundTripper, timeout time.Duration, seeds func(i int) string) {
	t.Helper()
	password := func(context.Context) (rotate.Secret, error) {
		return rotate.NewSecret(portaltest.StandardPassword), nil
	}
	client, err := portal.New(portal.Options{URL: "https://" + string(id) + ".example.com", Transport: transport, Timeout: timeout,
		Identity: portal.Identity{Password: &portal.PasswordIdentity{Username: portaltest.AdminUser, Password: password}}})
	if err != nil {
		t.Fatal(err)
	}
	survey := func(ctx context.Context) ([]Seen, error) {
		for _, err := range client.Listings(ctx) {
			if err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	w.fleet.Portals = append(w.fleet.Portals, Portal{ID: id, Survey: survey, SurveyAt: everyHour()})
	for i := range 6 {
		m := managed(id, i)
		m.ID.Item = rotate.ItemID(seeds(i))
		m.Policy, m.Portal, m.Sinks = fortnightPolicy(), client, []rotate.Sink{rotatetest.NewMemSink("memory")}
		w.fleet.Credentials = append(w.fleet.Credentials, m)
	}
}

func everyHour() cron.Schedule { return cron.Every(time.Hour) }

// fortnightPolicy has the second rotation a week after the first.
func fortnightPolicy() rotate.Policy {
	const day = 24 * time.Hour
	p := yearPolicy()
	p.Lifetime, p.RenewBefore, p.CriticalBefore, p.Overlap, p.Spread = 14*day, 7*day, 2*day, day, 0
	return p
}

// live runs a world in fake time for ten days, long enough for a second rotation, and tells what happened to
// the credentials of portal b, but for those in trouble.
func live(t *testing.T, change func(t *testing.T, w *trouble)) (happened map[rotate.Name][]string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &trouble{fleet: &Fleet{Tick: everyHour()}, diary: diary{entries: map[rotate.Name][]string{}}}
		emulator := portaltest.New(portaltest.Options{Seed: 1})
		w.add(t, "b", emulator.Transport(), 0, func(i int) string {
			return emulator.AddCredential(portaltest.CredentialSeed{Title: fmt.Sprint("b-", i)}).ItemID
		})
		change(t, w)
		db, err := journal.Open(t.Context(), journal.Options{Path: filepath.Join(t.TempDir(), "journal.db")})
		if err != nil {
			t.Fatal(err)
		}
		engine, err := rotate.New(rotate.Options{Journal: db, Observer: &w.diary, Instance: "0123456789abcdef0123456789abcdef"})
		if err != nil {
			t.Fatal(err)
		}
		d, err := New(Options{Engine: engine, Journal: db, Fleet: w.fleet})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		time.Sleep(10 * 24 * time.Hour)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		happened = w.diary.entries
	})
	return happened
}

// A portal or a sink that hangs delays nothing but what needs it: everybody else's every event comes at the
// second at which it comes without that.
func TestWhoHangsDelaysNobodyElse(t *testing.T) {
	names := func(all map[rotate.Name][]string) (out []rotate.Name) {
		for name := range all {
			out = append(out, name)
		}
		slices.SortFunc(out, cmp.Compare[rotate.Name])
		return out
	}
	calm := live(t, func(*testing.T, *trouble) {})
	for _, name := range names(calm) {
		mints := 0
		for _, e := range calm[name] {
			if len(e) > 20 && e[21:] == "effect mint ok" {
				mints++
			}
		}
		if mints < 2 {
			t.Fatalf("%s was minted %d times without any trouble, want 2: %v", name, mints, calm[name])
		}
	}
	item := func(i int) string { return fmt.Sprintf("%032x", i+1) }
	tests := []struct {
		name  string
		touch func(t *testing.T, w *trouble)
		stuck []rotate.Name
	}{
		{"a portal that never answers", func(t *testing.T, w *trouble) {
			w.add(t, "a", hangingTransport{}, 0, item)
		}, nil},
		{"a portal that answers after minutes", func(t *testing.T, w *trouble) {
			w.add(t, "a", hangingTransport{after: 90 * time.Second}, 10*time.Minute, item)
		}, nil},
		{"the sink of one credential", func(_ *testing.T, w *trouble) {
			w.fleet.Credentials[0].Sinks = []rotate.Sink{hangingSink{w.fleet.Credentials[0].Sinks[0]}}
		}, []rotate.Name{"b-0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := live(t, tt.touch)
			failures := 0
			for _, name := range names(got) {
				if name[0] == 'a' || slices.Contains(tt.stuck, name) {
					failures += len(got[name])
				}
			}
			if failures < 50 {
				t.Errorf("only %d events of those that hang: nothing hung", failures)
			}
			for _, name := range names(calm) {
				if slices.Contains(tt.stuck, name) {
					continue
				}
				if diff := gocmp.Diff(calm[name], got[name]); diff != "" {
					t.Errorf("%s (-calm +with trouble):\n%s", name, diff)
				}
			}
		})
	}
}
