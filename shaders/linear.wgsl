// Rows of linear bounds; see src/ops/linear.rs.
