//! A kernel is one row of a table: a WGSL entry point and its CPU twin over the same bindings in the same order.
//!
//! Binding 0 is a uniform block of 4-byte scalars (the host's `#[repr(C)]` parameter struct, byte for byte), then come
//! the buffers that are only read, then those that are written. Buffers hold 4-byte words: f32 or u32.

/// One compute kernel: the shader and its twin.
pub struct Kernel {
    /// `<op>_<what>`, also the name shown by `bench`.
    pub name: &'static str,
    /// WGSL: `shaders/<op>.wgsl` followed by the snippets of `shaders/lib/` it uses.
    pub source: &'static str,
    pub entry: &'static str,
    pub workgroup: [u32; 3],
    /// Size of the parameter struct in bytes.
    pub params: usize,
    /// Buffers read (bindings `1..=reads`).
    pub reads: usize,
    /// Buffers written, possibly also read (bindings after those).
    pub writes: usize,
    /// Does the whole dispatch on the CPU.
    pub twin: fn(Call<'_>),
}

impl Kernel {
    /// A kernel of this source with the parameters `P`, in workgroups of 64 threads, which reads and writes so many buffers.
    pub(crate) const fn of<P>(
        source: &'static str,
        name: &'static str,
        entry: &'static str,
        [reads, writes]: [usize; 2],
        twin: fn(Call<'_>),
    ) -> Kernel {
        Kernel { name, source, entry, workgroup: [64, 1, 1], params: size_of::<P>(), reads, writes, twin }
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kernel({})", self.name)
    }
}

/// What a twin receives.
pub struct Call<'a> {
    params: &'a [u8],
    reads: Vec<&'a [f32]>,
    writes: Vec<&'a mut [f32]>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(params: &'a [u8], reads: Vec<&'a [f32]>, writes: Vec<&'a mut [f32]>) -> Self {
        Call { params, reads, writes }
    }

    /// The parameter struct.
    pub fn params<P: bytemuck::Pod>(&self) -> P {
        bytemuck::pod_read_unaligned(self.params)
    }

    /// The buffers, as many as the kernel's row says.
    pub fn buffers<const R: usize, const W: usize>(self) -> ([&'a [f32]; R], [&'a mut [f32]; W]) {
        let reads = self.reads.try_into().unwrap_or_else(|_| panic!("the twin reads {R} buffers"));
        let writes = self.writes.try_into().unwrap_or_else(|_| panic!("the twin writes {W} buffers"));
        (reads, writes)
    }
}

/// Reads a buffer of u32 words.
pub fn as_u32(words: &[f32]) -> &[u32] {
    bytemuck::cast_slice(words)
}

/// Reads or writes a buffer of u32 words.
pub fn as_u32_mut(words: &mut [f32]) -> &mut [u32] {
    bytemuck::cast_slice_mut(words)
}
