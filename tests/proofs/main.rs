//! Small networks from bounds to verdicts: what is proved holds, and the auditor agrees. One program, since each that is
//! linked with the library takes its time to build.

mod activations;
mod around;
mod audit;
mod depth;
mod explain;
#[path = "../common/nets.rs"]
mod nets;
mod noise;
mod norm;
mod range;
mod runtime;
mod shapes;
mod soundness;
mod vary;
