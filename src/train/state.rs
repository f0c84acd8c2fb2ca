//! What training changes, apart from the settings that it follows: weights, Adam's memory of them, and what came of it.

use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::network::{Gradients, Network};
use crate::ops::optimizer::{self, Adam};
use crate::results::Epoch;

/// How far a training is.
pub(super) struct State {
    pub net: Network,
    /// Adam's running means of each parameter's gradient and of its square, in the order of [`Network::parameters`].
    moments: Vec<[Buffer; 2]>,
    /// The epochs so far.
    pub history: Vec<Epoch>,
    /// The epoch that did best on images held out.
    pub best: Option<Best>,
}

/// An epoch after which less was lost on images held out than after any other.
pub(super) struct Best {
    pub epoch: usize,
    pub loss: f64,
    /// In the order of [`State::parts`].
    parts: Vec<Buffer>,
}

impl State {
    pub fn new(device: &Device, model: &Model) -> Result<State> {
        let mut state =
            State { net: Network::learning(device, model)?, moments: Vec::new(), history: Vec::new(), best: None };
        let zeros = |p: &Buffer| Ok::<_, Error>([device.zeros(p.len())?, device.zeros(p.len())?]);
        state.moments = state.net.parameters().map(zeros).collect::<Result<_>>()?;
        Ok(state)
    }

    /// What makes the model: all that is learned, and running moments.
    fn parts(&self) -> impl Iterator<Item = &Buffer> {
        self.net.parameters().chain(self.net.running())
    }

    /// One step of Adam, counted from 1, over all that is learned. Biases and shifts do not decay.
    pub fn step(&self, gradients: &Gradients, adam: &Adam, step: u32) -> Result<()> {
        let decays = [*adam, Adam { decay: 0.0, ..*adam }];
        let gradients = gradients.iter().flatten().flatten();
        for (((p, g), [m, v]), adam) in
            self.net.parameters().zip(gradients).zip(&self.moments).zip(decays.iter().cycle())
        {
            optimizer::adam(&self.net.device, g, p, m, v, adam, step)?;
        }
        Ok(())
    }

    /// Keeps the weights if less was lost than ever on images held out, after this epoch.
    pub fn judge(&mut self, epoch: usize, loss: f64) -> Result<()> {
        if self.best.as_ref().is_none_or(|b| loss < b.loss) {
            let parts = self.parts().map(|p| self.net.device.copied(p)).collect::<Result<_>>()?;
            self.best = Some(Best { epoch, loss, parts });
        }
        Ok(())
    }

    /// Epochs since the best one.
    pub fn since_best(&self) -> usize {
        self.best.as_ref().map_or(0, |b| self.history.len() - b.epoch)
    }

    /// The model of the best epoch, or the last one where none was judged.
    pub fn model(&self) -> Result<Model> {
        if let Some(best) = &self.best {
            self.parts().zip(&best.parts).try_for_each(|(p, b)| self.net.device.copy(b, p))?;
        }
        self.net.settle()?;
        self.net.download()
    }

    /// Everything on the device as the host sees it: what makes the model, Adam's memory, and the model of the best epoch.
    fn buffers(&self) -> impl Iterator<Item = &Buffer> {
        let best = self.best.iter().flat_map(|b| &b.parts);
        self.parts().chain(self.moments.iter().flatten()).chain(best)
    }

    /// All numbers on the device.
    pub fn numbers(&self) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for buffer in self.buffers() {
            all.extend(self.net.device.read::<f32>(buffer)?);
        }
        Ok(all)
    }

    /// Goes on from what [`State::numbers`] gave after these epochs; `best` is the best one and what it lost. Whether the
    /// numbers are as many as there have to be.
    pub fn restore(&mut self, history: Vec<Epoch>, best: Option<(usize, f64)>, numbers: &[f32]) -> Result<bool> {
        if let Some((epoch, loss)) = best {
            let parts = self.parts().map(|p| self.net.device.copied(p)).collect::<Result<_>>()?;
            self.best = Some(Best { epoch, loss, parts });
        }
        if self.buffers().map(Buffer::len).sum::<usize>() != numbers.len() {
            return Ok(false);
        }
        let mut rest = numbers;
        for buffer in self.buffers() {
            let (own, others) = rest.split_at(buffer.len());
            self.net.device.write(buffer, own)?;
            rest = others;
        }
        self.history = history;
        Ok(true)
    }
}
