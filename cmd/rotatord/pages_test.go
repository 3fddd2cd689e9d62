package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/alert"
	"rotatord/internal/alert/notifytest"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// inbox is a service that takes rotatord's events if their signature is right, as
// docs/notifiers.md has its receivers check it.
type inbox struct {
	t      *testing.T
	secret string

	mu   sync.Mutex
	took []event
}

// event as a receiver reads it.
type event struct {
	Subject string `json:"subject"`
	Type    string `json:"type"`
	Data    struct {
		State, Severity, Title, Command string
		Loud                            bool
	} `json:"data"`
}

func (i *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	id, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
	mac := hmac.New(sha256.New, []byte(i.secret))
	fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	sent, err := strconv.ParseInt(at, 10, 64)
	var e event
	if !hmac.Equal([]byte("v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))), []byte(r.Header.Get("Webhook-Signature"))) ||
		err != nil || time.Since(time.Unix(sent, 0)).Abs() > time.Minute || json.Unmarshal(body, &e) != nil {
		i.t.Errorf("not genuine: %v %s", r.Header, body)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.took = append(i.took, e)
}

// pages are what asks for attention, in its order: subject and state.
func (i *inbox) pages() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := []string{}
	for _, e := range i.took {
		if e.Data.Loud {
			out = append(out, e.Subject+" "+e.Data.State)
		}
	}
	return out
}

const hookSecret = "wh-s1gning-secret-0123456789abcdef"

// pagedWorld is a daemon that tells by every way that is not Slack, each of them real but
// the webhook's receiver.
type pagedWorld struct {
	*world
	inbox *inbox
	hook  *notifytest.Hook
	exim  *notifytest.Exim
}

func newPagedWorld(t *testing.T) *pagedWorld {
	t.Helper()
	w := &pagedWorld{world: newWorld(t), inbox: &inbox{t: t, secret: hookSecret}, exim: notifytest.StartExim(t)}
	srv := httptest.NewServer(w.inbox)
	t.Cleanup(srv.Close)
	var am string
	am, w.hook = notifytest.StartAlertmanager(t, `
route: {receiver: hook, group_by: [alertname, credential, portal], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: "%HOOK%", send_resolved: true}]}]
`)
	w.secret(t, "hook", srv.URL+"/alerts/t0ken-in-the-path")
	w.secret(t, "hook-secret", hookSecret)
	w.secret(t, "mail-password", notifytest.EximPassword)
	w.withConfig(t, "renew_before: 10s, overlap: 2s, critical_before: 2s, lifetime: 20s", "renew_before: 10m, overlap: 2s, critical_before: 1m, lifetime: 1h")
	w.withConfig(t, "schedules: {tick: '@every 1s'}", "schedules: {tick: '@every 1s', survey: '@every 1s'}")
	w.withConfig(t, "limits: {per_second: 1000}", "limits: {per_second: 1000}\n    breaker: {failures: 5, open_for: 1s}")
	w.withConfig(t, "credentials:", strings.NewReplacer("DIR", w.dir, "AM", am, "CA", w.exim.CAFile, "SMARTHOST", w.exim.STARTTLS, "USER", notifytest.EximUser).Replace(`alerts:
  to: [webhook, alertmanager, email]
  wait: {warning: 0s}
  webhook: {url: 'file:DIR/hook', secrets: ['file:DIR/hook-secret']}
  alertmanager: {urls: ['AM']}
  email: {smarthost: 'SMARTHOST', tls: {ca_file: 'CA'}, from: rotatord@acme.example, to: [map-keys@acme.example], username: USER, password: 'file:DIR/mail-password'}
credentials:`))
	return w
}

// breaks an operation of the portal, or all of them ("").
func (w *pagedWorld) breaks(t *testing.T, op portaltest.Op) {
	t.Helper()
	if _, err := w.emulator.Inject(portaltest.Fault{Op: op, Kind: portaltest.ServerErrorHTML, Count: -1}); err != nil {
		t.Fatal(err)
	}
}

// listed waits until rotatord lists an alert as it shall be.
func (w *pagedWorld) listed(t *testing.T, id string, as func(alert.Listed) bool) {
	t.Helper()
	w.await(t, id+" is listed", func(context.Context) bool {
		r := runCLI(t, "--config", w.config, "--json", "alerts", "--all")
		var all []alert.Listed
		if err := json.Unmarshal([]byte(r.out), &all); err != nil {
			t.Fatalf("alerts: %v %s%s", err, r.out, r.err)
		}
		return slices.ContainsFunc(all, func(l alert.Listed) bool { return l.Key == id && as(l) })
	})
}

// TestOneFaultIsOnePage: a fault is told once by each way that its condition goes, and so is
// its end; a restart in between repeats nothing. What heals by itself is told to nobody.
func TestOneFaultIsOnePage(t *testing.T) {
	t.Parallel()
	w := newPagedWorld(t)
	p := w.start(t)
	w.rotated(t, p, 1)

	w.breaks(t, "")
	rotate1 := func() {
		t.Helper()
		if _, err := p.client.Command(t.Context(), rotate.Command{Kind: rotate.CommandRotate}, "app"); err != nil {
			t.Fatal(err)
		}
	}
	rotate1()
	w.listed(t, "portal_unreachable/online", func(l alert.Listed) bool { return l.Waiting && l.State == alert.StateOpen })
	w.emulator.ClearFaults()
	w.rotated(t, p, 2)
	if got := w.inbox.pages(); len(got) > 0 {
		t.Fatalf("what healed by itself was told: %q", got)
	}

	w.breaks(t, portaltest.OpSetDate)
	rotate1()
	w.listed(t, "failing/app", func(l alert.Listed) bool { return l.State == alert.StateOpen && len(l.Told) == 3 })
	p.terminate(t)
	p = w.start(t)
	w.listed(t, "failing/app", func(l alert.Listed) bool { return l.State == alert.StateOpen && len(l.Told) == 3 })
	w.emulator.ClearFaults()
	w.rotated(t, p, 3)
	w.listed(t, "failing/app", func(l alert.Listed) bool {
		return l.State == alert.StateResolved && !slices.ContainsFunc(l.Told, func(t alert.Told) bool { return !t.Current })
	})

	if diff := cmp.Diff([]string{"failing/app open", "failing/app resolved"}, w.inbox.pages()); diff != "" {
		t.Errorf("pages by webhook (-want +got):\n%s", diff)
	}
	w.hook.Await(t, "the end", func(g notifytest.Group) bool { return g.Status == "resolved" })
	var told []string
	for _, g := range w.hook.Told() {
		told = append(told, g.Status+" "+g.CommonLabels["alertname"]+" "+g.CommonLabels["credential"])
	}
	if diff := cmp.Diff([]string{"firing RotatordRotationFailing app", "resolved RotatordRotationFailing app"}, told); diff != "" {
		t.Errorf("pages by Alertmanager (-want +got):\n%s", diff)
	}
	w.mails(t)
	p.terminate(t)
	w.checkNoSecrets(t, hookSecret, notifytest.EximPassword, "t0ken-in-the-path")
}

// rotated waits for the end of a rotation.
func (w *pagedWorld) rotated(t *testing.T, p *started, generation int64) {
	t.Helper()
	w.await(t, fmt.Sprintf("generation %d is served", generation), func(ctx context.Context) bool {
		s := p.status(ctx)
		return s.Live.Generation == generation && s.Phase == rotate.PhaseIdle
	})
}

// mails are two, in one thread.
func (w *pagedWorld) mails(t *testing.T) {
	t.Helper()
	all := w.exim.Mails(t, 2)
	var subjects, threads []string
	for _, raw := range all {
		m, err := mail.ReadMessage(strings.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		subjects, threads = append(subjects, m.Header.Get("Subject")), append(threads, m.Header.Get("In-Reply-To")+m.Header.Get("Message-Id"))
	}
	if len(all) != 2 || !strings.HasPrefix(subjects[0], "Warning: app: rotation keeps failing") || subjects[1] != "OK: app: resolved, no longer failing" ||
		!strings.HasPrefix(threads[1], threads[0]) {
		t.Errorf("mails %q in threads %q", subjects, threads)
	}
}
