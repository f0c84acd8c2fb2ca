//! Constant tensors: initialisers of every float width, integers for shape arithmetic, data in other files.

use std::path::Path;

use super::error::{OnnxError, OnnxResult, quote};
use super::external;
use super::proto::{self, data_type};

/// A constant of the graph, row major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub dims: Vec<usize>,
    pub data: Data,
}

/// Floats are weights; integers (and booleans) describe shapes.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

impl Tensor {
    pub fn ints(values: Vec<i64>) -> Self {
        Tensor { dims: vec![values.len()], data: Data::Int(values) }
    }

    pub fn len(&self) -> usize {
        match &self.data {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
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
            data_type::FLOAT16 | data_type::BFLOAT16 => 2,
            data_type::BOOL => 1,
            _ => return Err(fail(format!("data type {kind} is not supported; use 16, 32 or 64 bit floats"))),
        };
        Ok(Layout { dims, len, kind, width })
    }

    pub fn bytes(&self) -> usize {
        self.len * self.width
    }
}

/// Reads one tensor. `folder` is where external data may lie; notes on lost precision go to `warnings`.
pub fn read(tensor: proto::Tensor, folder: Option<&Path>, warnings: &mut Vec<String>) -> OnnxResult<Tensor> {
    let name = tensor.name.clone();
    let fail = |problem: String| OnnxError::tensor(&name, problem);
    let layout = Layout::of(&tensor)?;
    let Layout { len, kind, .. } = layout;
    let raw = if external::is_external(&tensor) {
        Some(external::bytes(&tensor, layout.bytes(), folder).map_err(&fail)?)
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
        Values::F64(v) => {
            let narrow: Vec<f32> = v.iter().map(|&x| x as f32).collect();
            if narrow.iter().zip(&v).any(|(&a, &b)| f64::from(a) != b) {
                warnings.push(format!(
                    "tensor '{}' is narrowed from 64 to 32 bits; the narrowed network is certified",
                    quote(&name)
                ));
            }
            Data::Float(narrow)
        }
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

    #[test]
    fn every_float_width_reads_as_f32() {
        let expected = Tensor { dims: vec![2], data: Data::Float(vec![1.5, -2.0]) };
        let mut warnings = vec![];
        let bytes = |f: &dyn Fn(f32) -> Vec<u8>| [1.5f32, -2.0].into_iter().flat_map(f).collect::<Vec<u8>>();
        let cases = [
            (data_type::FLOAT, bytes(&|v| v.to_le_bytes().to_vec())),
            (data_type::DOUBLE, bytes(&|v| f64::from(v).to_le_bytes().to_vec())),
            (data_type::FLOAT16, bytes(&|v| half::f16::from_f32(v).to_le_bytes().to_vec())),
            (data_type::BFLOAT16, bytes(&|v| half::bf16::from_f32(v).to_le_bytes().to_vec())),
        ];
        for (kind, bytes) in cases {
            assert_eq!(read(raw(kind, &[2], bytes), None, &mut warnings).unwrap(), expected);
        }
        assert!(warnings.is_empty());
        read(raw(data_type::DOUBLE, &[1], 0.1f64.to_le_bytes().to_vec()), None, &mut warnings).unwrap();
        assert_eq!(warnings.len(), 1);
        let int32 = proto::Tensor {
            dims: vec![1],
            data_type: Some(data_type::FLOAT16),
            int32_data: vec![0x3e00],
            ..Default::default()
        };
        assert_eq!(read(int32, None, &mut warnings).unwrap().data, Data::Float(vec![1.5]));
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
            assert!(read(raw(kind, &dims, vec![0; bytes]), None, &mut vec![]).is_err());
        }
    }
}
