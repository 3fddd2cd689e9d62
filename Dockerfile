# Built for other platforms on this one: docker buildx build --platform linux/arm64 .
FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.26-bookworm AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
# For a build without the public module proxy; empty means Go's own default.
ARG GOPROXY
ARG GOSUMDB
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOTOOLCHAIN=local GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/usr/bin/rotatord ./cmd/rotatord \
 && install -d -m 0755 /out/etc/rotatord /out/run/rotatord \
 && install -d -m 0700 /out/var/lib/rotatord

# CA certificates and time zones, no shell, no package manager. A release pins it
# by digest.
FROM gcr.io/distroless/static-debian13:nonroot
ARG VERSION=dev
LABEL org.opencontainers.image.title="rotatord" \
      org.opencontainers.image.description="Rotates ArcGIS API keys before they expire" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.documentation="docs/deploy.md"
COPY --from=build --chown=65532:65532 /out/ /
USER 65532:65532
VOLUME /var/lib/rotatord
EXPOSE 9805
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/bin/rotatord", "healthcheck"]
ENTRYPOINT ["/usr/bin/rotatord"]
CMD ["run", "--config", "/etc/rotatord/config.yaml"]
