# The image of compose/Dockerfile with other packages: Debian's PostgreSQL, and icebox in place of
# pg_lake and pgduck_server.
ARG BASE
FROM ${BASE}

RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get update -q \
    && apt-get install -q -y --no-install-recommends ca-certificates curl openssl postgresql-common \
    && echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf \
    && apt-get install -q -y --no-install-recommends postgresql postgresql-contrib \
    && apt-get install -q -y --no-install-recommends "postgresql-$(ls /usr/lib/postgresql)-cron" \
    && rm -rf /var/lib/apt/lists/*

COPY icebox /usr/local/bin/icebox
RUN icebox install-stand-in --share "$(/usr/lib/postgresql/*/bin/pg_config --sharedir)" \
    && ln -s icebox /usr/local/bin/pgduck_server

COPY entrypoint.sh /usr/local/bin/icebox-entrypoint
EXPOSE 5432
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --timeout=30s --start-period=2m --retries=5 CMD ["icebox-entrypoint", "check"]
ENTRYPOINT ["icebox-entrypoint"]
CMD ["all"]
