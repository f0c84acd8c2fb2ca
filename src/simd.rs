//! Sixteen f32 lanes in the widest registers of this machine, chosen at run time.
//!
//! Hot loops are written once, generic over [`Lanes`], and instantiated by [`dispatch!`](crate::dispatch) for AVX-512, AVX2 and plain
//! Rust. Results differ between them only by the fusing of multiply and add.

use std::sync::LazyLock;

/// Sixteen lanes of f32. Methods are inlined into a function that enables the instruction set.
///
/// # Safety
/// Every method requires that the CPU has the implementor's instruction set; `load`/`store` need 16 valid floats.
#[allow(clippy::missing_safety_doc)] // said once, above
pub trait Lanes: Copy {
    /// Whether one register holds all sixteen, and there are many of them.
    const WIDE: bool;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn add(self, o: Self) -> Self;
    /// `self + a * b`, fused where the machine can.
    unsafe fn mul_acc(self, a: Self, b: Self) -> Self;
    unsafe fn mul(self, o: Self) -> Self;
    unsafe fn max(self, o: Self) -> Self;
    unsafe fn min(self, o: Self) -> Self;
    unsafe fn abs(self) -> Self;
    /// With the sign turned where `by` is negative.
    unsafe fn flip(self, by: Self) -> Self;
    /// Lane `i` is `p[index[i]]`; every index must be valid.
    unsafe fn gather(p: *const f32, index: &[i32; 16]) -> Self;
    /// The same of a row of `len` words, which may be read whole.
    #[inline(always)]
    unsafe fn choose(p: *const f32, _len: usize, index: &[i32; 16]) -> Self {
        unsafe { Self::gather(p, index) }
    }
    /// Sixteen rows of sixteen words turned: word `j` of row `i` becomes word `i` of row `j`, row after row at `to`.
    #[inline(always)]
    unsafe fn turn(rows: &[*const f32; 16], to: *mut f32) {
        for (i, row) in rows.iter().enumerate() {
            (0..16).for_each(|j| unsafe { *to.add(16 * j + i) = *row.add(j) });
        }
    }
}

/// The sign bit.
const SIGN: u32 = 1 << 31;

/// An array of what `of` says of each place, in order. Kernels need it inlined whatever unit of code their caller is in,
/// which `std::array::from_fn` and `map` are not.
#[inline(always)]
pub fn each<T: Copy, const N: usize>(mut of: impl FnMut(usize) -> T) -> [T; N] {
    let mut all = [of(0); N];
    for i in 1..N {
        all[i] = of(i);
    }
    all
}

/// Portable fallback.
#[derive(Clone, Copy)]
pub struct Plain([f32; 16]);

