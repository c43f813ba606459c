/* bench_support.c: timing, and the machine's peak. */
#include "bench_support.h"

#include <omp.h>
#include <time.h>

double mq_bench_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double mq_bench_cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Twelve chains: more than latency (4 cycles) times units (2) of any current processor. In
 * assembly, so that no compiler moves them to memory. The registers' contents do not matter. */
#if defined(__x86_64__)
#define FMA(r, c) "vfmadd231ps %%" r "15, %%" r "14, %%" r c "\n\t"
#define TWELVE(r)                                                                       \
    FMA(r, "0")                                                                         \
    FMA(r, "1")                                                                         \
    FMA(r, "2") FMA(r, "3") FMA(r, "4") FMA(r, "5") FMA(r, "6") FMA(r, "7") FMA(r, "8") \
        FMA(r, "9") FMA(r, "10") FMA(r, "11")
#define REGISTERS                                                                            \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
        "xmm11", "xmm14", "xmm15"

static double fma_avx2(long steps)
{
    __asm__ volatile("vxorps %%ymm14, %%ymm14, %%ymm14\n\tvxorps %%ymm15, %%ymm15, %%ymm15" ::
                         : "xmm14", "xmm15");
    for (long i = 0; i < steps; i++)
        __asm__ volatile(TWELVE("ymm")::: REGISTERS);
    return (double)steps * 12 * 8 * 2;
}

static double fma_avx512(long steps)
{
    __asm__ volatile("vxorps %%ymm14, %%ymm14, %%ymm14\n\tvxorps %%ymm15, %%ymm15, %%ymm15" ::
                         : "xmm14", "xmm15");
    for (long i = 0; i < steps; i++)
        __asm__ volatile(TWELVE("zmm")::: REGISTERS);
    return (double)steps * 12 * 16 * 2;
}
#endif

double mq_bench_peak_gflops(enum mq_isa isa, unsigned threads)
{
    double best = 0;
    for (int repeat = 0; repeat < 5; repeat++) {
        double operations = 0;
        const double start = mq_bench_cpu_seconds();
#pragma omp parallel num_threads((int)threads) reduction(+ : operations)
        {
#if defined(__x86_64__)
            if (isa == MQ_ISA_AVX512)
                operations = fma_avx512(10000000);
            else if (isa == MQ_ISA_AVX2)
                operations = fma_avx2(10000000);
#endif
        }
        const double gflops = operations * 1e-9 * threads / (mq_bench_cpu_seconds() - start);
        best = gflops > best ? gflops : best;
    }
    (void)isa;
    return best;
}
