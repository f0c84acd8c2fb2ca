//! Tables of lanes, kept on the host and placed on the device again in any selection.

use std::sync::OnceLock;

use bytemuck::Pod;

use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::ops::relax;
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
