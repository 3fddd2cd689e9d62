package testkit

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// MountKV mounts a KV engine of version 1 or 2 and returns when it takes writes:
// a fresh version 2 mount answers 400 while it upgrades itself.
func (v *VaultServer) MountKV(path string, version int) {
	v.t.Helper()
	v.try(http.MethodPost, "sys/mounts/"+path, map[string]any{
		"type": "kv", "options": map[string]any{"version": strconv.Itoa(version)},
	}).want(v.t, http.StatusNoContent)
	if version != 2 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for v.try(http.MethodGet, path+"/config", nil).Status != http.StatusOK {
		select {
		case <-tick.C:
		case <-ctx.Done():
			v.t.Fatalf("mount kv at %s: %v", path, ctx.Err())
		}
	}
}

// Policy writes an ACL policy in HCL.
func (v *VaultServer) Policy(name, hcl string) {
	v.t.Helper()
	v.try(http.MethodPut, "sys/policies/acl/"+name, map[string]any{"policy": hcl}).want(v.t, http.StatusNoContent)
}

// NewToken makes a token; params are those of auth/token/create, such as
// "policies", "ttl", "explicit_max_ttl", "num_uses", "type".
func (v *VaultServer) NewToken(params map[string]any) string {
	v.t.Helper()
	a := v.try(http.MethodPost, "auth/token/create", params)
	a.want(v.t, http.StatusOK)
	return v.str(object(a.Body, "auth"), "client_token")
}

// EnableAuth mounts an auth method (approle, cert, userpass, jwt) at its own
// name; a second call changes nothing.
func (v *VaultServer) EnableAuth(method string) {
	v.t.Helper()
	a := v.try(http.MethodGet, "sys/auth", nil)
	a.want(v.t, http.StatusOK)
	if object(a.Data(), method+"/") != nil {
		return
	}
	v.try(http.MethodPost, "sys/auth/"+method, map[string]any{"type": method}).want(v.t, http.StatusNoContent)
}

// AppRole makes a role and returns its role id. Params are those of
// auth/approle/role, such as "token_policies", "token_ttl", "secret_id_num_uses".
func (v *VaultServer) AppRole(role string, params map[string]any) (roleID string) {
	v.t.Helper()
	v.EnableAuth("approle")
	path := "auth/approle/role/" + role
	v.try(http.MethodPost, path, params).want(v.t, http.StatusNoContent)
	a := v.try(http.MethodGet, path+"/role-id", nil)
	a.want(v.t, http.StatusOK)
	return v.str(a.Data(), "role_id")
}

// SecretID makes a secret id of a role.
func (v *VaultServer) SecretID(role string) string {
	v.t.Helper()
	a := v.try(http.MethodPost, "auth/approle/role/"+role+"/secret-id", nil)
	a.want(v.t, http.StatusOK)
	return v.str(a.Data(), "secret_id")
}

// WrappedSecretID makes a secret id and returns the token that unwraps it once.
func (v *VaultServer) WrappedSecretID(role string, ttl time.Duration) string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	a, err := v.ask(ctx, request{
		token: v.Token, method: http.MethodPost, path: "auth/approle/role/" + role + "/secret-id", wrap: ttl,
	})
	if err != nil {
		v.t.Fatalf("wrap secret id: %v", err)
	}
	a.want(v.t, http.StatusOK)
	return v.str(object(a.Body, "wrap_info"), "token")
}

// CertAuth makes a client certificate that may sign in with the given policies
// (server WithTLS only) and returns where it and its key are.
func (v *VaultServer) CertAuth(name string, policies ...string) (certFile, keyFile string) {
	v.t.Helper()
	if !v.opt.tls {
		v.t.Fatal("enable cert auth: needs WithTLS")
	}
	v.EnableAuth("cert")
	certFile, keyFile, certPEM := clientCert(v.t, v.dir, name)
	v.try(http.MethodPost, "auth/cert/certs/"+name, map[string]any{
		"certificate": string(certPEM), "token_policies": policies,
	}).want(v.t, http.StatusNoContent)
	return certFile, keyFile
}

// Userpass makes a user that signs in with a password.
func (v *VaultServer) Userpass(user, password string, policies ...string) {
	v.t.Helper()
	v.EnableAuth("userpass")
	v.try(http.MethodPost, "auth/userpass/users/"+user, map[string]any{
		"password": password, "token_policies": policies,
	}).want(v.t, http.StatusNoContent)
}

// Quota limits requests to path ("" is everything) to rate in each interval;
// past it Vault answers 429. With headers they carry Retry-After, which Vault
// leaves out by default.
func (v *VaultServer) Quota(name, path string, rate float64, interval time.Duration, headers bool) {
	v.t.Helper()
	v.try(http.MethodPost, "sys/quotas/config", map[string]any{
		"enable_rate_limit_response_headers": headers,
	}).want(v.t, http.StatusNoContent)
	v.try(http.MethodPost, "sys/quotas/rate-limit/"+name, map[string]any{
		"path": path, "rate": rate, "interval": interval.String(),
	}).want(v.t, http.StatusNoContent)
}

// DropQuota removes a quota. It is itself under a quota on everything.
func (v *VaultServer) DropQuota(name string) {
	v.t.Helper()
	v.try(http.MethodDelete, "sys/quotas/rate-limit/"+name, nil).want(v.t, http.StatusNoContent)
}

// BreakAudit adds an audit device that can never write: every request answers
// 500 until the server is killed, its own removal included.
func (v *VaultServer) BreakAudit() {
	v.t.Helper()
	v.try(http.MethodPut, "sys/audit/full", map[string]any{
		"type": "file", "options": map[string]any{"file_path": "/dev/full", "skip_test": "true"},
	}).want(v.t, http.StatusNoContent, http.StatusInternalServerError)
}

func (v *VaultServer) str(m map[string]any, key string) string {
	v.t.Helper()
	s, _ := m[key].(string)
	if s == "" {
		v.t.Fatalf("vault's answer has no %q", key)
	}
	return s
}
