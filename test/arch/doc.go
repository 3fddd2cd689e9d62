// Package arch holds no code, only tests of the tree itself: which way imports
// run and how long files are. golangci-lint says the same while one types; these
// tests say it wherever go test runs.
package arch
