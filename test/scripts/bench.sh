#!/usr/bin/env bash
# Runs every benchmark, and last shows what is claimed of speed and size: measured, limit,
# verdict. Fails where a limit is missed; on a machine with other work the limits of time
# only warn. BENCH_CLAIMS_ONLY=1 leaves out the benchmarks of single packages.
# docs/performance.md has the numbers.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ROTATORD_BENCH_REPORT=$work/report ROTATORD_BENCH_PROGRAM=$work/rotatord
: >"$ROTATORD_BENCH_REPORT"

CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$ROTATORD_BENCH_PROGRAM" ./cmd/rotatord
failed=0
if [[ -z ${BENCH_CLAIMS_ONLY:-} ]]; then
  # shellcheck disable=SC2046 # one argument a package
  go test -run '^$' -bench . -benchtime 1x $(go list ./... | grep -v /internal/bench) | grep -v 'no test files' || failed=1
fi
ROTATORD_TEST_ALL=1 go test -count=1 -timeout 20m -bench . ./internal/bench || failed=1

echo
{
  printf 'claim\tmeasured\tlimit\tverdict\n'
  cat "$ROTATORD_BENCH_REPORT"
} | awk -F'\t' '{ printf "%-62s %20s  %-18s %s\n", $1, $2, $3, $4 }'
echo "load: $(cut -d' ' -f1-3 /proc/loadavg) on $(nproc) CPUs"
exit "$failed"
