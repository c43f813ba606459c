/* bench_gemm.c: packing and the matrix product on one expert matrix of Mixtral 8x7B. */
#include "bench_support.h"
#include "kernels.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { K = 4096, ROWS = 1024, GROUP = 128 };

static float *floats(size_t n)
{
    float *p = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
    for (size_t i = 0; p && i < n; i++)
        p[i] = (float)(i % 1009) * 1e-3f - 0.5f;
    return p;
}

static void run(enum mq_isa isa, unsigned threads, size_t tokens, double peak)
{
    const struct mq_kernels *kernels = mq_kernels_get(isa);
    const size_t ldx = K + MQ_ROW_PAD, ldy = ROWS + MQ_ROW_PAD;
    float *x = floats(tokens * ldx), *w = floats((size_t)ROWS * K), *y = floats(tokens * ldy);
    float *panels = floats((size_t)threads * GROUP * K);
    if (!x || !w || !y || !panels)
        exit(1);
    double best = 1e9, best_cpu = 1e9, best_pack = 1e9;
    for (int repeat = 0; repeat < 5; repeat++) {
        double pack = 0;
        const double start = mq_bench_seconds(), cpu_start = mq_bench_cpu_seconds();
#pragma omp parallel for num_threads((int)threads) schedule(dynamic) reduction(+ : pack)
        for (size_t row = 0; row < ROWS; row += GROUP) {
            float *mine = panels + (size_t)omp_get_thread_num() * GROUP * K;
            const double before = mq_bench_seconds();
            for (size_t r = 0; r < GROUP; r += MQ_PANEL)
                kernels->pack(w + (row + r) * K, K, MQ_PANEL, K, mine + r * K);
            pack += mq_bench_seconds() - before;
            kernels->multiply(x, ldx, tokens, mine, (size_t)MQ_PANEL * K, K, GROUP, y + row, ldy);
        }
        const double seconds = mq_bench_seconds() - start;
        const double cpu = mq_bench_cpu_seconds() - cpu_start;
        best = seconds < best ? seconds : best;
        best_cpu = cpu < best_cpu ? cpu : best_cpu;
        best_pack = pack < best_pack ? pack : best_pack;
    }
    const double operations = 2e-9 * (double)tokens * ROWS * K;
    const double share = 100 * operations / best_cpu * threads / peak;
    printf(
        "%-8s %u threads %5zu tokens: %7.1f GFLOP/s; by processor time %5.1f %% of the peak %.1f; "
        "packing %.2f Gweights/s a thread\n",
        mq_isa_name(isa), threads, tokens, operations / best, share, peak,
        1e-9 * ROWS * K / best_pack);
    free(x);
    free(w);
    free(y);
    free(panels);
}

int main(void)
{
    static const size_t tokens[] = {14, 64, 256, 512, 2048};
    for (int isa = MQ_ISA_AVX2; isa < MQ_ISA_COUNT; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        for (unsigned threads = 1; threads <= mq_cpu_count(); threads *= 2) {
            const double peak = mq_bench_peak_gflops((enum mq_isa)isa, threads);
            for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
                run((enum mq_isa)isa, threads, tokens[i], peak);
        }
    }
    return 0;
}
