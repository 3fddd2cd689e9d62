package sinks

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// The ways to sign in.
const (
	AuthTokenFile  = "token_file"
	AuthAppRole    = "approle"
	AuthKubernetes = "kubernetes"
	AuthCert       = "cert"
)

// VaultAuth says how to sign in. Files are read again at each sign-in.
type VaultAuth struct {
	Method string // one of the Auth constants
	Mount  string // of the auth method; "" is the method's own name

	TokenFile string // token_file: also read again when it changes

	RoleID       string // approle
	SecretIDFile string // approle
	// SecretIDs instead of SecretIDFile: the secret id is rotatord's to renew, at that
	// time or share of its life before its end (half of it if both are 0), and when it
	// is older than MaxAge (0: age is no reason). RoleName is needed.
	SecretIDs        SecretIDStore
	RenewBefore      time.Duration
	RenewBeforeShare float64
	MaxAge           time.Duration
	// Wrapped: SecretIDFile holds a response-wrapping token that yields the secret id
	// once. The secret id is kept in memory: after a restart a new one is needed.
	Wrapped bool
	// RoleName of an approle narrows what a wrapping token may have been made by.
	// For kubernetes and cert it is the role to sign in with.
	RoleName string

	JWTFile string // kubernetes; "" is the service account's usual place
}

const kubernetesJWT = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// aging is a signer whose own secret wants a sign-in at some time, however good the
// token still is; zero is never.
type aging interface{ nextLook() time.Time }

// signer obtains a token. signIn is called by one caller at a time; stale tells
// cheaply that what it rests on has changed since.
type signer interface {
	signIn(ctx context.Context, v *Vault) (identity, error)
	stale() bool
}

var (
	// errSameToken: the token file still holds the token that is in use.
	errSameToken = errors.New("the token file has not changed")
	errUsedWrap  = errors.New("the wrapping token was used before or has expired: unless this machine used it, somebody else has the secret id, and the role's secret ids should be revoked")
	errForeign   = errors.New("the wrapping token does not wrap a secret id of this role: it was not made by who should have made it, and was not unwrapped")
)

func newSigner(opt VaultOptions) (signer, error) {
	a := opt.Auth
	mount := a.Mount
	if mount == "" {
		mount = a.Method
	}
	if a.Method != AuthTokenFile {
		if err := checkPath(mount); err != nil {
			return nil, fmt.Errorf("auth mount %q: %w", mount, err)
		}
	}
	path := "auth/" + mount + "/login"
	switch a.Method {
	case AuthTokenFile:
		if a.TokenFile == "" {
			return nil, errors.New("no token file")
		}
		return &tokenFile{path: a.TokenFile}, nil
	case AuthAppRole:
		if a.SecretIDs != nil {
			return newOwnSecretID(a, mount)
		}
		if a.RoleID == "" || a.SecretIDFile == "" {
			return nil, errors.New("approle needs a role id and a secret id file")
		}
		return &appRole{conf: a, mount: mount, path: path}, nil
	case AuthKubernetes:
		if a.RoleName == "" {
			return nil, errors.New("kubernetes needs a role")
		}
		jwt := a.JWTFile
		if jwt == "" {
			jwt = kubernetesJWT
		}
		return kubernetes{path: path, role: a.RoleName, jwtFile: jwt}, nil
	case AuthCert:
		if opt.ClientCertFile == "" {
			return nil, errors.New("cert needs a client certificate")
		}
		return cert{path: path, role: a.RoleName}, nil
	}
	return nil, fmt.Errorf("unknown method %q", a.Method)
}

