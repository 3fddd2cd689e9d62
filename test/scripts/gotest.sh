#!/usr/bin/env bash
# Runs go test with the given arguments; a test that skips itself fails the run,
# since "make setup" has installed what every test needs.
set -euo pipefail
: "${TOOLS:?}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

export ROTATORD_TEST_ALL=1
"$TOOLS/gotestsum" --format pkgname --jsonfile "$log" -- -shuffle=on -timeout 20m "$@"

if skipped=$(grep '"Action":"skip"' "$log" | grep '"Test":'); then
  printf 'skipped, which nothing may here:\n%s\n' "$skipped" >&2
  exit 1
fi
