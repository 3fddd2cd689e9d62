package slack

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	slackgo "github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"rotatord/internal/rotate"
)

// Alerts is what an Actor needs of the alert engine.
type Alerts interface {
	// OpenSince is since when the alert of a key holds; false: it does not.
	OpenSince(key string) (time.Time, bool)
	Acknowledge(ctx context.Context, key, by string) error
	Snooze(ctx context.Context, key, by string, until time.Time) error
}

// ActorOptions of NewActor.
type ActorOptions struct {
	Notifier *Notifier // by bot token, and with an app token
	Users    []string  // ids of those who may act; nobody else may
	Alerts   Alerts
	// Order carries out a command as any other of a person's: checked, journalled, with
	// its author in the history.
	Order func(ctx context.Context, name rotate.Name, cmd rotate.Command) error
	Log   *slog.Logger // nil: none
}

// Actor does what people order by the buttons of messages. They reach it over a
// websocket that it opens (Socket Mode), so nothing listens.
type Actor struct {
	o    ActorOptions
	wire *wire
	pace *paced
	once *lately
	room chan struct{} // one for each deed that may run at once
	// again holds at most one: do not wait before the next try.
	again chan struct{}
}

// deedsAtOnce: people press buttons one by one; more is a fault.
const deedsAtOnce = 16

// NewActor checks the options. It connects to nothing.
func NewActor(o ActorOptions) (*Actor, error) {
	switch {
	case o.Notifier == nil || o.Notifier.bot == nil:
		return nil, errors.New("configure Slack actions: want a bot token")
	case o.Notifier.options.AppToken == nil:
		return nil, errors.New("configure Slack actions: want an app token")
	case o.Alerts == nil || o.Order == nil:
		return nil, errors.New("configure Slack actions: want alerts and a way to give orders")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := o.Notifier.wire
	return &Actor{o: o, wire: w, pace: &paced{next: w.client}, once: newLately(), room: make(chan struct{}, deedsAtOnce), again: make(chan struct{}, 1)}, nil
}

// Again tries now what was refused: the token may have been changed.
func (a *Actor) Again() {
	select {
	case a.again <- struct{}{}:
	default:
	}
}

// How long to wait before a connection that Slack refused for good is tried again:
// somebody may have mended the token meanwhile.
const (
	refusedFirst = 30 * time.Second
	refusedMost  = 15 * time.Minute
)

// Run until ctx ends. What goes wrong with Slack is logged and tried again; deeds under
// way are waited for.
func (a *Actor) Run(ctx context.Context) error {
	var deeds sync.WaitGroup
	defer deeds.Wait()
	for tries := 0; ctx.Err() == nil; tries++ {
		began := time.Now()
		err := a.connected(ctx, &deeds)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > refusedMost {
			tries = 0
		}
		wait := min(refusedFirst<<min(tries, 10), refusedMost)
		a.o.Log.ErrorContext(ctx, "slack takes no connection for actions", slog.Any("err", a.wire.errorOf("connect", false, err)), slog.Duration("retry_in", wait))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-a.again:
			timer.Stop()
			tries = -1
		case <-timer.C:
		}
	}
	return nil
}

// connected keeps one client, which connects again by itself, until ctx ends or Slack
// refuses for good.
func (a *Actor) connected(ctx context.Context, deeds *sync.WaitGroup) error {
	const frameMost = 1 << 20
	options := a.o.Notifier.options
	token, err := a.wire.read(ctx, "app token", options.AppToken)
	if err != nil {
		return err
	}
	api := a.wire.api(options, "", slackgo.OptionAppLevelToken(token), slackgo.OptionHTTPClient(a.pace))
	client := socketmode.New(api, socketmode.OptionReadLimit(frameMost), socketmode.OptionLog(silent{}))
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- client.RunContext(ctx) }()
	defer cancel()
	for {
		select {
		case err := <-ended:
			return err
		case e := <-client.Events:
			a.event(ctx, client, e, deeds)
		}
	}
}

// silent is the library's own log, whose lines quote what Slack sent.
type silent struct{}

func (silent) Output(int, string) error { return nil }

// event acknowledges what Slack sent, which it wants within three seconds, and begins
// what it asks for.
func (a *Actor) event(ctx context.Context, client *socketmode.Client, e socketmode.Event, deeds *sync.WaitGroup) {
	switch e.Type {
	case socketmode.EventTypeConnected:
		a.o.Log.InfoContext(ctx, "connected to slack for actions")
		return
	case socketmode.EventTypeConnectionError:
		if failed, ok := e.Data.(*slackgo.ConnectionErrorEvent); ok {
			a.o.Log.WarnContext(ctx, "no connection to slack for actions", slog.Any("err", a.wire.errorOf("connect", false, failed.ErrorObj)))
		}
		return
	default:
	}
	if e.Request == nil || e.Request.EnvelopeID == "" {
		return
	}
	var answer any
	var deed func()
	if c, ok := e.Data.(slackgo.InteractionCallback); ok && a.once.new("envelope "+e.Request.EnvelopeID) && (c.TriggerID == "" || a.once.new("press "+c.TriggerID)) {
		answer, deed = a.take(ctx, c)
	}
	if err := client.AckCtx(ctx, e.Request.EnvelopeID, answer); err != nil || deed == nil {
		return // Slack sends again what is not acknowledged
	}
	select {
	case a.room <- struct{}{}:
		deeds.Go(func() {
			defer func() { <-a.room }()
			deed()
		})
	default:
		a.o.Log.WarnContext(ctx, "too many buttons pressed at once; one was ignored")
	}
}

// lately remembers what was seen, as much as may come twice.
type lately struct {
	mu    sync.Mutex
	seen  map[string]bool
	order []string
}

const latelyMost = 4096

func newLately() *lately { return &lately{seen: map[string]bool{}} }

// new tells whether an id was not seen before, and notes it.
func (l *lately) new(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[id] {
		return false
	}
	l.seen[id] = true
	if l.order = append(l.order, id); len(l.order) > latelyMost {
		delete(l.seen, l.order[0])
		l.order = l.order[1:]
	}
	return true
}

// paced opens connections ever more slowly while they do not last: the client connects
// again at once, however short the last one was.
type paced struct {
	next *http.Client

	mu   sync.Mutex
	last time.Time
	gap  time.Duration
}

const (
	gapFirst = time.Second
	gapMost  = 5 * time.Minute
)

func (p *paced) Do(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/apps.connections.open") {
		return p.next.Do(r) //nolint:gosec // slack-go made the request, to Slack
	}
	timer := time.NewTimer(p.wait(time.Now()))
	defer timer.Stop()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-timer.C:
	}
	return p.next.Do(r) //nolint:gosec // the same
}

func (p *paced) wait(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	lasted := now.Sub(p.last)
	switch {
	case p.last.IsZero() || lasted > gapMost:
		p.gap = 0
	case p.gap == 0:
		p.gap = gapFirst
	default:
		p.gap = min(2*p.gap, gapMost)
	}
	wait := max(p.gap-lasted, 0)
	p.last = now.Add(wait)
	return wait
}
