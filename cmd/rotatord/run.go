package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/robfig/cron/v3"
	"github.com/spf13/cobra"

	"rotatord/internal/alert/slack"
	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/metrics"
	"rotatord/internal/quiet"
	"rotatord/internal/rotate"
)

func (c *cli) runCmd() *cobra.Command {
	return &cobra.Command{Use: "run", Short: "Run the daemon",
		Long: "Looks after every credential of the config until SIGTERM or SIGINT. A started effect is finished and journalled first,\n" +
			"and a new key that is in memory only is brought into its first sink; a second signal ends it at once.\n" +
			"SIGHUP loads the config again, whole or not at all.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.runDaemon(cmd.Context()) }}
}

func (c *cli) runDaemon(ctx context.Context) (err error) {
	c.serving = true
	people := &lateObserver{}
	a, err := c.openApp(ctx, "run", people)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		c.say("stopped before it had started") // by a signal: a stop like any other, and no failure of the unit
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if err := c.checkFiles(a.cfg, starting); err != nil {
		return err
	}
	p, err := newProcess(ctx, c, a, people)
	if err != nil {
		return err
	}
	a.cfg = a.cfg.Settings()
	a.adapters.cfg = a.cfg
	saveMemory()
	return p.run(ctx)
}

// moment at which files are looked at. A start is never refused for what a
// calendar will do some day: nobody would look after the keys then.
type moment int

const (
	starting moment = iota
	reloading
)

// checkFiles refuses a config whose files cannot be used, and mentions what may be wrong.
func (c *cli) checkFiles(cfg *config.Config, when moment) error {
	var bad config.Problems
	for _, p := range cfg.CheckFiles() {
		if p.Warning || (p.Foreseen && when == starting) {
			c.say("%s", p.Text())
			continue
		}
		bad = append(bad, p)
	}
	if len(bad) > 0 {
		return &exitError{exitUsage, bad}
	}
	return nil
}

// process is a running daemon with everything around it.
type process struct {
	app      *app
	daemon   *daemon.Daemon
	admin    *daemon.Admin
	web      *metrics.Server // nil: switched off
	acks     *quiet.Server   // nil: no consumer acknowledges over HTTP
	people   *talker         // nil: nobody is told
	slack    *slack.Actor    // nil: nobody acts from Slack
	forecast *forecaster     // nil: no status page
	hup      chan os.Signal
	loaded   chan struct{} // a config is in force, and every credential was looked at once
	// adapters of the config in force, for metrics.
	adapters  atomic.Pointer[adapters]
	usage     usagePointer
	settings  settingsPointer
	replacing sync.Map // names of credentials whose replacement is being prepared
	// inForce is the sum of the config that is.
	inForce atomic.Pointer[[sha256.Size]byte]
	// accepted is what else a reload changes once its fleet is in force; reloads come one at a time.
	accepted func()
}

func newProcess(ctx context.Context, c *cli, a *app, people *lateObserver) (*process, error) {
	p := &process{app: a, hup: make(chan os.Signal, 1), loaded: make(chan struct{}, 1)}
	var err error
	if p.people, err = newTalker(a); err != nil {
		return nil, err
	}
	if p.people != nil {
		people.set(p.people)
	}
	if err := errors.Join(p.withUsage(a.cfg, a.adapters), p.withSettings(a.cfg, a.adapters)); err != nil {
		return nil, err
	}
	p.withCreation(a.cfg, a.adapters)
	sum := configSum(c.configPath)
	p.inForce.Store(&sum)
	fleet := *a.adapters.fleet
	mon := &monitor{process: p, tick: fleet.Tick}
	p.daemon, err = daemon.New(daemon.Options{Engine: a.engine, Journal: a.journal(), Fleet: &fleet, Log: a.log, Monitor: mon, Load: p.load(c), Rename: a.rename,
		Followed: p.itemChanged(c.configPath), Hangup: p.hup, Heartbeat: counted(a.metrics, heartbeat(a.cfg))})
	if err != nil {
		return nil, err
	}
	a.process = p
	a.metrics.ShowUsage(p.usageViews)
	a.metrics.ShowSettings(p.settingsViews)
	p.watch(a.adapters)
	a.metrics.ConfigLoaded(true, a.started)
	v := a.verbs()
	v.Daemon, v.Exposition = p.daemon, a.metrics.WriteText
	if p.people != nil {
		p.people.command = v.Command
	}
	if p.slack, err = p.newActor(); err != nil {
		return nil, err
	}
	p.admin, err = daemon.NewAdmin(ctx, v, daemon.AdminOptions{Socket: string(a.cfg.Admin.Socket), Group: a.cfg.Admin.Group,
		Users: a.cfg.Admin.Users, More: slices.Concat(p.usageVerbs(), p.settingsVerbs(), p.alertVerbs(), p.nameVerbs()), Log: a.log})
	if err != nil {
		return nil, err
	}
	if p.acks, err = newAckServer(ctx, a.cfg, a.log, v.Ack); err != nil || a.cfg.HTTP.Off {
		return p, err
	}
	o := metrics.ServerOptions{Listen: a.cfg.HTTP.Listen, WebConfigFile: string(a.cfg.HTTP.WebConfigFile),
		Metrics: a.metrics.Handler(), Ready: p.daemon.Ready, Healthy: p.daemon.Alive, Version: buildOf().Version, Log: a.log}
	if err := p.serveStatusPage(&o); err != nil {
		return nil, err
	}
	p.web, err = metrics.NewServer(o)
	return p, err
}

// run everything until ctx ends. What answers questions outlives the daemon itself.
func (p *process) run(ctx context.Context) error {
	signal.Notify(p.hup, syscall.SIGHUP)
	defer signal.Stop(p.hup)
	p.app.log.LogAttrs(ctx, slog.LevelInfo, "starting", slog.String("version", buildOf().Version), slog.String("instance", p.app.instance),
		slog.Int("credentials", len(p.app.adapters.fleet.Credentials)))
	work, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	serve, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var helpers sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	helper := func(f func(context.Context) error) {
		helpers.Go(func() {
			if err := f(serve); err != nil {
				giveUp(err)
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	helper(p.giveBack)
	helper(p.admin.Serve)
	if p.web != nil {
		helper(p.web.Run)
	}
	if p.acks != nil {
		helper(p.acks.Run)
	}
	if p.people != nil {
		helper(p.people.run)
	}
	if p.slack != nil {
		helper(p.slack.Run)
	}
	if p.forecast != nil {
		helper(p.forecast.Run)
	}
	ended := p.app.begun(ctx)
	err := p.daemon.Run(work)
	stop()
	helpers.Wait()
	if err == nil {
		ended(context.WithoutCancel(ctx))
	}
	return errors.Join(append(errs, err)...)
}

// load makes a new fleet from the config file, for a reload.
func (p *process) load(c *cli) func(context.Context) (*daemon.Fleet, error) {
	return func(ctx context.Context) (*daemon.Fleet, error) {
		cfg, err := config.Load(c.configPath)
		if err != nil {
			return nil, err
		}
		if err := c.checkFiles(cfg, reloading); err != nil {
			return nil, err
		}
		sum := configSum(c.configPath)
		if err := p.app.follow(ctx, cfg); err != nil {
			return nil, err
		}
		cfg, gone, err := withoutRetired(ctx, cfg, p.app.db)
		if err != nil {
			return nil, err
		}
		for _, text := range gone {
			p.app.log.LogAttrs(ctx, slog.LevelWarn, "a retired credential is left out", slog.String("detail", text))
		}
		next, err := newAdapters(cfg, p.app.log, p.app.metrics)
		if err != nil {
			return nil, err
		}
		p.app.pauses.restore(next)
		if err := errors.Join(p.withUsage(cfg, next), p.withSettings(cfg, next)); err != nil {
			return nil, err
		}
		p.withCreation(cfg, next)
		// Compared with what this process was started with: what it keeps from then stays wrong until a restart.
		next.fleet.NeedRestart = needRestart(p.app.cfg, cfg)
		level, err := c.level(cfg)
		if err != nil {
			return nil, err
		}
		next.join(p.app.fleet, p.app.journal())
		next.keepAcks(p.app.db)
		consumers, err := ackConsumers(ctx, cfg)
		if err != nil {
			return nil, err
		}
		of := simulatedOf(cfg)
		next.cfg = cfg.Settings() // the adapters stay, the rest is let go
		p.accepted = func() {
			p.inForce.Store(&sum)
			next.troubles.keep(&p.adapters.Load().troubles)
			p.watch(next)
			c.levels.Set(level)
			p.app.fleet.Configure(cfg.FleetPolicy(), cfg.FleetMembers())
			if p.forecast != nil {
				p.forecast.config.Store(of)
			}
			if p.acks != nil {
				p.acks.Use(consumers)
			}
			if p.people != nil {
				p.people.again(p.slack)
			}
		}
		return next.fleet, nil
	}
}

// needRestart names what differs and is read at the start only.
func needRestart(was, is *config.Config) []string {
	changes := config.Diff(was, is)
	out := slices.DeleteFunc(changes.Restart, func(key string) bool { return key == "workers" }) // lanes are made anew
	for _, section := range []string{"alerts", "heartbeat"} {
		if slices.Contains(changes.Sections, section) {
			out = append(out, section)
		}
	}
	if !slices.Equal(was.Admin.Users, is.Admin.Users) {
		out = append(out, "admin.users")
	}
	slices.Sort(out)
	return out
}

// heartbeat calls the config's dead man's switch; nil if there is none.
func heartbeat(cfg *config.Config) func(context.Context) error {
	h := cfg.Heartbeat
	if h == nil {
		return nil
	}
	client := &http.Client{Timeout: h.Timeout.Std(), Transport: &http.Transport{ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // its Referer would tell the address
	return func(ctx context.Context) error {
		url, err := h.URL.Resolve(ctx)
		if err != nil {
			return err
		}
		address := strings.TrimSpace(url.Reveal()) //nolint:forbidigo // it goes to where it points to
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return errors.New("call heartbeat: the address cannot be used") // the cause quotes it
		}
		res, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("call heartbeat: %w", withoutURL(err))
		}
		defer res.Body.Close()
		if res.StatusCode/100 != 2 {
			return fmt.Errorf("call heartbeat: answer %d", res.StatusCode)
		}
		return nil
	}
}

// monitor tells metrics and people what the daemon does.
type monitor struct {
	process *process

	mu   sync.Mutex
	tick cron.Schedule // of the config in force; guarded by mu
	seen bool          // a pass over it is done; guarded by mu
}

// SurveyDone implements daemon.Monitor. Metrics know from the survey itself.
func (m *monitor) SurveyDone(rotate.PortalID, time.Duration, error) {}

// PassDone implements daemon.Monitor.
func (m *monitor) PassDone(healthy bool) {
	p := m.process
	now := time.Now()
	m.mu.Lock()
	due, first := m.tick.Next(now), !m.seen
	m.seen = true
	m.mu.Unlock()
	if first {
		select {
		case p.loaded <- struct{}{}:
		default:
		}
	}
	p.app.metrics.PassDone(now, healthy, due)
	if p.people != nil {
		p.people.Check(now, p.scene(now))
	}
}

// ReloadDone implements daemon.Monitor. Reloads come one at a time.
func (m *monitor) ReloadDone(fleet *daemon.Fleet, err error) {
	m.process.app.metrics.ConfigLoaded(err == nil, time.Now())
	if a := m.process.adapters.Load(); a != nil {
		a.troubles.reloaded(err, time.Now())
	}
	if fleet == nil {
		return
	}
	m.process.accepted()
	m.process.accepted = nil // it holds the whole config
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tick, m.seen = fleet.Tick, false
}

// lateObserver is an observer that is known only after the engine was made.
type lateObserver struct {
	mu   sync.Mutex
	next rotate.Observer // guarded by mu
}

func (l *lateObserver) set(o rotate.Observer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = o
}

// Observe implements rotate.Observer.
func (l *lateObserver) Observe(e rotate.Event) {
	l.mu.Lock()
	o := l.next
	l.mu.Unlock()
	if o != nil {
		o.Observe(e)
	}
}
