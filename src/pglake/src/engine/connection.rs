//! A client of the engine, on a thread of its own: reads messages of the PostgreSQL protocol and
//! sends the answers.
//!
//! PostgreSQL connects through `postgres_fdw` and dblink, and both use libpq. The thread blocks on
//! the socket. The guide's sync has one round trip per row, and waking a task through a scheduler
//! would double its duration.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, BytesMut};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use pgwire::messages::data::{FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{
    BindComplete, CloseComplete, ParseComplete, TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{
    CommandComplete, ErrorResponse, ReadyForQuery, SslResponse, TransactionStatus,
};
use pgwire::messages::startup::{Authentication, BackendKeyData, ParameterStatus, SecretKey};
use pgwire::messages::{
    DecodeContext, Message, PgWireFrontendMessage, ProtocolVersion, SslNegotiationMetaMessage,
};
use tokio::sync::Notify;

use super::Engine;
use super::cursor::RowSink;
use super::error::{Error, Result};
use super::session::{LakeSession, Parameter};
use super::statement::{Statement, parse};

const TEXT_OID: u32 = 25;
/// How long to poll for the next message in a transaction before blocking.
const LOOK_BEFORE_SLEEP: Duration = Duration::from_micros(50);
/// The number of buffered bytes from which answers are sent.
const FLUSH_BYTES: usize = 1 << 20;

/// Serves a client until it disconnects.
pub(super) fn serve(engine: Arc<Engine>, stream: UnixStream) -> io::Result<()> {
    let mut wire = Wire {
        stream,
        input: BytesMut::with_capacity(1 << 16),
        context: DecodeContext::default(),
        is_busy: false,
    };
    let Some(startup) = wire.startup(&engine)? else {
        return Ok(());
    };
    let database = startup
        .get("database")
        .or_else(|| startup.get("user"))
        .cloned()
        .unwrap_or_default();
    let application = startup.get("application_name").cloned().unwrap_or_default();
    let cancel = Arc::new(Notify::new());
    let (id, secret) = engine.register(cancel.clone());
    let database = engine.database(&database);
    let session = LakeSession::new(engine.clone(), database.clone(), &application);
    let mut client = Client {
        engine: engine.clone(),
        wire,
        session,
        cancel,
        statements: HashMap::new(),
        portal: None,
        answer: Answer::default(),
    };
    let served = client.greet(id, secret).and_then(|()| client.run());
    engine.unregister(id);
    database.disconnect_client();
    served
}

/// The messages of a socket.
struct Wire {
    stream: UnixStream,
    input: BytesMut,
    context: DecodeContext,
    /// Whether a transaction is open.
    is_busy: bool,
}

