# moeq in a container, of Debian's packages alone:
#
#     docker build -t moeq .
#     docker run --rm -v "$PWD:/data" moeq convert Mixtral-8x7B-v0.1 -o mixtral.moeq --level q4_k
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev cmake ninja-build pkg-config \
        zlib1g-dev libcjson-dev libpcre2-dev libutf8proc-dev nettle-dev
COPY . /src
RUN cmake -G Ninja -S /src -B /build -DMOEQ_TESTS=OFF -DMOEQ_BENCH=OFF && cmake --build /build && \
    DESTDIR=/out cmake --install /build --strip

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends zlib1g libcjson1 libpcre2-8-0 libutf8proc2 libnettle8 libgomp1 && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /out /
RUN ldconfig
WORKDIR /data
ENTRYPOINT ["moeq"]
CMD ["--help"]
