package daemon

import (
	"testing"
	"time"
)

func TestJumped(t *testing.T) {
	tests := []struct {
		name         string
		wall, timers time.Duration
		want         bool
	}{
		{"same", time.Minute, time.Minute, false},
		{"slept", time.Hour, time.Minute, true},
		{"set back", -time.Hour, time.Second, true},
		{"slewed", time.Minute, time.Minute + time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := jumped(tt.wall, tt.timers); got != tt.want {
				t.Errorf("jumped(%s, %s) = %v, want %v", tt.wall, tt.timers, got, tt.want)
			}
		})
	}
}

func TestElapsedMoves(t *testing.T) {
	elapsed, err := Elapsed()
	if err != nil {
		t.Fatal(err)
	}
	if a, b := elapsed(), elapsed(); a <= 0 || b < a {
		t.Errorf("elapsed = %s, then %s", a, b)
	}
}
