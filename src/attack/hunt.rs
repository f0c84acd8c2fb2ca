//! Points in balls that look for another class than that of their centres, and the hits they make. All of it stays on the
//! device: the host says how large balls are, and hears how near the nearest hits of a descent are.

use std::time::Instant;

use super::descent::{Objective, Points, Region, descend, read};
use crate::device::Buffer;
use crate::error::Result;
use crate::network::Network;
use crate::norm::Norm;
use crate::ops::descent::{self, NONE, Stride};
use crate::ops::linear;
use crate::tensor;

/// A point of the next descent.
#[derive(Clone, Copy)]
pub struct Try {
    pub radius: f32,
    /// Only nearer hits are kept.
    pub nearest: f32,
    /// Where.
    pub slot: usize,
}

/// What a point found.
#[derive(Clone, Copy)]
pub struct Found {
    /// Another class, however far.
    pub hit: bool,
    /// How near the nearest hit is, and the step that first was so near; `None` where it is no nearer than asked for.
    pub nearer: Option<(f32, u32)>,
}

/// Points, by lane, and their hits.
pub struct Hunt<'a> {
    net: &'a Network,
    norm: Norm,
    lanes: usize,
    centre: Buffer,
    radius: Buffer,
    distance: Buffer,
    /// `[2][lane]`: the class of the centre, and the one to head for.
    classes: Buffer,
    slot: Buffer,
    /// See [`descent::judge`].
    found: Buffer,
    /// Hits `[element][lane]` by slot, as far as there was one.
    kept: Vec<Buffer>,
    /// By which share balls change before each step ([`descent::resize`]); those after the last keep their size.
    pub pace: Vec<f32>,
    /// No step is taken later.
    pub until: Option<Instant>,
}

impl<'a> Hunt<'a> {
    /// Around `centre` `[element][lane]`. Each point has a class and heads for another, by default the likeliest one.
    pub fn new(net: &'a Network, norm: Norm, centre: Buffer, classes: &[(usize, Option<usize>)]) -> Result<Hunt<'a>> {
        let (d, lanes) = (&net.device, centre.len() / net.model.input.len());
        let mut both = vec![0; lanes];
        both.resize(2 * lanes, NONE);
        for (lane, (class, goal)) in classes.iter().enumerate() {
            (both[lane], both[lanes + lane]) = (*class as u32, goal.map_or(NONE, |goal| goal as u32));
        }
        let word = || d.alloc(lanes);
        let (classes, found) = (d.upload(&both)?, d.alloc(3 * lanes)?);
        let [radius, distance, slot] = [word()?, word()?, word()?];
        Ok(Hunt {
            net,
            norm,
            lanes,
            centre,
            radius,
            distance,
            classes,
            slot,
            found,
            kept: vec![],
            pace: vec![],
            until: None,
        })
    }

    /// Where the next descent may start: from hits in the slots of some points, else from `other`, else from the centre.
    pub fn start(&self, slots: &[Option<usize>], other: &[(usize, &[f32])]) -> Result<Buffer> {
        let d = &self.net.device;
        let x = d.alloc(self.centre.len())?;
        d.copy(&self.centre, &x)?;
        if !other.is_empty() {
            let points: Vec<&[f32]> = other.iter().map(|(_, point)| *point).collect();
            let mut source = vec![NONE; self.lanes];
            other.iter().enumerate().for_each(|(k, (lane, _))| source[*lane] = k as u32);
            let points_at = d.upload(&tensor::interleave_in(&points, self.net.model.input.len(), points.len()))?;
            linear::pick(d, &points_at, &d.upload(&source)?, &x, [points.len(), self.lanes])?;
        }
        let which = d.upload(&self.words(slots.iter().map(|slot| slot.map_or(NONE, |slot| slot as u32)), NONE))?;
        for (slot, kept) in self.kept.iter().enumerate() {
            descent::take(d, slot, kept, &which, &x)?;
        }
        Ok(x)
    }

    /// One word for each lane.
    fn words(&self, words: impl Iterator<Item = u32>, rest: u32) -> Vec<u32> {
        let mut words: Vec<u32> = words.collect();
        words.resize(self.lanes, rest);
        words
    }

    /// Lets the points go from `x` `[element][lane]`, and waits for what they find.
    pub fn run(
        &mut self,
        x: Buffer,
        tries: &[Try],
        steps: usize,
        stride: impl Fn(usize) -> Stride,
    ) -> Result<Vec<Found>> {
        let d = self.net.device.clone();
        let nearest = self.words(tries.iter().map(|t| t.nearest.to_bits()), 0);
        d.write(&self.found, &[nearest, vec![NONE; self.lanes], vec![0; self.lanes]].concat())?;
        d.write(&self.radius, &self.words(tries.iter().map(|t| t.radius.to_bits()), 0))?;
        d.write(&self.slot, &self.words(tries.iter().map(|t| t.slot as u32), NONE))?;
        while tries.iter().any(|t| t.slot >= self.kept.len()) {
            self.kept.push(d.alloc(self.centre.len())?);
        }
        descend(self.net, self, x, steps, stride)?;
        let words = d.read::<u32>(&self.found)?;
        let found = |lane: usize| {
            let [nearest, step, hit] = [0, 1, 2].map(|word| words[word * self.lanes + lane]);
            Found { hit: hit != 0, nearer: (step != NONE).then_some((f32::from_bits(nearest), step)) }
        };
        Ok((0..tries.len()).map(found).collect())
    }

    /// The hits of some points, by lane and slot.
    pub fn hits(&self, wanted: &[(usize, usize)]) -> Result<Vec<Vec<f32>>> {
        read(&self.net.device, &self.kept, self.lanes, wanted)
    }
}

impl Objective for Hunt<'_> {
    fn region(&self) -> Region<'_> {
        let Hunt { norm, centre, radius, distance, .. } = self;
        Region::Ball { norm: *norm, centre, radius, distance }
    }

    fn look(&mut self, x: &Buffer, outputs: &Buffer, step: usize, _last: bool) -> Result<Buffer> {
        let d = &self.net.device;
        let (uphill, which) = (d.alloc(outputs.len())?, d.alloc(self.lanes)?);
        let reads = [&self.classes, &self.distance, &self.slot];
        descent::judge(d, step, outputs, reads, [&uphill, &self.found, &which])?;
        for (slot, kept) in self.kept.iter().enumerate() {
            descent::take(d, slot, x, &which, kept)?;
        }
        if let Some(share) = self.pace.get(step) {
            descent::resize(d, *share, [&which, &self.found], &self.radius)?;
        }
        Ok(uphill)
    }

    fn after_step(&mut self, _points: &mut Points) -> Result<bool> {
        let Some(until) = self.until else { return Ok(true) };
        // The time of what was only asked for is still to come.
        self.net.device.sync()?;
        Ok(Instant::now() < until)
    }
}
