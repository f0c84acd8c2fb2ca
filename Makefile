# What a change must pass: make check
.PHONY: check lint test bench study

check: lint test

lint:
	cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings

test:
	cargo test --release

bench:
	cargo run --release -- bench

study:
	cargo run --release -- study
