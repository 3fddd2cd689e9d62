package canary

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var links = regexp.MustCompile(`(?:href|src|action)="(/[^"#]*)"`)

// crawl every page of the daemon: those that are known, and what they lead to.
func (w *world) crawl() {
	w.t.Helper()
	client := &http.Client{Timeout: 10 * time.Second}
	queue := []string{"/", "/metrics", "/healthz", "/readyz", "/status", "/-/nothing", "/debug/pprof/"}
	for done := map[string]bool{}; len(queue) > 0; queue = queue[1:] {
		page := queue[0]
		if done[page] || len(done) > 100 {
			continue
		}
		done[page] = true
		for _, accept := range []string{"text/html", "application/json", "application/openmetrics-text; version=1.0.0"} {
			req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.page+page, nil)
			w.must(err)
			req.Header.Set("Accept", accept)
			res, err := client.Do(req)
			if err != nil {
				w.t.Errorf("%s: %v", page, err)
				return
			}
			body, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
			w.must(errors.Join(err, res.Body.Close()))
			w.seen("page "+page, fmt.Appendf(nil, "%v\n%s", res.Header, body))
			for _, m := range links.FindAllSubmatch(body, -1) {
				queue = append(queue, string(m[1]))
			}
		}
	}
	if metrics := w.surfaces["page /metrics"]; metrics == nil || !strings.Contains(metrics.String(), "rotatord_") {
		w.t.Error("/metrics shows nothing")
	}
}

// ask the admin socket without the program, good and bad requests.
func (w *world) ask() {
	w.t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(w.dir, "admin.sock"))
	}}}
	defer client.CloseIdleConnections()
	for _, r := range [][3]string{
		{"GET", "/v1/status"}, {"GET", "/v1/plan"}, {"GET", "/v1/history"}, {"GET", "/v1/export"}, {"GET", "/v1/verify?name=app-vault"},
		{"GET", "/v1/health"}, {"GET", "/v1/metrics"}, {"GET", "/v1/backup"}, {"GET", "/v1/nothing"}, {"GET", "/v1/status?name=nobody"},
		{"POST", "/v1/command", `{"names":["app-vault"],"command":{"kind":"none"}}`}, {"POST", "/v1/command", `[`}, {"POST", "/v1/reload"},
	} {
		req, err := http.NewRequestWithContext(w.t.Context(), r[0], "http://rotatord"+r[1], strings.NewReader(r[2]))
		w.must(err)
		res, err := client.Do(req)
		w.must(err)
		body, err := io.ReadAll(res.Body)
		w.must(errors.Join(err, res.Body.Close()))
		w.seen("socket "+r[0]+" "+r[1], fmt.Appendf(nil, "%v\n%s", res.Header, body))
	}
}

// files reads what lies on the disk: everything but the program, the secrets that it was
// given, and the keys in the file sinks, which are what they are for.
func (w *world) files() {
	w.t.Helper()
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(w.dir, path)
		w.seen("names of files", []byte(rel))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // a temporary file of a live daemon
		case err != nil:
			return err
		case d.IsDir() && (rel == "secrets" || rel == "state/identities"): // the second is where rotatord keeps its own
			return filepath.SkipDir
		case !d.Type().IsRegular() || path == w.binary || w.isSink(rel):
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if strings.HasSuffix(rel, ".tar.gz") {
			text = w.unpack(text)
		}
		w.seen("file "+rel, text)
		return err
	})
	w.must(err)
	cores, err := filepath.Glob(filepath.Join(w.dir, "run", "*core*"))
	w.must(err)
	if len(cores) > 0 {
		w.t.Errorf("core files: %s", cores)
	}
}

// isSink tells the served key and the one before it from what lies beside them.
func (w *world) isSink(rel string) bool {
	dir, name := filepath.Split(rel)
	_, served := w.items[name]
	return dir == "keys/" && (served || strings.Contains(name, ".previous."))
}

func (w *world) unpack(packed []byte) []byte {
	w.t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	w.must(err)
	archive := tar.NewReader(zip)
	var all bytes.Buffer
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all.Bytes()
		}
		w.must(err)
		fmt.Fprintln(&all, h.Name)
		_, err = io.Copy(&all, archive)
		w.must(err)
	}
}

// vaultFacts reads what stands in Vault beside the keys, of every version.
func (w *world) vaultFacts() {
	w.t.Helper()
	for name := range w.items {
		_, meta := w.vault.Do(http.MethodGet, "kv/metadata/apps/"+name, nil)
		raw, err := json.Marshal(meta)
		w.must(err)
		w.seen("Vault's metadata", raw)
		data, _ := meta["data"].(map[string]any)
		versions, _ := data["versions"].(map[string]any)
		for v := range versions {
			_, reply := w.vault.Do(http.MethodGet, "kv/data/apps/"+name+"?version="+v, nil)
			data, _ := reply["data"].(map[string]any)
			fields, _ := data["data"].(map[string]any)
			delete(fields, "api_key")
			raw, err := json.Marshal(reply)
			w.must(err)
			w.seen("Vault's other fields", raw)
		}
	}
}

// verdict greps all of it for every secret.
func (w *world) verdict(t *testing.T) (hits int) {
	t.Helper()
	for _, k := range w.emu.Keys() {
		w.sieve.addKey(k.Secret)
	}
	for _, f := range []*front{w.portal, w.store, w.chat} {
		w.seen("addresses that were asked for", f.asked.Bytes())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	size := 0
	for where, text := range w.surfaces {
		size += text.Len()
		if found := w.sieve.hits(text.Bytes()); found != "" {
			hits++
			t.Errorf("%s: a secret is in it:\n\t%s", where, found)
		}
	}
	names := make([]string, 0, len(w.surfaces))
	for where, text := range w.surfaces {
		names = append(names, fmt.Sprintf("%s (%d)", where, text.Len()))
	}
	slices.Sort(names)
	t.Logf("%d secrets, %d keys among them; %d bytes of %d kinds: %s", w.sieve.size(), len(w.emu.Keys()), size, len(names), strings.Join(names, ", "))
	return hits
}
