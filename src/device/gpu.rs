//! The GPU backend through wgpu; the only file that names it.
//!
//! Dispatches are recorded and submitted in batches. wgpu reports most faults out of band: the first one is kept and
//! every later call returns it, so that no result of a faulty device is ever read.

use std::borrow::Cow;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};

use super::pool::{Pool, size_class};
use super::traffic::Counters;
use super::{Adapter, Buffer};
use crate::error::{Error, Result};
use crate::kernel::Kernel;

/// Dispatches per submission: few enough that the device starts early and no watchdog of a desktop driver fires.
const BATCH: usize = 32;

/// Room for one dispatch's parameters in the uniform buffer; also the largest alignment a device may ask for.
const PARAMS: usize = 256;

/// How much larger a block of memory may be than what is asked for, and how much of it is kept, as a multiple of what was in
/// use at once. Rows of neurons come in ever other numbers, and a fresh block takes as long as some dispatches.
const SLACK: usize = 2;
const SPARE: usize = 2;

/// Host memory for one step of a read-back or upload, in bytes.
const STAGING: usize = 64 << 20;

pub(super) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: Adapter,
    fault: Fault,
    counters: Arc<Counters>,
    /// Parameters of the batch being recorded, [`PARAMS`] bytes each.
    uniforms: wgpu::Buffer,
    pipelines: Mutex<HashMap<&'static str, Pipeline>>,
    recorder: Mutex<Recorder>,
    pool: Arc<Pool<wgpu::Buffer>>,
}

pub(super) struct Storage {
    buffer: wgpu::Buffer,
    pool: Arc<Pool<wgpu::Buffer>>,
}

#[derive(Clone)]
struct Pipeline {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

#[derive(Default)]
struct Recorder {
    commands: Vec<Command>,
    params: Vec<u8>,
    /// What was sent last.
    sent: Option<wgpu::SubmissionIndex>,
    /// Buffers of read-backs that are over: as many as there ever were at once.
    staging: Vec<wgpu::Buffer>,
}

enum Command {
    Dispatch { pipeline: wgpu::ComputePipeline, bindings: wgpu::BindGroup, params: u32, groups: [u32; 3] },
    Clear { buffer: wgpu::Buffer, bytes: u64 },
    Copy { from: wgpu::Buffer, to: wgpu::Buffer, bytes: u64 },
}

/// Part of a buffer, and where it goes.
struct Part<'a> {
    buffer: &'a wgpu::Buffer,
    at: u64,
    out: &'a mut [u8],
}

/// The first fault the device reported.
#[derive(Clone, Default)]
struct Fault(Arc<Mutex<Option<String>>>);

impl Fault {
    fn report(&self, message: String) {
        lock(&self.0).get_or_insert(message);
    }

