package sinks

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"rotatord/internal/rotate"
)

// hidden is a secret that stands for "§" in what a sink holds; no error quotes it.
const hidden = "AAPTq8dZkfPzW0r1LJm5xT9bYhNcVgQ2sEoUuA7wR4iKjM6v.AT1_H4JC97kO"

func quietAbout(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if len(err.Error()) > 500 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
	for i := range len(hidden) - 12 - 16 {
		if strings.Contains(err.Error(), hidden[i:i+16]) {
			t.Fatalf("the error quotes a key: %v", err)
		}
	}
}

// A file's sidecar is rotatord's as a whole or refused, and is written as it was read.
func FuzzSidecar(f *testing.F) {
	for _, seed := range []string{
		`{"format":1,"portal":"online","item":"i","file_sink":{"counter":3,"sha256":"aa","next":{"counter":4,"sha256":"bb","meta":{"format":1}}}}`,
		`{"file_sink":{"counter":-1}}`, `{"format":2,"file_sink":{}}`, `{"format":1,"key":{"fingerprint":"§"},"file_sink":null}`, `{"format":"§","file_sink":{"counter":"§"}}`,
		`{"hold":{"reason":"§","since":"§"},"format":1,"file_sink":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = bytes.ReplaceAll(raw, []byte("§"), []byte(hidden))
		s, err := decodeSidecar(raw)
		quietAbout(t, err)
		if err != nil {
			return
		}
		written, err := s.encode()
		if err != nil {
			return // a time that can be read and not written
		}
		again, err := decodeSidecar(written)
		if err != nil {
			t.Fatalf("%s is refused: %v", written, err)
		}
		if twice, err := again.encode(); err != nil || !bytes.Equal(written, twice) {
			t.Errorf("%s became %s, %v", written, twice, err)
		}
	})
}

// FuzzVaultSecret reads a version as Vault, or somebody else, stores it.
func FuzzVaultSecret(f *testing.F) {
	for _, seed := range []string{
		`{"data":{"data":{"api_key":"§","rotatord":"{\"format\":1,\"key\":{\"slot\":1}}","other":1},"metadata":{"version":3}}}`,
		`{"data":{"data":{"api_key":["§"]},"metadata":{"version":1}}}`, `{"data":{"data":{"rotatord":"§"},"metadata":{"version":1}}}`,
		`{"data":{"data":{"rotatord":{"format":"§"}},"metadata":{"version":1}}}`, `{"data":{"data":null,"metadata":{"version":9}}}`, `{"errors":["§"]}`,
		`{"data":{"data":{"rotatord":"{\"format\":99}"},"metadata":{"version":1}}}`,
	} {
		f.Add([]byte(seed))
	}
	s := &VaultSink{spec: SinkSpec{Name: "v", Mount: "kv", Path: "app", KeyField: DefaultKeyField, MetaField: DefaultMetaField}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = bytes.ReplaceAll(raw, []byte("§"), []byte(hidden))
		var body versionReply
		if err := (reply{status: 200, body: raw}).decode(&body); err != nil {
			quietAbout(t, err)
			return
		}
		if body.Data == nil || body.Data.Metadata == nil {
			return
		}
		sec := secret{version: body.Data.Metadata.Version, ever: true, fields: body.Data.Data}
		e, err := s.entry(sec)
		quietAbout(t, err)
		if err != nil {
			return
		}
		if shown, err := json.Marshal(e.Key); err != nil || strings.Contains(string(shown), hidden) {
			t.Errorf("the key shows: %s, %v", shown, err)
		}
		if m := e.Meta; m != nil && (m.Format < 1 || m.Format > rotate.MetaFormat) {
			t.Errorf("metadata of format %d", m.Format)
		}
		if e.Meta != nil && len(sec.fields[DefaultMetaField]) == 0 {
			t.Error("metadata out of nothing")
		}
	})
}
