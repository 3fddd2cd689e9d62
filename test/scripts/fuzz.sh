#!/usr/bin/env bash
# Runs every fuzz target for $1 (a Go duration), one after the other; "list" names
# them. Each has a corpus in its package's testdata/fuzz (test/arch holds both).
set -euo pipefail
for_each=${1:-10s}
targets() {
  git grep --untracked -o -E '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' ':!test/vaultbin' | sed -E 's#^(.*)/[^/]*:func #\1 #' | sort
}
if [[ $for_each == list ]]; then
  targets
  exit 0
fi
found=0
while read -r dir target; do
  found=$((found + 1))
  echo "==> $dir $target for $for_each"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$for_each" "./$dir"
done < <(targets)
echo "$found fuzz targets ran"
