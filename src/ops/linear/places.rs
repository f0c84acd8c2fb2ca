//! Where sixteen neighbouring rows of linear bounds look in their images' tables (CPU twins).
//!
//! Most blocks of rows hold a few groups that look at the same place of the same image: there a table entry is read once
//! per group and spread over the lanes, which is far cheaper than sixteen separate reads.

use super::Span;
use crate::simd::{Lanes, each};
use crate::{dispatch, vectorise};

pub(in crate::ops) const BLOCK: usize = 16;
pub(in crate::ops) type Block = [f32; BLOCK];

/// More groups than this cost more than reading entry by entry.
const GROUPS: usize = 4;

/// Sixteen neighbouring rows.
pub(in crate::ops) struct Places {
    look: Look,
    /// Table entries per channel.
    plane: i32,
    /// Elements of a window's plane.
    window: usize,
    /// Whether a window reaches over the edge of the layer.
    clipped: bool,
}

enum Look {
    /// All rows see the whole layer of one image, whose first entry this is.
    Whole(usize),
    /// Each row sees the whole layer of an image of its own.
    Apart([usize; BLOCK]),
    Groups(Vec<Group>),
    Scattered(Scattered),
}

/// Rows that look at the same place of the same image.
struct Group {
    /// Per place of the window: index in channel 0, a valid one where the place is outside.
    index: Vec<i32>,
    /// Per place: 1 inside the layer, 0 outside.
    keep: Vec<f32>,
    /// First entry of the image.
    first: i32,
    /// 1 for the rows of this group, 0 for others.
    share: Block,
}

/// As [`Group`], for each row by itself.
struct Scattered {
    index: Vec<[i32; BLOCK]>,
    keep: Vec<Block>,
    first: [i32; BLOCK],
}

/// One element of the rows' windows.
#[derive(Clone, Copy)]
pub(in crate::ops) struct At {
    /// Among the coefficients.
    pub element: usize,
    /// Within the plane of the window.
    place: usize,
    /// Table entries before its channel.
    channel: i32,
}

