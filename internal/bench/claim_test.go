package bench

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reportEnv names a file that every claim is appended to, for the table of "make bench".
const reportEnv = "ROTATORD_BENCH_REPORT"

// claim is one number with its limit.
type claim struct {
	name     string
	measured float64
	unit     string
	// limit that measured may not pass, or with atLeast may not stay below; 0: none, the
	// number is only shown.
	limit   float64
	atLeast bool
	// quiet: the limit is for a machine without other work; where it has some, it only
	// warns.
	quiet bool
}

// report shows the claim and fails the test if it does not hold.
func (c claim) report(tb testing.TB) {
	tb.Helper()
	limit, verdict := "", ""
	if c.limit != 0 {
		limit, verdict = fmt.Sprintf("<= %s %s", number(c.limit), c.unit), "pass"
		missed := c.measured > c.limit
		if c.atLeast {
			limit, missed = fmt.Sprintf(">= %s %s", number(c.limit), c.unit), c.measured < c.limit
		}
		load, loaded := otherWork()
		switch {
		case missed && c.quiet && loaded:
			verdict = fmt.Sprintf("warning: missed, with a load of %.1f on %d CPUs", load, runtime.NumCPU())
		case missed:
			verdict = "FAIL"
			tb.Errorf("%s: %s %s, want %s", c.name, number(c.measured), c.unit, limit)
		}
	}
	line := strings.Join([]string{c.name, number(c.measured) + " " + c.unit, limit, verdict}, "\t")
	tb.Log(strings.ReplaceAll(strings.TrimRight(line, "\t"), "\t", " | "))
	path := os.Getenv(reportEnv)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, line); err != nil {
		tb.Fatal(err)
	}
}

func number(v float64) string {
	switch {
	case v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v < 10:
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// otherWork tells whether more wants to run on this machine than it has processors for.
func otherWork() (load float64, loaded bool) {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, false
	}
	if _, err := fmt.Sscan(string(raw), &load); err != nil {
		return 0, false
	}
	return load, load > float64(runtime.NumCPU())+1
}

// cpuTime that this process has used, in user and kernel mode.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
