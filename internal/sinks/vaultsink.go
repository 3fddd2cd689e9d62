package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// The fields of the secret that are rotatord's, unless a spec says otherwise.
const (
	DefaultKeyField  = "api_key"
	DefaultMetaField = "rotatord"
)

const maxEarlier = 10 // versions that Earlier returns at most

// SinkSpec is one credential's place in Vault.
type SinkSpec struct {
	Name      string // the sink's, for errors and metrics
	Mount     string // of a KV version 2 engine
	Path      string // below the mount, filled in
	KeyField  string // "" is DefaultKeyField
	MetaField string // "" is DefaultMetaField
	// Acks are the consumers that acknowledge at AckPath; only AckGate, Policy and Check look at them.
	Acks []string
}

// VaultSink keeps one credential's key in one KV version 2 secret.
type VaultSink struct {
	v    *Vault
	spec SinkSpec

	mu      sync.Mutex
	written map[string]any // custom metadata as last written; nil: unknown, write it
}

var _ rotate.Sink = (*VaultSink)(nil)

// Sink makes the sink of one credential. It sends nothing.
func (v *Vault) Sink(spec SinkSpec) (*VaultSink, error) {
	if spec.KeyField == "" {
		spec.KeyField = DefaultKeyField
	}
	if spec.MetaField == "" {
		spec.MetaField = DefaultMetaField
	}
	if spec.KeyField == spec.MetaField {
		return nil, fmt.Errorf("set up vault sink %s: key and metadata share the field %q", spec.Name, spec.KeyField)
	}
	for _, p := range []string{spec.Mount, spec.Path} {
		if err := checkPath(p); err != nil {
			return nil, fmt.Errorf("set up vault sink %s: %q: %w", spec.Name, p, err)
		}
	}
	return &VaultSink{v: v, spec: spec}, nil
}

// Name of the sink.
func (s *VaultSink) Name() string { return s.spec.Name }

func (s *VaultSink) what() string         { return s.spec.Mount + "/" + s.spec.Path }
func (s *VaultSink) dataPath() string     { return s.spec.Mount + "/data/" + s.spec.Path }
func (s *VaultSink) metadataPath() string { return s.spec.Mount + "/metadata/" + s.spec.Path }

// fields of a secret. The raw form keeps what others wrote exactly as Vault sent it.
type fields map[string]json.RawMessage

// secret is one version.
type secret struct {
	version int64 // 0: there is none
	ever    bool
	fields  fields // nil: missing, deleted or destroyed
}

// versionReply is the envelope of kv/data. Vault sends it with 404 too, for a deleted
// or destroyed version.
type versionReply struct {
	Data *struct {
		Data     fields `json:"data"`
		Metadata *struct {
			Version int64 `json:"version"`
		} `json:"metadata"`
	} `json:"data"`
}

// Read the current version. An answer "not found" counts only when the mount is
// there, of version 2, and its metadata agrees.
func (s *VaultSink) Read(ctx context.Context) (rotate.Entry, error) {
	if err := s.v.ready(ctx, s.spec.Mount); err != nil {
		return rotate.Entry{}, err
	}
	sec, err := s.current(ctx)
	if err != nil {
		return rotate.Entry{}, err
	}
	return s.entry(sec)
}

func (s *VaultSink) current(ctx context.Context) (secret, error) {
	sec, found, err := s.get(ctx, nil)
	if err != nil || found {
		return sec, err
	}
	return s.absent(ctx)
}

// get one version; found is false for a plain "not found", which means nothing yet.
func (s *VaultSink) get(ctx context.Context, query url.Values) (sec secret, found bool, err error) {
	c := call{op: "read secret " + s.what(), path: s.dataPath(), query: query}
	rep, err := s.v.do(ctx, c)
	if err != nil {
		return secret{}, false, err
	}
	if rep.status != http.StatusOK && rep.status != http.StatusNotFound {
		return secret{}, false, judge(c, rep)
	}
	var body versionReply
	if err := rep.decode(&body); err != nil {
		return secret{}, false, malformed(c.op, err)
	}
	if body.Data == nil || body.Data.Metadata == nil || body.Data.Metadata.Version <= 0 {
		if rep.status == http.StatusNotFound {
			return secret{}, false, nil
		}
		return secret{}, false, malformed(c.op, errNotVault)
	}
	sec = secret{version: body.Data.Metadata.Version, ever: true}
	if rep.status == http.StatusOK {
		sec.fields = body.Data.Data
	}
	return sec, true, nil
}

// absent asks for proof that there is no secret: its metadata, and then the mount.
func (s *VaultSink) absent(ctx context.Context) (secret, error) {
	meta, err := s.metadata(ctx)
	if err != nil {
		return secret{}, err
	}
	if meta.Current > 0 {
		return secret{}, &rotate.Error{
			Op: "read secret " + s.what(), Kind: rotate.KindTransient, Cause: rotate.CauseNotFound,
			Err: fmt.Errorf("its metadata says that version %d is current", meta.Current),
		}
	}
	if err := s.v.checkMount(ctx, s.spec.Mount); err != nil {
		return secret{}, err
	}
	return secret{ever: meta.Oldest > 0 || len(meta.Versions) > 0}, nil
}

