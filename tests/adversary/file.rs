//! ONNX and npz files written byte by byte, with what the network in them really does: what a reader folds, drops or
//! turns round has no part in it.

use std::io::Write;
use std::path::Path;

use crate::exact::Exact;
use crate::truth::{Scalar, Truth};

fn varint(mut v: u64) -> Vec<u8> {
    let mut out = vec![];
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
    out
}

/// A field of bytes.
pub fn field(tag: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(tag << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// A field of one number.
pub fn number(tag: u64, v: i64) -> Vec<u8> {
    [varint(tag << 3), varint(v as u64)].concat()
}

pub fn floats(name: &str, dims: &[usize], values: &[f32]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let dims: Vec<u8> = dims.iter().flat_map(|&d| number(1, d as i64)).collect();
    [dims, number(2, 1), field(8, name.as_bytes()), field(9, &raw)].concat()
}

pub fn ints(name: &str, list: &[i64]) -> Vec<u8> {
    let list: Vec<u8> = list.iter().flat_map(|&v| number(8, v)).collect();
    [field(1, name.as_bytes()), list, number(20, 7)].concat()
}

pub fn float(name: &str, v: f32) -> Vec<u8> {
    [field(1, name.as_bytes()), varint(2 << 3 | 5), v.to_le_bytes().to_vec(), number(20, 1)].concat()
}

fn text(name: &str, v: &str) -> Vec<u8> {
    [field(1, name.as_bytes()), field(4, v.as_bytes()), number(20, 3)].concat()
}

fn value(name: &str, dims: &[usize]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&d| field(1, &number(1, d as i64))).collect();
    let tensor = [number(1, 1), field(2, &dims)].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

/// A chain of operators under construction.
pub struct Chain {
    nodes: Vec<u8>,
    tensors: Vec<u8>,
    input: Vec<u8>,
    count: usize,
    pub truth: Truth,
    /// The last value's scalars, in the order of the file.
    pub scalars: Vec<usize>,
}

impl Chain {
    pub fn new(dims: &[usize]) -> Chain {
        let mut truth = Truth::default();
        let scalars = truth.inputs(dims.iter().product());
        Chain { nodes: vec![], tensors: vec![], input: value("v0", dims), count: 0, truth, scalars }
    }

    /// An operator over the last value and constants.
    pub fn operator(&mut self, kind: &str, constants: &[(&[usize], &[f32])], attributes: &[Vec<u8>]) {
        let mut inputs = field(1, format!("v{}", self.count).as_bytes());
        self.count += 1;
        for (k, (dims, values)) in constants.iter().enumerate() {
            let name = format!("c{}_{k}", self.count);
            self.tensors.extend(field(5, &floats(&name, dims, values)));
            inputs.extend(field(1, name.as_bytes()));
        }
        let output = field(2, format!("v{}", self.count).as_bytes());
        let attributes: Vec<u8> = attributes.iter().flat_map(|a| field(5, a)).collect();
        let name = field(3, format!("n{}", self.count).as_bytes());
        let node = [inputs, output, name, field(4, kind.as_bytes()), attributes].concat();
        self.nodes.extend(field(1, &node));
    }

    pub fn bytes(&self) -> Vec<u8> {
        let output = field(1, format!("v{}", self.count).as_bytes());
        let graph = [self.nodes.clone(), self.tensors.clone(), field(11, &self.input), field(12, &output)].concat();
        [number(1, 8), field(7, &graph), field(8, &number(2, 13))].concat()
    }

    fn sums(&mut self, weight: &[f32], bias: &[f32]) {
        let n = self.scalars.len();
        let row = |(w, b): (&[f32], &f32)| {
            let terms: Vec<(Exact, usize)> = w.iter().zip(&self.scalars).map(|(w, &v)| (Exact::from(*w), v)).collect();
            self.truth.sum(terms, Exact::from(*b))
        };
        self.scalars = weight.chunks(n).zip(bias).map(row).collect();
    }

    /// A convolution of 1x1 over an image of one pixel; `weight` `[out][in]`.
    pub fn conv(&mut self, weight: &[f32], bias: &[f32]) {
        let (n, m) = (self.scalars.len(), bias.len());
        self.operator("Conv", &[(&[m, n, 1, 1], weight), (&[m], bias)], &[ints("kernel_shape", &[1, 1])]);
        self.sums(weight, bias);
    }

    /// `weight` `[out][in]`.
    pub fn gemm(&mut self, weight: &[f32], bias: &[f32]) {
        let (n, m) = (self.scalars.len(), bias.len());
        let transposed = [field(1, b"transB"), number(3, 1), number(20, 2)].concat();
        self.operator("Gemm", &[(&[m, n], weight), (&[m], bias)], &[transposed]);
        self.sums(weight, bias);
    }

    pub fn flatten(&mut self) {
        self.operator("Flatten", &[], &[]);
    }

    pub fn relu(&mut self) {
        self.operator("Relu", &[], &[]);
        self.scalars = self.scalars.clone().into_iter().map(|v| self.truth.push(Scalar::Relu(v))).collect();
    }

    /// A batch normalisation by standard deviations `roots`, whose squares are the variances, without an epsilon.
    pub fn normalise(&mut self, scale: &[f32], bias: &[f32], mean: &[f32], roots: &[u64]) {
        let n = [scale.len()];
        let variance: Vec<f32> = roots.iter().map(|r| (r * r) as f32).collect();
        let constants: [(&[usize], &[f32]); 4] = [(&n, scale), (&n, bias), (&n, mean), (&n, &variance)];
        self.operator("BatchNormalization", &constants, &[float("epsilon", 0.0)]);
        for (k, v) in self.scalars.iter_mut().enumerate() {
            let factor = Exact::from(scale[k]).over(roots[k]);
            let constant = Exact::from(bias[k]).minus(&factor.times(&Exact::from(mean[k])));
            *v = self.truth.sum([(factor, *v)], constant);
        }
    }

    /// A division by `divisor * 2^power`.
    pub fn divide(&mut self, divisor: u64, power: i32) {
        self.operator("Div", &[(&[], &[divisor as f32 * 2f32.powi(power)])], &[]);
        let factor = Exact::from(2f64.powi(-power)).over(divisor);
        self.scalars.iter_mut().for_each(|v| *v = self.truth.sum([(factor.clone(), *v)], Exact::zero()));
    }

    /// A product with one constant.
    pub fn multiply(&mut self, by: f32) {
        self.operator("Mul", &[(&[], &[by])], &[]);
        self.scalars.iter_mut().for_each(|v| *v = self.truth.sum([(Exact::from(by), *v)], Exact::zero()));
    }

    /// The mean of each channel of `plane` values.
    pub fn global_average(&mut self, plane: usize) {
        self.operator("GlobalAveragePool", &[], &[]);
        let share = Exact::from(1.0).over(plane as u64);
        let mean = |all: &[usize]| self.truth.sum(all.iter().map(|&v| (share.clone(), v)), Exact::zero());
        self.scalars = self.scalars.chunks(plane).map(mean).collect();
    }

    /// From rows, columns, channels to channels, rows, columns.
    pub fn channels_first(&mut self, [height, width, channels]: [usize; 3]) {
        self.operator("Transpose", &[], &[ints("perm", &[0, 3, 1, 2])]);
        let plane = height * width;
        self.scalars = (0..channels * plane).map(|k| self.scalars[k % plane * channels + k / plane]).collect();
    }

    /// Pads nothing: the mean over windows of one value, every `stride`, by the rule `SAME_UPPER`.
    pub fn same_average(&mut self, stride: i64) {
        let attributes = [text("auto_pad", "SAME_UPPER"), ints("kernel_shape", &[1, 1]), ints("strides", &[stride; 2])];
        self.operator("AveragePool", &[], &attributes);
    }

    /// The whole truth, ending with the last value.
    pub fn truth(&self) -> Truth {
        Truth { outputs: self.scalars.clone(), ..self.truth.clone() }
    }
}

/// `x_test` and `y_test` of an npz file; labels are zero.
pub fn npz(path: &Path, dims: &[usize], pixels: &[f32]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let array = |kind: &str, dims: &[usize], bytes: Vec<u8>| {
        let dims: String = dims.iter().map(|d| format!("{d},")).collect();
        let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({dims}), }}");
        header += &" ".repeat(63 - (10 + header.len()) % 64);
        header.push('\n');
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), &bytes].concat()
    };
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("x_test.npy", options).unwrap();
    zip.write_all(&array("<f4", dims, pixels.iter().flat_map(|v| v.to_le_bytes()).collect())).unwrap();
    zip.start_file("y_test.npy", options).unwrap();
    let labels = (0..dims[0] as i64).flat_map(|k| (k % 2).to_le_bytes()).collect();
    zip.write_all(&array("<i8", &dims[..1], labels)).unwrap();
    zip.finish().unwrap();
}
