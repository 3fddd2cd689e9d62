#!/usr/bin/env bash
# Verifies the systemd units, scores their hardening without a running systemd,
# and makes the user, groups and folders in a scratch root.
set -euo pipefail
max_exposure=25 # tenths of a point of "systemd-analyze security"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# verify wants to find the program; the units name where a package puts it.
CGO_ENABLED=0 go build -o "$scratch/rotatord" ./cmd/rotatord
units=("$scratch"/rotatord.service "$scratch"/rotatord-once.service "$scratch"/rotatord-once.timer)
for unit in "${units[@]}"; do
  sed "s#/usr/bin/rotatord#$scratch/rotatord#" "deploy/systemd/$(basename "$unit")" >"$unit"
done

check_units() {
  # verify exits 0 for an unknown setting and only says so: words are failures
  local words
  words=$(systemd-analyze verify --man=no "${units[@]}" 2>&1) || { echo "$words"; return 1; }
  [[ -z $words ]] || { echo "$words"; return 1; }
  for unit in "${units[@]}"; do
    [[ $unit == *.timer ]] && continue
    systemd-analyze security --no-pager --offline=true --threshold="$max_exposure" "$unit" | tail -n 1
  done
}

echo "units"
check_units

echo "units with the DynamicUser drop-in"
mkdir "$scratch/rotatord.service.d"
cp deploy/systemd/rotatord.service.d/dynamic-user.conf.example "$scratch/rotatord.service.d/dynamic-user.conf"
check_units

echo "user, groups and folders"
root=$scratch/root
mkdir -p "$root/etc"
systemd-sysusers --root="$root" "$PWD/deploy/systemd/sysusers.d/rotatord.conf"
grep -E '^rotatord(-ops)?:' "$root/etc/passwd" "$root/etc/group" | sed "s#$root##"
grep -q '^rotatord-ops:.*:rotatord$' "$root/etc/group"
systemd-tmpfiles --root="$root" --create "$PWD/deploy/systemd/tmpfiles.d/rotatord.conf"
[[ $(stat -c %a "$root/etc/rotatord") == 750 && $(stat -c %a "$root/etc/rotatord/credentials") == 700 ]]
