/* cpu.c: detection. The compiler's builtins also check that the kernel saves the registers. */
#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

static const char *const names[MQ_ISA_COUNT] = {"generic", "neon", "avx2", "avx512"};

const char *mq_isa_name(enum mq_isa isa)
{
    return (unsigned)isa < MQ_ISA_COUNT ? names[isa] : "unknown";
}

#if defined(__x86_64__)
/* CPUID leaf 1, ECX bit 29. Older clang does not know the feature's name in its builtin. */
static bool has_f16c(void)
{
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
}
#endif

bool mq_isa_available(enum mq_isa isa)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    if (isa == MQ_ISA_AVX2)
        return avx2;
    if (isa == MQ_ISA_AVX512)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#elif defined(__aarch64__)
    if (isa == MQ_ISA_NEON)
        return true;
#endif
    return isa == MQ_ISA_GENERIC;
}

#if defined(__x86_64__)
/* CPUID leaf 7, subleaf 1, EAX bit 4; the registers are AVX's. */
static bool has_avx_vnni(void)
{
    unsigned a = 0, b, c, d;
    return mq_isa_available(MQ_ISA_AVX2) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

/* CPUID leaf 7, EDX bits 24 (tiles) and 25 (products of bytes). The registers are 8 KiB, which
 * Linux (5.16 and later) saves only for processes that have asked for it. */
static bool has_amx_int8(void)
{
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 3) == 3 &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}
#endif

bool mq_cpu_has(enum mq_cpu_feature feature)
{
    switch (feature) {
    case MQ_CPU_ANY:
        return true;
#if defined(__x86_64__)
    case MQ_CPU_AVX_VNNI:
        return has_avx_vnni();
    case MQ_CPU_AVX512_VNNI:
        return mq_isa_available(MQ_ISA_AVX512) && __builtin_cpu_supports("avx512vnni");
    case MQ_CPU_AMX_INT8:
        return has_amx_int8();
#endif
    default:
        return false;
    }
}

enum mq_isa mq_isa_detect(void)
{
    int wanted = MQ_ISA_COUNT - 1;
    const char *environment = getenv("MOEQ_ISA");
    for (int i = 0; environment && i < MQ_ISA_COUNT; i++)
        if (strcmp(environment, names[i]) == 0)
            wanted = i;
    while (wanted > MQ_ISA_GENERIC && !mq_isa_available((enum mq_isa)wanted))
        wanted--;
    return (enum mq_isa)wanted;
}

unsigned mq_cpu_count(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
#endif
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

/* The memory limit of the control group, or UINT64_MAX. */
static uint64_t container_limit(void)
{
    static const char *const paths[] = {"/sys/fs/cgroup/memory.max",
                                        "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        FILE *f = fopen(paths[i], "re");
        if (!f)
            continue;
        unsigned long long limit;
        const int n = fscanf(f, "%llu", &limit); /* "max" reads as nothing */
        fclose(f);
        if (n == 1 && limit > 0)
            return limit;
    }
    return UINT64_MAX;
}

uint64_t mq_physical_memory_bytes(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    const uint64_t machine = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 1u << 30;
    const uint64_t container = container_limit();
    return container < machine ? container : machine;
}
