#!/usr/bin/env bash
# Installs what "make test" needs beyond Go and is missing here. As root on
# Debian it uses apt; elsewhere it names what to install and stops.
set -euo pipefail

# command:package pairs; a command that is there already is left alone
wanted=(
  gcc:gcc                      # go test -race
  git:git
  promtool:prometheus
  amtool:prometheus-alertmanager
  systemd-analyze:systemd
  buildah:buildah
  debootstrap:debootstrap
  node:nodejs
  npm:npm
  python3:python3              # the script in docs/journal.md
  openssl:openssl              # the page on webhooks, docs/notifiers.md
  curl:curl
  shellcheck:shellcheck
  chromium:chromium             # the status page, test/web
  exim4:exim4-daemon-light      # a real mail server
)

missing=()
for pair in "${wanted[@]}"; do
  # debootstrap lives in sbin, which a plain user's PATH leaves out
  PATH=$PATH:/usr/sbin command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done

if ((${#missing[@]} == 0)); then
  echo "everything is here"
  exit 0
fi
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
  echo "please install: ${missing[*]}" >&2
  exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# Installing prometheus must not start a server on this machine.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get install -q -y --no-install-recommends "${missing[@]}"