impl Lanes for Plain {
    const WIDE: bool = false;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Plain([x; 16])
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Plain(unsafe { p.cast::<[f32; 16]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { p.cast::<[f32; 16]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        Plain(each(|i| self.0[i] + o.0[i]))
    }
    #[inline(always)]
    unsafe fn mul_acc(self, a: Self, b: Self) -> Self {
        Plain(each(|i| self.0[i] + a.0[i] * b.0[i]))
    }
    #[inline(always)]
    unsafe fn mul(self, o: Self) -> Self {
        Plain(each(|i| self.0[i] * o.0[i]))
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        Plain(each(|i| self.0[i].max(o.0[i])))
    }
    #[inline(always)]
    unsafe fn min(self, o: Self) -> Self {
        Plain(each(|i| self.0[i].min(o.0[i])))
    }
    #[inline(always)]
    unsafe fn abs(self) -> Self {
        Plain(self.0.map(f32::abs))
    }
    #[inline(always)]
    unsafe fn flip(self, by: Self) -> Self {
        Plain(each(|i| f32::from_bits(self.0[i].to_bits() ^ (by.0[i].to_bits() & SIGN))))
    }
    #[inline(always)]
    unsafe fn gather(p: *const f32, index: &[i32; 16]) -> Self {
        Plain(each(|i| unsafe { *p.add(index[i] as usize) }))
    }
}

#[cfg(target_arch = "x86_64")]
pub mod x86 {
    use super::{Lanes, SIGN, each};
    use std::arch::x86_64::*;

    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    impl Lanes for Avx512 {
        const WIDE: bool = true;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            Avx512(unsafe { _mm512_set1_ps(x) })
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            Avx512(unsafe { _mm512_loadu_ps(p) })
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            unsafe { _mm512_storeu_ps(p, self.0) }
        }
        #[inline(always)]
        unsafe fn add(self, o: Self) -> Self {
            Avx512(unsafe { _mm512_add_ps(self.0, o.0) })
        }
        #[inline(always)]
        unsafe fn mul_acc(self, a: Self, b: Self) -> Self {
            Avx512(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, o: Self) -> Self {
            Avx512(unsafe { _mm512_mul_ps(self.0, o.0) })
        }
        #[inline(always)]
        unsafe fn max(self, o: Self) -> Self {
            Avx512(unsafe { _mm512_max_ps(self.0, o.0) })
        }
        #[inline(always)]
        unsafe fn min(self, o: Self) -> Self {
            Avx512(unsafe { _mm512_min_ps(self.0, o.0) })
        }
        #[inline(always)]
        unsafe fn abs(self) -> Self {
            Avx512(unsafe { _mm512_abs_ps(self.0) })
        }
        #[inline(always)]
        unsafe fn flip(self, by: Self) -> Self {
            unsafe {
                let (own, by) = (_mm512_castps_si512(self.0), _mm512_castps_si512(by.0));
                // own ^ (by & sign)
                let sign = _mm512_set1_epi32(SIGN as i32);
                Avx512(_mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0x78>(own, by, sign)))
            }
        }
        #[inline(always)]
        unsafe fn gather(p: *const f32, index: &[i32; 16]) -> Self {
            unsafe { Avx512(_mm512_i32gather_ps::<4>(_mm512_loadu_si512(index.as_ptr().cast()), p)) }
        }
        /// A gather takes as long as sixteen loads. A short row fits into registers, of which two are chosen from at a time.
        #[inline(always)]
        unsafe fn choose(p: *const f32, len: usize, index: &[i32; 16]) -> Self {
            if len > 128 {
                return unsafe { Self::gather(p, index) };
            }
            unsafe {
                let index = _mm512_loadu_si512(index.as_ptr().cast());
                let pair = _mm512_srli_epi32::<5>(index);
                let register = |from: usize| {
                    let there = len.saturating_sub(from).min(16);
                    _mm512_maskz_loadu_ps(((1u32 << there) - 1) as __mmask16, p.wrapping_add(from))
                };
                let mut chosen = _mm512_permutex2var_ps(register(0), index, register(16));
                for k in 1..len.div_ceil(32) {
                    let other = _mm512_permutex2var_ps(register(32 * k), index, register(32 * k + 16));
                    let here = _mm512_cmpeq_epi32_mask(pair, _mm512_set1_epi32(k as i32));
                    chosen = _mm512_mask_mov_ps(chosen, here, other);
                }
                Avx512(chosen)
            }
        }
        #[inline(always)]
        unsafe fn turn(rows: &[*const f32; 16], to: *mut f32) {
            unsafe {
                let row: [__m512; 16] = each(|i| _mm512_loadu_ps(rows[i]));
                let both = |of: &[__m512; 16], i: usize, j: usize| (_mm512_castps_pd(of[i]), _mm512_castps_pd(of[j]));
                let pairs: [__m512; 16] = each(|i| match i % 2 {
                    0 => _mm512_unpacklo_ps(row[i], row[i + 1]),
                    _ => _mm512_unpackhi_ps(row[i - 1], row[i]),
                });
                // A quarter of register `4g + c` has one word of rows `4g..4g + 4`, the next quarter that four words on.
                let fours: [__m512; 16] = each(|i| {
                    let (first, second) = both(&pairs, i / 4 * 4 + i % 4 / 2, i / 4 * 4 + i % 4 / 2 + 2);
                    _mm512_castpd_ps(match i % 2 {
                        0 => _mm512_unpacklo_pd(first, second),
                        _ => _mm512_unpackhi_pd(first, second),
                    })
                });
                for c in 0..4 {
                    let [a, b, c2, d] = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
                    let (low, high) = (_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b));
                    let (low2, high2) = (_mm512_shuffle_f32x4::<0x44>(c2, d), _mm512_shuffle_f32x4::<0xee>(c2, d));
                    let out = [
                        _mm512_shuffle_f32x4::<0x88>(low, low2),
                        _mm512_shuffle_f32x4::<0xdd>(low, low2),
                        _mm512_shuffle_f32x4::<0x88>(high, high2),
                        _mm512_shuffle_f32x4::<0xdd>(high, high2),
                    ];
                    (0..4).for_each(|j| _mm512_storeu_ps(to.add(16 * (4 * j + c)), out[j]));
                }
            }
        }
    }

