//! Where kernels run: a GPU through wgpu, or the built-in CPU backend. Buffers, dispatch, read-back.

mod cpu;
mod fit;
mod gpu;
mod pool;
mod tape;
mod traffic;

use std::sync::Arc;

use bytemuck::Pod;

use crate::error::{Error, Result};
use crate::kernel::Kernel;
pub use fit::Fit;
pub use tape::{Step, Taped};
pub use traffic::Traffic;

/// What the user asks for with `--device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A real GPU if there is one, else the CPU backend.
    Auto,
    /// The best adapter wgpu offers, a software one included.
    Gpu,
    /// The built-in CPU backend.
    Cpu,
    /// The adapter with this index in `deltamax devices`.
    Index(usize),
}

impl std::str::FromStr for Choice {
    type Err = String;
    fn from_str(s: &str) -> std::result::Result<Self, String> {
        match s {
            "auto" => Ok(Choice::Auto),
            "gpu" => Ok(Choice::Gpu),
            "cpu" => Ok(Choice::Cpu),
            _ => s.parse().map(Choice::Index).map_err(|_| "expected auto, gpu, cpu or an adapter's index".into()),
        }
    }
}

/// As `--device` takes it.
impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Choice::Auto => f.write_str("auto"),
            Choice::Gpu => f.write_str("gpu"),
            Choice::Cpu => f.write_str("cpu"),
            Choice::Index(index) => index.fmt(f),
        }
    }
}

/// One adapter as `deltamax devices` lists it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Adapter {
    /// What [`Choice::Index`] takes.
    pub index: usize,
    /// Of the hardware, as its driver says.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`.
    pub backend: String,
    /// Name and version, where known.
    pub driver: String,
    /// A CPU pretending to be a GPU (lavapipe, WARP); `auto` never takes it.
    pub software: bool,
    /// Largest buffer one kernel can bind, in bytes.
    pub max_binding: u64,
}

/// Most 4-byte words of any buffer, whatever the adapter allows: an index into it, in words or bytes, and the number of a
/// thread of a grid over it fit 32 bits, which is what shaders count in.
const LARGEST_BUFFER: usize = 1 << 30;

/// A place to run kernels. Cheap to clone; clones share buffers and queues.
#[derive(Clone)]
pub struct Device {
    backend: Arc<Backend>,
    tape: Option<Arc<tape::Tape>>,
    counters: Arc<traffic::Counters>,
}

enum Backend {
    Cpu(cpu::Cpu),
    Gpu(Box<gpu::Gpu>),
}

/// Device memory of 4-byte words. Returns to the device's pool when dropped.
pub struct Buffer {
    len: usize,
    storage: Storage,
    /// On the device's tape, zero without one.
    number: usize,
}

enum Storage {
    Cpu(cpu::Storage),
    Gpu(gpu::Storage),
}

