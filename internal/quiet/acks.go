package quiet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// Acks is the gate of consumers' acknowledgements: the previous key is out of use when
// each of them has said that it runs the live one.
type Acks struct {
	ledger    Ledger
	consumers []string
}

var _ rotate.Gate = (*Acks)(nil)

// NewAcks makes a gate that waits for all these consumers.
func NewAcks(l Ledger, consumers []string) (*Acks, error) {
	if len(consumers) == 0 {
		return nil, errors.New("make gate of acknowledgements: no consumer is named, and nobody would be waited for")
	}
	for i, c := range consumers {
		if !consumerForm.MatchString(c) {
			return nil, fmt.Errorf("make gate of acknowledgements: %q is no consumer's name", c)
		}
		if slices.Contains(consumers[:i], c) {
			return nil, fmt.Errorf("make gate of acknowledgements: consumer %s is there twice", c)
		}
	}
	return &Acks{ledger: l, consumers: slices.Clone(consumers)}, nil
}

// Name of the gate.
func (g *Acks) Name() string { return "acks" }

// ReadsOnly: whoever may look at a credential may have this gate asked.
func (g *Acks) ReadsOnly() bool { return true }

var errNoLive = errors.New("the fingerprint of the live key is not known, so that nobody can have acknowledged it")

// Ask who has not acknowledged the live key.
func (g *Acks) Ask(ctx context.Context, q rotate.Quiet) (rotate.QuietAnswer, error) {
	if q.Live.Fingerprint == "" {
		return rotate.QuietAnswer{}, errNoLive
	}
	acks, err := g.ledger.Latest(ctx, q.Name)
	if err != nil {
		return rotate.QuietAnswer{}, err
	}
	said := map[string]Ack{}
	for _, a := range acks {
		said[a.Consumer] = a
	}
	var lag []string
	for _, c := range g.consumers {
		a, ok := said[c]
		switch {
		case !ok:
			lag = append(lag, c+" has acknowledged nothing yet")
		case !a.agrees(q.Live):
			lag = append(lag, fmt.Sprintf("%s said %s that it runs %s", c, a.At.UTC().Format(time.RFC3339), a.lagging(q)))
		}
	}
	if len(lag) > 0 {
		return rotate.QuietAnswer{Detail: someOf(lag)}, nil
	}
	return rotate.QuietAnswer{Quiet: true, Detail: fmt.Sprintf("all of %s run generation %d", strings.Join(g.consumers, ", "), q.Live.Generation)}, nil
}

// lagging says what a straggler runs.
func (a Ack) lagging(q rotate.Quiet) string {
	switch {
	case a.agrees(q.Previous):
		return fmt.Sprintf("the previous key (%s)", a.described())
	case a.Fingerprint == q.Live.Fingerprint:
		return fmt.Sprintf("the live key as generation %d, which is %d", a.Generation, q.Live.Generation)
	case a.Generation == q.Live.Generation:
		return fmt.Sprintf("generation %d with another fingerprint (%s)", a.Generation, a.Fingerprint)
	}
	return a.described()
}

// mostNamed stragglers still fit into an alert.
const mostNamed = 5

// someOf many sentences.
func someOf(all []string) string {
	if len(all) <= mostNamed {
		return strings.Join(all, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(all[:mostNamed], "; "), len(all)-mostNamed)
}
