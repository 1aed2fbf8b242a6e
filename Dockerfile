# syntax=docker/dockerfile:1

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# Static glibc: musl's allocator and string functions are several times slower at JSON. With --target the flags leave
# procedural macros alone, which cannot be static.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    host=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --bin roomlog --target "$host" \
    && install -D "target/$host/release/roomlog" /image/roomlog \
    && install -d /image/data

FROM scratch
COPY --from=build /image/roomlog /roomlog
# A new volume takes the owner of the folder it is mounted over.
COPY --from=build --chown=65532:65532 /image/data /data
USER 65532:65532
ENV ROOMLOG_DATA=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/roomlog", "healthcheck"]
ENTRYPOINT ["/roomlog"]
