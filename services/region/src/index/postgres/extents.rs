//! The rectangle in which each camera's events lie, by which a polygon is turned into cameras.

use std::collections::{BTreeMap, HashMap};

use vigil_base::GeoPoint;

use super::connect::Connection;

/// Cameras whose rectangle is kept in memory; more, and some are read again.
const MAX_CACHED: usize = 65_536;

/// WGS 84 degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Extent {
    south: f64,
    west: f64,
    north: f64,
    east: f64,
}

impl Extent {
    fn around(at: GeoPoint) -> Self {
        Self { south: at.latitude, west: at.longitude, north: at.latitude, east: at.longitude }
    }

    fn contains(self, other: Self) -> bool {
        self.south <= other.south && self.west <= other.west && self.north >= other.north && self.east >= other.east
    }

    fn join(self, other: Self) -> Self {
        Self {
            south: self.south.min(other.south),
            west: self.west.min(other.west),
            north: self.north.max(other.north),
            east: self.east.max(other.east),
        }
    }
}

/// What the writer knows to be stored. After an undone transaction it is cleared.
#[derive(Debug, Default)]
pub(super) struct Extents {
    stored: HashMap<i32, Extent>,
}

impl Extents {
    pub(super) fn clear(&mut self) {
        self.stored.clear();
    }

    /// Keeps the rectangles around these places of cameras.
    pub(super) async fn grow(
        &mut self,
        connection: &Connection,
        places: impl Iterator<Item = (i32, GeoPoint)>,
    ) -> Result<(), tokio_postgres::Error> {
        let mut grown: BTreeMap<i32, Extent> = BTreeMap::new();
        for (camera, at) in places {
            let place = Extent::around(at);
            if !self.stored.get(&camera).is_some_and(|extent| extent.contains(place)) {
                grown.entry(camera).and_modify(|extent| *extent = extent.join(place)).or_insert(place);
            }
        }
        if grown.is_empty() {
            return Ok(());
        }
        let cameras: Vec<i32> = grown.keys().copied().collect();
        let column = |side: fn(&Extent) -> f64| grown.values().map(side).collect::<Vec<f64>>();
        let (south, west) = (column(|e| e.south), column(|e| e.west));
        let (north, east) = (column(|e| e.north), column(|e| e.east));
        let sql = "INSERT INTO extents (camera, south, west, north, east)
                   SELECT * FROM unnest($1::int4[], $2::float8[], $3::float8[], $4::float8[], $5::float8[])
                   ON CONFLICT (camera) DO UPDATE SET
                          south = least(extents.south, excluded.south), west = least(extents.west, excluded.west),
                          north = greatest(extents.north, excluded.north), east = greatest(extents.east, excluded.east)
                   RETURNING camera, south, west, north, east";
        let rows = connection.query(sql, &[&cameras, &south, &west, &north, &east]).await?;
        if self.stored.len() + rows.len() > MAX_CACHED {
            self.stored.clear();
        }
        self.stored.extend(rows.iter().map(|row| {
            let extent = Extent { south: row.get(1), west: row.get(2), north: row.get(3), east: row.get(4) };
            (row.get(0), extent)
        }));
        Ok(())
    }
}
