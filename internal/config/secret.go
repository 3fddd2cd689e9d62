package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"rotatord/internal/rotate"
)

// CredentialsDir is the variable in which systemd names the folder of a service's
// credentials.
const CredentialsDir = "CREDENTIALS_DIRECTORY"

// maxSecret bounds a secret file; anything longer is no secret but a mistake.
const maxSecret = 64 << 10

// Errors of Resolve.
var (
	ErrNoReference = errors.New("no secret is configured")
	ErrNoFile      = errors.New("is not in a file")
	ErrUnset       = errors.New("is not set")
	ErrEmpty       = errors.New("is empty")
	ErrTooLong     = errors.New("is longer than 64 KiB")
)

// SecretRef says where a secret is: file:/path, credential:NAME (systemd's
// LoadCredential) or env:NAME. It holds no secret itself.
type SecretRef struct{ kind, arg string }

const secretCure = "put the secret into a file that only rotatord can read and write file:/PATH here, or credential:NAME for systemd's LoadCredential, or env:NAME"

var (
	envForm        = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	credentialForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
)

// UnmarshalText parses a reference; whatever else was written is never repeated.
func (r *SecretRef) UnmarshalText(b []byte) error {
	kind, arg, _ := strings.Cut(string(b), ":")
	switch kind {
	case "file":
		if !filepath.IsAbs(arg) || strings.ContainsRune(arg, 0) {
			return badValue("write file: and a path from the root, as in file:/etc/rotatord/secrets/NAME", "names no absolute path")
		}
		arg = filepath.Clean(arg)
	case "credential":
		if !credentialForm.MatchString(arg) {
			return badValue("write credential: and the name from LoadCredential=NAME:/path", "names no systemd credential")
		}
	case "env":
		if !envForm.MatchString(arg) {
			return badValue("write env: and the variable's name", "names no environment variable")
		}
	default:
		return badValue(secretCure, "holds a literal secret; only a reference to one is accepted")
	}
	*r = SecretRef{kind: kind, arg: arg}
	return nil
}

// MarshalText writes the reference.
func (r SecretRef) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

func (r SecretRef) String() string {
	if r.IsZero() {
		return ""
	}
	return r.kind + ":" + r.arg
}

// IsZero tells whether nothing is referred to.
func (r SecretRef) IsZero() bool { return r == SecretRef{} }

// Resolve reads the secret now and trims one final newline. Its errors name the
// reference, never the value.
func (r SecretRef) Resolve(ctx context.Context) (rotate.Secret, error) {
	if err := ctx.Err(); err != nil {
		return rotate.Secret{}, fmt.Errorf("read secret %s: %w", r, err)
	}
	b, err := r.read()
	if err != nil {
		return rotate.Secret{}, fmt.Errorf("read secret %s: %w", r, err)
	}
	b = bytes.TrimSuffix(b, []byte("\n"))
	if len(b) == 0 {
		return rotate.Secret{}, fmt.Errorf("read secret %s: %w", r, ErrEmpty)
	}
	return rotate.NewSecret(string(b)), nil
}

func (r SecretRef) read() ([]byte, error) {
	switch r.kind {
	case "":
		return nil, ErrNoReference
	case "env":
		v, ok := os.LookupEnv(r.arg)
		if !ok {
			return nil, fmt.Errorf("environment variable %w", ErrUnset)
		}
		return []byte(v), nil
	}
	path, err := r.File()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxSecret {
		return nil, ErrTooLong
	}
	return b, nil
}

// File that the reference names, for what reads it itself.
func (r SecretRef) File() (string, error) {
	switch r.kind {
	case "file":
		return r.arg, nil
	case "":
		return "", ErrNoReference
	case "env":
		return "", fmt.Errorf("%s %w", r, ErrNoFile)
	}
	dir := os.Getenv(CredentialsDir)
	if dir == "" {
		return "", fmt.Errorf("%s %w", CredentialsDir, ErrUnset)
	}
	return filepath.Join(dir, r.arg), nil
}
