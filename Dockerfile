# deltamax in a container, on its built-in CPU backend, or on a GPU whose Vulkan driver the host hands in.
#
#     docker build -t deltamax .
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" deltamax            # the study: ./study/report.html
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" deltamax certify --help

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package deltamax

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libvulkan1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/deltamax /usr/local/bin/deltamax
COPY --from=build /src/LICENSE-MIT /src/LICENSE-APACHE /usr/local/share/doc/deltamax/
# Results go to the folder that is mounted here.
WORKDIR /work
ENTRYPOINT ["deltamax"]
CMD ["study"]