impl Wire {
    /// Reads the next message; `None` at the end of the stream.
    fn read(&mut self) -> io::Result<Option<PgWireFrontendMessage>> {
        loop {
            match PgWireFrontendMessage::decode(&mut self.input, &self.context) {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(error) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        error.to_string(),
                    ));
                }
            }
            // Makes room for a large message at once. Its first bytes contain its length.
            let needed = match self.input.get(1..5) {
                Some(mut length) => (length.get_u32() as usize).saturating_sub(self.input.len()),
                None => 0,
            };
            let start = self.input.len();
            self.input.resize(start + needed.clamp(1 << 14, 1 << 22), 0);
            let read = self.receive(start);
            self.input
                .truncate(start + read.as_ref().copied().unwrap_or(0));
            if read? == 0 {
                return Ok(None);
            }
        }
    }

    /// Receives into the input from `start` on. In a transaction the next message (the next row of
    /// a sync) often arrives within microseconds, while blocking and being woken takes tens of
    /// them. So this polls briefly before it blocks.
    fn receive(&mut self, start: usize) -> io::Result<usize> {
        let input = &mut self.input[start..];
        if self.is_busy {
            let end = Instant::now() + LOOK_BEFORE_SLEEP;
            while Instant::now() < end {
                match recv(self.stream.as_raw_fd(), input, MsgFlags::MSG_DONTWAIT) {
                    Err(Errno::EAGAIN) => std::hint::spin_loop(),
                    received => return Ok(received?),
                }
            }
        }
        self.stream.read(input)
    }

    /// Reads the parameters of a session; `None` for a request that is complete without a session.
    fn startup(&mut self, engine: &Engine) -> io::Result<Option<HashMap<String, String>>> {
        while let Some(message) = self.read()? {
            match message {
                PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::None) => {
                    self.context.awaiting_frontend_ssl = false;
                }
                PgWireFrontendMessage::SslNegotiation(_) => {
                    self.stream.write_all(&[SslResponse::BYTE_REFUSE])?;
                }
                PgWireFrontendMessage::CancelRequest(request) => {
                    engine.cancel(request.pid, &request.secret_key);
                    return Ok(None);
                }
                PgWireFrontendMessage::Startup(startup) => {
                    self.context.awaiting_frontend_startup = false;
                    self.context.protocol_version = ProtocolVersion::PROTOCOL3_0;
                    return Ok(Some(startup.parameters.into_iter().collect()));
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// A statement with its bound parameters.
struct Portal {
    statement: Arc<Statement>,
    parameters: Vec<Parameter>,
}

struct Client {
    engine: Arc<Engine>,
    wire: Wire,
    session: LakeSession,
    cancel: Arc<Notify>,
    statements: HashMap<String, Arc<Statement>>,
    /// The unnamed portal, the only one that libpq uses.
    portal: Option<Portal>,
    answer: Answer,
}

impl Client {
    fn greet(&mut self, id: i32, secret: i32) -> io::Result<()> {
        self.answer.message(Authentication::Ok);
        for (name, value) in [
            ("server_version", "15.0"),
            ("server_encoding", "UTF8"),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO, MDY"),
            ("TimeZone", "GMT"),
            ("integer_datetimes", "on"),
            ("standard_conforming_strings", "on"),
        ] {
            self.answer
                .message(ParameterStatus::new(name.to_owned(), value.to_owned()));
        }
        self.answer
            .message(BackendKeyData::new(id, SecretKey::I32(secret)));
        self.ready()
    }

    fn ready(&mut self) -> io::Result<()> {
        self.wire.is_busy = self.session.status() == b'T';
        self.answer
            .message(ReadyForQuery::new(match self.session.status() {
                b'I' => TransactionStatus::Idle,
                b'T' => TransactionStatus::Transaction,
                _ => TransactionStatus::Error,
            }));
        self.answer.send(&mut self.wire.stream)
    }

    fn run(&mut self) -> io::Result<()> {
        // After an error in the extended protocol, all messages up to the next Sync are skipped.
        let mut skip = false;
        while let Some(message) = self.wire.read()? {
            let result = match message {
                PgWireFrontendMessage::Query(query) => {
                    if let Err(error) = self.query(&query.query) {
                        self.error(&error);
                    }
                    self.ready()?;
                    continue;
                }
                PgWireFrontendMessage::Sync(_) => {
                    skip = false;
                    self.portal = None;
                    self.ready()?;
                    continue;
                }
                PgWireFrontendMessage::Terminate(_) => return Ok(()),
                PgWireFrontendMessage::Flush(_) => {
                    self.answer.send(&mut self.wire.stream)?;
                    continue;
                }
                _ if skip => continue,
                message => self.extended(message),
            };
            if let Err(error) = result {
                self.error(&error);
                skip = true;
            }
            if self.answer.buffer.len() > FLUSH_BYTES {
                self.answer.send(&mut self.wire.stream)?;
            }
        }
        Ok(())
    }

    fn query(&mut self, sql: &str) -> Result<()> {
        if let Some(secret_store) = &self.engine.secret_store
            && let Some(tag) = secret_store.run(sql)?
        {
            self.answer.message(CommandComplete::new(tag.to_owned()));
            return Ok(());
        }
        for statement in parse(sql)? {
            if let Statement::Deallocate { name } = &statement {
                match name {
                    Some(name) => _ = self.statements.remove(name),
                    None => self.statements.clear(),
                }
            }
            let width = self.session.column_count(&statement)?;
            if let Some(width) = width {
                self.answer.describe(width);
            }
            self.execute(&statement, &[])?;
        }
        Ok(())
    }

    fn extended(&mut self, message: PgWireFrontendMessage) -> Result<()> {
        match message {
            PgWireFrontendMessage::Parse(parsed) => {
                let mut statements = parse(&parsed.query)?;
                let (Some(statement), None) = (statements.pop(), statements.pop()) else {
                    return Err(Error::new(
                        "42601",
                        "cannot insert multiple commands into a prepared statement",
                    ));
                };
                self.statements
                    .insert(parsed.name.unwrap_or_default(), Arc::new(statement));
                self.answer.message(ParseComplete::new());
            }
            PgWireFrontendMessage::Bind(bind) => {
                let statement = self.statement(bind.statement_name.as_deref())?;
                if bind
                    .parameter_format_codes
                    .iter()
                    .any(|format| *format != 0)
                {
                    return Err(Error::new(
                        "0A000",
                        "only parameters in text format are supported",
                    ));
                }
                self.portal = Some(Portal {
                    statement,
                    parameters: bind.parameters,
                });
                self.answer.message(BindComplete::new());
            }
            PgWireFrontendMessage::Describe(describe) => {
                let statement = if describe.target_type == TARGET_TYPE_BYTE_PORTAL {
                    self.portal
                        .as_ref()
                        .ok_or_else(no_portal)?
                        .statement
                        .clone()
                } else {
                    let statement = self.statement(describe.name.as_deref())?;
                    self.answer.message(ParameterDescription::new(Vec::new()));
                    statement
                };
                match self.session.column_count(&statement)? {
                    Some(width) => self.answer.describe(width),
                    None => self.answer.message(NoData::new()),
                }
            }
            PgWireFrontendMessage::Execute(_) => {
                let portal = self.portal.take().ok_or_else(no_portal)?;
                self.execute(&portal.statement, &portal.parameters)?;
            }
            PgWireFrontendMessage::Close(close) => {
                if close.target_type == TARGET_TYPE_BYTE_STATEMENT {
                    self.statements
                        .remove(close.name.as_deref().unwrap_or_default());
                }
                self.answer.message(CloseComplete::new());
            }
            other => return Err(Error::new("08P01", format!("unexpected message {other:?}"))),
        }
        Ok(())
    }

    fn statement(&self, name: Option<&str>) -> Result<Arc<Statement>> {
        let name = name.unwrap_or_default();
        let statement = self.statements.get(name).cloned();
        statement.ok_or_else(|| {
            Error::new(
                "26000",
                format!("prepared statement \"{name}\" does not exist"),
            )
        })
    }

    fn execute(&mut self, statement: &Statement, parameters: &[Parameter]) -> Result<()> {
        let Self {
            engine,
            session,
            cancel,
            answer,
            ..
        } = self;
        let tag = engine.runtime.block_on(async {
            tokio::select! {
                biased;
                () = cancel.notified() => Err(Error::new("57014", "canceling statement due to user request")),
                result = session.execute(statement, parameters, answer) => result,
            }
        })?;
        self.answer.message(CommandComplete::new(tag));
        Ok(())
    }

    fn error(&mut self, error: &Error) {
        tracing::debug!(
            sqlstate = error.sqlstate,
            message = error.message,
            "statement failed"
        );
        self.session.fail();
        self.answer.discard_row();
        let mut fields = vec![
            (b'S', "ERROR".to_owned()),
            (b'V', "ERROR".to_owned()),
            (b'C', error.sqlstate.clone()),
            (b'M', error.message.clone()),
        ];
        fields.extend(error.detail.clone().map(|detail| (b'D', detail)));
        fields.extend(error.hint.clone().map(|hint| (b'H', hint)));
        self.answer.message(ErrorResponse::new(fields));
    }
}

fn no_portal() -> Error {
    Error::new("34000", "portal \"\" does not exist")
}

/// Messages to the client that have not been sent yet.
#[derive(Default)]
struct Answer {
    buffer: BytesMut,
    /// Where the row that is being written starts, and how many values it has.
    row: Option<(usize, u16)>,
}

impl Answer {
    fn message(&mut self, message: impl Message) {
        // Encoding fails only for a message that is too long for its kind, and none of these is.
        if let Err(error) = message.encode(&mut self.buffer) {
            tracing::error!(%error, "cannot encode an answer");
        }
    }

    fn describe(&mut self, width: usize) {
        let field =
            |index: usize| FieldDescription::new(format!("c{index}"), 0, 0, TEXT_OID, -1, -1, 0);
        self.message(RowDescription::new((0..width).map(field).collect()));
    }

    /// Removes a row that an error has left incomplete.
    fn discard_row(&mut self) {
        if let Some((start, _)) = self.row.take() {
            self.buffer.truncate(start);
        }
    }

    fn send(&mut self, stream: &mut UnixStream) -> io::Result<()> {
        stream.write_all(&self.buffer)?;
        self.buffer.clear();
        // Frees the memory of a large answer, so that the session does not hold it to its end.
        if self.buffer.capacity() > 4 * FLUSH_BYTES {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }
}

/// Writes rows into the buffer as they arrive, each as one `DataRow` message.
impl RowSink for Answer {
    fn value(&mut self, text: Option<&str>) {
        let row = self.row.get_or_insert_with(|| {
            let start = self.buffer.len();
            self.buffer.put_u8(b'D');
            self.buffer.put_bytes(0, 6);
            (start, 0)
        });
        row.1 += 1;
        match text {
            Some(text) => {
                self.buffer.put_i32(text.len() as i32);
                self.buffer.put_slice(text.as_bytes());
            }
            None => self.buffer.put_i32(-1),
        }
    }

    fn end_row(&mut self) {
        if let Some((start, values)) = self.row.take() {
            let length = (self.buffer.len() - start - 1) as i32;
            self.buffer[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
            self.buffer[start + 5..start + 7].copy_from_slice(&values.to_be_bytes());
        }
    }
}
