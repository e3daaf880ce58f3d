# Builds the worker, then leaves everything but the binary behind.
FROM rust:1.95-slim-bookworm AS build
# jemalloc is built by make.
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY .cargo .cargo
COPY src src
COPY migrations migrations
COPY tests/it/main.rs tests/it/main.rs
RUN cargo build --release --locked --bin ticketwire

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 ticketwire
COPY --from=build /src/target/release/ticketwire /usr/local/bin/ticketwire
USER ticketwire
EXPOSE 8000 8001
ENTRYPOINT ["ticketwire"]
CMD ["run"]
