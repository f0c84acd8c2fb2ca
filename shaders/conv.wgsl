// Convolution; see src/ops/conv.rs.
