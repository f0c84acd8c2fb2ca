//! Data movement: one `Gather`. Through each of its inputs a value moves once; a value that is needed more often is named
//! as another input.

use std::collections::HashMap;

use super::super::{Layer, Source, ValueId};
use super::build::{Builder, Live};
use super::error::OnnxResult;
use super::op::Op;

/// Most inputs of one movement.
const COPIES: usize = 1 << 10;

impl Builder<'_> {
    /// Pure data movement: output value `k` (of `dims`) comes from `map[k]`, or is zero. Movement over movement is joined,
    /// and what moves nothing disappears.
    pub fn gather(
        &mut self,
        op: &Op,
        mut map: Vec<Option<Source>>,
        mut inputs: Vec<ValueId>,
        dims: Vec<usize>,
    ) -> OnnxResult<Live> {
        let read: usize = inputs.iter().map(|&id| self.shape(id).len()).sum();
        self.spend(op, map.len().saturating_add(read))?;
        let inside =
            |s: &Source| inputs.get(s.input as usize).is_some_and(|&id| (s.index as usize) < self.shape(id).len());
        if !map.iter().flatten().all(inside) {
            return op.fail("reads outside its input");
        }
        // A value that is named several times is one input.
        let mut places: HashMap<ValueId, u32> = HashMap::new();
        let mut distinct = vec![];
        let renamed: Vec<u32> = inputs
            .iter()
            .map(|&id| {
                *places.entry(id).or_insert_with(|| {
                    distinct.push(id);
                    distinct.len() as u32 - 1
                })
            })
            .collect();
        map.iter_mut().flatten().for_each(|s| s.input = renamed[s.input as usize]);
        inputs = distinct;
        if let [id] = inputs[..]
            && id > 0
            && let Layer::Gather(before) = &self.nodes[id - 1].layer
        {
            map = map.iter().map(|s| s.and_then(|s| before[s.index as usize])).collect();
            inputs = self.nodes[id - 1].inputs.clone();
        }
        let identity = |map: &[Option<Source>]| {
            map.iter().enumerate().all(|(k, s)| s.is_some_and(|s| s.input == 0 && s.index as usize == k))
        };
        if let [id] = inputs[..]
            && map.len() == self.shape(id).len()
            && identity(&map)
        {
            return Ok(Live { id, dims, sole: false });
        }
        self.copied(op, &mut map, &mut inputs)?;
        self.push(op, Layer::Gather(map), inputs, dims)
    }

    /// Lets every value move once through each input: the second time and later it comes from the same value, named again.
    fn copied(&mut self, op: &Op, map: &mut [Option<Source>], inputs: &mut Vec<ValueId>) -> OnnxResult<()> {
        let mut times: Vec<Vec<u32>> = inputs.iter().map(|&id| vec![0; self.shape(id).len()]).collect();
        let mut places: HashMap<(u32, u32), u32> = HashMap::new();
        for s in map.iter_mut().flatten() {
            let seen = &mut times[s.input as usize][s.index as usize];
            let (first, time) = (s.input, *seen);
            *seen += 1;
            if time > 0 {
                s.input = *places.entry((first, time)).or_insert_with(|| {
                    inputs.push(inputs[first as usize]);
                    inputs.len() as u32 - 1
                });
            }
        }
        if inputs.len() > COPIES {
            return op.fail(format!("repeats a value more than {COPIES} times, which is not supported"));
        }
        // Each input has an index of its own into the whole.
        self.spend(op, map.len().saturating_mul(places.len()))
    }
}
