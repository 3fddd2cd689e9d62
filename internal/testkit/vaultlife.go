package testkit

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// Init initialises a server started WithUninitialised and keeps its root token
// and its single unseal key.
func (v *VaultServer) Init() {
	v.t.Helper()
	a := v.try(http.MethodPut, "sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1})
	a.want(v.t, http.StatusOK)
	keys, ok := a.Body["keys_base64"].([]any)
	if !ok || len(keys) != 1 {
		v.t.Fatalf("init vault: no unseal key in the answer")
	}
	v.unsealKey, _ = keys[0].(string)
	v.Token, _ = a.Body["root_token"].(string)
}

// Unseal opens the server and returns when it is active.
func (v *VaultServer) Unseal() {
	v.t.Helper()
	if v.unsealKey == "" {
		v.unsealKey = v.devUnsealKey()
	}
	v.try(http.MethodPut, "sys/unseal", map[string]any{"key": v.unsealKey}).want(v.t, http.StatusOK)
	if err := v.await(func(status int) bool { return status == http.StatusOK }); err != nil {
		v.t.Fatalf("unseal vault: %v", err)
	}
}

// Seal closes the server: every path but its health answers 503 from now on.
func (v *VaultServer) Seal() {
	v.t.Helper()
	if v.unsealKey == "" && !v.opt.raft {
		v.unsealKey = v.devUnsealKey() // the log has it only while it is young
	}
	v.try(http.MethodPut, "sys/seal", nil).want(v.t, http.StatusNoContent)
	if err := v.await(func(status int) bool { return status == http.StatusServiceUnavailable }); err != nil {
		v.t.Fatalf("seal vault: %v", err)
	}
}

// devUnsealKey waits for the line in which an in-memory server prints its key,
// which comes about half a second after it is ready.
func (v *VaultServer) devUnsealKey() string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if key := findAfter(v.logPath(), "Unseal Key: "); key != "" {
			return key
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			v.t.Fatal("read the in-memory server's unseal key: not in its log")
		}
	}
}

// findAfter returns what follows the last line that starts with prefix: the
// log is appended to over restarts, and each run has its own key.
func findAfter(path, prefix string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	found := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), prefix); ok {
			found = strings.TrimSpace(rest)
		}
	}
	return found
}

// Kill ends the server with SIGKILL, as a crash or a power cut would.
func (v *VaultServer) Kill() {
	v.t.Helper()
	v.running().kill()
	v.proc = nil
}

// Stop ends the server in an orderly way.
func (v *VaultServer) Stop() {
	v.t.Helper()
	p := v.running()
	v.proc = nil
	if err := p.stop(); err != nil {
		v.t.Fatalf("stop vault: %v", err)
	}
}

// Start starts a killed or stopped server again at the same address. WithRaft
// it comes up sealed with its data; in memory it comes up open and empty.
func (v *VaultServer) Start() {
	v.t.Helper()
	if v.proc != nil {
		v.t.Fatal("start vault: it is running")
	}
	if !v.opt.raft {
		v.unsealKey = ""
		if err := os.Remove(v.logPath()); err != nil {
			v.t.Fatalf("start vault: %v", err)
		}
	}
	if err := v.launch(); err != nil {
		v.t.Fatalf("start vault: %v\n%s", err, v.logTail(30))
	}
}

// Restart is Stop and Start, and Unseal where the server keeps its data.
func (v *VaultServer) Restart() {
	v.t.Helper()
	v.Stop()
	v.Start()
	if v.opt.raft {
		v.Unseal()
	}
}

// Pause freezes the process with SIGSTOP: connections are accepted by the
// kernel and nothing answers, which is what a hung server looks like.
func (v *VaultServer) Pause() {
	v.t.Helper()
	if err := v.running().pause(); err != nil {
		v.t.Fatalf("pause vault: %v", err)
	}
}

// Resume wakes a paused process.
func (v *VaultServer) Resume() {
	v.t.Helper()
	if err := v.running().signal(syscall.SIGCONT); err != nil {
		v.t.Fatalf("resume vault: %v", err)
	}
}

func (v *VaultServer) running() *process {
	v.t.Helper()
	if v.proc == nil {
		v.t.Fatal("vault is not running")
	}
	return v.proc
}

// Snapshot returns the server's whole state (WithRaft only).
func (v *VaultServer) Snapshot() []byte {
	v.t.Helper()
	return v.snapshotCall(http.MethodGet, nil, http.StatusOK)
}

// Restore puts back what Snapshot returned: an operator's restore of a backup,
// after which Vault knows nothing of what was written since.
func (v *VaultServer) Restore(snapshot []byte) {
	v.t.Helper()
	// Vault answers 204 before it restores (handleStorageRaftSnapshotWrite goes
	// on in the background), and answers 200 with what it held until then. A
	// value that the snapshot can't hold says when it is done.
	const marker = "cubbyhole/not-yet-restored"
	v.try(http.MethodPut, marker, map[string]any{"since": time.Now().String()}).want(v.t, http.StatusNoContent)
	v.snapshotCall(http.MethodPost, snapshot, http.StatusNoContent)
	if err := v.awaitAt(v.Token, marker, func(status int) bool { return status == http.StatusNotFound }); err != nil {
		v.t.Fatalf("restore vault snapshot: %v", err)
	}
}

func (v *VaultServer) snapshotCall(method string, body []byte, want int) []byte {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	status, raw, err := v.send(ctx, request{token: v.Token, method: method, path: "sys/storage/raft/snapshot", body: body})
	if err != nil || status != want {
		v.t.Fatalf("%s vault snapshot: status %d, %v: %.200s", method, status, err, raw)
	}
	return raw
}
