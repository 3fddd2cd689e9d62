//go:build !race

package web_test

// slower is what a test with a limit of time takes into account: no race detector.
const slower = 1
