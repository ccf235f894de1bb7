//! Rows on their way into a table, by binary COPY (PostgreSQL, "COPY", section "Binary Format").
//!
//! The driver has a writer of its own, which hands on four kilobytes at a time: its task and the server then wake up for every
//! few rows.

use std::pin::Pin;

use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use tokio_postgres::CopyInSink;
use tokio_postgres::types::{IsNull, ToSql, Type};

use super::connect::Connection;

/// What the format begins with: its signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const TRAILER: i16 = -1;
/// Bytes that are handed to the server at a time: about what a socket takes.
const CHUNK: usize = 128 * 1024;

/// A COPY that runs. Dropped before its end it fails, with the transaction around it.
///
/// One at a time on a connection: where the server refuses to begin one, as it does in a transaction that has failed, the driver
/// loses count of the server's answers, and the connection with it.
pub(super) struct CopyIn {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    types: &'static [Type],
    out: BytesMut,
}

impl CopyIn {
    /// Begins it, into these columns of a table, which have these types.
    pub(super) async fn begin(
        connection: &Connection,
        table: &str,
        columns: &str,
        types: &'static [Type],
    ) -> Result<Self, tokio_postgres::Error> {
        let statement = connection.prepare(&format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)")).await?;
        let sink = Box::pin(connection.client().copy_in(&statement).await?);
        let mut out = BytesMut::with_capacity(CHUNK + CHUNK / 8);
        out.put_slice(HEADER);
        Ok(Self { sink, types, out })
    }

    /// Writes a row: one value of each column.
    pub(super) async fn row(&mut self, values: &[&(dyn ToSql + Sync)]) -> Result<(), tokio_postgres::Error> {
        put_row(&mut self.out, self.types, values);
        if self.out.len() < CHUNK {
            return Ok(());
        }
        self.sink.feed(self.out.split().freeze()).await
    }

    /// Ends it; returns the rows that the server took.
    pub(super) async fn finish(mut self) -> Result<u64, tokio_postgres::Error> {
        self.out.put_i16(TRAILER);
        self.sink.feed(self.out.split().freeze()).await?;
        self.sink.as_mut().finish().await
    }
}

/// The number of its values, and each with its length in bytes.
fn put_row(out: &mut BytesMut, types: &[Type], values: &[&(dyn ToSql + Sync)]) {
    debug_assert_eq!(types.len(), values.len());
    out.put_i16(values.len() as i16);
    for (value, of) in values.iter().zip(types) {
        let at = out.len();
        out.put_i32(-1);
        let put = value.to_sql_checked(of, out).expect("the columns' types are those of the values");
        if matches!(put, IsNull::No) {
            let length = (out.len() - at - 4) as i32;
            out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_the_format_has_it() {
        let mut out = BytesMut::new();
        let none: Option<i64> = None;
        put_row(&mut out, &[Type::INT2, Type::TEXT, Type::INT8], &[&7_i16, &"ab", &none]);
        let length = |bytes: i32| bytes.to_be_bytes().to_vec();
        let wanted = [vec![0, 3], length(2), vec![0, 7], length(2), b"ab".to_vec(), length(-1)].concat();
        assert_eq!(&out[..], wanted);
        assert_eq!(HEADER.len(), 19);
    }
}
