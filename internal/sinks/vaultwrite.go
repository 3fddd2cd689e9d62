package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"rotatord/internal/rotate"
)

// metadataPrefix keeps our custom metadata apart from other people's, which lives in
// the same map of the secret.
const metadataPrefix = "rotatord_"

// Write puts key and metadata onto the version cas, beside whatever else the secret
// holds. A mismatch that turns out to be this very write is a success: the reply to
// an earlier attempt may have been lost.
func (s *VaultSink) Write(ctx context.Context, e rotate.Entry, cas rotate.Version) (rotate.Version, error) {
	op := "write secret " + s.what()
	base, err := casNumber(cas)
	if err != nil {
		return "", malformed(op, err)
	}
	if err := s.v.ready(ctx, s.spec.Mount); err != nil {
		return "", err
	}
	now, err := s.current(ctx)
	if err != nil {
		return "", err
	}
	if _, err := s.entry(now); err != nil {
		return "", err
	}
	want, err := s.merge(now.fields, e)
	if err != nil {
		return "", malformed(op, err)
	}
	next := rotate.Version(strconv.FormatInt(base+1, 10))
	if now.version != base {
		if now.version != base+1 || !sameFields(now.fields, want) {
			return "", conflict(op, base, now.version)
		}
	} else if err := s.put(ctx, op, want, base); err != nil {
		return "", err
	}
	s.annotate(ctx, e)
	return next, nil
}

// casNumber of a version that this sink returned; 0 for a secret that never existed.
func casNumber(v rotate.Version) (int64, error) {
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < 1 {
		return 0, errors.New("the version to write on is not one of this sink")
	}
	return n, nil
}

// merge our two fields into those of others.
func (s *VaultSink) merge(old fields, e rotate.Entry) (fields, error) {
	want := maps.Clone(old)
	if want == nil {
		want = fields{}
	}
	delete(want, s.spec.KeyField)
	delete(want, s.spec.MetaField)
	if !e.Key.IsZero() {
		raw, err := json.Marshal(e.Key.Reveal())
		if err != nil {
			return nil, fmt.Errorf("encode key: %w", err)
		}
		want[s.spec.KeyField] = raw
	}
	if e.Meta != nil {
		meta, err := json.Marshal(e.Meta)
		if err != nil {
			return nil, fmt.Errorf("encode metadata: %w", err)
		}
		if want[s.spec.MetaField], err = json.Marshal(string(meta)); err != nil {
			return nil, fmt.Errorf("encode metadata: %w", err)
		}
	}
	return want, nil
}

func conflict(op string, base, found int64) error {
	return &rotate.Error{
		Op: op, Kind: rotate.KindConflict,
		Err: fmt.Errorf("the secret is at version %d, not %d", found, base),
	}
}

// put is the one request that changes the secret. It has happened only if Vault
// answers 200 with the next version.
func (s *VaultSink) put(ctx context.Context, op string, want fields, base int64) error {
	c := call{op: op, path: s.dataPath(), effect: true, body: map[string]any{
		"data": want, "options": map[string]any{"cas": base},
	}}
	rep, err := s.v.do(ctx, c)
	if err != nil {
		return err
	}
	switch rep.status {
	case http.StatusOK:
		return confirmed(op, rep, base)
	case http.StatusNoContent: // KV version 1 ignores the cas
		s.v.mounts.Delete(s.spec.Mount)
		return &rotate.Error{
			Op: op, Kind: rotate.KindPermanent, Cause: rotate.CauseKVv1,
			Err: errors.New("the mount turned out to be KV version 1"),
		}
	case http.StatusNotFound:
		s.v.mounts.Delete(s.spec.Mount)
		return &rotate.Error{Op: op, Kind: rotate.KindPermanent, Cause: rotate.CauseNoMount}
	case http.StatusBadRequest:
		return s.refused(ctx, c, rep, want, base)
	}
	return judge(c, rep)
}

func confirmed(op string, rep reply, base int64) error {
	var body struct {
		Data struct {
			Version int64 `json:"version"`
		} `json:"data"`
	}
	err := rep.decode(&body)
	if err == nil && body.Data.Version == base+1 {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("vault confirmed version %d, not %d", body.Data.Version, base+1)
	}
	return &rotate.Error{Op: op, Kind: rotate.KindUnknownOutcome, Err: err}
}

// refused tells a lost race, which is 400 as well, from a request that Vault does not
// take, by looking; and one's own write from somebody else's.
func (s *VaultSink) refused(ctx context.Context, c call, rep reply, want fields, base int64) error {
	now, err := s.current(ctx)
	switch {
	case err != nil:
		return &rotate.Error{Op: c.op, Kind: rotate.KindConflict, Err: err}
	case now.version == base:
		return judge(c, rep)
	case now.version == base+1 && sameFields(now.fields, want):
		return nil
	}
	return conflict(c.op, base, now.version)
}

// sameFields compares compact forms: Vault reformats JSON. Numbers that it rounds
// count as different, which errs on the side of a conflict.
func sameFields(a, b fields) bool {
	if a == nil || len(a) != len(b) {
		return false
	}
	for name, raw := range a {
		other, ok := b[name]
		if !ok || !sameJSON(raw, other) {
			return false
		}
	}
	return true
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y string
	if json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil {
		return x == y // the two may escape differently
	}
	var ca, cb bytes.Buffer
	return json.Compact(&ca, a) == nil && json.Compact(&cb, b) == nil && bytes.Equal(ca.Bytes(), cb.Bytes())
}

// annotate the secret with what people and policies may see without reading it. It
// describes the write and is not part of it: trouble is a notice, and the next write
// does it again.
func (s *VaultSink) annotate(ctx context.Context, e rotate.Entry) {
	if e.Meta == nil {
		return
	}
	want := customMetadata(e)
	s.mu.Lock()
	done := s.written != nil && maps.Equal(s.written, want)
	s.mu.Unlock()
	if done {
		return
	}
	c := call{
		op: "annotate secret " + s.what(), path: s.metadataPath(), patch: true,
		body: map[string]any{"custom_metadata": want},
	}
	rep, err := s.v.do(ctx, c)
	if err == nil && rep.status != http.StatusNoContent && rep.status != http.StatusOK {
		err = judge(c, rep)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.written = nil
		s.v.opt.OnNotice(Notice{
			Sink: s.spec.Name, Text: "the secret's custom metadata was not written; the next write does it again", Err: err,
		})
		return
	}
	s.written = want
}

// customMetadata of an entry. A null removes what an earlier write said.
func customMetadata(e rotate.Entry) map[string]any {
	m := map[string]any{}
	set := func(name, value string, known bool) {
		m[metadataPrefix+name] = nil
		if known {
			m[metadataPrefix+name] = value
		}
	}
	k := e.Meta.Key
	set("generation", strconv.FormatInt(k.Generation, 10), k.Generation > 0)
	set("slot", k.Slot.String(), k.Slot.Valid())
	set("fingerprint", string(k.Fingerprint), k.Fingerprint != "")
	set("expires", k.Expires.UTC().Format(time.RFC3339), !k.Expires.IsZero())
	set("item", string(e.Meta.Item), e.Meta.Item != "")
	set("rotation_id", e.Meta.RotationID, e.Meta.RotationID != "")
	return m
}
