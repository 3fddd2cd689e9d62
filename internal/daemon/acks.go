package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"rotatord/internal/quiet"
	"rotatord/internal/rotate"
)

// Acks is who runs which key of one credential, and what its gates say about the previous one.
type Acks struct {
	Name      rotate.Name      `json:"credential"`
	Live      rotate.KeyFacts  `json:"live,omitzero"`
	Previous  rotate.KeyFacts  `json:"previous,omitzero"`
	RetireAt  time.Time        `json:"retire_at,omitzero"`
	Consumers []quiet.Standing `json:"consumers"`
	Gates     []GateAnswer     `json:"gates"`
}

// GateAnswer is what one gate says now. One that is not asked by whoever may only read has no answer here.
type GateAnswer struct {
	Gate   string `json:"gate"`
	Asked  bool   `json:"asked"`
	Quiet  bool   `json:"quiet"`
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error,omitempty"` // it is unknown
}

// readsOnly gates start no program and call no service of somebody else's when asked.
type readsOnly interface{ ReadsOnly() bool }

// gateTimeout of one gate, where people wait for the answer.
const gateTimeout = 15 * time.Second

var errNoLedger = errors.New("there is no journal yet; start the daemon, or run rotatord once")

// Ack implements Service. The credential is looked at at once where nobody is missing any more.
func (v *Verbs) Ack(ctx context.Context, a quiet.Ack) (quiet.Receipt, error) {
	m, r, err := v.one(ctx, a.Name)
	if err != nil {
		return quiet.Receipt{}, err
	}
	a.At = time.Now().UTC()
	receipt, err := quiet.Accept(ctx, v.Ledger, a, r, m.Gates)
	if err != nil {
		return receipt, err
	}
	if !receipt.Changed {
		return receipt, nil
	}
	// It is stored. The order puts it into the history and has the gates asked at once.
	cmd := rotate.Command{Kind: rotate.CommandAck, By: a.By, Text: "consumer " + receipt.Consumer + " runs " + receipt.State.Says(), Generation: receipt.Generation}
	if receipt.Fingerprint != "" {
		cmd.Fingerprints = []rotate.Fingerprint{receipt.Fingerprint}
	}
	if _, err := v.order(ctx, m, cmd); err != nil && !errors.Is(err, errStopped) {
		return receipt, fmt.Errorf("the acknowledgement counts, and is not in the history: %w", err)
	}
	return receipt, nil
}

// Acks implements Service.
func (v *Verbs) Acks(ctx context.Context, name rotate.Name) (Acks, error) {
	m, r, err := v.one(ctx, name)
	if err != nil {
		return Acks{}, err
	}
	out := Acks{Name: name, Live: r.Live, Previous: r.Previous, RetireAt: r.RetireAt, Gates: []GateAnswer{}}
	if out.Consumers, err = quiet.Standings(ctx, v.Ledger, r, m.Gates); err != nil {
		return Acks{}, err
	}
	q := rotate.Quiet{Name: name, ID: m.ID, Live: r.Live, Previous: r.Previous, RetireAt: r.RetireAt, Now: time.Now().UTC()}
	for _, g := range m.Gates {
		out.Gates = append(out.Gates, askGate(ctx, g, q))
	}
	return out, nil
}

func askGate(ctx context.Context, g rotate.Gate, q rotate.Quiet) GateAnswer {
	a := GateAnswer{Gate: g.Name()}
	if ro, ok := g.(readsOnly); !ok || !ro.ReadsOnly() {
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, gateTimeout)
	defer cancel()
	answer, err := g.Ask(ctx, q)
	a.Asked = true
	if err != nil {
		a.Error = err.Error()
		return a
	}
	a.Quiet, a.Detail = answer.Quiet, answer.Detail
	return a
}

// one credential of the config, and its record.
func (v *Verbs) one(ctx context.Context, name rotate.Name) (Managed, rotate.Record, error) {
	f, err := v.fleet(ctx)
	if err != nil {
		return Managed{}, rotate.Record{}, err
	}
	m, ok := f.find(name)
	if !ok {
		return m, rotate.Record{}, f.known([]rotate.Name{name})
	}
	if v.Ledger == nil {
		return m, rotate.Record{}, errNoLedger
	}
	r, err := v.Journal.Load(ctx, name)
	return m, r, err
}

// ack of a person: who asks is the kernel's word.
func (a *Admin) ack(r *http.Request, p peer) (any, error) {
	var req quiet.Ack
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxCommand))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return nil, &badRequestError{"the acknowledgement cannot be read"}
	}
	req.By = p.String()
	a.o.Log.LogAttrs(r.Context(), slog.LevelInfo, "acknowledgement received", slog.String("credential", string(req.Name)),
		slog.String("consumer", req.Consumer), slog.Int64("generation", req.Generation), slog.String("actor", req.By))
	receipt, err := a.service.Ack(r.Context(), req)
	if e, ok := errors.AsType[*quiet.FormError](err); ok {
		return nil, &badRequestError{e.Error()}
	}
	return receipt, err
}

// Ack implements Service. The daemon puts the caller's name into it itself.
func (c *Client) Ack(ctx context.Context, a quiet.Ack) (out quiet.Receipt, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/ack", nil, a, &out)
	return out, err
}

// Acks implements Service.
func (c *Client) Acks(ctx context.Context, name rotate.Name) (out Acks, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/acks", url.Values{"name": {string(name)}}, nil, &out)
	return out, err
}
