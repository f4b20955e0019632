//! Errors of access to a lake, each with the location of the file.

/// An error of access to a lake: the failed operation and its location.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "`{location}` is not a location of a lake file: {reason}; give an absolute URL such as s3://bucket/key"
    )]
    Location { location: String, reason: String },

    #[error("no object store is known for `{root}`, which `{location}` is in")]
    UnknownStore { root: String, location: String },

    #[error("cannot open the object store of `{root}`")]
    OpenStore {
        root: String,
        #[source]
        source: Box<icebox_s3_client::Error>,
    },

    #[error("cannot {doing} `{location}`")]
    Storage {
        doing: &'static str,
        location: String,
        #[source]
        source: object_store::Error,
    },

    #[error("cannot read the table metadata file `{location}`")]
    Metadata {
        location: String,
        #[source]
        source: Box<iceberg::Error>,
    },

    #[error(
        "the table metadata file `{location}` has no snapshot {snapshot_id}; it may have been expired"
    )]
    NoSuchSnapshot { location: String, snapshot_id: i64 },

    #[error("cannot plan a scan of the table `{location}`")]
    Plan {
        location: String,
        #[source]
        source: Box<iceberg::Error>,
    },

    #[error("the manifest `{location}` is damaged: {reason}")]
    Manifest { location: String, reason: String },

    #[error("the file `{location}` cannot be read: {feature} are not supported")]
    Unsupported {
        location: String,
        feature: &'static str,
    },

    #[error("cannot read the Parquet file `{location}`")]
    Parquet {
        location: String,
        #[source]
        source: parquet::errors::ParquetError,
    },

    #[error("the file `{location}` does not fit its table: {reason}")]
    Schema { location: String, reason: String },
}

/// The result of an operation on a lake.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for datafusion::error::DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

impl Error {
    /// Whether reading the lake is among the causes of a query's error.
    pub fn is_cause_of(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |error| error.source())
            .any(|error| error.downcast_ref::<Self>().is_some())
    }
}
