//go:build race

package web_test

// slower is what a test with a limit of time takes into account: the race detector.
const slower = 15
