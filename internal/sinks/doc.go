// Package sinks holds the places that consumers read a key from: HashiCorp Vault
// KV v2 and a file. Both implement rotate.Sink, keep what others wrote beside the
// key, and take a write only on the version that the caller read.
//
// A key leaves this package towards its sink alone. Errors and notices carry names,
// paths, versions and HTTP statuses; never a value and never a reply's body. Nothing
// here starts a goroutine or retries a write: the domain decides what follows.
//
// The files begin with the sink that they belong to: vault has the connection (its
// wire, its sign-in, its checks) and the secret (reading, writing), file the key file
// (formats, the states on disk, the disk itself, after-write commands). Two adapters of
// one interface share the errors and notices below, which is why they are one package.
package sinks

import "rotatord/internal/rotate"

// Notice is something that went wrong beside a write that succeeded: it is told to
// people and undoes nothing.
type Notice struct {
	Sink string // the sink's name
	Text string // what did not happen and what becomes of it
	Err  error
}

// Severity of a Finding.
type Severity string

// The severities. An error keeps the sink from working, a warning does not.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Finding is one result of an online check.
type Finding struct {
	Severity Severity
	Sink     string // "" where the whole connection is concerned
	Cause    rotate.Cause
	Sentence string // what is wrong
	Cure     string // what a person does about it
}
