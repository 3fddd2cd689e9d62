#!/usr/bin/env bash
# Checks the Prometheus rules, runs their tests, and checks what /metrics says
# after the scripted rotation of internal/metrics' golden file.
set -euo pipefail
rules=deploy/prometheus
promtool check rules "$rules/rotatord.rules.yml"
promtool test rules "$rules"/*_test.yml
for golden in internal/metrics/testdata/*.golden; do
  echo "Checking $golden"
  promtool check metrics <"$golden"
  echo "  SUCCESS"
done
