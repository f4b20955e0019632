# icebox's S3 server, with the environment variables, arguments and port of a MinIO image.
ARG BASE
FROM ${BASE}

COPY icebox s3-entrypoint.sh /usr/local/bin/
EXPOSE 9000
VOLUME /data
ENTRYPOINT ["s3-entrypoint.sh"]
CMD ["server", "/data"]
