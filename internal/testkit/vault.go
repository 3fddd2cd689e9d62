package testkit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// VaultBinEnv names another Vault binary than the one "make vault" builds.
	VaultBinEnv = "ROTATORD_VAULT_BIN"
	// DevRootToken is the root token of every in-memory server.
	DevRootToken = "root"

	vaultCached  = ".cache/vault-1.21.2"
	startTries   = 3
	pollEvery    = 10 * time.Millisecond
	readyTimeout = 90 * time.Second // -dev-latency=300 takes about 50 s to become ready
)

// VaultServer is a real Vault process. Its methods fail the test when the
// server does something unforeseen; they may be called from the test's own
// goroutine only, except Try and Addr.
type VaultServer struct {
	// Addr is the base URL, Token a root token, CAFile the CA certificate of
	// the listener ("" without TLS). They stay the same over a restart.
	Addr, Token, CAFile string

	t         testing.TB
	bin, dir  string
	opt       vaultOptions
	port      int
	proc      *process // nil while stopped
	unsealKey string
}

type vaultOptions struct {
	raft, tls, sealed bool
	flags             []string
}

// VaultOption changes how Vault starts its server.
type VaultOption func(*vaultOptions)

// WithRaft keeps data on disk, so that it survives Kill, Stop and Restart. The
// server is initialised and unsealed when Vault returns.
func WithRaft() VaultOption { return func(o *vaultOptions) { o.raft = true } }

// WithUninitialised is WithRaft for a server that nobody has initialised yet;
// Init and Unseal do that later.
func WithUninitialised() VaultOption {
	return func(o *vaultOptions) { o.raft, o.sealed = true, true }
}

// WithTLS makes the in-memory server speak HTTPS with a certificate of its own.
func WithTLS() VaultOption { return func(o *vaultOptions) { o.tls = true } }

// WithFlags adds flags to "vault server -dev", such as -dev-latency=300.
func WithFlags(flags ...string) VaultOption {
	return func(o *vaultOptions) { o.flags = append(o.flags, flags...) }
}

// Vault starts a real Vault server for this test: in memory with KV v2 at
// secret/ unless an option says otherwise. The test is skipped (or fails, see
// Need) where no Vault binary has been built.
func Vault(t testing.TB, opts ...VaultOption) *VaultServer {
	t.Helper()
	v := &VaultServer{t: t, bin: vaultBinary(t)}
	for _, opt := range opts {
		opt(&v.opt)
	}
	if v.opt.raft && (v.opt.tls || len(v.opt.flags) > 0) {
		t.Fatal("start vault: WithTLS and WithFlags are for the in-memory server only")
	}
	v.dir = t.TempDir()
	t.Cleanup(v.cleanup)
	v.firstStart()
	if !v.opt.raft {
		v.Token = DevRootToken
	} else if !v.opt.sealed {
		v.Init()
		v.Unseal()
	}
	return v
}

func vaultBinary(t testing.TB) string {
	t.Helper()
	bin := os.Getenv(VaultBinEnv)
	if bin == "" {
		bin = filepath.Join(Root(t), filepath.FromSlash(vaultCached))
	}
	_, err := exec.LookPath(bin)
	Need(t, err == nil, "a Vault 1.21.2 server at "+bin, "make vault")
	return bin
}

func (v *VaultServer) cleanup() {
	if v.proc != nil {
		v.proc.kill()
	}
	if v.t.Failed() {
		v.t.Logf("vault's last words:\n%s", v.logTail(30))
	}
}

// firstStart looks for free ports and tries others when somebody was faster.
func (v *VaultServer) firstStart() {
	v.t.Helper()
	var err error
	for range startTries {
		v.port = FreePorts(v.t, 2) // the second one is Vault's cluster port
		scheme := "http"
		if v.opt.tls {
			scheme, v.CAFile = "https", filepath.Join(v.dir, "vault-ca.pem")
		}
		v.Addr = fmt.Sprintf("%s://127.0.0.1:%d", scheme, v.port)
		if err = v.launch(); err == nil {
			return
		}
	}
	v.t.Fatalf("start vault: %v\n%s", err, v.logTail(30))
}

func (v *VaultServer) launch() error {
	args := []string{"server", "-log-level=warn"}
	if v.opt.raft {
		conf, err := v.writeRaftConfig()
		if err != nil {
			return err
		}
		args = append(args, "-config="+conf)
	} else {
		args = append(args, "-dev", "-dev-no-store-token", "-dev-root-token-id="+DevRootToken,
			fmt.Sprintf("-dev-listen-address=127.0.0.1:%d", v.port))
		if v.opt.tls {
			args = append(args, "-dev-tls", "-dev-tls-cert-dir="+v.dir)
		}
		args = append(args, v.opt.flags...)
	}
	p, err := startProcess(v.logPath(), v.dir, v.bin, args...)
	if err != nil {
		return err
	}
	v.proc = p
	want := func(status int) bool { return status == http.StatusOK }
	if v.opt.raft { // sealed or not initialised counts as up: Unseal comes next
		want = func(int) bool { return true }
	}
	if err := v.await(want); err != nil {
		p.kill()
		v.proc = nil
		return err
	}
	return nil
}

func (v *VaultServer) writeRaftConfig() (string, error) {
	data := filepath.Join(v.dir, "raft")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return "", fmt.Errorf("make raft folder: %w", err)
	}
	conf := fmt.Sprintf(`disable_mlock = true
api_addr      = "http://127.0.0.1:%[1]d"
cluster_addr  = "https://127.0.0.1:%[2]d"

listener "tcp" {
  address         = "127.0.0.1:%[1]d"
  cluster_address = "127.0.0.1:%[2]d"
  tls_disable     = true
}

storage "raft" {
  path                   = %[3]q
  node_id                = "n1"
  performance_multiplier = 1
}
`, v.port, v.port+1, data)
	path := filepath.Join(v.dir, "vault.hcl")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return "", fmt.Errorf("write vault config: %w", err)
	}
	return path, nil
}

// await polls sys/health until want holds for its status or the process ends.
func (v *VaultServer) await(want func(status int) bool) error {
	return v.awaitAt("", "sys/health", want)
}

func (v *VaultServer) awaitAt(token, path string, want func(status int) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		a, err := v.Try(ctx, token, http.MethodGet, path, nil)
		if err == nil && want(a.Status) {
			return nil
		}
		select {
		case <-tick.C:
		case <-v.proc.done:
			return errors.Join(errors.New("wait for vault: the process ended"), v.proc.err)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for vault: %w; last status %d", ctx.Err(), a.Status), err)
		}
	}
}

func (v *VaultServer) logPath() string { return filepath.Join(v.dir, "vault.log") }

func (v *VaultServer) logTail(lines int) string {
	b, err := os.ReadFile(v.logPath())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
