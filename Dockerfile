# bloodbank-audit in a container: `docker build -t bloodbank-audit .`, or compose.yaml with a broker and a database beside it.
# docs/install.md says what it wants to be told.

FROM rust:1.94-slim-bookworm AS build
WORKDIR /src
# Cargo reads the manifests of the whole workspace. What is copied here stands in .dockerignore, too.
COPY Cargo.toml Cargo.lock ./
COPY config config
COPY migrations migrations
COPY src src
COPY testbed testbed
COPY xtask xtask
RUN cargo build --locked --release --package bloodbank-audit --bin bloodbank-audit

# The same Debian, and so the C library that the program was linked with.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/bloodbank-audit --create-home --shell /usr/sbin/nologin \
        bloodbank-audit
COPY --from=build /src/target/release/bloodbank-audit /usr/bin/bloodbank-audit

# By number, so that whoever refuses to run root can see that it is not.
USER 10001:10001
WORKDIR /var/lib/bloodbank-audit

# Within the container; publish it to nobody who is not to see it.
ENV BLOODBANK_AUDIT__HTTP__LISTEN=0.0.0.0:9465
EXPOSE 9465

# Whether the process lives and its loops turn. Where either side is away it is not ready and healthy all the same: to start it
# again would mend nothing.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["/usr/bin/bloodbank-audit", "health", "--live"]

# What is in hand commits and is acknowledged within shutdown.grace, 25s; docker waits for 10s unless told otherwise.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/bloodbank-audit"]
CMD ["run"]