    #[derive(Clone, Copy)]
    pub struct Avx2(__m256, __m256);

    impl Lanes for Avx2 {
        const WIDE: bool = false;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            let v = unsafe { _mm256_set1_ps(x) };
            Avx2(v, v)
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { Avx2(_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            unsafe {
                _mm256_storeu_ps(p, self.0);
                _mm256_storeu_ps(p.add(8), self.1);
            }
        }
        #[inline(always)]
        unsafe fn add(self, o: Self) -> Self {
            unsafe { Avx2(_mm256_add_ps(self.0, o.0), _mm256_add_ps(self.1, o.1)) }
        }
        #[inline(always)]
        unsafe fn mul_acc(self, a: Self, b: Self) -> Self {
            unsafe { Avx2(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1)) }
        }
        #[inline(always)]
        unsafe fn mul(self, o: Self) -> Self {
            unsafe { Avx2(_mm256_mul_ps(self.0, o.0), _mm256_mul_ps(self.1, o.1)) }
        }
        #[inline(always)]
        unsafe fn max(self, o: Self) -> Self {
            unsafe { Avx2(_mm256_max_ps(self.0, o.0), _mm256_max_ps(self.1, o.1)) }
        }
        #[inline(always)]
        unsafe fn min(self, o: Self) -> Self {
            unsafe { Avx2(_mm256_min_ps(self.0, o.0), _mm256_min_ps(self.1, o.1)) }
        }
        #[inline(always)]
        unsafe fn abs(self) -> Self {
            unsafe {
                let sign = _mm256_set1_ps(-0.0);
                Avx2(_mm256_andnot_ps(sign, self.0), _mm256_andnot_ps(sign, self.1))
            }
        }
        #[inline(always)]
        unsafe fn flip(self, by: Self) -> Self {
            unsafe {
                let sign = _mm256_set1_ps(-0.0);
                let turn = |own, by| _mm256_xor_ps(own, _mm256_and_ps(by, sign));
                Avx2(turn(self.0, by.0), turn(self.1, by.1))
            }
        }
        #[inline(always)]
        unsafe fn gather(p: *const f32, index: &[i32; 16]) -> Self {
            unsafe {
                let at = index.as_ptr().cast::<__m256i>();
                Avx2(
                    _mm256_i32gather_ps::<4>(p, _mm256_loadu_si256(at)),
                    _mm256_i32gather_ps::<4>(p, _mm256_loadu_si256(at.add(1))),
                )
            }
        }
        /// By quarters of eight rows and eight words.
        #[inline(always)]
        unsafe fn turn(rows: &[*const f32; 16], to: *mut f32) {
            for (first, word) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
                unsafe {
                    let row: [__m256; 8] = each(|i| _mm256_loadu_ps(rows[first + i].add(word)));
                    let pairs: [__m256; 8] = each(|i| match i % 2 {
                        0 => _mm256_unpacklo_ps(row[i], row[i + 1]),
                        _ => _mm256_unpackhi_ps(row[i - 1], row[i]),
                    });
                    let fours: [__m256; 8] = each(|i| {
                        let (one, other) = (pairs[i / 4 * 4 + i % 4 / 2], pairs[i / 4 * 4 + i % 4 / 2 + 2]);
                        let (one, other) = (_mm256_castps_pd(one), _mm256_castps_pd(other));
                        _mm256_castpd_ps(match i % 2 {
                            0 => _mm256_unpacklo_pd(one, other),
                            _ => _mm256_unpackhi_pd(one, other),
                        })
                    });
                    for c in 0..4 {
                        let low = _mm256_permute2f128_ps::<0x20>(fours[c], fours[4 + c]);
                        let high = _mm256_permute2f128_ps::<0x31>(fours[c], fours[4 + c]);
                        _mm256_storeu_ps(to.add(16 * (word + c) + first), low);
                        _mm256_storeu_ps(to.add(16 * (word + 4 + c) + first), high);
                    }
                }
            }
        }
    }
}

/// Instruction sets the twins are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Avx512,
    Avx2,
    Plain,
}

