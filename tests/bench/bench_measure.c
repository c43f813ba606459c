/* bench_measure.c: rates and their spread; memory; failing. */
#include "bench.h"

#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_REPEATS = 64 };

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double bench_seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double bench_cpu_seconds(void)
{
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct bench_rate bench_summary(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    const double median = (values[n / 2] + values[(n - 1) / 2]) / 2;
    const double quartiles = values[n - 1 - n / 4] - values[n / 4];
    return (struct bench_rate){median, median > 0 ? quartiles / median : 0};
}

struct bench_rate bench_measure(const struct bench *bench, unsigned threads, double units,
                                bench_work *work, void *argument)
{
    double rates[MAX_REPEATS];
    const int repeats = bench->repeats < MAX_REPEATS ? bench->repeats : MAX_REPEATS;
    for (int repeat = -1; repeat < repeats; repeat++) { /* the first warms caches and pages */
        double sum = 0;
#pragma omp parallel num_threads((int)threads) reduction(+ : sum)
        {
            const unsigned thread = (unsigned)omp_get_thread_num();
            const double start = seconds_of(CLOCK_THREAD_CPUTIME_ID);
            double elapsed, calls = 0;
            do {
                work(argument, thread);
                calls++;
                elapsed = seconds_of(CLOCK_THREAD_CPUTIME_ID) - start;
            } while (repeat >= 0 && elapsed < bench->seconds);
            sum += calls * units / elapsed;
        }
        if (repeat >= 0)
            rates[repeat] = sum;
    }
    return bench_summary(rates, (size_t)repeats);
}

void *bench_memory(size_t bytes)
{
    void *p = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!p)
        bench_die("out of memory");
    memset(p, 1, bytes);
    return p;
}

float *bench_floats(size_t n)
{
    float *x = bench_memory(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(i % 1009) * 1e-3f - 0.5f;
    return x;
}

void bench_gaussian(float *x, size_t n)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) { /* a sum of 12 uniforms is close enough to time with */
        float sum = -6.0f;
        for (int k = 0; k < 12; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(state >> 40) * 0x1p-24f;
        }
        x[i] = 0.02f * sum;
    }
}

void bench_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "moeq-bench: ");
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}
