package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/url"

	"rotatord/internal/daemon"
	"rotatord/internal/journal"
	"rotatord/internal/rotate"
)

// retireOrder is the body of POST /v1/retire.
type retireOrder struct {
	Name   rotate.Name `json:"name"`
	ID     rotate.ID   `json:"id"`
	Detail string      `json:"detail,omitempty"`
	Undo   bool        `json:"undo,omitempty"`
}

// nameVerbs of the admin socket: what happens to a name for good.
func (p *process) nameVerbs() []daemon.Extra {
	return []daemon.Extra{{Pattern: "POST /v1/retire", Changes: true, Serve: func(ctx context.Context, actor string, _ url.Values, body io.Reader) (any, error) {
		var o retireOrder
		dec := json.NewDecoder(body)
		dec.DisallowUnknownFields()
		if err := dec.Decode(&o); err != nil {
			return nil, daemon.BadRequest("the order cannot be read")
		}
		who := journal.Retired{Name: o.Name, ID: o.ID, By: actor}
		var err error
		if o.Undo {
			err = p.app.db.Unretire(ctx, who)
		} else {
			err = p.daemon.End(ctx, o.Name, func(ctx context.Context) error { return p.app.db.Retire(ctx, who, o.Detail) })
		}
		if err != nil {
			return nil, err
		}
		// It has happened: what is wrong with the config otherwise is told where a reload tells it.
		if _, err := p.daemon.Reload(context.WithoutCancel(ctx)); err != nil {
			p.app.log.LogAttrs(ctx, slog.LevelWarn, "the config could not be loaded again after a credential was retired", slog.Any("err", err))
		}
		return string(o.Name), nil
	}}}
}
