#!/usr/bin/env bash
# Runs every fuzz target for $1 (a Go duration).
set -euo pipefail
for_each=${1:-10s}
found=0
while IFS=: read -r file target; do
  found=$((found + 1))
  echo "==> $(dirname "$file") $target for $for_each"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$for_each" "./$(dirname "$file")"
done < <(git grep -o -E '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed 's/func //')
echo "$found fuzz targets ran"
