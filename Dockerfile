# Images of the control plane with the filters (`headgate`, the default) and of the demo's mock model server (`mock-model`).
#
#   docker build -t REGISTRY/headgate:0.1.0 .
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg REVISION=$(git rev-parse HEAD) -t REGISTRY/headgate:0.1.0 --push .
ARG RUST_VERSION=1.95.0

# The modules are the same for every platform.
FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-bookworm AS modules
WORKDIR /src
COPY . .
RUN tools/setup wasm && tools/build-wasm

# Static programs, so that the images need no C library. The target is named, so that macros, which are libraries, are not static.
FROM rust:${RUST_VERSION}-bookworm AS build
WORKDIR /src
COPY . .
RUN target="$(rustc --print host-tuple)" \
 && RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --release --target "$target" -p headgate -p headgate-testkit --bin headgate --bin mock-model \
 && mkdir /out \
 && cp "target/$target/release/headgate" "target/$target/release/mock-model" /out/

FROM scratch AS mock-model
COPY --from=build /out/mock-model /usr/local/bin/
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["mock-model"]

FROM scratch AS headgate
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="headgate" \
      org.opencontainers.image.description="Model-aware traffic control for Envoy and Istio" \
      org.opencontainers.image.source="https://github.com/headgate/headgate" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/headgate /usr/local/bin/
# Its owner may write the named copy that proxies load; a read-only root needs --wasm-inline or --wasm-proxy-path.
COPY --from=modules --chown=65532:65532 /src/dist /wasm
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["headgate"]
