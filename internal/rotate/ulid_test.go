package rotate

import (
	"strings"
	"testing"
	"time"
)

func TestULIDHoldsItsTimeAndSorts(t *testing.T) {
	// The milliseconds of the example in the ULID specification: 01ARYZ6S41….
	at := time.UnixMilli(1469918176385)
	id := ulid(at)
	if len(id) != 26 || !strings.HasPrefix(id, "01ARYZ6S41") {
		t.Errorf("got %q, want 26 letters that begin with 01ARYZ6S41", id)
	}
	if next := ulid(at.Add(time.Millisecond)); next <= id {
		t.Errorf("a later id sorts before: %q, %q", id, next)
	}
	if again := ulid(at); again == id {
		t.Errorf("two ids are the same: %q", id)
	}
}
