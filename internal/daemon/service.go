package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"rotatord/internal/quiet"
	"rotatord/internal/rotate"
)

// Service is every verb of the admin socket. Verbs is the one that does the work; Client asks a daemon over its socket.
type Service interface {
	// Status of the named credentials; of all where none is named. So do Plan and Command.
	Status(ctx context.Context, names ...rotate.Name) ([]Status, error)
	Plan(ctx context.Context, names ...rotate.Name) ([]Plan, error)
	History(ctx context.Context, q HistoryQuery) ([]HistoryEntry, error)
	// Verify returns how many events of a credential's history are whole.
	Verify(ctx context.Context, name rotate.Name) (int64, error)
	// Export writes the history as JSON lines that can be verified without the journal; Limit does not count.
	Export(ctx context.Context, q HistoryQuery, to io.Writer) error
	Command(ctx context.Context, cmd rotate.Command, names ...rotate.Name) ([]CommandResult, error)
	Reload(ctx context.Context) (ReloadResult, error)
	Backup(ctx context.Context, to io.Writer) error
	Health(ctx context.Context) (Health, error)
	Metrics(ctx context.Context, to io.Writer) error
	// Ack stores what a consumer says that it runs; Acks tells who runs what.
	Ack(ctx context.Context, a quiet.Ack) (quiet.Receipt, error)
	Acks(ctx context.Context, name rotate.Name) (Acks, error)
}

// Plan is what would be done about one credential, and why.
type Plan struct {
	Name     rotate.Name      `json:"name"`
	Forecast *rotate.Forecast `json:"forecast,omitempty"`
	Error    string           `json:"error,omitempty"`
}

// HistoryQuery chooses events. An empty Name takes all credentials.
type HistoryQuery struct {
	Name  rotate.Name
	Since time.Time // counts itself
	Until time.Time // does not
	Limit int       // the newest so many; 0: all
}

// HistoryEntry is one event with its number in the credential's history.
type HistoryEntry struct {
	Seq int64 `json:"seq"`
	rotate.Event
}

// CommandResult is what became of a command for one credential.
type CommandResult struct {
	Status Status `json:"status"`
	// Refused says why the command cannot be accepted; Error what went wrong.
	Refused string `json:"refused,omitempty"`
	Cure    string `json:"cure,omitempty"`
	Error   string `json:"error,omitempty"`
}

// Health of a running daemon.
type Health struct {
	Version   string    `json:"version"`
	Instance  string    `json:"instance"`
	StartedAt time.Time `json:"started_at"`
	LastPass  time.Time `json:"last_pass,omitzero"`
	Stopping  bool      `json:"stopping,omitempty"`
	Headline  string    `json:"headline"`
}

// NotFoundError names a credential that is not in the config.
type NotFoundError struct {
	Name  rotate.Name
	Known []rotate.Name // for a guess at what was meant
}

func (e *NotFoundError) Error() string { return "no credential " + string(e.Name) + " in the config" }

func (f *Fleet) known(names []rotate.Name) error {
	for _, n := range names {
		if _, ok := f.find(n); !ok {
			return &NotFoundError{Name: n, Known: f.names()}
		}
	}
	return nil
}

func (f *Fleet) names() []rotate.Name {
	out := make([]rotate.Name, len(f.Credentials))
	for i, m := range f.Credentials {
		out[i] = m.Name
	}
	return out
}

// Archive is what the journal offers to people.
type Archive interface {
	History(ctx context.Context, q HistoryQuery) ([]HistoryEntry, error)
	Verify(ctx context.Context, name rotate.Name) (int64, error)
	Export(ctx context.Context, q HistoryQuery, to io.Writer) error
	Backup(ctx context.Context, to io.Writer) error
}

// Forecaster tells what would be done; it observes everything afresh and changes nothing.
type Forecaster interface {
	Forecast(ctx context.Context, c *rotate.Credential) (rotate.Forecast, error)
}

