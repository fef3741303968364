# Baton with the reference system: the program, sql/, pipelines/, and the UDFs compiled.
#
# Both stages use the same folder, so that what was compiled in the first is where the second looks for it.

FROM rust:1.95.0-bookworm AS build
WORKDIR /opt/baton
# librdkafka and OpenSSL are compiled from the sources that their crates bring; gcc, make and perl are in the image.
COPY . .
RUN --mount=type=cache,id=baton-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=baton-target,target=/opt/baton/target \
    cargo build --release --locked --bin baton \
    && install -D target/release/baton /out/bin/baton
# The UDFs in udfs/, each a library of its own, in udfs/target/baton/lib.
RUN --mount=type=cache,id=baton-registry,target=/usr/local/cargo/registry \
    /out/bin/baton build

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home baton \
    # A volume that is mounted here takes over whose it is.
    && install -d -o baton -g baton /var/lib/baton
WORKDIR /opt/baton
COPY --from=build /out/bin/baton /usr/local/bin/baton
# Whatever the umask of the checkout was, Baton can read them.
COPY --chown=baton:baton sql sql
COPY --chown=baton:baton pipelines pipelines
COPY --chown=baton:baton demo demo
COPY --chown=baton:baton udfs udfs
# As the build left it: with another lock file, the libraries would not be those of these sources.
COPY --from=build --chown=baton:baton /opt/baton/udfs/udfs.lock udfs/udfs.lock
COPY --from=build --chown=baton:baton /opt/baton/udfs/target/baton/lib udfs/target/baton/lib
USER baton
ENTRYPOINT ["baton"]
# Every pipeline that does not end by itself.
CMD ["run", "--create-topics"]
