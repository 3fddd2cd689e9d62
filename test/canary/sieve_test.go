package canary

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// window is how many characters in a row of a secret count as a leak of it.
const window = 16

// publicTail of a key: slot and end of the client id. The portal's own pages show it,
// and so do fingerprints.
const publicTail = 12

// sieve finds secrets: raw, escaped for a URL, in base64 at any offset, and in hex; whole
// or any sixteen characters of them. It is safe for use by many goroutines.
type sieve struct {
	mu      sync.Mutex
	secrets map[string]string // secret to what it is
	meshes  map[int]map[string]string
	begins  []bool // the first three bytes of any mesh, to look further only there
}

func newSieve() *sieve {
	return &sieve{secrets: map[string]string{}, meshes: map[int]map[string]string{}, begins: make([]bool, 1<<24)}
}

// add a secret under a name for the report. What is shorter than a window is no secret here.
func (n *sieve) add(what, secret string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.secrets[secret]; known || len(secret) < window {
		return
	}
	n.secrets[secret] = what
	n.pieces(what, secret, window)
	n.pieces(what+", escaped", url.QueryEscape(secret), window)
	n.pieces(what+", escaped", url.PathEscape(secret), window)
	n.pieces(what+", in hex", hex.EncodeToString([]byte(secret)), 2*window)
	n.pieces(what+", in hex", strings.ToUpper(hex.EncodeToString([]byte(secret))), 2*window)
	const block = 18 // whole groups of three: one of three neighbours is aligned with any text around the secret
	for i := range len(secret) - block + 1 {
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			text := e.EncodeToString([]byte(secret[i : i+block]))
			n.pieces(what+", in base64", text, len(text))
		}
	}
}

// addKey leaves the key's public tail out.
func (n *sieve) addKey(secret string) {
	n.add("the key …"+secret[len(secret)-publicTail:], secret[:len(secret)-publicTail])
}

func (n *sieve) pieces(what, text string, size int) {
	if n.meshes[size] == nil {
		n.meshes[size] = map[string]string{}
	}
	for i := range len(text) - size + 1 {
		if _, known := n.meshes[size][text[i:i+size]]; !known {
			n.meshes[size][text[i:i+size]] = what
		}
		n.begins[first(text[i:])] = true
	}
}

func first[T string | []byte](b T) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// hits says where which secrets are in the text; "" for none. It never repeats a secret.
func (n *sieve) hits(text []byte) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found []string
	for i := range max(0, len(text)-window+1) {
		if !n.begins[first(text[i:])] {
			continue
		}
		for size, mesh := range n.meshes {
			if i+size > len(text) {
				continue
			}
			if what, hit := mesh[string(text[i:i+size])]; hit && !slices.ContainsFunc(found, func(s string) bool { return strings.HasPrefix(s, what) }) {
				line := text[:i]
				found = append(found, fmt.Sprintf("%s, at byte %d after %q", what, i, line[max(0, i-60):]))
			}
		}
	}
	return strings.Join(found, "\n\t")
}

func (n *sieve) size() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.secrets)
}

// A search that finds nothing proves nothing: each way to leak a secret is found.
func TestNetFinds(t *testing.T) {
	const key = "AAPTq-8dZ_3kfPzW0r1LJm5xT9bYhNcVgQ2sEoUuA7wR4iKjM6vHpXtBnDyClFeSGa.AT1_H4JC97kO"
	const webhook = "/services/T0001/B0002/xyzzy?plugh&a b=1234567890"
	n := newSieve()
	n.addKey(key)
	n.add("the webhook", webhook)
	hidden := key[:len(key)-publicTail]
	for _, leak := range []string{
		key, hidden[:window], hidden[20 : 20+window], hidden[len(hidden)-window:],
		hex.EncodeToString([]byte(key)), strings.ToUpper(hex.EncodeToString([]byte(hidden[7 : 7+window]))),
		url.QueryEscape(webhook), url.PathEscape(webhook), webhook[5 : 5+window],
		base64.StdEncoding.EncodeToString([]byte("Basic " + key)), base64.RawURLEncoding.EncodeToString([]byte("1" + key)),
		base64.StdEncoding.EncodeToString([]byte("22" + hidden[9:9+20])),
	} {
		for _, text := range []string{leak, "before" + leak, "before" + leak + "after", "x" + leak + "\n"} {
			hits := n.hits([]byte(text))
			if hits == "" {
				t.Errorf("%q is not found", text)
			}
			if strings.Contains(hits, hidden[:window]) {
				t.Errorf("the finding itself leaks: %s", hits)
			}
		}
	}
	for _, fine := range []string{"", "short", "AT1_H4JC97kO-1a2b3c4d", "AAPT", hidden[:window-1], "x" + hidden[3:3+window-1] + "y", "/services/T0001"} {
		if hits := n.hits([]byte(fine)); hits != "" {
			t.Errorf("%q: %s", fine, hits)
		}
	}
}
