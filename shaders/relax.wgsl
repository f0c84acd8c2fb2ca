// Tables for rows of linear bounds; see src/ops/relax.rs.
