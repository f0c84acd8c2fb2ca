// Adam (Kingma and Ba 2015) by the rates of `params`, as in src/ops/optimizer.rs.

const STEEPEST: f32 = 1152921504606846976.0; // 2^60

// A gradient whose square does not overflow.
fn limited(gradient: f32) -> f32 {
    return clamp(gradient, -STEEPEST, STEEPEST);
}

// Running means of the gradient and of its square, with one more gradient.
fn moments(mean: f32, square: f32, gradient: f32) -> vec2<f32> {
    return vec2<f32>(
        mean + (1.0 - params.beta1) * (gradient - mean),
        square + (1.0 - params.beta2) * (gradient * gradient - square),
    );
}

// How far to go; `rate` is the step size over the bias correction of the mean.
fn adam_step(rate: f32, moment: vec2<f32>) -> f32 {
    return rate * moment.x / (sqrt(moment.y * params.correct_v) + params.epsilon);
}