    fn check(&self) -> Result<()> {
        lock(&self.0).as_ref().map_or(Ok(()), |m| Err(Error::device(m)))
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.pool.give(words(&self.buffer), self.buffer.clone());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn words(buffer: &wgpu::Buffer) -> usize {
    buffer.size() as usize / 4
}

/// wgpu explains errors over many lines; a terminal gets one.
fn one_line(error: &wgpu::Error) -> String {
    match error {
        wgpu::Error::OutOfMemory { .. } => "out of memory; use a smaller --batch".into(),
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            description.split_whitespace().collect::<Vec<_>>().join(" ")
        }
    }
}

/// Every adapter, real ones first, each kind in the order the drivers list them.
fn enumerate() -> Vec<wgpu::Adapter> {
    // One for the whole process: after some twenty, NVIDIA's driver lists no adapters any more, hangs or crashes.
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    let instance = INSTANCE.get_or_init(|| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::PRIMARY;
        descriptor.flags = wgpu::InstanceFlags::empty();
        wgpu::Instance::new(descriptor)
    });
    let mut found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    found.sort_by_key(|a| match a.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    found
}

fn adapter(index: usize, adapter: &wgpu::Adapter) -> Adapter {
    let info = adapter.get_info();
    let limits = adapter.limits();
    Adapter {
        index,
        name: info.name,
        backend: info.backend.to_str().into(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().into(),
        software: info.device_type == wgpu::DeviceType::Cpu,
        max_binding: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
    }
}

pub(super) fn adapters() -> Vec<Adapter> {
    enumerate().iter().enumerate().map(|(i, a)| adapter(i, a)).collect()
}

impl Gpu {
    pub(super) fn open(index: usize, counters: Arc<Counters>) -> Result<Gpu> {
        let all = enumerate();
        let Some(chosen) = all.get(index) else {
            return Err(Error::device(match all.len() {
                0 => "no GPU adapter found; install a Vulkan driver or use --device cpu".into(),
                n => format!("there is no adapter {index}, only 0 to {}; `deltamax devices` lists them", n - 1),
            }));
        };
        let info = adapter(index, chosen);
        let (device, queue) = pollster::block_on(
            chosen.request_device(&wgpu::DeviceDescriptor { required_limits: chosen.limits(), ..Default::default() }),
        )
        .map_err(|e| Error::device(format!("{}: {e}; choose another --device", info.name)))?;

        let fault = Fault::default();
        let report = fault.clone();
        device.on_uncaptured_error(Arc::new(move |e| report.report(one_line(&e))));
        let report = fault.clone();
        device.set_device_lost_callback(move |_, message| {
            report.report(format!("the GPU was lost ({message}); run again with --resume or use --device cpu"));
        });
        let uniforms = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: (BATCH * PARAMS) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        fault.check()?;
        Ok(Gpu {
            device,
            queue,
            info,
            fault,
            counters,
            uniforms,
            pipelines: Mutex::default(),
            recorder: Mutex::default(),
            pool: Arc::new(Pool::new(SLACK, SPARE)),
        })
    }

    pub(super) fn describe(&self) -> String {
        format!("{} ({}, {})", self.info.name, self.info.backend, self.info.driver)
    }

    pub(super) fn is_software(&self) -> bool {
        self.info.software
    }

    /// In words; a multiple of what one pool size may be rounded up by.
    pub(super) fn max_buffer(&self) -> usize {
        let most = (self.info.max_binding / 4) as usize;
        most - most % (most.next_power_of_two() / 16).max(16)
    }

    pub(super) fn alloc(&self, len: usize) -> Result<Storage> {
        self.fault.check()?;
        let size = size_class(len);
        let buffer = self.pool.take(size, || self.create(size)).or_else(|_| {
            self.pool.clear();
            self.sync()?;
            self.pool.take(size, || self.create(size))
        })?;
        Ok(Storage { buffer, pool: self.pool.clone() })
    }

    fn create(&self, words: usize) -> Result<wgpu::Buffer> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: words as u64 * 4,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        match pollster::block_on(scope.pop()) {
            None => self.fault.check().map(|()| buffer),
            Some(_) => Err(Error::Memory(format!("out of memory at a buffer of {} MiB", words.div_ceil(1 << 18)))),
        }
    }

    pub(super) fn clear(&self, storage: &Storage, words: usize) -> Result<()> {
        let (buffer, bytes) = (storage.buffer.clone(), 4 * words as u64);
        self.record(&mut lock(&self.recorder), Command::Clear { buffer, bytes })
    }

    pub(super) fn copy(&self, from: &Storage, to: &Storage, words: usize) -> Result<()> {
        let (from, to, bytes) = (from.buffer.clone(), to.buffer.clone(), 4 * words as u64);
        self.record(&mut lock(&self.recorder), Command::Copy { from, to, bytes })
    }

    pub(super) fn write(&self, storage: &Storage, data: &[u8]) -> Result<()> {
        // The queue writes before it runs what is submitted next: earlier dispatches must be on their way. What others record
        // or send meanwhile is about other buffers.
        self.submit(&mut lock(&self.recorder))?;
        for (i, part) in data.chunks(STAGING).enumerate() {
            self.queue.write_buffer(&storage.buffer, (i * STAGING) as u64, part);
            if part.len() == STAGING {
                self.queue.submit([]);
            }
        }
        self.fault.check()
    }

    /// Waits for what was recorded and copies buffers back: at once, as far as [`STAGING`] holds them.
    pub(super) fn read(&self, wanted: Vec<(&Storage, &mut [u8])>) -> Result<()> {
        let parts = wanted.into_iter().flat_map(|(storage, out)| {
            let part = |(i, out)| Part { buffer: &storage.buffer, at: (i * STAGING) as u64, out };
            out.chunks_mut(STAGING).enumerate().map(part)
        });
        let mut parts = parts.peekable();
        while parts.peek().is_some() {
            let (mut group, mut bytes) = (vec![], 0);
            while let Some(part) = parts.next_if(|p| bytes + p.out.len() <= STAGING) {
                bytes += part.out.len();
                group.push(part);
            }
            self.read_group(group, bytes as u64)?;
        }
        self.fault.check()
    }

    /// The recorder is free while the device is waited for, and that only until these parts are there: what other threads
    /// send meanwhile is not waited for.
    fn read_group(&self, parts: Vec<Part<'_>>, bytes: u64) -> Result<()> {
        let (staging, sent) = {
            let mut recorder = lock(&self.recorder);
            self.submit(&mut recorder)?;
            let staging = self.staging(&mut recorder, bytes);
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let mut to = 0;
            for part in &parts {
                let size = part.out.len() as u64;
                encoder.copy_buffer_to_buffer(part.buffer, part.at, &staging, to, size);
                to += size;
            }
            (staging, self.queue.submit([encoder.finish()]))
        };
        let (sender, receiver) = mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, ..bytes, move |result| drop(sender.send(result)));
        self.wait(sent)?;
        let unreadable = || Error::device(format!("{}: results could not be read back", self.info.name));
        receiver.recv().map_err(|_| unreadable())?.map_err(|_| unreadable())?;
        {
            let mapped = staging.get_mapped_range(..bytes).map_err(|_| unreadable())?;
            let mut words = &mapped[..];
            for part in parts {
                let (own, rest) = words.split_at(part.out.len());
                part.out.copy_from_slice(own);
                words = rest;
            }
        }
        staging.unmap();
        lock(&self.recorder).staging.push(staging);
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<()> {
        let sent = {
            let mut recorder = lock(&self.recorder);
            self.submit(&mut recorder)?;
            recorder.sent.clone()
        };
        sent.map_or(Ok(()), |sent| self.wait(sent))
    }

    pub(super) fn run(
        &self,
        kernel: &'static Kernel,
        params: &[u8],
        reads: &[&Buffer],
        writes: &[&Buffer],
        groups: [u32; 3],
    ) -> Result<()> {
        let Pipeline { pipeline, layout } = self.pipeline(kernel)?;
        let uniform = wgpu::BufferBinding { buffer: &self.uniforms, offset: 0, size: NonZeroU64::new(PARAMS as u64) };
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(uniform) }];
        for (buffer, binding) in reads.iter().chain(writes).zip(1..) {
            let super::Storage::Gpu(storage) = &buffer.storage else {
                return Err(Error::device("a buffer of another device was passed"));
            };
            // Whole vectors, so that a kernel may read a short buffer as `array<vec4<f32>>`.
            let size = NonZeroU64::new(4 * buffer.len.max(1).next_multiple_of(4) as u64);
            let part = wgpu::BufferBinding { buffer: &storage.buffer, offset: 0, size };
            entries.push(wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(part) });
        }
        let bindings = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(kernel.name),
            layout: &layout,
            entries: &entries,
        });
        let mut recorder = lock(&self.recorder);
        let offset = recorder.params.len();
        recorder.params.extend_from_slice(params);
        recorder.params.resize(offset + PARAMS, 0);
        self.record(&mut recorder, Command::Dispatch { pipeline, bindings, params: offset as u32, groups })
    }

    fn record(&self, recorder: &mut Recorder, command: Command) -> Result<()> {
        recorder.commands.push(command);
        if recorder.commands.len() == BATCH { self.submit(recorder) } else { self.fault.check() }
    }

    /// Sends what was recorded to the device, without waiting for it.
    fn submit(&self, recorder: &mut Recorder) -> Result<()> {
        self.fault.check()?;
        if recorder.commands.is_empty() {
            return Ok(());
        }
        // In queue order: after the batch before, ahead of the commands below.
        self.queue.write_buffer(&self.uniforms, 0, &recorder.params);
        recorder.params.clear();
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let dispatches = |c: &Command| matches!(c, Command::Dispatch { .. });
        for run in recorder.commands.chunk_by(|a, b| dispatches(a) && dispatches(b)) {
            match run {
                [Command::Clear { buffer, bytes }] => {
                    encoder.clear_buffer(buffer, 0, Some(*bytes));
                    continue;
                }
                [Command::Copy { from, to, bytes }] => {
                    encoder.copy_buffer_to_buffer(from, 0, to, 0, *bytes);
                    continue;
                }
                _ => {}
            }
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for command in run {
                let Command::Dispatch { pipeline, bindings, params, groups: [x, y, z] } = command else { continue };
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, bindings, &[*params]);
                pass.dispatch_workgroups(*x, *y, *z);
            }
        }
        recorder.commands.clear();
        self.counters.submitted();
        recorder.sent = Some(self.queue.submit([encoder.finish()]));
        self.fault.check()
    }

    /// Waits until what was sent then is done, with all before it.
    fn wait(&self, sent: wgpu::SubmissionIndex) -> Result<()> {
        let until = wgpu::PollType::Wait { submission_index: Some(sent), timeout: None };
        // wgpu panics, instead of returning an error, when the device is lost while it is waited for.
        let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(until)));
        self.fault.check()?;
        match polled {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(Error::device(format!("{}: {e}", self.info.name))),
            Err(_) => {
                self.fault.report(format!("{} was lost; run again with --resume or use --device cpu", self.info.name));
                self.fault.check()
            }
        }
    }

    /// A buffer the host can read, of at least `bytes`, that no other read-back has: a kept one that is large enough, or a
    /// new one in place of one that is not.
    fn staging(&self, recorder: &mut Recorder, bytes: u64) -> wgpu::Buffer {
        let kept = &mut recorder.staging;
        let enough = kept.iter().position(|kept| kept.size() >= bytes);
        enough.map(|at| kept.swap_remove(at)).unwrap_or_else(|| {
            kept.pop();
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read-back"),
                size: bytes.next_power_of_two(),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })
    }

    fn pipeline(&self, kernel: &'static Kernel) -> Result<Pipeline> {
        let mut pipelines = lock(&self.pipelines);
        if let Some(p) = pipelines.get(kernel.name) {
            return Ok(p.clone());
        }
        let pipeline = self.compile(kernel);
        self.fault.check()?;
        pipelines.insert(kernel.name, pipeline.clone());
        Ok(pipeline)
    }

    fn compile(&self, kernel: &'static Kernel) -> Pipeline {
        let label = Some(kernel.name);
        let source = wgpu::ShaderSource::Wgsl(Cow::Borrowed(kernel.source));
        let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
        // SAFETY: every loop of our shaders counts towards a bound; indices stay checked. Counting iterations a second
        // time would cost the inner products a fifth of their speed.
        let module =
            unsafe { self.device.create_shader_module_trusted(wgpu::ShaderModuleDescriptor { label, source }, checks) };
        let entry = |(binding, ty)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: binding == 0, min_binding_size: None },
            count: None,
        };
        let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
        let kinds = std::iter::once(wgpu::BufferBindingType::Uniform)
            .chain(std::iter::repeat_n(storage(true), kernel.reads))
            .chain(std::iter::repeat_n(storage(false), kernel.writes));
        let entries: Vec<_> = (0..).zip(kinds).map(entry).collect();
        let layout =
            self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label,
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            })),
            module: &module,
            entry_point: Some(kernel.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        Pipeline { pipeline, layout }
    }
}
