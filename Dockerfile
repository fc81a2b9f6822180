# Build: docker build -t token-exposure:0.1.0 .
FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev make
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
RUN cargo build --locked --release && cp target/release/token-exposure /

# One static binary: no shell, no libraries, no other users.
FROM scratch
LABEL org.opencontainers.image.title="token-exposure" \
      org.opencontainers.image.description="Reports pods that carry a Kubernetes API token that no RBAC rule lets anyone use" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /token-exposure /token-exposure
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/token-exposure"]
CMD ["controller"]
