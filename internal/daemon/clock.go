package daemon

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// maxNap is the longest timer: a timer does not count sleep, the wall clock does.
const maxNap = time.Minute

// jumpLimit is how far the wall clock may move against the timers before the loop looks at everything again.
const jumpLimit = 10 * time.Second

// Elapsed is a clock that never jumps and counts sleep; it is never 0.
func Elapsed() (func() time.Duration, error) {
	if _, err := bootTime(); err != nil {
		return nil, err
	}
	return func() time.Duration {
		d, _ := bootTime() // the same call worked at the start, and it has no way to fail later
		return max(d, 1)
	}, nil
}

func bootTime() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("read the clock since boot: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// clockMark is one reading of both clocks of a time.Time.
type clockMark struct{ at time.Time }

// moved by how much, by the wall clock and by the timers' clock, since the mark was set; and sets it anew.
func (m *clockMark) moved(now time.Time) (wall, timers time.Duration) {
	if m.at.IsZero() {
		m.at = now
	}
	wall, timers = now.Round(0).Sub(m.at.Round(0)), now.Sub(m.at)
	m.at = now
	return wall, timers
}

// jumped tells whether the wall clock moved differently from the timers' clock: the machine slept, or somebody set the
// clock.
func jumped(wall, timers time.Duration) bool { return (wall - timers).Abs() > jumpLimit }
