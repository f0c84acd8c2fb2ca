//! Work on many images at once, as many as the device's memory holds.

use crate::error::{Error, Result};
use crate::interrupt;

/// How many items may be worked on at once.
pub struct Fit {
    most: usize,
}

impl Fit {
    /// At first no more than `most`.
    pub fn new(most: usize) -> Fit {
        Fit { most: most.max(1) }
    }

    /// Hands all items to `work`, in order, and joins what it gives for each. Where memory runs out, that part is done
    /// again in halves, and no later one is larger.
    ///
    /// # Errors
    /// Those of `work`; out of memory only where a single item does not fit.
    pub fn run<T, R>(&mut self, items: &[T], mut work: impl FnMut(&[T]) -> Result<Vec<R>>) -> Result<Vec<R>> {
        let mut done = Vec::with_capacity(items.len());
        let mut rest = items;
        while !rest.is_empty() {
            interrupt::check()?;
            let (part, after) = rest.split_at(self.most.min(rest.len()));
            match work(part) {
                Ok(results) => {
                    done.extend(results);
                    rest = after;
                }
                Err(Error::Memory(what)) if part.len() == 1 => {
                    let problem =
                        format!("one image does not fit: {what}; give a smaller --memory, or another --device");
                    return Err(Error::device(problem));
                }
                Err(Error::Memory(what)) => {
                    self.most = part.len() / 2;
                    tracing::info!(images = self.most, "{what}; going on with fewer at once");
                }
                Err(other) => return Err(other),
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_halved_until_they_fit_and_stay_so() {
        let mut sizes = vec![];
        let mut fit = Fit::new(100);
        let mut work = |part: &[usize]| {
            sizes.push(part.len());
            if part.len() > 7 { Err(Error::Memory("full".into())) } else { Ok(part.to_vec()) }
        };
        let items: Vec<usize> = (0..33).collect();
        assert_eq!(fit.run(&items, &mut work).unwrap(), items);
        assert_eq!(fit.run(&items[..3], &mut work).unwrap(), items[..3]);
        assert_eq!(sizes, [33, 16, 8, 4, 4, 4, 4, 4, 4, 4, 4, 1, 3]);
        let never =
            fit.run(&items, |part| if part.is_empty() { Ok(vec![0]) } else { Err(Error::Memory("full".into())) });
        let said = never.unwrap_err().to_string();
        assert!(said.contains("one image does not fit: full") && said.contains("--memory"), "{said}");
        assert!(matches!(fit.run(&items, |_| Err::<Vec<usize>, _>(Error::Timeout)), Err(Error::Timeout)));
    }
}