impl Places {
    pub(in crate::ops) fn new(p: &Span, rows: &[u32], lane: usize) -> Self {
        let (lanes, plane) = (p.lanes as usize, (p.height * p.width) as i32);
        let stride = p.channels as i32 * plane;
        let window = (p.size_y * p.size_x) as usize;
        let image: [u32; BLOCK] = each(|i| rows[lane + i]);
        let dense = p.step_y == 0 && p.step_x == 0;
        if dense && image.iter().all(|&i| i == image[0]) {
            return Places { look: Look::Whole((image[0] as i32 * stride) as usize), plane, window, clipped: false };
        }
        let whole = p.offset_y == 0 && p.offset_x == 0 && window as i32 == plane;
        if dense && whole && (1..BLOCK).filter(|&i| !image[..i].contains(&image[i])).count() >= GROUPS {
            let first = each(|i| (image[i] as i32 * stride) as usize);
            return Places { look: Look::Apart(first), plane, window, clipped: false };
        }
        let place: [[u32; 2]; BLOCK] =
            each(|i| if dense { [0; 2] } else { [rows[lanes + lane + i], rows[2 * lanes + lane + i]] });
        let corner = |i: usize| -> [i32; 2] {
            let [y, x] = place[i];
            [y as i32 * p.step_y as i32 - p.offset_y, x as i32 * p.step_x as i32 - p.offset_x]
        };
        // Rows by what they look at, in the order met.
        let mut distinct = Vec::with_capacity(GROUPS);
        let group: [usize; BLOCK] = each(|i| {
            let key = (image[i], place[i]);
            distinct.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
                distinct.push((key, i));
                distinct.len() - 1
            })
        });
        let look = if distinct.len() <= GROUPS {
            let groups = distinct.iter().enumerate().map(|(g, &(_, row))| {
                let (index, keep) = inside(p, corner(row));
                let share = each(|i| if group[i] == g { 1.0 } else { 0.0 });
                Group { index, keep, first: image[row] as i32 * stride, share }
            });
            Look::Groups(groups.collect())
        } else {
            let corners: [[i32; 2]; BLOCK] = each(corner);
            let first = each(|i| image[i] as i32 * stride);
            let mut scattered = Scattered { index: vec![[0; BLOCK]; window], keep: vec![[1.0; BLOCK]; window], first };
            fill(p, &mut scattered, &corners);
            Look::Scattered(scattered)
        };
        let clipped = match &look {
            Look::Whole(_) | Look::Apart(_) => false,
            Look::Groups(groups) => groups.iter().any(|g| g.keep.contains(&0.0)),
            Look::Scattered(s) => s.keep.iter().any(|k| k.contains(&0.0)),
        };
        Places { look, plane, window, clipped }
    }

    /// A range of the windows' elements, in order.
    #[inline(always)]
    pub(in crate::ops) fn elements(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = At> {
        let (window, plane) = (self.window, self.plane);
        let (mut place, mut channel) = (range.start % window, (range.start / window) as i32 * plane);
        range.map(move |element| {
            let at = At { element, place, channel };
            place += 1;
            if place == window {
                (place, channel) = (0, channel + plane);
            }
            at
        })
    }

    /// The entries of each row's image in a table of `PARTS` words for every element.
    #[inline(always)]
    pub(in crate::ops) fn entries<'a, const PARTS: usize>(&'a self, table: &'a [f32]) -> Entries<'a, PARTS> {
        Entries { places: self, table, tile: [0.0; BLOCK * BLOCK], from: usize::MAX / 2 }
    }

    /// The entry at `at` of a table that all images share.
    ///
    /// # Safety
    /// The table holds one word per element of the layer.
    #[inline(always)]
    pub(in crate::ops) unsafe fn look_up_shared<L: Lanes>(&self, table: *const f32, at: At) -> L {
        unsafe {
            match &self.look {
                Look::Whole(_) | Look::Apart(_) => L::splat(*table.add(at.element)),
                Look::Groups(groups) => {
                    let [value] =
                        spread(groups, |g, _| *table.add((g.index.get_unchecked(at.place) + at.channel) as usize));
                    value
                }
                Look::Scattered(s) => {
                    let base = s.index.get_unchecked(at.place);
                    L::gather(table, &each(|i| base[i] + at.channel))
                }
            }
        }
    }

    /// The element's coefficients with those outside the layer cleared.
    ///
    /// # Safety
    /// The CPU must support `L`.
    #[inline(always)]
    pub(in crate::ops) unsafe fn clip<L: Lanes>(&self, coefficients: L, at: At) -> L {
        if !self.clipped {
            return coefficients;
        }
        unsafe {
            let keep = match &self.look {
                Look::Whole(_) | Look::Apart(_) => return coefficients,
                Look::Groups(groups) => {
                    let [keep] = spread(groups, |g, _| *g.keep.get_unchecked(at.place));
                    keep
                }
                Look::Scattered(s) => L::load(s.keep.get_unchecked(at.place).as_ptr()),
            };
            coefficients.mul(keep)
        }
    }
}

/// Entries of a table, read element by element.
pub(in crate::ops) struct Entries<'a, const PARTS: usize> {
    places: &'a Places,
    table: &'a [f32],
    /// Sixteen words of every row, turned, where rows look at images of their own; from this element on.
    tile: [f32; BLOCK * BLOCK],
    from: usize,
}

impl<const PARTS: usize> Entries<'_, PARTS> {
    /// Elements of a tile.
    const WIDE: usize = BLOCK / PARTS;

    /// The words of the entry at `at`.
    ///
    /// # Safety
    /// The table holds `PARTS` words per element of every image.
    #[inline(always)]
    pub(in crate::ops) unsafe fn at<L: Lanes>(&mut self, at: At) -> [L; PARTS] {
        let table = self.table.as_ptr();
        unsafe {
            match &self.places.look {
                Look::Whole(first) => each(|part| L::splat(*table.add((first + at.element) * PARTS + part))),
                Look::Apart(first) => {
                    // Images lie far apart, often by a power of two: lines of the cache that each word of them is read from
                    // would not stay there until the next one is.
                    if at.element.wrapping_sub(self.from) >= Self::WIDE {
                        self.from = at.element;
                        turn(self.table, &each(|i| (first[i] + at.element) * PARTS), &mut self.tile);
                    }
                    let word = (at.element - self.from) * PARTS;
                    each(|part| L::load(self.tile.as_ptr().add(BLOCK * (word + part))))
                }
                Look::Groups(groups) => {
                    let entry = |g: &Group| (g.first + *g.index.get_unchecked(at.place) + at.channel) as usize * PARTS;
                    spread(groups, |g, part| *table.add(entry(g) + part))
                }
                Look::Scattered(s) => {
                    let base = s.index.get_unchecked(at.place);
                    let index: [i32; BLOCK] = each(|i| (s.first[i] + base[i] + at.channel) * PARTS as i32);
                    each(|part| L::gather(table.add(part), &index))
                }
            }
        }
    }
}

