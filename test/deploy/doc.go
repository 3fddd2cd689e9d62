// Package deploy holds no code, only tests of what is deployed beside the program:
// rules, runbook, units and image name only what exists. test/grafana has the dashboards.
package deploy
