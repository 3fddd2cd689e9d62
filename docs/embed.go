// Package docs carries the pages that the status page explains things with, so that
// what it says is of the version that runs.
package docs

import _ "embed"

// Protocol explains every word that rotatord uses.
//
//go:embed protocol.md
var Protocol string

// Runbook has a section for each alert.
//
//go:embed runbook.md
var Runbook string
