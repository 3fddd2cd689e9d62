// Package deploy holds no code, only tests of what is deployed beside the program:
// dashboard, rules, runbook, units and image name only what exists.
package deploy