// login sends what proves our identity. Refusals are KindAuth: 400 for a wrong or
// spent secret id, 403 for an unknown role or mount.
func (v *Vault) login(ctx context.Context, c call) (identity, error) {
	rep, err := v.send(ctx, v.client, c)
	if err != nil {
		return identity{}, err
	}
	switch {
	case rep.status == http.StatusOK:
		return authOf(c, rep)
	case rep.says(wireSealed):
	case rep.status == http.StatusBadRequest, rep.status == http.StatusForbidden, rep.status == http.StatusNotFound:
		return identity{}, refusedIdentity(c.op, fmt.Errorf("vault answered %d", rep.status))
	}
	return identity{}, judge(c, rep)
}

func refusedIdentity(op string, err error) error {
	return &rotate.Error{Op: op, Kind: rotate.KindAuth, Err: err}
}

// readSecretFile trims what editors and shells leave at the ends.
func readSecretFile(op, path string) (rotate.Secret, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return rotate.Secret{}, refusedIdentity(op, fmt.Errorf("read identity file: %w", err))
	}
	s := rotate.NewSecret(strings.TrimSpace(string(raw)))
	if s.IsZero() {
		return s, refusedIdentity(op, fmt.Errorf("read identity file %s: it is empty", path))
	}
	return s, nil
}

// tokenFile is a token that somebody else provides, such as Vault's agent.
type tokenFile struct {
	path string

	mu      sync.Mutex
	modTime time.Time
	size    int64
}

func (f *tokenFile) stale() bool {
	info, err := os.Stat(f.path)
	if err != nil { // signIn says so once the present token is of no use
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.modTime.Equal(info.ModTime()) || f.size != info.Size()
}

func (f *tokenFile) signIn(ctx context.Context, v *Vault) (identity, error) {
	const op = "sign in to vault by token file"
	info, err := os.Stat(f.path)
	if err != nil {
		return identity{}, refusedIdentity(op, fmt.Errorf("read identity file: %w", err))
	}
	token, err := readSecretFile(op, f.path)
	if err != nil {
		return identity{}, err
	}
	f.mu.Lock()
	f.modTime, f.size = info.ModTime(), info.Size()
	f.mu.Unlock()
	if token.Equal(v.session.present()) {
		return identity{}, refusedIdentity(op, errSameToken)
	}
	return v.lookupSelf(ctx, op, token)
}

// present token; zero without one.
func (s *session) present() rotate.Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id.token
}

// lookupSelf learns how long a token lasts. A policy that forbids to ask leaves that
// unknown: the token is used until it is refused.
func (v *Vault) lookupSelf(ctx context.Context, op string, token rotate.Secret) (identity, error) {
	c := call{op: op, path: "auth/token/lookup-self", token: token}
	rep, err := v.send(ctx, v.client, c)
	if err != nil {
		return identity{}, err
	}
	if rep.status == http.StatusForbidden && !rep.says(wireInvalidToken) {
		return identity{token: token}, nil
	}
	if rep.status != http.StatusOK {
		return identity{}, judge(c, rep)
	}
	var body struct {
		Data struct {
			TTL       int64 `json:"ttl"` // seconds
			Renewable bool  `json:"renewable"`
		} `json:"data"`
	}
	if err := rep.decode(&body); err != nil {
		return identity{}, &rotate.Error{Op: op, Kind: rotate.KindPermanent, Cause: rotate.CauseMalformed, Err: err}
	}
	lease := time.Duration(body.Data.TTL) * time.Second
	return identity{token: token, renewable: body.Data.Renewable, lease: lease}, nil
}

// appRole signs in with a role id and a secret id, which may come wrapped.
type appRole struct {
	conf        VaultAuth
	mount, path string
	// Owned by the one running signIn: the secret id and the hash of the wrapping
	// token that it came from.
	secretID rotate.Secret
	from     [sha256.Size]byte
}

func (a *appRole) stale() bool { return false }

func (a *appRole) signIn(ctx context.Context, v *Vault) (identity, error) {
	const op = "sign in to vault by approle"
	secretID, err := readSecretFile(op, a.conf.SecretIDFile)
	if a.conf.Wrapped {
		secretID, err = a.unwrapped(ctx, v, op, secretID, err)
	}
	if err != nil {
		return identity{}, err
	}
	return v.login(ctx, call{op: op, path: a.path, body: map[string]any{
		"role_id": a.conf.RoleID, "secret_id": secretID.Reveal(),
	}})
}

