//! S3: icebox's own server on local files, and the clients that everything else uses.
