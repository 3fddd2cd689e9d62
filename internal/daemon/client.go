package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"rotatord/internal/rotate"
)

// Client asks a running daemon over its admin socket.
type Client struct {
	socket string
	http   *http.Client
}

var _ Service = (*Client)(nil)

// NewClient connects to nothing yet.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// RemoteError is what a daemon answered instead of doing what it was asked.
type RemoteError struct {
	Status int // of HTTP
	Text   string
	Cure   string
}

func (e *RemoteError) Error() string {
	if e.Cure != "" {
		return e.Text + "; " + e.Cure
	}
	return e.Text
}

// RefusedConfig tells whether the daemon answered that its config is refused.
func RefusedConfig(err error) bool {
	e, ok := errors.AsType[*RemoteError](err)
	return ok && e.Status == http.StatusUnprocessableEntity
}

// Unreachable tells whether an error means that nobody answers on the socket.
func Unreachable(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}

// do sends one request and returns the open body of a success.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, in any) (io.ReadCloser, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://rotatord"+path+"?"+q.Encode(), body)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon on %s: %w", c.socket, err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	var f failure
	if err := json.NewDecoder(res.Body).Decode(&f); err != nil {
		return nil, fmt.Errorf("ask the daemon: its answer %d cannot be read: %w", res.StatusCode, err)
	}
	if f.Name != "" {
		return nil, &NotFoundError{Name: f.Name, Known: f.Known}
	}
	return nil, &RemoteError{Status: res.StatusCode, Text: f.Error, Cure: f.Cure}
}

// call decodes a JSON answer into out.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, in, out any) error {
	body, err := c.do(ctx, method, path, q, in)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}

// Ask an Extra: in, if not nil, goes as JSON, and the answer is decoded into out.
func (c *Client) Ask(ctx context.Context, method, path string, q url.Values, in, out any) error {
	return c.call(ctx, method, path, q, in, out)
}

func (c *Client) copy(ctx context.Context, path string, q url.Values, to io.Writer) error {
	body, err := c.do(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(to, body); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}

func byName(names []rotate.Name) url.Values {
	q := url.Values{}
	for _, n := range names {
		q.Add("name", string(n))
	}
	return q
}

// Status implements Service.
func (c *Client) Status(ctx context.Context, names ...rotate.Name) (out []Status, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/status", byName(names), nil, &out)
	return out, err
}

// Plan implements Service.
func (c *Client) Plan(ctx context.Context, names ...rotate.Name) (out []Plan, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/plan", byName(names), nil, &out)
	return out, err
}

func (hq HistoryQuery) values() url.Values {
	q := url.Values{"name": {string(hq.Name)}}
	if hq.Limit > 0 {
		q.Set("limit", strconv.Itoa(hq.Limit))
	}
	if !hq.Since.IsZero() {
		q.Set("since", hq.Since.Format(time.RFC3339Nano))
	}
	if !hq.Until.IsZero() {
		q.Set("until", hq.Until.Format(time.RFC3339Nano))
	}
	return q
}

// History implements Service.
func (c *Client) History(ctx context.Context, q HistoryQuery) (out []HistoryEntry, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/history", q.values(), nil, &out)
	return out, err
}

// Export implements Service.
func (c *Client) Export(ctx context.Context, q HistoryQuery, to io.Writer) error {
	return c.copy(ctx, "/v1/export", q.values(), to)
}

// Verify implements Service.
func (c *Client) Verify(ctx context.Context, name rotate.Name) (n int64, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/verify", byName([]rotate.Name{name}), nil, &n)
	return n, err
}

// Command implements Service. The daemon puts the caller's name into the history itself.
func (c *Client) Command(ctx context.Context, cmd rotate.Command, names ...rotate.Name) (out []CommandResult, err error) {
	if err := slip(cmd, names); err != nil {
		return nil, err
	}
	err = c.call(ctx, http.MethodPost, "/v1/command", nil, commandRequest{Names: names, Command: cmd}, &out)
	return out, err
}

// Reload implements Service.
func (c *Client) Reload(ctx context.Context) (out ReloadResult, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/reload", nil, nil, &out)
	return out, err
}

// Health implements Service.
func (c *Client) Health(ctx context.Context) (out Health, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/health", nil, nil, &out)
	return out, err
}

// Backup implements Service.
func (c *Client) Backup(ctx context.Context, to io.Writer) error {
	return c.copy(ctx, "/v1/backup", nil, to)
}

// Metrics implements Service.
func (c *Client) Metrics(ctx context.Context, to io.Writer) error {
	return c.copy(ctx, "/v1/metrics", nil, to)
}
