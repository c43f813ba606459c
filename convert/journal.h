/*
 * journal.h: what is finished in OUT.part, as text that only grows.
 *
 *   moeq-journal 4 <plan>                           of which plan the parts are
 *   <kind> <item> <chunk> <value> <lost> <weights> <within> <check>    one line each, all numbers of eight hexadecimal digits
 *
 * check is the CRC-32 of the line before it. A line that is torn or wrong ends what is read: what stands behind it is
 * done again.
 */
#ifndef MQ_JOURNAL_H
#define MQ_JOURNAL_H

#include "buffer.h"
#include "moeq.h"

enum mq_journal_kind {
    MQ_JOURNAL_TENSOR = 't', /* item is on the disk; value: its CRC-32 (chunks.h) */
    MQ_JOURNAL_CHUNK = 'c',  /* one chunk of it is */
    MQ_JOURNAL_FORGET = 'x', /* what is said of item before is void: it was found damaged */
    MQ_JOURNAL_PARTS =
        's', /* value: the parts' stamp (output_int.h), when reading them again begins; chunk: 1 if
                              * they are complete */
    MQ_JOURNAL_SEEN = 'v', /* item was read again since, and is what was written */
    MQ_JOURNAL_RANK = 'r', /* of which process this journal is (output_int.h): item, of a run that has the number value */
};

struct mq_journal_line {
    enum mq_journal_kind kind;
    uint32_t item, chunk, value;
    float lost, weights, within; /* of chunks and tensors: struct mq_loss (losses.h) */
};

void mq_journal_begin(struct mq_buffer *text, uint32_t plan);
void mq_journal_put(struct mq_buffer *text, const struct mq_journal_line *line);

/* Whether a text is a journal, of whatever plan and version. */
bool mq_journal_is(const char *text, size_t size);

/* The lines of a journal of this plan, to be freed, and where in the text they end. *lines NULL: it is another plan's,
 * or none. */
moeq_status mq_journal_read(const char *text, size_t size, uint32_t plan,
                            struct mq_journal_line **lines, size_t *count, uint64_t *end,
                            moeq_error *err);

#endif