impl Buffer {
    /// Number of 4-byte words.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no word.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Keeps Mesa's device-select layer out of the process. It looks for a display server whenever adapters are listed and
/// complains on standard error where there is none; its only use is `MESA_VK_DEVICE_SELECT`, and then it stays.
///
/// # Safety
/// Changes the environment: call it before any other thread exists.
pub unsafe fn quiet_driver() {
    if std::env::var_os("MESA_VK_DEVICE_SELECT").is_none() {
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// All adapters wgpu can see, in the order of their indices. Empty without a driver.
pub fn adapters() -> Vec<Adapter> {
    gpu::adapters()
}

impl Device {
    /// The built-in CPU backend.
    pub fn cpu() -> Device {
        Device::cpu_with_memory(usize::MAX)
    }

    /// The same with memory for so many 4-byte words only: shows what a full device does.
    pub fn cpu_with_memory(words: usize) -> Device {
        Device::new(Backend::Cpu(cpu::Cpu::new(words)), Arc::default())
    }

    /// The built-in CPU backend, which also notes what it is told.
    #[doc(hidden)]
    pub fn taped() -> Device {
        Device { tape: Some(Arc::default()), ..Device::cpu() }
    }

    /// What a [`Device::taped`] was told so far, in order; nothing of other devices.
    #[doc(hidden)]
    pub fn steps(&self) -> Vec<Step> {
        self.tape.as_ref().map_or_else(Vec::new, |t| t.steps())
    }

    fn new(backend: Backend, counters: Arc<traffic::Counters>) -> Device {
        Device { backend: Arc::new(backend), tape: None, counters }
    }

    /// What has passed between host and device so far, clones included.
    pub fn traffic(&self) -> Traffic {
        self.counters.totals()
    }

    /// Opens what `choice` names.
    pub fn open(choice: &Choice) -> Result<Device> {
        let counters = Arc::<traffic::Counters>::default();
        let open = |index: usize| gpu::Gpu::open(index, counters.clone());
        let gpu = match choice {
            Choice::Cpu => return Ok(Device::cpu()),
            Choice::Auto => match adapters().into_iter().find(|a| !a.software) {
                Some(a) => open(a.index)?,
                None => return Ok(Device::cpu()),
            },
            Choice::Gpu => {
                let all = adapters();
                let best = all.iter().find(|a| !a.software).or(all.first());
                match best {
                    Some(a) => open(a.index)?,
                    None => {
                        return Err(Error::device("no GPU adapter found; install a Vulkan driver or use --device cpu"));
                    }
                }
            }
            Choice::Index(i) => open(*i)?,
        };
        Ok(Device::new(Backend::Gpu(Box::new(gpu)), counters))
    }

    /// One line for reports: adapter, backend and driver.
    pub fn describe(&self) -> String {
        match &*self.backend {
            Backend::Cpu(c) => c.describe(),
            Backend::Gpu(g) => g.describe(),
        }
    }

    /// Whether kernels run through wgpu, a software adapter included.
    pub fn is_gpu(&self) -> bool {
        matches!(&*self.backend, Backend::Gpu(_))
    }

    /// How many images to ask side by side where each has to go by itself: kernels over one are too small to keep all cores
    /// of a CPU busy, and a GPU takes one after the other.
    pub fn side_by_side(&self) -> usize {
        if self.is_gpu() { 1 } else { 2 * rayon::current_num_threads() }
    }

    /// Bytes that rows of one step of bounds may well take: few kernels over much on a GPU, what a cache holds elsewhere.
    pub fn room_for_rows(&self) -> usize {
        match &*self.backend {
            Backend::Cpu(_) => 4 << 20,
            Backend::Gpu(g) if g.is_software() => 256 << 20,
            Backend::Gpu(_) => 1 << 30,
        }
    }

    /// Most 4-byte words one buffer may hold; larger work must be chunked by the caller.
    pub fn max_buffer(&self) -> usize {
        match &*self.backend {
            Backend::Cpu(_) => LARGEST_BUFFER,
            Backend::Gpu(g) => g.max_buffer().min(LARGEST_BUFFER),
        }
    }

    /// A buffer of `len` words with undefined content.
    pub fn alloc(&self, len: usize) -> Result<Buffer> {
        if len > self.max_buffer() {
            return Err(Error::Memory(format!(
                "a buffer of {} MiB is over this adapter's limit of {} MiB",
                len >> 18,
                self.max_buffer() >> 18
            )));
        }
        let storage = match &*self.backend {
            Backend::Cpu(c) => Storage::Cpu(c.alloc(len)?),
            Backend::Gpu(g) => Storage::Gpu(g.alloc(len)?),
        };
        let number = self.tape.as_ref().map_or(0, |t| t.number());
        Ok(Buffer { len, storage, number })
    }

    /// A buffer with this content (f32 or u32).
    pub fn upload<T: Pod>(&self, data: &[T]) -> Result<Buffer> {
        const { assert!(size_of::<T>() == 4) };
        let buffer = self.alloc(data.len())?;
        self.write(&buffer, data)?;
        Ok(buffer)
    }

    /// A buffer of `len` zero words.
    pub fn zeros(&self, len: usize) -> Result<Buffer> {
        let buffer = self.alloc(len)?;
        match (&*self.backend, &buffer.storage) {
            (Backend::Cpu(_), Storage::Cpu(s)) => s.write().fill(0.0),
            (Backend::Gpu(g), Storage::Gpu(s)) => g.clear(s, len)?,
            _ => return Err(Error::device("a buffer of another device was passed")),
        }
        if let Some(tape) = &self.tape {
            tape.write(&buffer, &vec![0; len]);
        }
        Ok(buffer)
    }

    /// Overwrites the first `data.len()` words.
    pub fn write<T: Pod>(&self, buffer: &Buffer, data: &[T]) -> Result<()> {
        const { assert!(size_of::<T>() == 4) };
        if data.len() > buffer.len {
            return Err(Error::device(format!("{} words written to a buffer of {}", data.len(), buffer.len)));
        }
        self.counters.uploaded(4 * data.len());
        match (&*self.backend, &buffer.storage) {
            (Backend::Cpu(_), Storage::Cpu(s)) => s.write()[..data.len()].copy_from_slice(bytemuck::cast_slice(data)),
            (Backend::Gpu(g), Storage::Gpu(s)) => g.write(s, bytemuck::cast_slice(data))?,
            _ => return Err(Error::device("a buffer of another device was passed")),
        }
        if let Some(tape) = &self.tape {
            tape.write(buffer, bytemuck::cast_slice(data));
        }
        Ok(())
    }

    /// A copy of all of `from`, on the device.
    pub fn copied(&self, from: &Buffer) -> Result<Buffer> {
        let to = self.alloc(from.len)?;
        self.copy(from, &to)?;
        Ok(to)
    }

    /// Copies all of `from` to the beginning of `to`, on the device.
    pub fn copy(&self, from: &Buffer, to: &Buffer) -> Result<()> {
        if from.len > to.len || std::ptr::eq(from, to) {
            return Err(Error::device(format!("{} words copied to a buffer of {}", from.len, to.len)));
        }
        match (&*self.backend, &from.storage, &to.storage) {
            (Backend::Cpu(_), Storage::Cpu(from_words), Storage::Cpu(to_words)) => {
                let from_words = from_words.read();
                to_words.write()[..from.len].copy_from_slice(&from_words[..from.len]);
                if let Some(tape) = &self.tape {
                    tape.write(to, bytemuck::cast_slice(&from_words[..from.len]));
                }
            }
            (Backend::Gpu(g), Storage::Gpu(from_words), Storage::Gpu(to_words)) => {
                g.copy(from_words, to_words, from.len)?;
            }
            _ => return Err(Error::device("a buffer of another device was passed")),
        }
        Ok(())
    }

    /// Waits for everything dispatched so far and copies the buffer back.
    pub fn read<T: Pod>(&self, buffer: &Buffer) -> Result<Vec<T>> {
        Ok(self.read_all(&[buffer])?.remove(0))
    }

    /// [`read`](Self::read) of several buffers, waiting once.
    pub fn read_all<T: Pod>(&self, buffers: &[&Buffer]) -> Result<Vec<Vec<T>>> {
        const { assert!(size_of::<T>() == 4) };
        let mut all: Vec<Vec<T>> = buffers.iter().map(|b| vec![T::zeroed(); b.len]).collect();
        let mut wanted = vec![];
        for (buffer, out) in buffers.iter().zip(&mut all) {
            match (&*self.backend, &buffer.storage) {
                (Backend::Cpu(_), Storage::Cpu(s)) => {
                    out.copy_from_slice(bytemuck::cast_slice(&s.read()[..buffer.len]));
                }
                (Backend::Gpu(_), Storage::Gpu(s)) => wanted.push((s, bytemuck::cast_slice_mut(out))),
                _ => return Err(Error::device("a buffer of another device was passed")),
            }
            self.counters.downloaded(4 * buffer.len);
            if let Some(tape) = &self.tape {
                tape.read(buffer);
            }
        }
        match &*self.backend {
            Backend::Cpu(_) => {}
            Backend::Gpu(g) => self.counters.waiting(|| g.read(wanted))?,
        }
        Ok(all)
    }

    /// Waits until everything dispatched so far is done.
    pub fn sync(&self) -> Result<()> {
        match &*self.backend {
            Backend::Cpu(_) => Ok(()),
            Backend::Gpu(g) => self.counters.waiting(|| g.sync()),
        }
    }

    /// Queues one dispatch of at least `threads` invocations in each dimension. A buffer may appear once only.
    pub fn run<P: Pod>(
        &self,
        kernel: &'static Kernel,
        params: &P,
        reads: &[&Buffer],
        writes: &[&Buffer],
        threads: [usize; 3],
    ) -> Result<()> {
        let params = bytemuck::bytes_of(params);
        debug_assert_eq!(params.len(), kernel.params, "{}: parameter struct", kernel.name);
        debug_assert_eq!((reads.len(), writes.len()), (kernel.reads, kernel.writes), "{}: bindings", kernel.name);
        let twice = |(i, w): (usize, &&Buffer)| writes[..i].iter().chain(reads).any(|b| std::ptr::eq(*b, *w));
        if writes.iter().enumerate().any(twice) {
            return Err(Error::device(format!("{}: one buffer is bound twice", kernel.name)));
        }
        self.counters.dispatched(reads.iter().chain(writes).map(|buffer| buffer.len).sum());
        match &*self.backend {
            Backend::Cpu(c) => c.run(kernel, params, reads, writes)?,
            Backend::Gpu(g) => g.run(kernel, params, reads, writes, groups(kernel, threads)?)?,
        }
        if let Some(tape) = &self.tape {
            tape.dispatch(kernel, params, &[reads, writes].concat(), groups(kernel, threads)?);
        }
        Ok(())
    }
}

/// Workgroups that cover this many invocations.
fn groups(kernel: &Kernel, threads: [usize; 3]) -> Result<[u32; 3]> {
    let mut groups = [0; 3];
    for d in 0..3 {
        let n = threads[d].div_ceil(kernel.workgroup[d] as usize);
        if n > 65_535 {
            return Err(Error::Memory(format!("{}: {n} workgroups in dimension {d}", kernel.name)));
        }
        groups[d] = n.max(1) as u32;
    }
    Ok(groups)
}
