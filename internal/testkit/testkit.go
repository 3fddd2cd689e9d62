// Package testkit holds what tests of several packages share: the one rule
// about skipping, the module's root, free ports, and a real Vault server.
// Only _test.go files and test-support packages may import it.
//
// Everything started here listens on 127.0.0.1, lives in a scratch folder of
// its test and is stopped through its own process handle when the test ends.
package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// AllEnv names the variable under which a test that cannot run is a failure:
// set by "make test" and CI, where everything a test needs has been set up.
const AllEnv = "ROTATORD_TEST_ALL"

// Need skips the test unless ok, saying what is missing and what cures it, so
// that a bare "go test ./..." passes with Go alone. With AllEnv=1 the same
// lack fails the test: a skip must not pass for a proof.
func Need(t testing.TB, ok bool, what, cure string) {
	t.Helper()
	if ok {
		return
	}
	msg := fmt.Sprintf("needs %s; to get it: %s", what, cure)
	if os.Getenv(AllEnv) == "1" {
		t.Fatalf("%s (a skip is a failure under %s=1)", msg, AllEnv)
	}
	t.Skip(msg)
}

// Root returns the folder of the module that the running test belongs to.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("find module root: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("find module root: no go.mod above the working folder")
		}
		dir = parent
	}
}

// The range lies below Linux's ephemeral ports: a server that is stopped and
// started again does not find its port taken by somebody's outgoing connection.
const (
	firstPort = 20000
	lastPort  = 31999
	portTries = 200
)

// FreePorts returns the first of n consecutive ports that nothing listened on
// a moment ago. Another process may still win the race; starters try again.
func FreePorts(t testing.TB, n int) int {
	t.Helper()
	for range portTries {
		base := firstPort + rand.IntN(lastPort-firstPort-n)
		if portsFree(base, n) {
			return base
		}
	}
	t.Fatalf("find %d free ports: none in %d tries", n, portTries)
	return 0
}

func portsFree(base, n int) bool {
	for port := base; port < base+n; port++ {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			return false
		}
		if err := l.Close(); err != nil {
			return false
		}
	}
	return true
}
