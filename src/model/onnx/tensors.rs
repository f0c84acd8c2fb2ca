//! Constant tensors: initialisers of every float width, integers for shape arithmetic, data in other files.

use super::error::{OnnxError, OnnxResult};
use super::external::{self, External};
use super::near::Near;
use super::op::Op;
use super::proto::{self, data_type};

/// A constant of the graph, row major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub dims: Vec<usize>,
    pub data: Data,
}

/// Numbers are weights; integers (and booleans) describe shapes.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Float(Vec<f32>),
    /// Numbers that are not all f32.
    Near(Vec<Near>),
    Int(Vec<i64>),
}

impl FromIterator<Near> for Data {
    fn from_iter<T: IntoIterator<Item = Near>>(values: T) -> Data {
        let (mut values, mut short) = (values.into_iter(), vec![]);
        while let Some(v) = values.next() {
            let Some(narrow) = v.as_f32() else {
                let before = short.into_iter().map(Near::from);
                return Data::Near(before.chain([v]).chain(values).collect());
            };
            short.push(narrow);
        }
        Data::Float(short)
    }
}

impl Tensor {
    pub fn ints(values: Vec<i64>) -> Self {
        Tensor { dims: vec![values.len()], data: Data::Int(values) }
    }

    pub fn len(&self) -> usize {
        match &self.data {
            Data::Float(v) => v.len(),
            Data::Near(v) => v.len(),
            Data::Int(v) => v.len(),
        }
    }

    /// The values at these places.
    pub fn select(&self, op: &Op, places: impl Iterator<Item = usize>) -> OnnxResult<Vec<Near>> {
        match &self.data {
            Data::Float(v) => Ok(places.map(|k| Near::from(v[k])).collect()),
            Data::Near(v) => Ok(places.map(|k| v[k]).collect()),
            Data::Int(_) => op.fail("combines integers with the network's values; export the network again"),
        }
    }

    /// The only value.
    pub fn single(&self, op: &Op) -> OnnxResult<Near> {
        match self.len() {
            1 => Ok(self.select(op, 0..1)?[0]),
            n => op.fail(format!("a constant of {n} values, where one is needed")),
        }
    }
}

/// More axes than any network has; bounds the work per value.
const MAX_RANK: usize = 16;

/// Number of values of a tensor with these dimensions, if there are not too many axes and at most `limit` values.
pub fn count(dims: &[usize], limit: usize) -> Option<usize> {
    if dims.len() > MAX_RANK {
        return None;
    }
    if dims.contains(&0) {
        return Some(0);
    }
    dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d).filter(|&n| n <= limit))
}

/// How the values of a tensor lie in bytes.
pub struct Layout {
    pub dims: Vec<usize>,
    /// Number of values.
    pub len: usize,
    /// One of the constants in [`data_type`].
    pub kind: i32,
    /// Bytes of one value.
    width: usize,
}

impl Layout {
    /// # Errors
    /// Names a tensor that is too large or of a type that is not read.
    pub fn of(tensor: &proto::Tensor) -> OnnxResult<Layout> {
        let fail = |problem: String| OnnxError::tensor(&tensor.name, problem);
        let size = |&d: &i64| usize::try_from(d).map_err(|_| fail(format!("dimension {d} makes no sense")));
        let dims = tensor.dims.iter().map(size).collect::<OnnxResult<Vec<usize>>>()?;
        let len = count(&dims, 1 << 31).ok_or_else(|| fail("dimensions are too large".into()))?;
        let kind = tensor.data_type.unwrap_or(0);
        let width = match kind {
            data_type::FLOAT | data_type::INT32 => 4,
            data_type::INT64 | data_type::DOUBLE => 8,
            data_type::FLOAT16 | data_type::BFLOAT16 | data_type::INT16 | data_type::UINT16 => 2,
            data_type::BOOL | data_type::INT8 | data_type::UINT8 => 1,
            _ => return Err(fail(format!("data type {kind} is not supported; export in 32 bit floats"))),
        };
        Ok(Layout { dims, len, kind, width })
    }

    pub fn bytes(&self) -> usize {
        self.len * self.width
    }
}

/// Reads one tensor, as it is: nothing is rounded.
pub fn read(tensor: proto::Tensor, external: &mut External) -> OnnxResult<Tensor> {
    let name = tensor.name.clone();
    let fail = |problem: String| OnnxError::tensor(&name, problem);
    let layout = Layout::of(&tensor)?;
    let Layout { len, kind, .. } = layout;
    let raw = if external::is_external(&tensor) {
        Some(external.bytes(&tensor, layout.bytes()).map_err(&fail)?)
    } else {
        tensor.raw_data
    };
    let data = match raw {
        Some(bytes) if bytes.len() == layout.bytes() => from_bytes(kind, &bytes),
        Some(bytes) => return Err(fail(format!("holds {} bytes, its shape needs {}", bytes.len(), layout.bytes()))),
        None => match kind {
            data_type::FLOAT => Values::F32(tensor.float_data),
            data_type::DOUBLE => Values::F64(tensor.double_data),
            data_type::INT64 => Values::Int(tensor.int64_data),
            data_type::FLOAT16 => {
                Values::F32(tensor.int32_data.iter().map(|&v| half::f16::from_bits(v as u16).to_f32()).collect())
            }
            data_type::BFLOAT16 => {
                Values::F32(tensor.int32_data.iter().map(|&v| half::bf16::from_bits(v as u16).to_f32()).collect())
            }
            _ => Values::Int(tensor.int32_data.iter().map(|&v| i64::from(v)).collect()),
        },
    };
    let data = match data {
        Values::F32(v) => Data::Float(v),
        Values::Int(v) => Data::Int(v),
        Values::F64(v) => v.into_iter().map(Near::from).collect(),
    };
    let tensor = Tensor { dims: layout.dims, data };
    if tensor.len() != len {
        return Err(fail(format!("holds {} values, its shape needs {len}", tensor.len())));
    }
    Ok(tensor)
}

enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Int(Vec<i64>),
}

/// Little-endian values of one of the supported types.
fn from_bytes(kind: i32, bytes: &[u8]) -> Values {
    fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
        bytes.as_chunks::<N>().0.iter().copied()
    }
    match kind {
        data_type::FLOAT => Values::F32(words(bytes).map(f32::from_le_bytes).collect()),
        data_type::DOUBLE => Values::F64(words(bytes).map(f64::from_le_bytes).collect()),
        data_type::FLOAT16 => Values::F32(words(bytes).map(|b| half::f16::from_le_bytes(b).to_f32()).collect()),
        data_type::BFLOAT16 => Values::F32(words(bytes).map(|b| half::bf16::from_le_bytes(b).to_f32()).collect()),
        data_type::INT64 => Values::Int(words(bytes).map(i64::from_le_bytes).collect()),
        data_type::INT32 => Values::Int(words(bytes).map(|b| i64::from(i32::from_le_bytes(b))).collect()),
        data_type::INT16 => Values::Int(words(bytes).map(|b| i64::from(i16::from_le_bytes(b))).collect()),
        data_type::UINT16 => Values::Int(words(bytes).map(|b| i64::from(u16::from_le_bytes(b))).collect()),
        data_type::INT8 => Values::Int(bytes.iter().map(|&b| i64::from(b as i8)).collect()),
        _ => Values::Int(bytes.iter().map(|&b| i64::from(b)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(kind: i32, dims: &[i64], bytes: Vec<u8>) -> proto::Tensor {
        let dims = dims.to_vec();
        proto::Tensor { name: "w".into(), dims, data_type: Some(kind), raw_data: Some(bytes), ..Default::default() }
    }

    fn read(tensor: proto::Tensor) -> OnnxResult<Tensor> {
        super::read(tensor, &mut External::new(None))
    }

    #[test]
    fn every_float_width_reads_as_it_is() {
        let expected = Tensor { dims: vec![2], data: Data::Float(vec![1.5, -2.0]) };
        let bytes = |f: &dyn Fn(f32) -> Vec<u8>| [1.5f32, -2.0].into_iter().flat_map(f).collect::<Vec<u8>>();
        let cases = [
            (data_type::FLOAT, bytes(&|v| v.to_le_bytes().to_vec())),
            (data_type::DOUBLE, bytes(&|v| f64::from(v).to_le_bytes().to_vec())),
            (data_type::FLOAT16, bytes(&|v| half::f16::from_f32(v).to_le_bytes().to_vec())),
            (data_type::BFLOAT16, bytes(&|v| half::bf16::from_f32(v).to_le_bytes().to_vec())),
        ];
        for (kind, bytes) in cases {
            assert_eq!(read(raw(kind, &[2], bytes)).unwrap(), expected);
        }
        let wide = [1.5f64, 0.1, 1e-50].into_iter().flat_map(f64::to_le_bytes).collect();
        let wide = read(raw(data_type::DOUBLE, &[3], wide)).unwrap();
        assert_eq!(wide.data, Data::Near([1.5, 0.1, 1e-50].map(Near::from).to_vec()));
        // The smallest half is a subnormal f32 nowhere, the smallest bfloat is one.
        let least = [(data_type::FLOAT16, 2f32.powi(-24)), (data_type::BFLOAT16, f32::from_bits(1 << 16))];
        for (kind, value) in least {
            assert_eq!(read(raw(kind, &[1], vec![1, 0])).unwrap().data, Data::Float(vec![value]));
        }
        let int32 = proto::Tensor {
            dims: vec![1],
            data_type: Some(data_type::FLOAT16),
            int32_data: vec![0x3e00],
            ..Default::default()
        };
        assert_eq!(read(int32).unwrap().data, Data::Float(vec![1.5]));
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        for (kind, dims, bytes) in [
            (data_type::FLOAT, vec![2], 4),
            (data_type::FLOAT, vec![-1], 4),
            (data_type::FLOAT, vec![i64::MAX, i64::MAX], 4),
            (8, vec![1], 4),
            (0, vec![1], 4),
        ] {
            assert!(read(raw(kind, &dims, vec![0; bytes])).is_err());
        }
    }
}
