//! Tables of lanes: kept on the host and placed on the device again in any selection, and copied there.

use std::sync::OnceLock;

use bytemuck::Pod;

use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::ops::linear::{self, NONE};
use crate::ops::{domains, relax};
use crate::tensor;

/// What a lane has by node, or by value; none where there is nothing.
pub(super) type Tables<T = f32> = Vec<Option<Vec<T>>>;

/// The first `count` lanes of a buffer `[lane][element]`.
pub(super) fn lanes<T: Pod>(d: &Device, buffer: &Buffer, lanes: usize, count: usize) -> Result<Vec<Vec<T>>> {
    let values: Vec<T> = d.read(buffer)?;
    Ok(values.chunks(values.len() / lanes).take(count).map(<[T]>::to_vec).collect())
}

/// The first `count` lanes of a buffer `[element][lane]`.
pub(super) fn columns(d: &Device, buffer: &Buffer, lanes: usize, count: usize) -> Result<Vec<Vec<f32>>> {
    let elements = buffer.len() / lanes;
    let values = tensor::deinterleave(&d.read::<f32>(buffer)?, elements, count);
    Ok(values.chunks(elements).map(<[f32]>::to_vec).collect())
}

/// [`lanes`] of every buffer there is, by lane.
pub(super) fn all_lanes<T: Pod>(
    d: &Device,
    buffers: &[Option<Buffer>],
    width: usize,
    count: usize,
) -> Result<Vec<Tables<T>>> {
    let mut all: Vec<Tables<T>> = (0..count).map(|_| Vec::with_capacity(buffers.len())).collect();
    for buffer in buffers {
        let mut own = buffer.as_ref().map(|b| lanes(d, b, width, count)).transpose()?.map(Vec::into_iter);
        all.iter_mut().for_each(|tables| tables.push(own.as_mut().and_then(Iterator::next)));
    }
    Ok(all)
}

/// `[lane][element]` of one table per lane, zero for lanes beyond them.
pub(super) fn by_lane<'a, T: Pod>(
    lanes: usize,
    tables: impl ExactSizeIterator<Item = Option<&'a [T]>> + Clone,
) -> Vec<T> {
    let elements = tables.clone().flatten().map(<[T]>::len).next().unwrap_or(0);
    let mut all = Vec::with_capacity(lanes * elements);
    for table in tables {
        all.extend_from_slice(table.unwrap_or_default());
    }
    all.resize(lanes * elements, T::zeroed());
    all
}

/// The tables of these lanes on the device, by node.
pub(super) fn place<'a, T: Pod>(
    d: &Device,
    lanes: usize,
    tables: impl ExactSizeIterator<Item = &'a Tables<T>> + Clone,
) -> Result<Vec<Option<Buffer>>> {
    let nodes = tables.clone().next().map_or(0, Vec::len);
    let one = |node: usize| {
        let own = tables.clone().map(|t| t[node].as_deref());
        if own.clone().all(|t| t.is_none()) { Ok(None) } else { d.upload(&by_lane(lanes, own)).map(Some) }
    };
    (0..nodes).map(one).collect()
}

/// Lanes that are copies of lanes of other buffers, their homes: of which each is. The copies are made on the device.
pub(super) struct Copies {
    /// Lanes of the buffers that are copied from.
    width: usize,
    /// By lane; [`NONE`] beyond the last that is used.
    pub home: Buffer,
}

impl Copies {
    /// `homes` by lane, each one of the first `width` lanes.
    pub fn new(d: &Device, width: usize, mut homes: Vec<u32>) -> Result<Copies> {
        homes.resize(tensor::lanes(homes.len()), NONE);
        Ok(Copies { width, home: d.upload(&homes)? })
    }

    /// Lanes of the copies.
    pub fn lanes(&self) -> usize {
        self.home.len()
    }

    /// Words that the copies of a buffer take.
    pub fn words(&self, from: &Buffer) -> usize {
        from.len() / self.width * self.lanes()
    }

    /// Of `[home][word]`.
    pub fn table(&self, d: &Device, from: &Buffer) -> Result<Buffer> {
        let to = d.alloc(self.words(from))?;
        domains::spread(d, from, &self.home, &to)?;
        Ok(to)
    }

    /// [`table`](Self::table) of all there are, by node.
    pub fn tables(&self, d: &Device, from: &[Option<Buffer>]) -> Result<Vec<Option<Buffer>>> {
        from.iter().map(|table| table.as_ref().map(|t| self.table(d, t)).transpose()).collect()
    }

    /// Of `[element][home]`.
    pub fn columns(&self, d: &Device, from: &Buffer) -> Result<Buffer> {
        let to = d.zeros(self.words(from))?;
        linear::pick(d, from, &self.home, &to, [self.width, self.lanes()])?;
        Ok(to)
    }
}

/// `[lane][element]` of two buffers `[element][lane]`, made when first asked for.
pub(super) fn transposed<'a>(
    d: &Device,
    cell: &'a OnceLock<[Buffer; 2]>,
    [centre, radius]: [&Buffer; 2],
    lanes: usize,
) -> Result<&'a [Buffer; 2]> {
    once(cell, || Ok([transpose(d, centre, lanes)?, transpose(d, radius, lanes)?]))
}

/// What a cell holds, made when first asked for.
pub(super) fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if cell.get().is_none() {
        let _ = cell.set(make()?);
    }
    Ok(cell.get().expect("set above"))
}

/// `[lane][element]` of `[element][lane]`.
pub(super) fn transpose(d: &Device, values: &Buffer, lanes: usize) -> Result<Buffer> {
    let table = d.alloc(values.len())?;
    relax::transpose(d, values, &table, lanes)?;
    Ok(table)
}
