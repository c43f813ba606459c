/* cpu.h: which instruction set to use. All give the same bits; they differ in speed alone. */
#ifndef MQ_CPU_H
#define MQ_CPU_H

#include "moeq.h"

/* By width, the reference first: "at most this one" means the same on every processor. */
enum mq_isa {
    MQ_ISA_GENERIC, /* plain C, fmaf() from libm: the reference that the others are tested against
                     */
    MQ_ISA_NEON,    /* of 64-bit ARM, all of which have it */
    MQ_ISA_AVX2,    /* AVX2, FMA, F16C */
    MQ_ISA_AVX512,  /* AVX-512 F, BW, DQ, VL besides */
    MQ_ISA_COUNT
};

const char *mq_isa_name(enum mq_isa isa);

/* The best one that this processor and operating system grant, lowered by the environment variable
 * MOEQ_ISA=generic|neon|avx2|avx512 if it is set (an unknown name there is ignored). */
enum mq_isa mq_isa_detect(void);

/* Whether a variant can run here. */
bool mq_isa_available(enum mq_isa isa);

/* A table of function_generic and so on by instruction set, for functions that are compiled once
 * for each (cmake/isa.cmake). In place of what other processors have it holds the generic one. */
/* clang-format off */
#if defined(__x86_64__)
#define MQ_ISA_TABLE(function) \
    {function##_generic, function##_generic, function##_avx2, function##_avx512}
#elif defined(__aarch64__)
#define MQ_ISA_TABLE(function) \
    {function##_generic, function##_neon, function##_generic, function##_generic}
#else
#define MQ_ISA_TABLE(function) \
    {function##_generic, function##_generic, function##_generic, function##_generic}
#endif
/* clang-format on */

/* Dot products of bytes, which not every processor with one of the above has. */
enum mq_cpu_feature {
    MQ_CPU_ANY, /* nothing besides */
    MQ_CPU_AVX_VNNI,
    MQ_CPU_AVX512_VNNI,
    MQ_CPU_AMX_INT8, /* tiles of 16 x 64; Linux grants a process their registers when asked */
};
bool mq_cpu_has(enum mq_cpu_feature feature);

unsigned mq_cpu_count(void);             /* processors this process may run on, at least 1 */
uint64_t mq_physical_memory_bytes(void); /* of the machine, or of the container if that is less */

#endif
