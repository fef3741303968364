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
COPY sql sql
COPY pipelines pipelines
COPY demo demo
COPY udfs udfs
COPY --from=build /opt/baton/udfs/target/baton/lib udfs/target/baton/lib
USER baton
ENTRYPOINT ["baton"]
CMD ["run", "copy_leads", "route_messages", "ingest_leads", "score_leads", "write_outreach", "plan_nurture", "send_emails"]
