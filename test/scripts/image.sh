#!/usr/bin/env bash
# Builds the container image with buildah and no registry: the two base images are
# made here under their real names, from Debian's archive and this machine's Go.
# Then asks the image, as the user it names, for its version.
set -euo pipefail
: "${VERSION:=dev}"
export BUILDAH_ISOLATION=chroot
PATH=$PATH:/usr/sbin
builder_image=docker.io/library/golang:1.26-bookworm
final_image=gcr.io/distroless/static-debian13:nonroot
image=localhost/rotatord:test

scratch=$(mktemp -d)
containers=()
cleanup() {
  for c in "${containers[@]}"; do buildah rm "$c" >/dev/null; done
  rm -rf "$scratch"
}
trap cleanup EXIT

have() { buildah inspect --type image "$1" >/dev/null 2>&1; }

# commit_tree NAME DIR [CONFIG...]: an image that holds the folder's tree
commit_tree() {
  local name=$1 dir=$2 container
  shift 2
  container=$(buildah from scratch)
  containers+=("$container")
  buildah copy -q "$container" "$dir" / >/dev/null
  buildah config "$@" "$container"
  buildah commit -q --format docker "$container" "$name" >/dev/null
}

if ! have "$builder_image"; then
  echo "making $builder_image"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$scratch/builder" >"$scratch/debootstrap.log" ||
    { tail -n 20 "$scratch/debootstrap.log"; exit 1; }
  rm -rf "$scratch"/builder/var/{cache,lib}/apt
  cp -a "$(go env GOROOT)/." "$scratch/builder/usr/local/go"
  commit_tree "$builder_image" "$scratch/builder" --env PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin --env GOPATH=/go
fi

if ! have "$final_image"; then
  echo "making $final_image"
  mkdir -p "$scratch/final/etc/ssl/certs" "$scratch/final/tmp"
  chmod 1777 "$scratch/final/tmp"
  printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$scratch/final/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$scratch/final/etc/group"
  cp /etc/ssl/certs/ca-certificates.crt "$scratch/final/etc/ssl/certs/"
  commit_tree "$final_image" "$scratch/final" --user 65532:65532
fi

# The builder fetches modules from what this machine has downloaded already.
go mod download
proxy=$(go env GOMODCACHE)/cache/download
buildah bud -q --format docker --pull-never --layers=false --build-arg TARGETOS=linux --build-arg TARGETARCH="$(go env GOARCH)" --volume "$proxy:/proxy:ro" \
  --build-arg GOPROXY=file:///proxy --build-arg GOSUMDB=off --build-arg VERSION="$VERSION" \
  -t "$image" . >/dev/null

container=$(buildah from --pull-never "$image")
containers+=("$container")
user=$(buildah inspect --format '{{.OCIv1.Config.User}}' "$image")
health=$(buildah inspect --type image --format '{{.Docker.Config.Healthcheck.Test}}' "$image")
echo "user $user, health check $health"
[[ $user == 65532:65532 && $health == *healthcheck* ]]

said=$(buildah run --user "$user" "$container" -- /usr/bin/rotatord version)
echo "as $user: $said"
[[ $said == *"$VERSION"* ]]
# The image has no "id"; its program's own files tell whose it is.
state=$(stat -c '%u:%g %a' "$(buildah mount "$container")/var/lib/rotatord")
echo "state folder: $state"
[[ $state == "65532:65532 700" ]]
