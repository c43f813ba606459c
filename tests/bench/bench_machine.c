/*
 * bench_machine.c: the machine's limits, which all other figures are compared with.
 *
 * Arithmetic: independent chains in registers only, in assembly, so that no compiler moves them to
 * memory. Twelve chains are more than latency (4 to 5 cycles) times units (2) of any current
 * processor. The registers' contents do not matter.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS = 100000, MEMORY_BYTES = 128 << 20, DISK_BYTES = 256 << 20, CHUNK = 4 << 20 };

#if defined(__x86_64__)
#define TWELVE(X) \
    X("0") X("1") X("2") X("3") X("4") X("5") X("6") X("7") X("8") X("9") X("10") X("11")
#define CLOBBERED                                                                            \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

/* Zero factors: denormal or huge ones could be slower. */
#define CHAINS(name, X)                                                                            \
    static void name(void *argument, unsigned thread)                                              \
    {                                                                                              \
        (void)argument, (void)thread;                                                              \
        __asm__ volatile("vxorps %%ymm14, %%ymm14, %%ymm14\n\tvxorps %%ymm15, %%ymm15, %%ymm15" :: \
                             : "xmm14", "xmm15");                                                  \
        for (long i = 0; i < STEPS; i++)                                                           \
            __asm__ volatile(TWELVE(X)::: CLOBBERED);                                              \
    }
#define FMA_AVX2(c) "vfmadd231ps %%ymm15, %%ymm14, %%ymm" c "\n\t"
#define FMA_AVX512(c) "vfmadd231ps %%zmm15, %%zmm14, %%zmm" c "\n\t"
#define DOT_VNNI(c) "vpdpbusd %%zmm15, %%zmm14, %%zmm" c "\n\t"
#define DOT_AVXVNNI(c) "%{vex%} vpdpbusd %%ymm15, %%ymm14, %%ymm" c "\n\t"
/* Without VNNI the same takes three instructions (see runtime/gemm_int8.c). */
#define DOT_AVX2(c)                            \
    "vpmaddubsw %%ymm15, %%ymm14, %%ymm12\n\t" \
    "vpmaddwd %%ymm14, %%ymm12, %%ymm13\n\t"   \
    "vpaddd %%ymm13, %%ymm" c ", %%ymm" c "\n\t"
CHAINS(fma_avx2, FMA_AVX2)
CHAINS(fma_avx512, FMA_AVX512)
CHAINS(dot_vnni, DOT_VNNI)
CHAINS(dot_avxvnni, DOT_AVXVNNI)
CHAINS(dot_avx2, DOT_AVX2)

/* As many instructions as the processor can start, which registers do not hold up: where another
 * virtual machine has the core's other hardware thread, that is half as many. */
#define FOUR_ADDS "add $1, %%rax\n\tadd $1, %%rcx\n\tadd $1, %%rdx\n\tadd $1, %%rsi\n\t"
static void instructions(void *argument, unsigned thread)
{
    (void)argument, (void)thread;
    for (long i = 0; i < STEPS; i++)
        __asm__ volatile(FOUR_ADDS FOUR_ADDS "nop\n\tnop\n\tnop\n\tnop\n\t" ::
                             : "rax", "rcx", "rdx", "rsi", "cc");
}

/* Products of whole tiles, 16 x 64 by 64 x 16: six chains, a multiply-add of theirs being two
 * operations, which equals twelve of one. */
static void dot_amx(void *argument, unsigned thread)
{
    (void)argument, (void)thread;
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(config)); /* clears the tiles */
    for (long i = 0; i < STEPS; i++)
        __asm__ volatile("tdpbssd %tmm7, %tmm6, %tmm0\n\ttdpbssd %tmm7, %tmm6, %tmm1\n\t"
                         "tdpbssd %tmm7, %tmm6, %tmm2\n\ttdpbssd %tmm7, %tmm6, %tmm3\n\t"
                         "tdpbssd %tmm7, %tmm6, %tmm4\n\ttdpbssd %tmm7, %tmm6, %tmm5");
    __asm__ volatile("tilerelease");
}
#endif

static void add(struct bench *bench, const char *name, const char *isa, unsigned threads,
                struct bench_rate rate, const char *unit)
{
    struct bench_row row = {
        .isa = isa, .threads = threads, .rate = rate.median, .spread = rate.spread, .unit = unit};
    snprintf(row.group, sizeof row.group, "machine");
    snprintf(row.name, sizeof row.name, "%s", name);
    bench_add(bench, &row);
}

/* On one thread and on all. */
static void arithmetic(struct bench *bench, const char *name, const char *isa, bench_work *work,
                       double operations, const char *unit, struct bench_peak *peak)
{
    *peak = (struct bench_peak){.work = work, .units = 1e-9 * operations * 12 * STEPS};
    for (int all = 0; all < 2; all++) {
        const unsigned threads = all ? bench->threads : 1;
        const struct bench_rate rate = bench_measure(bench, threads, peak->units, work, NULL, NULL);
        add(bench, name, isa, threads, rate, unit);
        *(all ? &peak->all : &peak->one) = rate.median;
    }
}

/* ---- memory ---- */

struct buffers {
    uint64_t *from, *to;
    size_t words;
    unsigned threads;
    volatile uint64_t sink; /* keeps the sums alive */
};

