# The service's image: one static binary and CA certificates, if BASE is not set to something with
# more in it. The certificates are for mail relays and for apps that hear of logouts. SSL_CERT_FILE
# names others. There are no time zones: all times are UTC.
ARG GO_IMAGE=golang:1.26
ARG BASE=scratch

FROM ${GO_IMAGE} AS build
# Passed on from the builder's environment; empty ones leave Go its defaults.
ARG GOPROXY
ARG GOFLAGS
ARG VERSION
WORKDIR /src
COPY . .
# No `go mod download` first: it would fetch the modules of the tests and tools too. The caches outlive the layer.
# Without nomsgpack Gin brings a MessagePack codec of 6 MB that nothing here speaks. -l keeps code from
# being inlined. That saves 1 MB in packages that few requests pass: formats and protocols that come
# with Gin, passkeys, the queue of mails, and what runs at the start alone.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    for p in github.com/quic-go go.mongodb.org github.com/goccy github.com/pelletier google.golang.org/protobuf \
        github.com/go-playground github.com/gabriel-vasile github.com/alecthomas github.com/pressly github.com/tidwall \
        github.com/wneessen golang.org/x/net/http2 github.com/fxamacker github.com/go-webauthn \
        github.com/google/go-tpm github.com/riverqueue github.com/go-jose; do set -- "$@" "-gcflags=$p/...=-l"; done; \
    CGO_ENABLED=0 go build -trimpath -tags nomsgpack "$@" -ldflags "-s -w -X main.version=${VERSION}" \
    -o /out/gatehouse ./cmd/gatehouse

FROM ${BASE}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/gatehouse /gatehouse
# Numeric, so that Kubernetes' runAsNonRoot can tell and scratch needs no /etc/passwd.
USER 65532:65532
EXPOSE 8000 8001
ENTRYPOINT ["/gatehouse"]
CMD ["serve"]
