#!/usr/bin/env bash
# Keeps what fuzzing found interesting: of each target's cache the $1 (16) smallest
# inputs, up to 4 kB each, go into the package's testdata/fuzz, where go test runs them.
set -euo pipefail
keep=${1:-16}
cache=$(go env GOCACHE)/fuzz/$(go list -m)
"$(dirname "$0")/fuzz.sh" list | while read -r dir target; do
  [[ -d $cache/$dir/$target ]] || continue
  to=$dir/testdata/fuzz/$target
  mkdir -p "$to"
  find "$cache/$dir/$target" -type f -size -4k -printf '%s %p\n' | sort -n | sed -n "1,${keep}p" | while read -r _ file; do
    cp "$file" "$to/"
  done
  echo "$dir $target: $(find "$to" -type f | wc -l)"
done
