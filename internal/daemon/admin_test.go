package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rotatord/internal/quiet"
	"rotatord/internal/rotate"
)

// fakeService answers with what it was asked.
type fakeService struct{ got rotate.Command }

func (f *fakeService) Status(_ context.Context, names ...rotate.Name) ([]Status, error) {
	if slices.Contains(names, "nobody") {
		return nil, &NotFoundError{Name: "nobody", Known: []rotate.Name{"somebody"}}
	}
	return []Status{{Name: "somebody", Phase: rotate.PhaseIdle}}, nil
}

func (f *fakeService) Plan(context.Context, ...rotate.Name) ([]Plan, error) {
	return []Plan{{Name: "somebody", Forecast: &rotate.Forecast{Blocked: rotate.ReasonNotDue}}}, nil
}

func (f *fakeService) History(_ context.Context, q HistoryQuery) ([]HistoryEntry, error) {
	return []HistoryEntry{{Seq: int64(q.Limit), Event: rotate.Event{Name: q.Name, At: q.Since}}}, nil
}

func (f *fakeService) Export(_ context.Context, q HistoryQuery, to io.Writer) error {
	_, err := fmt.Fprintf(to, "%s from %s to %s", q.Name, q.Since.Format(time.DateOnly), q.Until.Format(time.DateOnly))
	return err
}

func (f *fakeService) Verify(context.Context, rotate.Name) (int64, error) { return 7, nil }

func (f *fakeService) Command(_ context.Context, cmd rotate.Command, names ...rotate.Name) ([]CommandResult, error) {
	f.got = cmd
	return []CommandResult{{Status: Status{Name: names[0]}, Refused: "not now"}}, nil
}

func (f *fakeService) Reload(context.Context) (ReloadResult, error) {
	return ReloadResult{}, errors.New("line 3 is wrong")
}

func (f *fakeService) Backup(_ context.Context, to io.Writer) error {
	_, err := to.Write([]byte("a copy"))
	return err
}

func (f *fakeService) Health(context.Context) (Health, error) { return Health{Version: "v1"}, nil }

func (f *fakeService) Ack(_ context.Context, a quiet.Ack) (quiet.Receipt, error) {
	if err := a.Check(); err != nil {
		return quiet.Accept(context.Background(), nil, a, rotate.Record{}, nil)
	}
	return quiet.Receipt{Ack: a, State: quiet.StateLive}, nil
}

func (f *fakeService) Acks(_ context.Context, name rotate.Name) (Acks, error) {
	if name == "nobody" {
		return Acks{}, &NotFoundError{Name: name}
	}
	return Acks{Name: name, Consumers: []quiet.Standing{{Consumer: "shop", State: quiet.StateLive}}}, nil
}

func (f *fakeService) Metrics(_ context.Context, to io.Writer) error {
	_, err := to.Write([]byte("rotatord_up 1\n"))
	return err
}

// serve a service on a socket of its own until the test ends.
func serve(t *testing.T, s Service, more ...Extra) (*Client, string) {
	t.Helper()
	return serveWith(t, s, AdminOptions{More: more})
}

func serveWith(t *testing.T, s Service, o AdminOptions) (*Client, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	o.Socket = socket
	a, err := NewAdmin(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx) }()
	c := NewClient(socket)
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve = %v", err)
		}
	})
	return c, socket
}