static void read_memory(void *argument, unsigned thread)
{
    struct buffers *b = argument;
    const size_t n = b->words / b->threads / 32 * 32;
    const uint64_t *p = b->from + thread * n;
    uint64_t sum[32] = {0};
    for (size_t i = 0; i < n; i += 32)
        for (int lane = 0; lane < 32; lane++)
            sum[lane] += p[i + (size_t)lane];
    for (int lane = 1; lane < 32; lane++)
        sum[0] += sum[lane];
    b->sink = sum[0];
}

static void copy_memory(void *argument, unsigned thread)
{
    struct buffers *b = argument;
    const size_t n = b->words / b->threads;
    memcpy(b->to + thread * n, b->from + thread * n, n * sizeof *b->to);
}

static void memory(struct bench *bench)
{
    struct buffers b = {.words = MEMORY_BYTES / 8};
    b.from = bench_memory(MEMORY_BYTES);
    b.to = bench_memory(MEMORY_BYTES);
    for (int all = 0; all < 2; all++) {
        b.threads = all ? bench->threads : 1;
        const double gb = 1e-9 * MEMORY_BYTES / b.threads;
        struct bench_rate rate = bench_measure(bench, b.threads, gb, read_memory, &b, NULL);
        add(bench, "memory read", NULL, b.threads, rate, "GB/s");
        bench->memory_read[all] = rate.median;
        rate = bench_measure(bench, b.threads, 2 * gb, copy_memory, &b, NULL);
        add(bench, "memory copy, read + written", NULL, b.threads, rate, "GB/s");
    }
    free(b.from);
    free(b.to);
}

/* ---- disk ---- */

static double write_file(int fd, const char *chunk)
{
    const double start = bench_seconds();
    for (off_t at = 0; at < DISK_BYTES; at += CHUNK)
        if (pwrite(fd, chunk, CHUNK, at) != CHUNK)
            bench_die("writing a temporary file: %s", strerror(errno));
    if (fsync(fd) != 0)
        bench_die("writing a temporary file: %s", strerror(errno));
    return 1e-9 * DISK_BYTES / (bench_seconds() - start);
}

static double read_file(int fd, char *chunk)
{
    posix_fadvise(fd, 0, DISK_BYTES, POSIX_FADV_DONTNEED); /* from the disk, not from the cache */
    const double start = bench_seconds();
    for (off_t at = 0; at < DISK_BYTES; at += CHUNK)
        if (pread(fd, chunk, CHUNK, at) != CHUNK)
            bench_die("reading a temporary file: %s", strerror(errno));
    return 1e-9 * DISK_BYTES / (bench_seconds() - start);
}

static void disk(struct bench *bench)
{
    enum { TIMES = 3 };
    char path[4096];
    snprintf(path, sizeof path, "%s/moeq-bench-XXXXXX", bench->folder);
    const int fd = mkstemp(path);
    if (fd < 0)
        bench_die("%s: %s", path, strerror(errno));
    unlink(path);
    char *chunk = bench_memory(CHUNK);
    for (size_t i = 0; i < CHUNK; i++) /* nothing that a disk could compress */
        chunk[i] = (char)(i * 2654435761u >> 13);
    double written[TIMES], read[TIMES];
    for (int i = 0; i < TIMES; i++) {
        written[i] = write_file(fd, chunk);
        read[i] = read_file(fd, chunk);
    }
    close(fd);
    free(chunk);
    struct bench_rate rate = bench_summary(written, TIMES);
    bench->disk_write = rate.median;
    add(bench, "disk write, synced (clock)", NULL, 1, rate, "GB/s");
    rate = bench_summary(read, TIMES);
    bench->disk_read = rate.median;
    add(bench, "disk read (clock)", NULL, 1, rate, "GB/s");
}

void bench_machine(struct bench *bench)
{
#if defined(__x86_64__)
    struct bench_peak any;
    arithmetic(bench, "instructions", NULL, instructions, 1, "G/s", &any);
    if (mq_isa_available(MQ_ISA_AVX2)) {
        arithmetic(bench, "f32 fused multiply-add", "avx2", fma_avx2, 16, "GFLOP/s",
                   &bench->fma[MQ_ISA_AVX2]);
        arithmetic(bench, "int8 dot, 3 instructions", "avx2", dot_avx2, 64, "GOP/s",
                   &bench->dot[MQ_ISA_AVX2]);
    }
    if (mq_isa_available(MQ_ISA_AVX512))
        arithmetic(bench, "f32 fused multiply-add", "avx512", fma_avx512, 32, "GFLOP/s",
                   &bench->fma[MQ_ISA_AVX512]);
    /* what the kernels of an instruction set use is the last of these */
    if (mq_cpu_has(MQ_CPU_AVX_VNNI))
        arithmetic(bench, "int8 dot", "avxvnni", dot_avxvnni, 64, "GOP/s",
                   &bench->dot[MQ_ISA_AVX2]);
    if (mq_cpu_has(MQ_CPU_AVX512_VNNI))
        arithmetic(bench, "int8 dot", "vnni", dot_vnni, 128, "GOP/s", &bench->dot[MQ_ISA_AVX512]);
    if (mq_cpu_has(MQ_CPU_AMX_INT8))
        arithmetic(bench, "int8 dot", "amx", dot_amx, 16 * 16 * 64, "GOP/s",
                   &bench->dot[MQ_ISA_AVX512]);
#endif
    memory(bench);
    disk(bench);
}
