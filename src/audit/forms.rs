//! A network as it was certified and as its file has it: certificates name nodes of the one, proofs are of the other.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::model::{Model, Node};
use crate::results::certificate::{Certificate, NeuronRows, NoiseCertificate};

/// Which node of the file's network is which of the certified one. Folding changes affine layers; the nonlinear ones are
/// all there, in the same order.
pub struct Forms {
    /// By node of the certified network, nonlinear layers only.
    nonlinear: HashMap<usize, usize>,
    /// By node of the certified network whose values a nonlinear layer reads.
    read: HashMap<usize, usize>,
    /// Stands for a node that is not there.
    none: usize,
}

impl Forms {
    /// # Errors
    /// If the two networks cannot be one.
    pub fn new(certified: &Model, file: &Model) -> Result<Forms> {
        let (a, b) = (nonlinear(certified), nonlinear(file));
        let alike = |((_, a), (_, b)): (&(usize, &Node), &(usize, &Node))| {
            a.shape.len() == b.shape.len() && std::mem::discriminant(&a.layer) == std::mem::discriminant(&b.layer)
        };
        if a.len() != b.len() || !a.iter().zip(&b).all(alike) || certified.input != file.input {
            return Err(Error::usage("the network as certified has other nonlinear layers than its file; report this"));
        }
        let pairs = || a.iter().zip(&b);
        // A value v above 0 is the output of node v - 1.
        let reads = |(a, b): (&(usize, &Node), &(usize, &Node))| {
            Some((a.1.inputs[0].checked_sub(1)?, b.1.inputs[0].checked_sub(1)?))
        };
        let nonlinear = pairs().map(|(a, b)| (a.0, b.0)).collect();
        Ok(Forms { nonlinear, read: pairs().filter_map(reads).collect(), none: file.nodes.len() })
    }

    /// [`carry`](Self::carry) for noise.
    pub fn carry_noise(&self, mut certificate: NoiseCertificate) -> NoiseCertificate {
        let relu = |node: &mut usize| *node = self.nonlinear.get(node).copied().unwrap_or(self.none);
        certificate.standard.iter_mut().for_each(|s| relu(&mut s.node));
        let read = |rows: &mut NeuronRows| rows.node = self.read.get(&rows.node).copied().unwrap_or(self.none);
        certificate.rows.iter_mut().chain(&mut certificate.again).for_each(read);
        NoiseCertificate { lines: self.carry(certificate.lines), ..certificate }
    }

    /// A certificate for the certified network as one for the file's. Nodes that are not there stay such.
    pub fn carry(&self, mut certificate: Certificate) -> Certificate {
        let relu = |node: &mut usize| *node = self.nonlinear.get(node).copied().unwrap_or(self.none);
        certificate.relu.iter_mut().for_each(|s| relu(&mut s.node));
        for neurons in &mut certificate.inner {
            neurons.node = self.read.get(&neurons.node).copied().unwrap_or(self.none);
            neurons.relu.iter_mut().for_each(|s| relu(&mut s.node));
        }
        for halved in &mut certificate.halved {
            halved.node = self.read.get(&halved.node).copied().unwrap_or(self.none);
            halved.unstable.iter_mut().for_each(|(node, _)| relu(node));
            halved
                .ends
                .iter_mut()
                .flat_map(|e| &mut e.parts)
                .flat_map(|p| &mut p.assumed)
                .for_each(|a| relu(&mut a.node));
        }
        if let Some(branches) = &mut certificate.branches {
            branches.unstable.iter_mut().for_each(|(node, _)| relu(node));
            branches.leaves.iter_mut().flat_map(|l| &mut l.assumed).for_each(|a| relu(&mut a.node));
            for home in &mut branches.homes {
                home.assumed.iter_mut().for_each(|a| relu(&mut a.node));
                home.unstable.iter_mut().for_each(|(node, _)| relu(node));
            }
            branches.renewed.iter_mut().for_each(|node| *node = self.read.get(node).copied().unwrap_or(self.none));
        }
        certificate
    }
}

fn nonlinear(model: &Model) -> Vec<(usize, &Node)> {
    model.nodes.iter().enumerate().filter(|(_, n)| !n.layer.is_affine()).collect()
}
