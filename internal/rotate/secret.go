package rotate

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"regexp"
)

const redacted = "[redacted]"

// Secret holds one secret string: a key, a client secret, a token. The value sits
// behind a pointer, so that even a struct that keeps a Secret in an unexported
// field prints an address at worst. Only Reveal returns the value; a linter allows
// it in adapters alone.
type Secret struct{ v *string }

// NewSecret wraps s. The empty string gives the zero Secret.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{v: &s}
}

// Reveal returns the value; "" for the zero Secret.
func (s Secret) Reveal() string {
	if s.v == nil {
		return ""
	}
	return *s.v
}

// IsZero tells whether there is no value.
func (s Secret) IsZero() bool { return s.v == nil }

// Equal compares two secrets in constant time.
func (s Secret) Equal(o Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(o.Reveal())) == 1
}

// Forget drops this reference to the value.
func (s *Secret) Forget() { s.v = nil }

func (s Secret) shown() string {
	if s.v == nil {
		return ""
	}
	return redacted
}

// String, GoString, Format, LogValue and the marshallers never show the value.
func (s Secret) String() string               { return s.shown() }
func (s Secret) GoString() string             { return s.shown() }
func (s Secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, s.shown()) }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(s.shown()) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.shown()), nil }
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.shown() + `"`), nil }

// keyForm is an API key of a credential: the AAPT prefix, and a tail of AT, the
// slot, an underscore and the last eight characters of the client id. The length
// is not promised (arcgis-portal-contract 5.3).
var keyForm = regexp.MustCompile(`^AAPT[A-Za-z0-9._-]{20,}AT([12])_[A-Za-z0-9]{8}$`)

const tailLen = 12

// Fingerprint names a key without being one: its public 12-character tail, which
// the portal's own pages show, and the first 8 hex digits of its SHA-256, as in
// "AT1_H4JC97kO-1a2b3c4d". A value that is no key of a credential shows no
// character of itself: "foreign-1a2b3c4d".
type Fingerprint string

// Fingerprint of the secret; "" for the zero Secret.
func (s Secret) Fingerprint() Fingerprint {
	if s.v == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(*s.v))
	tail := "foreign"
	if keyForm.MatchString(*s.v) {
		tail = (*s.v)[len(*s.v)-tailLen:]
	}
	return Fingerprint(tail + "-" + hex.EncodeToString(sum[:4]))
}

// Slot that the key's tail names; NoSlot for "" and for a foreign value.
func (f Fingerprint) Slot() Slot {
	if len(f) < tailLen || f[:2] != "AT" {
		return NoSlot
	}
	switch f[2] {
	case '1':
		return Slot1
	case '2':
		return Slot2
	}
	return NoSlot
}

// ClientTail is the last eight characters of the client id that the key's tail
// carries; "" for a foreign value.
func (f Fingerprint) ClientTail() string {
	if f.Slot() == NoSlot {
		return ""
	}
	return string(f[4:tailLen])
}