// Verbs does the work of every verb, with or without a running daemon.
type Verbs struct {
	Daemon     *Daemon // nil: nobody runs, and commands act at once
	Fleet      *Fleet  // used where Daemon is nil
	Engine     Engine  // likewise; nil: for reading only
	Journal    rotate.Journal
	Forecaster Forecaster
	Archive    Archive
	Ledger     quiet.Ledger             // of acknowledgements; nil: there is none yet
	Exposition func(to io.Writer) error // the metrics as text; nil: none
	Version    string
	Instance   string
	Started    time.Time
}

var (
	_ Service = (*Verbs)(nil)

	errNobodyRuns = errors.New("no daemon is running")
	errReading    = errors.New("the journal is open for reading only")
)

// plansAtOnce bounds how many credentials one plan looks at in parallel.
const plansAtOnce = 4

// Status implements Service.
func (v *Verbs) Status(ctx context.Context, names ...rotate.Name) ([]Status, error) {
	if v.Daemon != nil {
		return v.Daemon.status(ctx, names)
	}
	records, err := readRecords(ctx, v.Journal)
	if err != nil {
		return nil, err
	}
	return statuses(v.Fleet, records, names)
}

func (d *Daemon) status(ctx context.Context, names []rotate.Name) (out []Status, err error) {
	callErr := d.call(ctx, func(l *loop) {
		records := make(map[rotate.Name]kept, len(l.entries))
		for name, e := range l.entries {
			records[name] = e.record
		}
		if out, err = statuses(l.gen.fleet, records, names); err != nil {
			return
		}
		for i := range out {
			if e := l.entries[out[i].Name]; e != nil {
				out[i].Detail = e.detail
				out[i].NextAt = e.at
			}
		}
	})
	return out, errors.Join(callErr, err)
}

// fleet is what is looked after now.
func (v *Verbs) fleet(ctx context.Context) (*Fleet, error) {
	if v.Daemon == nil {
		return v.Fleet, nil
	}
	var f *Fleet
	err := v.Daemon.call(ctx, func(l *loop) { f = l.gen.fleet })
	return f, err
}

