// The clipped box around an image; see src/ops/ball.rs.