// unwrapped returns the secret id of a wrapping token, which works once: the same
// token later stands for the secret id that it gave, and so does a lost file.
func (a *appRole) unwrapped(ctx context.Context, v *Vault, op string, wrap rotate.Secret, readErr error) (rotate.Secret, error) {
	if readErr != nil {
		if a.secretID.IsZero() {
			return rotate.Secret{}, readErr
		}
		return a.secretID, nil
	}
	hash := sha256.Sum256([]byte(wrap.Reveal()))
	if !a.secretID.IsZero() && hash == a.from {
		return a.secretID, nil
	}
	if err := a.inspect(ctx, v, op, wrap); err != nil {
		return rotate.Secret{}, err
	}
	c := call{op: op, path: "sys/wrapping/unwrap", token: wrap, body: map[string]any{}}
	rep, err := v.send(ctx, v.client, c)
	if err != nil {
		return rotate.Secret{}, err
	}
	if rep.status != http.StatusOK {
		return rotate.Secret{}, judgeWrap(c, rep)
	}
	var body struct {
		Data struct {
			SecretID string `json:"secret_id"`
		} `json:"data"`
	}
	if err := rep.decode(&body); err != nil || body.Data.SecretID == "" {
		return rotate.Secret{}, refusedIdentity(op, errForeign)
	}
	a.secretID, a.from = rotate.NewSecret(body.Data.SecretID), hash
	return a.secretID, nil
}

// inspect where a wrapping token came from before it is spent: a stolen one can be
// replaced by one that wraps something else.
func (a *appRole) inspect(ctx context.Context, v *Vault, op string, wrap rotate.Secret) error {
	c := call{op: op, path: "sys/wrapping/lookup", body: map[string]any{"token": wrap.Reveal()}}
	rep, err := v.send(ctx, v.client, c)
	if err != nil {
		return err
	}
	if rep.status != http.StatusOK {
		return judgeWrap(c, rep)
	}
	var body struct {
		Data struct {
			CreationPath string `json:"creation_path"`
		} `json:"data"`
	}
	if err := rep.decode(&body); err != nil {
		return refusedIdentity(op, err)
	}
	role, okStart := strings.CutPrefix(body.Data.CreationPath, "auth/"+a.mount+"/role/")
	role, okEnd := strings.CutSuffix(role, "/secret-id")
	if !okStart || !okEnd || strings.Contains(role, "/") || (a.conf.RoleName != "" && role != a.conf.RoleName) {
		return refusedIdentity(op, errForeign)
	}
	return nil
}

func judgeWrap(c call, rep reply) error {
	if rep.status == http.StatusBadRequest || rep.status == http.StatusForbidden {
		return refusedIdentity(c.op, errUsedWrap)
	}
	return judge(c, rep)
}

// kubernetes signs in with the pod's service account token, which is rotated.
type kubernetes struct{ path, role, jwtFile string }

func (k kubernetes) stale() bool { return false }

func (k kubernetes) signIn(ctx context.Context, v *Vault) (identity, error) {
	const op = "sign in to vault by kubernetes"
	jwt, err := readSecretFile(op, k.jwtFile)
	if err != nil {
		return identity{}, err
	}
	return v.login(ctx, call{op: op, path: k.path, body: map[string]any{"role": k.role, "jwt": jwt.Reveal()}})
}

// cert signs in with the connection's client certificate.
type cert struct{ path, role string }

func (k cert) stale() bool { return false }

func (k cert) signIn(ctx context.Context, v *Vault) (identity, error) {
	body := map[string]any{}
	if k.role != "" {
		body["name"] = k.role
	}
	return v.login(ctx, call{op: "sign in to vault by certificate", path: k.path, body: body})
}
