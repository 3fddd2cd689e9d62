#!/usr/bin/env bash
# Runs the stages that are its arguments as make targets, goes on after a
# failure so that one run shows every problem, and ends with a table of times.
set -euo pipefail

failed=0
table=""
for stage in "$@"; do
  printf '\n==> %s\n' "$stage"
  begin=$SECONDS
  verdict=ok
  "${MAKE:-make}" --no-print-directory "$stage" || { verdict=FAILED; failed=1; }
  table+=$(printf '%-14s %4d s  %s' "$stage" $((SECONDS - begin)) "$verdict")$'\n'
  printf '==> %s: %s after %d s\n' "$stage" "$verdict" $((SECONDS - begin))
done

printf '\n%s%-14s %4d s\n' "$table" total "$SECONDS"
exit "$failed"
