/*
 * convert.h: executing a plan: source rows -> blocks -> file, by chunks, in parallel, resumably.
 *
 * Output goes to OUT.part, reserved in full before the first byte; OUT.part.journal lists the
 * tensors that are finished and on the disk. A conversion that was killed goes on from there and
 * ends with the same bytes. The finished file is synced and renamed to OUT. Where the plan has
 * several files, each has a part; they get their names when all of them are finished, the first of
 * them (of a moeq model, its index) last.
 */
#ifndef MQ_CONVERT_H
#define MQ_CONVERT_H

#include "plan.h"

#define MQ_CONVERT_DEFAULT_MEMORY (256u << 20)

struct mq_convert_options {
    const char *output;
    bool replace; /* an existing OUT may be replaced */
};

struct mq_convert_result {
    uint64_t bytes_written;   /* the size of the finished files */
    uint64_t tensors_resumed; /* finished by an earlier run */
    uint64_t tensors;
    /* NaN and infinite weights that were copied (plan->allow_nonfinite) */
    uint64_t nonfinite_weights, nonfinite_tensors;
    const char *first_nonfinite; /* name of the first such tensor, the view's; NULL: none */
};

/* Fails before writing anything if OUT is (inside) the source, exists and may not be replaced, or
 * the disk has too little space; and at the end, with nothing left of the output, if a file of the
 * source changed since it was opened. context->memory_bytes 0: MQ_CONVERT_DEFAULT_MEMORY. */
moeq_status mq_convert(const struct mq_context *context, const struct mq_plan *plan,
                       const struct mq_convert_options *options, struct mq_convert_result *result,
                       moeq_error *err);

/* The name of one of the plan's files: OUT with its name_part before the extension and its name_end
 * behind. */
void mq_convert_file_name(const char *output, const struct mq_plan_file *file, char *path,
                          size_t room);

#endif