// chosen are the named credentials, sorted, and all where none is named.
func (v *Verbs) chosen(ctx context.Context, names []rotate.Name) (*Fleet, []rotate.Name, error) {
	f, err := v.fleet(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := f.known(names); err != nil {
		return nil, nil, err
	}
	if len(names) == 0 {
		names = f.names()
	}
	names = slices.Clone(names)
	slices.Sort(names)
	return f, names, nil
}

// Plan implements Service.
func (v *Verbs) Plan(ctx context.Context, names ...rotate.Name) ([]Plan, error) {
	f, names, err := v.chosen(ctx, names)
	if err != nil {
		return nil, err
	}
	plans := make([]Plan, len(names))
	each(plansAtOnce, len(names), func(i int) {
		m, _ := f.find(names[i])
		plans[i].Name = m.Name
		forecast, err := v.Forecaster.Forecast(rotate.WithPurpose(ctx, rotate.PurposeSurvey), m.Credential)
		if err != nil {
			plans[i].Error = err.Error()
			return
		}
		plans[i].Forecast = &forecast
	})
	return plans, nil
}

// History implements Service.
func (v *Verbs) History(ctx context.Context, q HistoryQuery) ([]HistoryEntry, error) {
	if err := v.checkName(ctx, q.Name); err != nil {
		return nil, err
	}
	return v.Archive.History(ctx, q)
}

// Verify implements Service.
func (v *Verbs) Verify(ctx context.Context, name rotate.Name) (int64, error) {
	if err := v.checkName(ctx, name); err != nil {
		return 0, err
	}
	return v.Archive.Verify(ctx, name)
}

// Export implements Service.
func (v *Verbs) Export(ctx context.Context, q HistoryQuery, to io.Writer) error {
	if err := v.checkName(ctx, q.Name); err != nil {
		return err
	}
	return v.Archive.Export(ctx, q, to)
}

// checkName accepts what is in the config, and what the journal remembers from an earlier one.
func (v *Verbs) checkName(ctx context.Context, name rotate.Name) error {
	if name == "" {
		return nil
	}
	f, err := v.fleet(ctx)
	if err != nil {
		return err
	}
	if r, err := v.Journal.Load(ctx, name); err == nil && r.Epoch > 0 {
		return nil
	}
	return f.known([]rotate.Name{name})
}

// Backup implements Service.
func (v *Verbs) Backup(ctx context.Context, to io.Writer) error { return v.Archive.Backup(ctx, to) }

// Metrics implements Service.
func (v *Verbs) Metrics(_ context.Context, to io.Writer) error {
	if v.Exposition == nil {
		return errNobodyRuns
	}
	return v.Exposition(to)
}

// Reload implements Service.
func (v *Verbs) Reload(ctx context.Context) (ReloadResult, error) {
	if v.Daemon == nil {
		return ReloadResult{}, errNobodyRuns
	}
	return v.Daemon.Reload(ctx)
}

// Health implements Service.
func (v *Verbs) Health(ctx context.Context) (Health, error) {
	if v.Daemon == nil {
		return Health{}, errNobodyRuns
	}
	h := Health{Version: v.Version, Instance: v.Instance, StartedAt: v.Started}
	err := v.Daemon.call(ctx, func(l *loop) {
		h.LastPass, h.Stopping, h.Headline = l.passes.last, l.stopping, l.headline(time.Now())
	})
	return h, err
}

// Command implements Service.
func (v *Verbs) Command(ctx context.Context, cmd rotate.Command, names ...rotate.Name) ([]CommandResult, error) {
	if err := slip(cmd, names); err != nil {
		return nil, err
	}
	f, names, err := v.chosen(ctx, names)
	if err != nil {
		return nil, err
	}
	out := make([]CommandResult, len(names))
	each(plansAtOnce, len(names), func(i int) {
		m, _ := f.find(names[i])
		r, err := v.order(ctx, m, cmd)
		out[i] = resultOf(m, r, err)
	})
	return out, nil
}

func (v *Verbs) order(ctx context.Context, m Managed, cmd rotate.Command) (rotate.Record, error) {
	if v.Daemon != nil {
		return v.Daemon.Command(ctx, m.Name, cmd)
	}
	if v.Engine == nil {
		return rotate.Record{Name: m.Name}, errReading
	}
	return v.Engine.Command(ctx, m.Credential, cmd)
}

func resultOf(m Managed, r rotate.Record, err error) CommandResult {
	if r.Name == "" {
		r.Name = m.Name
	}
	res := CommandResult{Status: statusOf(m, r, time.Now())}
	if refused, ok := errors.AsType[*rotate.RefusedError](err); ok {
		res.Refused, res.Cure = refused.Why, refused.Cure
	} else if err != nil {
		res.Error = err.Error()
	}
	return res
}

// Command has one credential's command carried out between two advances of it, and then looks at it at once.
func (d *Daemon) Command(ctx context.Context, name rotate.Name, cmd rotate.Command) (rotate.Record, error) {
	ord := &order{cmd: cmd, reply: make(chan orderReply, 1)}
	var refused error
	err := d.call(ctx, func(l *loop) {
		e := l.entries[name]
		switch {
		case e == nil:
			refused = &NotFoundError{Name: name, Known: l.gen.fleet.names()}
		case l.stopping:
			refused = errStopped
		default:
			e.orders = append(e.orders, ord)
			l.lanes[e.m.ID.Portal].wake(e, time.Now())
		}
	})
	if err = errors.Join(err, refused); err != nil {
		return rotate.Record{}, err
	}
	select {
	case r := <-ord.reply:
		return r.record, r.err
	case <-d.ended:
		return rotate.Record{}, errStopped
	case <-ctx.Done():
		return rotate.Record{}, fmt.Errorf("%s %s: it is queued and will still be carried out: %w", cmd.Kind, name, context.Cause(ctx))
	}
}
