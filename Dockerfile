# syntax=docker/dockerfile:1
# One image for each command: `docker build --target ingestion .`; compose.yaml builds
# all. They hold a static binary and the roots of trust, nothing else: no shell, no
# package manager. The tests build everything from the second stage on.

# Built on the machine's own architecture for the image's: no emulation.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=unknown
ARG COMMIT=
ARG DATE=
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH make binaries OUT=/out VERSION="$VERSION" COMMIT="$COMMIT" DATE="$DATE" \
    && cp /etc/ssl/certs/ca-certificates.crt /out/

FROM scratch AS base
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Nobody's number, so that Kubernetes can see that it is not root's.
USER 65532:65532
STOPSIGNAL SIGTERM

FROM base AS migrate
COPY --from=build /out/weir-migrate /weir-migrate
ENTRYPOINT ["/weir-migrate"]

FROM base AS ingestion
COPY --from=build /out/weir-ingestion /weir-ingestion
EXPOSE 3002
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/weir-ingestion", "health"]
ENTRYPOINT ["/weir-ingestion"]

FROM base AS consumer
COPY --from=build /out/weir-consumer /weir-consumer
EXPOSE 3003
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/weir-consumer", "health"]
ENTRYPOINT ["/weir-consumer"]

FROM base AS api
COPY --from=build /out/weir-api /weir-api
EXPOSE 3001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/weir-api", "health"]
ENTRYPOINT ["/weir-api"]
