//! Messages are counted before they are read: an empty one takes two bytes in a file and hundreds in memory.

use super::error::{OnnxError, OnnxResult};

/// Nodes, tensors, attributes, names and sizes that a file may hold together; the largest networks have some thousands.
const MOST: usize = 1 << 20;

/// What a field holds, as far as it may hold many of something.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    Tensor,
    Value,
    Type,
    TensorType,
    Shape,
    /// Nothing worth counting.
    Leaf,
}

impl Message {
    /// What is in a field of this message, if it is a message or a name.
    fn field(self, tag: u64) -> Option<Message> {
        match (self, tag) {
            (Message::Model, 7) => Some(Message::Graph),
            (Message::Model, 25) => Some(Message::Function),
            (Message::Graph, 1) | (Message::Function, 7) => Some(Message::Node),
            (Message::Attribute, 6) => Some(Message::Graph),
            (Message::Function, 11) => Some(Message::Attribute),
            (Message::Graph, 5) | (Message::Attribute, 5) => Some(Message::Tensor),
            (Message::Graph, 11..=13) => Some(Message::Value),
            (Message::Node, 5) => Some(Message::Attribute),
            (Message::Value, 2) => Some(Message::Type),
            (Message::Type, 1) => Some(Message::TensorType),
            (Message::TensorType, 2) => Some(Message::Shape),
            (Message::Model, 8 | 14)
            | (Message::Function, 4 | 5 | 9)
            | (Message::Graph, 15)
            | (Message::Node, 1 | 2) => Some(Message::Leaf),
            (Message::Tensor, 13) | (Message::Shape, 1) => Some(Message::Leaf),
            _ => None,
        }
    }
}

/// Refuses a file of more pieces than networks have. What is no message at all is left to the reader.
pub fn check(bytes: &[u8]) -> OnnxResult<()> {
    let mut count = 0;
    let mut open = vec![(Message::Model, bytes)];
    while let Some((message, mut rest)) = open.pop() {
        while let Some((tag, content)) = field(&mut rest) {
            let (Some(inner), Some(content)) = (message.field(tag), content) else { continue };
            count += 1;
            if count > MOST {
                return Err(OnnxError::graph(format!(
                    "more than {MOST} nodes, tensors and names; no network has so many"
                )));
            }
            if !content.is_empty() {
                open.push((inner, content));
            }
        }
    }
    Ok(())
}

/// Takes the next field off: its tag, and its content where it has a length.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let key = varint(rest)?;
    let length = match key & 7 {
        0 => {
            varint(rest)?;
            return Some((key >> 3, None));
        }
        1 => 8,
        5 => 4,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (content, after) = rest.split_at_checked(length)?;
            *rest = after;
            return Some((key >> 3, Some(content)));
        }
        _ => return None,
    };
    *rest = rest.get(length..)?;
    Some((key >> 3, None))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_counted_and_rubbish_is_left_alone() {
        // A graph of so many empty tensors.
        let graph = |n: usize| {
            let body = [0x2A, 0].repeat(n);
            let mut file = vec![0x3A];
            let mut length = body.len();
            while length >= 128 {
                file.push(length as u8 | 128);
                length >>= 7;
            }
            file.push(length as u8);
            [file, body].concat()
        };
        assert!(check(&graph(MOST / 2)).is_ok());
        let error = check(&graph(MOST + 1)).unwrap_err().to_string();
        assert!(error.contains("more than 1048576"), "{error}");
        for rubbish in [&[][..], &[0xFF; 40], &[0x3A, 0xFF, 0xFF], &[0x3B, 1, 2]] {
            assert!(check(rubbish).is_ok());
        }
    }
}
