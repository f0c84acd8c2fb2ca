//! The first layers of a network as a network of their own.

use super::{Model, ValueId};

impl Model {
    /// The network that ends at a value, behind at least one layer. Its outputs are classes by number.
    pub fn up_to(&self, value: ValueId) -> Model {
        let classes = (0..self.shape(value).len()).map(|k| k.to_string()).collect();
        let folded = self.folded.iter().filter(|f| f.node < value).cloned().collect();
        Model { input: self.input, nodes: self.nodes[..value].to_vec(), classes, folded }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::dense;
    use crate::model::reference::forward;

    #[test]
    fn its_outputs_are_what_the_whole_has_there() {
        let whole = dense(3);
        let image = [0.1, 0.9, 0.3, 0.5, 0.0, 1.0, 0.7, 0.2];
        let values = forward(&whole, &image);
        for value in 1..=whole.output() {
            let part = whole.up_to(value);
            part.validate().unwrap();
            assert_eq!(forward(&part, &image), values[..=value]);
        }
    }
}