/// The level that twins run at: the best of this machine, or the one that the environment variable `DELTAMAX_SIMD` names
/// (`avx512`, `avx2`, `plain`) if the machine has it, so that all can be tested on one.
pub fn level() -> Level {
    static LEVEL: LazyLock<Level> = LazyLock::new(|| {
        let wanted = std::env::var("DELTAMAX_SIMD").unwrap_or_default();
        let all = [("avx512", Level::Avx512), ("avx2", Level::Avx2), ("plain", Level::Plain)];
        let first = all.iter().position(|(name, _)| *name == wanted).unwrap_or(0);
        all[first..].iter().map(|(_, level)| *level).find(|level| level.is_here()).unwrap_or(Level::Plain)
    });
    *LEVEL
}

impl Level {
    /// Whether this machine has it.
    fn is_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => std::arch::is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx512 | Level::Avx2 => false,
            Level::Plain => true,
        }
    }
}

/// Name of the instruction set the twins use on this machine.
pub fn describe() -> &'static str {
    match level() {
        Level::Avx512 => "AVX-512",
        Level::Avx2 => "AVX2",
        Level::Plain => "portable",
    }
}

/// Defines `fn $name(args)` that calls the generic `$generic::<L>(args)` for the machine's level. The generic function
/// must be `#[inline(always)] unsafe fn`.
#[macro_export]
macro_rules! dispatch {
    ($(#[$doc:meta])* fn $name:ident = $generic:ident($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) {
                    unsafe { $generic::<$crate::simd::x86::Avx512>($($arg),*) }
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) {
                    unsafe { $generic::<$crate::simd::x86::Avx2>($($arg),*) }
                }
                match $crate::simd::level() {
                    // SAFETY: the level was detected on this machine.
                    $crate::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Plain => {}
                }
            }
            // SAFETY: plain Rust needs no instruction set.
            unsafe { $generic::<$crate::simd::Plain>($($arg),*) }
        }
    };
}

/// Defines `fn $name(args)` that runs the plain Rust function `$body(args)` compiled for the machine's level: simple
/// loops then use its widest registers. `$body` must be `#[inline(always)]`. Results are the same at every level.
///
/// Bodies count rows and lanes: iterators that walk side by side are made by a call for every row, and some advanced by
/// one, which costs more than a short row.
#[macro_export]
macro_rules! vectorise {
    ($(#[$doc:meta])* fn $name:ident = $body:ident($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) {
                    $body($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) {
                    $body($($arg),*)
                }
                match $crate::simd::level() {
                    // SAFETY: the level was detected on this machine.
                    $crate::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Plain => {}
                }
            }
            $body($($arg),*)
        }
    };
}

/// A pointer into a buffer that several tasks write at disjoint places.
#[derive(Clone, Copy)]
pub struct Shared(pub *mut f32);

// SAFETY: every user hands disjoint index ranges to its tasks.
unsafe impl Send for Shared {}
unsafe impl Sync for Shared {}

impl Shared {
    /// The pointer; a method, so that closures capture the whole wrapper.
    pub fn get(self) -> *mut f32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Lanes;

    dispatch! {
        fn chosen = chosen_lanes(row: &[f32], index: &[i32; 16], out: &mut [f32; 16])
    }

    #[inline(always)]
    unsafe fn chosen_lanes<L: Lanes>(row: &[f32], index: &[i32; 16], out: &mut [f32; 16]) {
        unsafe { L::choose(row.as_ptr(), row.len(), index).store(out.as_mut_ptr()) };
    }

    dispatch! {
        fn turned = turned_lanes(rows: &[f32], to: &mut [f32; 256])
    }

    #[inline(always)]
    unsafe fn turned_lanes<L: Lanes>(rows: &[f32], to: &mut [f32; 256]) {
        let step = rows.len() / 16;
        let rows = std::array::from_fn(|i| rows[i * step..][..16].as_ptr());
        unsafe { L::turn(&rows, to.as_mut_ptr()) };
    }

    #[test]
    fn rows_are_turned() {
        let (rows, mut to): (Vec<f32>, _) = ((0..16 * 19).map(|i| i as f32).collect(), [-1.0; 256]);
        turned(&rows, &mut to);
        for (at, word) in to.iter().enumerate() {
            assert_eq!(*word, (at % 16 * 19 + at / 16) as f32);
        }
    }

    #[test]
    fn a_row_of_any_length_is_chosen_from() {
        for len in [1, 2, 15, 16, 17, 31, 32, 33, 48, 64, 65, 97, 100, 127, 128, 129, 500] {
            let row: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let index = std::array::from_fn(|i| ((i * 37 + 5 * len) % len) as i32);
            let mut out = [-1.0; 16];
            chosen(&row, &index, &mut out);
            assert_eq!(out, index.map(|i| i as f32), "{len}");
        }
    }
}