dispatch! {
    /// Sixteen words of a table from each of these on, turned: word `w` of all of them stands at `[w]`. A function by itself, so
    /// that loops over entries stay short: most rows share the places that they look at, and never come here.
    fn turn = turn_lanes(table: &[f32], start: &[usize; BLOCK], tile: &mut [f32; BLOCK * BLOCK])
}

#[inline(always)]
unsafe fn turn_lanes<L: Lanes>(table: &[f32], start: &[usize; BLOCK], tile: &mut [f32; BLOCK * BLOCK]) {
    let mut copy = [0.0; BLOCK * BLOCK];
    let inside = start.iter().all(|start| start + BLOCK <= table.len());
    if !inside {
        for (row, start) in copy.chunks_mut(BLOCK).zip(start) {
            let there = &table[*start..table.len().min(start + BLOCK)];
            row[..there.len()].copy_from_slice(there);
        }
    }
    let rows: [*const f32; BLOCK] =
        each(|i| if inside { table[start[i]..].as_ptr() } else { copy[BLOCK * i..].as_ptr() });
    // SAFETY: sixteen words from each of these are there.
    unsafe { L::turn(&rows, tile.as_mut_ptr()) };
}

/// Values of each group, in its rows; exact, because all but one of the products are zero.
#[inline(always)]
unsafe fn spread<L: Lanes, const PARTS: usize>(groups: &[Group], value: impl Fn(&Group, usize) -> f32) -> [L; PARTS] {
    unsafe {
        let mut out: [L; PARTS] = each(|part| L::splat(value(&groups[0], part)));
        if let [first, rest @ ..] = groups
            && !rest.is_empty()
        {
            let share = L::load(first.share.as_ptr());
            out.iter_mut().for_each(|o| *o = o.mul(share));
            for g in rest {
                let share = L::load(g.share.as_ptr());
                for (part, o) in out.iter_mut().enumerate() {
                    *o = o.mul_acc(L::splat(value(g, part)), share);
                }
            }
        }
        out
    }
}

/// Where the places of the window at `corner` lie in channel 0, and which are inside the layer.
fn inside(p: &Span, [top, left]: [i32; 2]) -> (Vec<i32>, Vec<f32>) {
    let (h, w) = (p.height as i32, p.width as i32);
    let places = (p.size_y * p.size_x) as usize;
    let (mut index, mut keep) = (Vec::with_capacity(places), Vec::with_capacity(places));
    for y in top..top + p.size_y as i32 {
        for x in left..left + p.size_x as i32 {
            let inside = (0..h).contains(&y) && (0..w).contains(&x);
            index.push(if inside { y * w + x } else { 0 });
            keep.push(if inside { 1.0 } else { 0.0 });
        }
    }
    (index, keep)
}

vectorise! {
    fn fill = fill_body(p: &Span, places: &mut Scattered, corners: &[[i32; 2]; BLOCK])
}

#[inline(always)]
fn fill_body(p: &Span, places: &mut Scattered, corners: &[[i32; 2]; BLOCK]) {
    let (h, w) = (p.height as i32, p.width as i32);
    let top: [i32; BLOCK] = each(|i| corners[i][0]);
    let left: [i32; BLOCK] = each(|i| corners[i][1]);
    let mut entries = places.index.iter_mut().zip(&mut places.keep);
    for dy in 0..p.size_y as i32 {
        for dx in 0..p.size_x as i32 {
            let Some((index, keep)) = entries.next() else { return };
            for i in 0..BLOCK {
                let (y, x) = (top[i] + dy, left[i] + dx);
                let inside = (y >= 0) & (y < h) & (x >= 0) & (x < w);
                index[i] = if inside { y * w + x } else { 0 };
                keep[i] = if inside { 1.0 } else { 0.0 };
            }
        }
    }
}

/// Lookups are unchecked: every table must cover every image. `words` are (table length, words per element).
pub(in crate::ops) fn check_tables(p: &Span, rows: &[u32], words: &[(usize, usize)]) {
    let images = rows[..p.lanes as usize].iter().max().map_or(0, |m| *m as usize + 1);
    let elements = images * (p.channels * p.height * p.width) as usize;
    for (len, scale) in words {
        assert!(*len >= elements * scale && elements * scale < i32::MAX as usize, "a table is too small");
    }
}