// keyMetadata is what kv/metadata answers; zero where nothing was ever written.
type keyMetadata struct {
	Current  int64 `json:"current_version"`
	Oldest   int64 `json:"oldest_version"`
	Versions map[string]struct {
		// DeletionTime may lie in the future, when versions are deleted after a
		// while.
		DeletionTime string `json:"deletion_time"`
		Destroyed    bool   `json:"destroyed"`
	} `json:"versions"`
}

func (s *VaultSink) metadata(ctx context.Context) (keyMetadata, error) {
	c := call{op: "read metadata of secret " + s.what(), path: s.metadataPath()}
	rep, err := s.v.do(ctx, c)
	if err != nil {
		return keyMetadata{}, err
	}
	if rep.status == http.StatusNotFound {
		return keyMetadata{}, nil
	}
	if rep.status != http.StatusOK {
		return keyMetadata{}, judge(c, rep)
	}
	var body struct {
		Data *keyMetadata `json:"data"`
	}
	if err := rep.decode(&body); err != nil || body.Data == nil {
		return keyMetadata{}, malformed(c.op, errNotVault)
	}
	return *body.Data, nil
}

// entry reads our two fields.
func (s *VaultSink) entry(sec secret) (rotate.Entry, error) {
	e := rotate.Entry{Ever: sec.ever}
	if sec.version > 0 {
		e.Version = rotate.Version(strconv.FormatInt(sec.version, 10))
	}
	op := "read secret " + s.what()
	key, err := stringField(sec.fields, s.spec.KeyField)
	if err != nil {
		return rotate.Entry{}, malformed(op, err)
	}
	e.Key = rotate.NewSecret(key)
	meta, err := stringField(sec.fields, s.spec.MetaField)
	if err != nil {
		return rotate.Entry{}, malformed(op, err)
	}
	if meta != "" {
		if e.Meta, err = decodeMeta([]byte(meta)); err != nil {
			return rotate.Entry{}, malformed(op, fmt.Errorf("field %q: %w", s.spec.MetaField, err))
		}
	}
	return e, nil
}

// stringField is "" for a missing field. Anything but a string is somebody else's
// value, and is not written over.
func stringField(f fields, name string) (string, error) {
	raw, ok := f[name]
	if !ok {
		return "", nil
	}
	var text *string
	if json.Unmarshal(raw, &text) != nil || text == nil {
		return "", fmt.Errorf("field %q holds something that is no string", name)
	}
	return *text, nil
}

// decodeMeta does not quote what it cannot read.
func decodeMeta(raw []byte) (*rotate.Meta, error) {
	var m rotate.Meta
	if json.Unmarshal(raw, &m) != nil {
		return nil, errors.New("it is not rotatord's metadata")
	}
	if m.Format < 1 || m.Format > rotate.MetaFormat {
		return nil, fmt.Errorf("its format is %d, this rotatord knows 1 to %d", m.Format, rotate.MetaFormat)
	}
	return &m, nil
}

func malformed(op string, err error) error {
	return &rotate.Error{Op: op, Kind: rotate.KindPermanent, Cause: rotate.CauseMalformed, Err: err}
}

// Earlier versions that can still be read, newest first. A version whose fields are
// not ours to read is passed over.
func (s *VaultSink) Earlier(ctx context.Context) ([]rotate.Entry, error) {
	if err := s.v.ready(ctx, s.spec.Mount); err != nil {
		return nil, err
	}
	meta, err := s.metadata(ctx)
	if err != nil {
		return nil, err
	}
	var entries []rotate.Entry
	for _, version := range meta.readable(time.Now()) {
		sec, found, err := s.get(ctx, url.Values{"version": {strconv.FormatInt(version, 10)}})
		if err != nil {
			return nil, err
		}
		e, err := s.entry(sec)
		if !found || sec.fields == nil || err != nil {
			continue
		}
		if entries = append(entries, e); len(entries) == maxEarlier {
			break
		}
	}
	return entries, nil
}

// readable versions before the current one, as far as the metadata tells.
func (m keyMetadata) readable(now time.Time) []int64 {
	var versions []int64
	for name, v := range m.Versions {
		n, err := strconv.ParseInt(name, 10, 64)
		if err != nil || n >= m.Current || v.Destroyed {
			continue
		}
		if at, err := time.Parse(time.RFC3339Nano, v.DeletionTime); err == nil && at.Before(now) {
			continue
		}
		versions = append(versions, n)
	}
	slices.Sort(versions)
	slices.Reverse(versions)
	return versions
}
