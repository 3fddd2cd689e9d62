#!/usr/bin/env bash
# Checks the code without running it. TOOLS is where the pinned tools are.
set -euo pipefail
: "${TOOLS:?}"
failed=0
check() { # check NAME COMMAND...: runs it and remembers a failure
  local name=$1
  shift
  echo "  $name"
  "$@" || { echo "$name failed" >&2; failed=1; }
}

formatted() {
  local files
  files=$(git ls-files -z -- '*.go' | xargs -0 gofmt -l)
  [[ -z $files ]] || { printf 'not gofmt-ed: %s\n' "$files" >&2; return 1; }
}

check gofmt formatted
check "go vet" go vet ./...
check "go fix" go fix -diff ./...
check golangci-lint "$TOOLS/golangci-lint" run --allow-parallel-runners ./...
check "file length, imports" go test ./test/arch
check shellcheck shellcheck -S warning test/scripts/*.sh .ci/run
exit "$failed"
