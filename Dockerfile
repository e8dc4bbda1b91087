# One static binary on an empty root, and the certificate authorities that issuers prove themselves by: no shell, no libc,
# no package that could need a patch.
#
#   docker build -t sidegate .                                         (or podman build)
#   docker build -t sidegate --build-arg RUST_IMAGE=MIRROR/rust:TAG .  (from a mirror of yours)
#
# The version is the one of rust-toolchain.toml; that file itself stays out of the build, because
# it would make rustup fetch clippy and rustfmt too.
ARG RUST_IMAGE=rust:1.95.0-bookworm
FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .

# crt-static links glibc into the binary. It needs an explicit --target: without one the flag would also
# meet the procedural macros, which are shared objects. aws-lc-rs asks for a C compiler and nothing else.
# Packed, the relocations of its pointers take 4 kB and not 330; whoever links glibc cannot meet one that does not know
# them. Rust brings a linker of its own for x86-64, which writes functions once that came out the same.
# What runs often the compiler is told by .cargo/sidegate.profdata, as script/build does; under a name of its content, because
# cargo looks at no more than its time.
# Cargo trusts modification times, and COPY keeps the ones of the build context: without the touch, sources
# that are older than a cached artifact would be taken for built.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(rustc -vV | sed -n 's/^host: //p')" \
 && link='-z,pack-relative-relocs' \
 && case "$target" in x86_64-*) link="$link,--icf=all" ;; esac \
 && profile="/tmp/$(sha256sum .cargo/sidegate.profdata | cut -c 1-16).profdata" \
 && cp .cargo/sidegate.profdata "$profile" \
 && touch src/lib.rs src/main.rs \
 && RUSTFLAGS="-C profile-use=$profile -C target-feature=+crt-static -C link-arg=-Wl,$link" \
    cargo build --locked --release --target "$target" \
 && cp "target/$target/release/sidegate" /sidegate \
 && cp /etc/ssl/certs/ca-certificates.crt /ca-certificates.crt

FROM scratch
COPY --from=build /ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /sidegate /sidegate

# By number: runAsNonRoot cannot look a name up in an image without /etc/passwd. Any other UID works as well.
USER 65532:65532
EXPOSE 8443 9090
ENTRYPOINT ["/sidegate"]
CMD ["serve"]
