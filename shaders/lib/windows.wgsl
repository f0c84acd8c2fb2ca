// First and one past the last window that covers an input row or column; there are `count`.
fn windows(input: u32, stride: u32, pad: u32, kernel: u32, count: u32) -> vec2<u32> {
    let end = input + pad + 1u;
    return vec2<u32>((max(end, kernel) - kernel + stride - 1u) / stride, min((end - 1u) / stride + 1u, count));
}