func TestAdminExtras(t *testing.T) {
	c, _ := serve(t, &fakeService{}, Extra{Pattern: "POST /v1/echo", Changes: true,
		Serve: func(_ context.Context, actor string, q url.Values, body io.Reader) (any, error) {
			b, err := io.ReadAll(body)
			if q.Get("bad") != "" {
				return nil, BadRequest("not so")
			}
			return []string{actor, q.Get("x"), string(b)}, err
		}})
	var out []string
	err := c.Ask(t.Context(), http.MethodPost, "/v1/echo", url.Values{"x": {"7"}}, "said", &out)
	if want := []string{Actor(), "7", `"said"`}; err != nil || !slices.Equal(out, want) {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
	err = c.Ask(t.Context(), http.MethodPost, "/v1/echo", url.Values{"bad": {"1"}}, nil, &out)
	if e, ok := errors.AsType[*RemoteError](err); !ok || e.Status != http.StatusBadRequest || e.Text != "not so" {
		t.Errorf("a bad request is answered %v", err)
	}
}

func TestAdminVerbs(t *testing.T) {
	service := &fakeService{}
	c, socket := serve(t, service)
	ctx := t.Context()
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("socket = %v, %v, want mode %o", info, err, socketMode)
	}
	if got, err := c.Status(ctx, "somebody"); err != nil || len(got) != 1 || got[0].Name != "somebody" {
		t.Errorf("status = %+v, %v", got, err)
	}
	if got, err := c.Plan(ctx); err != nil || got[0].Forecast.Blocked != rotate.ReasonNotDue {
		t.Errorf("plan = %+v, %v", got, err)
	}
	if got, err := c.History(ctx, HistoryQuery{Name: "somebody", Limit: 5}); err != nil || got[0].Seq != 5 || got[0].Name != "somebody" {
		t.Errorf("history = %+v, %v", got, err)
	}
	if n, err := c.Verify(ctx, "somebody"); err != nil || n != 7 {
		t.Errorf("verify = %d, %v", n, err)
	}
	if h, err := c.Health(ctx); err != nil || h.Version != "v1" {
		t.Errorf("health = %+v, %v", h, err)
	}
	var b bytes.Buffer
	if err := c.Metrics(ctx, &b); err != nil || b.String() != "rotatord_up 1\n" {
		t.Errorf("metrics = %q, %v", b.String(), err)
	}
	b.Reset()
	span := HistoryQuery{Name: "somebody", Since: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)}
	if err := c.Export(ctx, span, &b); err != nil || b.String() != "somebody from 2026-03-01 to 2026-04-01" {
		t.Errorf("export = %q, %v", b.String(), err)
	}
	b.Reset()
	if err := c.Backup(ctx, &b); err != nil || b.String() != "a copy" {
		t.Errorf("backup = %q, %v", b.String(), err)
	}
	_, err = c.Status(ctx, "nobody")
	if e, ok := errors.AsType[*NotFoundError](err); !ok || e.Known[0] != "somebody" {
		t.Errorf("status of nobody = %v", err)
	}
	_, err = c.Reload(ctx)
	if e, ok := errors.AsType[*RemoteError](err); !ok || !strings.Contains(e.Text, "line 3") {
		t.Errorf("reload = %v", err)
	}
	res, err := c.Command(ctx, rotate.Command{Kind: rotate.CommandHold, By: "the queen"}, "somebody")
	if err != nil || res[0].Refused != "not now" {
		t.Errorf("command = %+v, %v", res, err)
	}
	if service.got.By != Actor() {
		t.Errorf("the history would name %q, want who the kernel says it was: %q", service.got.By, Actor())
	}
}

func TestWhoMayChange(t *testing.T) {
	a := &Admin{o: AdminOptions{Users: []string{"alice"}}}
	tests := []struct {
		name string
		peer peer
		want bool
	}{
		{"root", peer{0, "root"}, true},
		{"the daemon's own user", peer{uint32(os.Getuid()), "rotatord"}, true},
		{"named in the config", peer{4001, "alice"}, true},
		{"in the group only", peer{4002, "bob"}, false},
		{"a user without a name", peer{4003, "4003"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := a.may(tt.peer); got != tt.want {
				t.Errorf("may(%s) = %v, want %v", tt.peer, got, tt.want)
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	c := NewClient(filepath.Join(t.TempDir(), "s"))
	defer c.Close()
	if _, err := c.Health(t.Context()); !Unreachable(err) {
		t.Errorf("health = %v, want unreachable", err)
	}
}

func TestSocketInTheWay(t *testing.T) {
	t.Run("a stale one is replaced", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := listen(t.Context(), path, "")
		if err != nil {
			t.Fatalf("listen = %v", err)
		}
		defer again.Close()
	})
	t.Run("one that answers stays", func(t *testing.T) {
		_, socket := serve(t, &fakeService{})
		if _, err := listen(t.Context(), socket, ""); err == nil || !strings.Contains(err.Error(), "another daemon") {
			t.Errorf("listen = %v", err)
		}
	})
	t.Run("a file stays", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := listen(t.Context(), path, ""); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("listen = %v", err)
		}
	})
	t.Run("no such group", func(t *testing.T) {
		if _, err := listen(t.Context(), filepath.Join(t.TempDir(), "s"), "no-such-group"); err == nil || !strings.Contains(err.Error(), "groupadd") {
			t.Errorf("listen = %v", err)
		}
	})
}
