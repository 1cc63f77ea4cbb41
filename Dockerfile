# The image: the program, the libraries that it is linked with, the public authorities, a user without rights, and nothing
# else, not even a shell.
#
#   docker build -t REGISTRY/portcullis:VERSION .
#
# Every byte comes from the repository, Cargo.lock and the one base below. A release names that by digest (`--build-arg
# BUILDER=…@sha256:…`) and gives the time of its commit as SOURCE_DATE_EPOCH; the same again gives the same image. For other
# architectures: `docker buildx build --platform linux/amd64,linux/arm64`.
ARG BUILDER=rust:1.95-bookworm

FROM ${BUILDER} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG SOURCE_DATE_EPOCH=0
# The list of what is in the image takes in Cargo.lock, which is here.
ARG BUILDKIT_SBOM_SCAN_STAGE=true
WORKDIR /build
COPY . .
# No path of the build is in the program.
ENV CARGO_INCREMENTAL=0 \
    RUSTFLAGS="--remap-path-prefix=/build=portcullis --remap-path-prefix=/usr/local/cargo=cargo"
RUN cargo build --locked --release --bin portcullis
RUN install -D target/release/portcullis /image/usr/local/bin/portcullis; \
    for library in $(ldd target/release/portcullis | grep -o '/[^ ]*'); do \
        install -D "$library" "/image$library"; \
    done; \
    install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt; \
    echo 'portcullis:x:65532:65532::/:/' >/image/etc/passwd; \
    find /image -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

FROM scratch
LABEL org.opencontainers.image.title=portcullis \
    org.opencontainers.image.description="Identity-aware ingress controller for Kubernetes" \
    org.opencontainers.image.source=https://github.com/portcullis-dev/portcullis \
    org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /image/ /
USER 65532:65532
EXPOSE 8080 8443 9090
ENTRYPOINT ["/usr/local/bin/portcullis"]
CMD ["run"]
