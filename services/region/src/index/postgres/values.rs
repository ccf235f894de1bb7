//! Points in time as PostgreSQL has them.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use vigil_base::Timestamp;

/// PostgreSQL counts microseconds from 2000-01-01 UTC.
const EPOCH_US: i64 = 946_684_800_000_000;

/// A `timestamptz`: the same microseconds as in [`Timestamp`], exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At(pub(super) Timestamp);

impl At {
    /// From microseconds since 1970; what no event can have becomes the earliest or latest that one can.
    pub(super) fn micros(us: i64) -> Self {
        Self(Timestamp::from_micros(us.clamp(Timestamp::MIN.as_micros(), Timestamp::MAX.as_micros())))
    }
}

impl ToSql for At {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0.as_micros().saturating_sub(EPOCH_US));
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for At {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let since_epoch = i64::from_be_bytes(raw.try_into()?);
        Ok(Self(Timestamp::from_micros(since_epoch.saturating_add(EPOCH_US))))
    }

    accepts!(TIMESTAMPTZ);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_comes_back_to_the_microsecond(us in Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros()) {
            let mut out = BytesMut::new();
            At::micros(us).to_sql(&Type::TIMESTAMPTZ, &mut out).unwrap();
            prop_assert_eq!(At::from_sql(&Type::TIMESTAMPTZ, &out).unwrap().0.as_micros(), us);
        }
    }
}
