// Its argument, given `params.zero` is zero. No floating-point rewriting crosses an integer operation whose operand is
// known at run time only: `(x + y) - x` is not taken for `y`, nor are sums of blocks reassociated.
fn opaque(v: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) ^ vec4<u32>(params.zero));
}
